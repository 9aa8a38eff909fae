// What every view uses: elements, words and numbers for people, questions to the studio.

const keepPresent = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");

/** An element: h("p", { class: "note", onclick: f }, "text", child, …); empty children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...keepPresent(children));
  return element;
}

/** What an element holds from now on. */
export const replaceContent = (element, ...children) => element.replaceChildren(...keepPresent(children));

/** A sentence of the command line: what stands in backticks is shown as code. */
export const formatCode = (text) => String(text).split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

/** A failure as the command line tells it: what, where, hint. */
export class StudioError extends Error {
  constructor(error) {
    super(error.what);
    this.error = error;
  }
}

async function readAnswer(response) {
  let content = null;
  try { content = await response.json(); } catch { /* no JSON: told below */ }
  if (response.ok) return content;
  throw new StudioError(content?.error ?? { what: `the studio answered ${response.status}`, hint: "reload the page" });
}

async function requestJson(path, options) {
  try {
    return await readAnswer(await fetch(path, options));
  } catch (error) {
    if (error instanceof StudioError) throw error;
    throw new StudioError({ what: "the studio does not answer", hint: "headstart studio starts it again; runs that are under way go on" });
  }
}

export const getJson = (path) => requestJson(path);
export const postJson = (path, content = {}) =>
  requestJson(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
export const sendBody = (method, path, body, signal) => requestJson(path, { method, body, signal });
export const encodePath = (...parts) => parts.map(encodeURIComponent).join("/");

/** Says something to those who listen to the page. */
export function announce(text) { document.getElementById("told").textContent = text; }

export function errorBox(error) {
  const failure = error instanceof StudioError ? error.error : error instanceof Error ? { what: error.message } : error;
  return h("div", { class: "error", role: "alert" },
    h("p", {}, h("strong", {}, "It did not work: "), formatCode(failure.what)),
    failure.where && h("p", { class: "note" }, "at: ", h("code", {}, failure.where)),
    failure.hint && h("p", {}, "hint: ", failure.hint.startsWith("headstart ") ? h("code", {}, failure.hint) : formatCode(failure.hint)));
}

/** The command line that does the same as a click. */
export function commandBox(text, note = "The same in a terminal") {
  const copy = h("button", { class: "small", type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      copy.textContent = "Marked";
    }
    announce("The command was copied.");
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  } }, "Copy");
  const code = h("code", {}, text);
  return h("div", { class: "command" }, h("p", { class: "note" }, note), code, copy);
}

// ---------------------------------------------------------------- words

export const formatCount = (count, one, many = `${one}s`) => `${count.toLocaleString("en-GB")} ${count === 1 ? one : many}`;
export const formatPercent = (value) => `${(100 * value).toFixed(value > 0.995 && value < 1 ? 1 : 0)} %`;

export function formatDuration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds) % 60).padStart(2, "0")} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} min`;
}

/** Rounded, for what is only a guess. */
export function formatRoughly(seconds) {
  if (seconds < 8) return "a few seconds";
  if (seconds < 90) return `${Math.ceil(seconds / 5) * 5} s`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  return formatDuration(seconds);
}

export function formatSize(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} TB`;
}

export const formatDay = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

const STATES = {
  queued: "Waits for its turn", running: "At work", done: "Finished", failed: "Failed", cancelled: "Stopped", "cut short": "Cut short",
};
export const formatState = (state) => STATES[state] ?? state;
export const stateBadge = (state) => h("span", { class: `pill ${state.split(" ")[0]}` }, formatState(state));

const SCORES = {
  accuracy: "Right answers", balanced_accuracy: "Right answers, each class counting the same", log_loss: "Log loss, lower is better",
  r2: "R², 1 is perfect", mae: "Mean absolute error",
};
export const scoreName = (name) => SCORES[name] ?? name.replaceAll("_", " ");
export const isShare = (name) => name.includes("accuracy");
export const formatScore = (score) => (isShare(score.name) ? formatPercent(score.value) : score.value.toFixed(3));
export const formatInterval = (score) => (isShare(score.name)
  ? `${formatPercent(score.low)} to ${formatPercent(score.high)}, n = ${score.n.toLocaleString("en-GB")}`
  : `${score.low.toFixed(3)} to ${score.high.toFixed(3)}, n = ${score.n.toLocaleString("en-GB")}`);

export function shareBar(share, attributes = {}) {
  const bar = h("i");
  bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("div", { class: "meter", "aria-hidden": "true", ...attributes }, bar);
}
