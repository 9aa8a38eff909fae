"use strict";
// Pictures in, answers out; nothing but the browser's own functions, and no address but this service's.

const SHOWN_CLASSES = 5;
const AT_A_TIME = 8;
const state = { key: "", limits: { upload_bytes: 20e6, files: 256 }, models: [], asked: 0, answered: 0, unread: 0 };
const at = (id) => document.getElementById(id);

function made(name, settings = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...inside);
  return element;
}

const percent = (value) => {
  if (value < 0.0005) return "<0.1 %";
  if (value > 0.9995) return ">99.9 %";
  return `${(100 * value).toFixed(1)} %`;
};

// ---------------------------------------------------------------- the service

async function call(path, settings = {}) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  for (let turn = 0; ; turn += 1) {
    const answer = await fetch(path, { ...settings, headers, cache: "no-store" });
    if (answer.status !== 429 || turn >= 20) return answer;
    const wait = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, 1000 * Math.min(wait, 30)));
  }
}

const withModel = (path) => `${path}?model=${encodeURIComponent(at("model").value)}`;

async function told(answer) {
  try {
    const { error } = await answer.json();
    return error.hint ? `${error.what} (${error.hint})` : error.what;
  } catch {
    return `the service answered ${answer.status}`;
  }
}

async function begin() {
  let answer;
  try {
    // Without a key no question is asked whose refusal is known: browsers log it as an error.
    const ready = await call("/readyz");
    if (ready.headers.get("X-Needs-Key") && !state.key) return askForKey("");
    answer = await call("/v1/models");
  } catch {
    at("about").textContent = "The service does not answer. Is it still running?";
    return;
  }
  if (answer.status === 401) return askForKey("That key is not taken.");
  if (!answer.ok) {
    at("about").textContent = await told(answer);
    return;
  }
  const found = await answer.json();
  state.limits = found.limits;
  state.models = found.models;
  at("model").replaceChildren(...found.models.map((one) => made("option", { value: one.name }, one.name)));
  at("model-row").hidden = found.models.length < 2;
  at("key-form").hidden = true;
  at("ask").hidden = false;
  about();
}

function askForKey(problem) {
  at("about").textContent = "A key is needed.";
  at("key-form").hidden = false;
  at("ask").hidden = true;
  at("key-problem").textContent = problem;
  at("key-problem").hidden = !problem;
  at("key").focus();
}

function about() {
  const model = state.models.find((one) => one.name === at("model").value);
  const names = model.class_names;
  const some = names.length > 12 ? `${names.slice(0, 12).join(", ")} and ${names.length - 12} more` : names.join(", ");
  at("about").textContent = `The model “${model.name}” tells ${names.length} classes apart: ${some}.`;
}

// ---------------------------------------------------------------- asking

async function ask(files) {
  const taken = [...files];
  if (!taken.length) return;
  at("clear").hidden = false;
  const cards = taken.map((file) => {
    const card = waiting(file);
    at("answers").append(card);
    return card;
  });
  state.asked += taken.length;
  status();
  for (const part of parts(taken)) await send(part.map((place) => [taken[place], cards[place]]));
}

function parts(files) {
  const found = [];
  let bytes = Infinity;
  const most = Math.min(AT_A_TIME, state.limits.files);
  files.forEach((file, place) => {
    if (bytes + file.size > 0.9 * state.limits.upload_bytes || found.at(-1).length >= most) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1).push(place);
    bytes += file.size;
  });
  return found;
}

async function send(pairs) {
  const rest = pairs.filter(([file, card]) => {
    if (file.size <= 0.99 * state.limits.upload_bytes) return true;
    failed(card, file, `larger than the ${state.limits.upload_bytes / 1e6} MB that are taken`);
    return false;
  });
  if (!rest.length) return;
  const body = new FormData();
  for (const [file] of rest) body.append("files", file, file.name || "pasted");
  try {
    const answer = await call(withModel("/v1/predict"), { method: "POST", body });
    const found = answer.ok || answer.status === 422 ? await answer.json() : {};
    if (found.answers) rest.forEach(([file, card], place) => show(card, file, found.answers[place]));
    else for (const [file, card] of rest) failed(card, file, found.error ? found.error.what : await told(answer.clone()));
  } catch {
    for (const [file, card] of rest) failed(card, file, "the service does not answer");
  }
}

function status() {
  const left = state.asked - state.answered - state.unread;
  const unread = state.unread ? `, ${state.unread} could not be read` : "";
  at("status").textContent = left
    ? `${state.answered} of ${state.asked} answered${unread} …`
    : `${state.answered} answered${unread}.`;
}

// ---------------------------------------------------------------- showing

