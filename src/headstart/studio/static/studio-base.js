// What every view uses: elements, words and numbers for people, questions to the studio.

const there = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");

/** An element: h("p", { class: "note", onclick: f }, "text", child, …); empty children are left out. */
export function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...there(children));
  return made;
}

/** What an element holds from now on. */
export const fill = (element, ...children) => element.replaceChildren(...there(children));

/** A sentence of the command line: what stands in backticks is shown as code. */
export const rich = (text) => String(text).split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

/** A failure as the command line tells it: what, where, hint. */
export class Told extends Error {
  constructor(error) {
    super(error.what);
    this.error = error;
  }
}

async function answer(response) {
  let content = null;
  try { content = await response.json(); } catch { /* no JSON: told below */ }
  if (response.ok) return content;
  throw new Told(content?.error ?? { what: `the studio answered ${response.status}`, hint: "reload the page" });
}

async function sent(path, options) {
  try {
    return await answer(await fetch(path, options));
  } catch (error) {
    if (error instanceof Told) throw error;
    throw new Told({ what: "the studio does not answer", hint: "headstart studio starts it again; runs that are under way go on" });
  }
}

export const get = (path) => sent(path);
export const post = (path, content = {}) =>
  sent(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
export const send = (method, path, body, signal) => sent(path, { method, body, signal });
export const at = (...parts) => parts.map(encodeURIComponent).join("/");

/** Says something to those who listen to the page. */
export function say(text) { document.getElementById("told").textContent = text; }

export function errorBox(error) {
  const told = error instanceof Told ? error.error : error instanceof Error ? { what: error.message } : error;
  return h("div", { class: "error", role: "alert" },
    h("p", {}, h("strong", {}, "It did not work: "), rich(told.what)),
    told.where && h("p", { class: "note" }, "at: ", h("code", {}, told.where)),
    told.hint && h("p", {}, "hint: ", told.hint.startsWith("headstart ") ? h("code", {}, told.hint) : rich(told.hint)));
}

/** The command line that does the same as a click. */
export function command(text, note = "The same in a terminal") {
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
    say("The command was copied.");
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  } }, "Copy");
  const code = h("code", {}, text);
  return h("div", { class: "command" }, h("p", { class: "note" }, note), code, copy);
}

// ---------------------------------------------------------------- words

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en-GB")} ${count === 1 ? one : many}`;
export const percent = (value) => `${(100 * value).toFixed(value > 0.995 && value < 1 ? 1 : 0)} %`;

export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds) % 60).padStart(2, "0")} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} min`;
}

/** Rounded, for what is only a guess. */
export function about(seconds) {
  if (seconds < 8) return "a few seconds";
  if (seconds < 90) return `${Math.ceil(seconds / 5) * 5} s`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  return duration(seconds);
}

export function size(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} TB`;
}

export const day = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

const STATES = {
  queued: "Waits for its turn", running: "At work", done: "Finished", failed: "Failed", cancelled: "Stopped", "cut short": "Cut short",
};
export const stateText = (state) => STATES[state] ?? state;
export const pill = (state) => h("span", { class: `pill ${state.split(" ")[0]}` }, stateText(state));

const SCORES = {
  accuracy: "Right answers", balanced_accuracy: "Right answers, each class counting the same", log_loss: "Log loss, lower is better",
};
export const scoreName = (name) => SCORES[name] ?? name.replaceAll("_", " ");
export const isShare = (name) => name.includes("accuracy");
export const scoreValue = (score) => (isShare(score.name) ? percent(score.value) : score.value.toFixed(3));
export const scoreRange = (score) => (isShare(score.name)
  ? `${percent(score.low)} to ${percent(score.high)}, n = ${score.n.toLocaleString("en-GB")}`
  : `${score.low.toFixed(3)} to ${score.high.toFixed(3)}, n = ${score.n.toLocaleString("en-GB")}`);

export function meter(share, given = {}) {
  const fill = h("i");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("div", { class: "meter", "aria-hidden": "true", ...given }, fill);
}