function waiting(file) {
  const image = made("img", { className: "shown", alt: "", src: URL.createObjectURL(file) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  image.addEventListener("error", () => image.replaceWith(made("div", { className: "shown none" }, "no preview")));
  const name = made("h2", { className: "file" }, file.name || "pasted picture");
  return made("article", { className: "card answer" }, made("div", {}, image), made("div", {}, name, made("p", { className: "muted" }, "…")));
}

function fill(card, ...inside) {
  const body = card.lastElementChild;
  body.replaceChildren(body.firstElementChild, ...inside);
}

function failed(card, file, why) {
  if (!card.isConnected) return; // it was cleared away meanwhile
  state.unread += 1;
  fill(card, made("p", { className: "verdict" }, "No answer"), made("p", { className: "problem" }, why));
  status();
}

function show(card, file, row) {
  if (row.error) return failed(card, file, row.error);
  if (!card.isConnected) return;
  state.answered += 1;
  const sure = made("span", { className: "sure" }, ` ${percent(row.confidence)}${row.unknown ? ` for ${row.likeliest}` : ""}`);
  const verdict = made("p", { className: row.unknown ? "verdict unknown" : "verdict" }, row.unknown ? "unknown" : row.answer, sure);
  const inside = [verdict];
  if (row.reasons.length) inside.push(made("ul", { className: "reasons" }, ...row.reasons.map((one) => made("li", {}, one))));
  inside.push(doubt(row), bars(row), whyButton(card, file));
  fill(card, ...inside.filter(Boolean));
  status();
}

function doubt(row) {
  const facts = [];
  if (row.plausible.length) facts.push(["plausible", row.plausible.join(", ")]);
  if (row.novelty !== null) facts.push(["more novel than", `${percent(row.novelty)} of known pictures`]);
  if (!facts.length) return null;
  const pairs = facts.map(([name, value]) => made("div", {}, made("dt", {}, name), made("dd", {}, value)));
  return made("dl", { className: "doubt" }, ...pairs);
}

function bars(row) {
  const sorted = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]).slice(0, SHOWN_CLASSES);
  const items = sorted.map(([name, value], place) => {
    const bar = made("span");
    bar.style.width = `${100 * value}%`;
    const rail = made("span", { className: "rail", "aria-hidden": "true" }, bar);
    return made("li", { className: place ? "" : "first" }, made("span", {}, name), rail, made("span", { className: "number" }, percent(value)));
  });
  return made("ul", { className: "bars", "aria-label": "Probabilities" }, ...items);
}

function whyButton(card, file) {
  const button = made("button", { type: "button" }, "Why?");
  button.setAttribute("aria-label", `Why? ${file.name || "pasted picture"}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Looking …";
    const shown = await why(file);
    shown.tabIndex = -1;
    button.replaceWith(shown);
    shown.focus();
  });
  return button;
}

async function why(file) {
  const body = new FormData();
  body.append("files", file, file.name || "pasted");
  try {
    const answer = await call(withModel("/v1/explain"), { method: "POST", body });
    if (!answer.ok) return made("p", { className: "note why" }, await told(answer));
    return explanation(await answer.json());
  } catch {
    return made("p", { className: "problem why" }, "the service does not answer");
  }
}

function explanation(found) {
  const source = (kind, text) => `data:image/${kind};base64,${text}`;
  const likeliest = found.answer.likeliest;
  const heat = made("img", { className: "heat", alt: `Heat map: the places that speak for ${likeliest}`, src: source("png", found.overlay_png) });
  const caption = made("figcaption", {}, `What speaks for ${likeliest} (${found.method}); the frame is what the model sees.`);
  const inside = [made("h3", {}, "What the answer rests on"), made("div", { className: "maps" }, made("figure", {}, heat, caption))];
  if (found.nearest.length) {
    const near = found.nearest.map((one) => {
      const image = one.thumbnail
        ? made("img", { alt: "", src: source("jpeg", one.thumbnail) })
        : made("div", { className: "none" });
      return made("figure", {}, image, made("figcaption", {}, `${one.class_name}, likeness ${one.similarity.toFixed(2)}`));
    });
    inside.push(made("h3", {}, "The known pictures most like it"), made("div", { className: "near" }, ...near));
  } else if (found.compared) inside.push(made("p", { className: "note" }, found.compared));
  return made("div", { className: "why" }, ...inside);
}

// ---------------------------------------------------------------- hands

at("files").addEventListener("change", (event) => {
  ask(event.target.files);
  event.target.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (!at("ask").hidden) ask(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (!at("ask").hidden && event.clipboardData.files.length) ask(event.clipboardData.files);
});
at("model").addEventListener("change", about);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = at("key").value.trim();
  at("key").value = "";
  begin();
});
at("clear").addEventListener("click", () => {
  at("answers").replaceChildren();
  Object.assign(state, { asked: 0, answered: 0, unread: 0 });
  at("status").textContent = "";
  at("clear").hidden = true;
  at("files").focus();
});
begin();
