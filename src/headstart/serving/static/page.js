"use strict";
// Pictures in, answers out; nothing but the browser's own functions, and no address but this service's.

const SHOWN_CLASSES = 5;
const AT_A_TIME = 8;
const state = { key: "", limits: { upload_bytes: 20e6, files: 256 }, models: [], asked: 0, answered: 0, unread: 0 };
const byId = (id) => document.getElementById(id);

function createElement(name, settings = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...inside);
  return element;
}

// Rounded down, as in the reasons of an answer: a share that is not all never reads as all.
const formatNovelty = (share) => share >= 1 ? "all known pictures" : `${(Math.floor(1000 * share) / 10).toFixed(1)} % of known pictures`;
const formatPercent = (value) => {
  if (value < 0.0005) return "<0.1 %";
  if (value > 0.9995) return ">99.9 %";
  return `${(100 * value).toFixed(1)} %`;
};

// ---------------------------------------------------------------- the service

async function callService(path, settings = {}) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  for (let turn = 0; ; turn += 1) {
    const answer = await fetch(path, { ...settings, headers, cache: "no-store" });
    if (answer.status !== 429 || turn >= 20) return answer;
    const wait = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, 1000 * Math.min(wait, 30)));
  }
}

const withModel = (path) => `${path}?model=${encodeURIComponent(byId("model").value)}`;

async function readProblem(answer) {
  try {
    const { error } = await answer.json();
    return error.hint ? `${error.what} (${error.hint})` : error.what;
  } catch {
    return `the service answered ${answer.status}`;
  }
}

async function connect() {
  let answer;
  try {
    // Without a key no question is asked whose refusal is known: browsers log it as an error.
    const ready = await callService("/readyz");
    if (ready.headers.get("X-Needs-Key") && !state.key) return askForKey("");
    answer = await callService("/v1/models");
  } catch {
    byId("about").textContent = "The service does not answer. Is it still running?";
    return;
  }
  if (answer.status === 401) return askForKey("That key is not taken.");
  if (!answer.ok) {
    byId("about").textContent = await readProblem(answer);
    return;
  }
  const description = await answer.json();
  state.limits = description.limits;
  state.models = description.models;
  byId("model").replaceChildren(...description.models.map((model) => createElement("option", { value: model.name }, model.name)));
  byId("model-row").hidden = description.models.length < 2;
  byId("key-form").hidden = true;
  byId("ask").hidden = false;
  describeModel();
}

function askForKey(problem) {
  byId("about").textContent = "A key is needed.";
  byId("key-form").hidden = false;
  byId("ask").hidden = true;
  byId("key-problem").textContent = problem;
  byId("key-problem").hidden = !problem;
  byId("key").focus();
}

function describeModel() {
  const model = state.models.find((candidate) => candidate.name === byId("model").value);
  const names = model.class_names;
  const some = names.length > 12 ? `${names.slice(0, 12).join(", ")} and ${names.length - 12} more` : names.join(", ");
  const does = {
    regression: `answers with a number: ${some}`,
    multilabel: `says which of ${names.length} labels are there: ${some}`,
  }[model.task] ?? `tells ${names.length} classes apart: ${some}`;
  byId("about").textContent = `The model “${model.name}” ${does}.`;
}

// ---------------------------------------------------------------- asking

async function askFiles(files) {
  const pictures = [...files];
  if (!pictures.length) return;
  byId("clear").hidden = false;
  const cards = pictures.map((file) => {
    const card = makeCard(file);
    byId("answers").append(card);
    return card;
  });
  state.asked += pictures.length;
  showProgress();
  for (const part of splitUploads(pictures)) await sendUploads(part.map((place) => [pictures[place], cards[place]]));
}

function splitUploads(files) {
  const uploads = [];
  let bytes = Infinity;
  const maxFiles = Math.min(AT_A_TIME, state.limits.files);
  files.forEach((file, place) => {
    if (bytes + file.size > 0.9 * state.limits.upload_bytes || uploads.at(-1).length >= maxFiles) {
      uploads.push([]);
      bytes = 0;
    }
    uploads.at(-1).push(place);
    bytes += file.size;
  });
  return uploads;
}

async function sendUploads(pairs) {
  const accepted = pairs.filter(([file, card]) => {
    if (file.size <= 0.99 * state.limits.upload_bytes) return true;
    showFailure(card, file, `larger than the ${state.limits.upload_bytes / 1e6} MB that are taken`);
    return false;
  });
  if (!accepted.length) return;
  const body = new FormData();
  for (const [file] of accepted) body.append("files", file, file.name || "pasted");
  try {
    const answer = await callService(withModel("/v1/predict"), { method: "POST", body });
    const content = answer.ok || answer.status === 422 ? await answer.json() : {};
    if (content.answers) accepted.forEach(([file, card], place) => showAnswer(card, file, content.answers[place]));
    else for (const [file, card] of accepted) showFailure(card, file, content.error ? content.error.what : await readProblem(answer.clone()));
  } catch {
    for (const [file, card] of accepted) showFailure(card, file, "the service does not answer");
  }
}

function showProgress() {
  const left = state.asked - state.answered - state.unread;
  const unread = state.unread ? `, ${state.unread} could not be read` : "";
  byId("status").textContent = left
    ? `${state.answered} of ${state.asked} answered${unread} …`
    : `${state.answered} answered${unread}.`;
}

// ---------------------------------------------------------------- showing

function makeCard(file) {
  const image = createElement("img", { className: "shown", alt: "", src: URL.createObjectURL(file) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  image.addEventListener("error", () => image.replaceWith(createElement("div", { className: "shown none" }, "no preview")));
  const name = createElement("h2", { className: "file" }, file.name || "pasted picture");
  return createElement("article", { className: "card answer" }, createElement("div", {}, image), createElement("div", {}, name, createElement("p", { className: "muted" }, "…")));
}

function fillCard(card, ...inside) {
  const body = card.lastElementChild;
  body.replaceChildren(body.firstElementChild, ...inside);
}

function showFailure(card, file, reason) {
  if (!card.isConnected) return; // it was cleared away meanwhile
  state.unread += 1;
  fillCard(card, createElement("p", { className: "verdict" }, "No answer"), createElement("p", { className: "problem" }, reason));
  showProgress();
}

function showAnswer(card, file, row) {
  if (row.error) return showFailure(card, file, row.error);
  if (!card.isConnected) return;
  state.answered += 1;
  const sure = createElement("span", { className: "sure" }, ` ${formatCertainty(row)}`);
  const answer = row.labels ? row.labels.join(", ") || "no label" : row.answer;
  const verdict = createElement("p", { className: row.unknown ? "verdict unknown" : "verdict" }, row.unknown ? "unknown" : `${answer}`, sure);
  const inside = [verdict];
  if (row.reasons.length) inside.push(createElement("ul", { className: "reasons" }, ...row.reasons.map((reason) => createElement("li", {}, reason))));
  inside.push(uncertaintyList(row), probabilityBars(row), whyButton(card, file));
  fillCard(card, ...inside.filter(Boolean));
  showProgress();
}

function formatCertainty(row) {
  if (row.labels) return "";
  if (row.probabilities) return `${formatPercent(row.confidence)}${row.answer === row.likeliest ? "" : ` for ${row.likeliest}`}`;
  return row.low === null ? "" : `between ${row.low} and ${row.high}`;
}

function uncertaintyList(row) {
  const facts = [];
  if (row.plausible?.length) facts.push(["plausible", row.plausible.join(", ")]);
  if (row.open?.length) facts.push(["there or absent", row.open.join(", ")]);
  if (row.novelty !== null) facts.push(["more novel than", formatNovelty(row.novelty)]);
  if (!facts.length) return null;
  const pairs = facts.map(([name, value]) => createElement("div", {}, createElement("dt", {}, name), createElement("dd", {}, value)));
  return createElement("dl", { className: "doubt" }, ...pairs);
}

function probabilityBars(row) {
  if (!row.probabilities) return null;
  const sorted = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]).slice(0, SHOWN_CLASSES);
  const items = sorted.map(([name, value], place) => {
    const bar = createElement("span");
    bar.style.width = `${100 * value}%`;
    const rail = createElement("span", { className: "rail", "aria-hidden": "true" }, bar);
    return createElement("li", { className: place ? "" : "first" }, createElement("span", {}, name), rail, createElement("span", { className: "number" }, formatPercent(value)));
  });
  return createElement("ul", { className: "bars", "aria-label": "Probabilities" }, ...items);
}

function whyButton(card, file) {
  const button = createElement("button", { type: "button" }, "Why?");
  button.setAttribute("aria-label", `Why? ${file.name || "pasted picture"}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Looking …";
    const view = await fetchExplanation(file);
    view.tabIndex = -1;
    button.replaceWith(view);
    view.focus();
  });
  return button;
}

async function fetchExplanation(file) {
  const body = new FormData();
  body.append("files", file, file.name || "pasted");
  try {
    const answer = await callService(withModel("/v1/explain"), { method: "POST", body });
    if (!answer.ok) return createElement("p", { className: "note why" }, await readProblem(answer));
    return explanationView(await answer.json());
  } catch {
    return createElement("p", { className: "problem why" }, "the service does not answer");
  }
}

function explanationView(explanation) {
  const source = (kind, text) => `data:image/${kind};base64,${text}`;
  const name = explanation.class_name;
  const heat = createElement("img", { className: "heat", alt: `Heat map: the places that speak for ${name}`, src: source("png", explanation.overlay_png) });
  const caption = createElement("figcaption", {}, `What speaks for ${name} (${explanation.method}); the frame is what the model sees.`);
  const inside = [createElement("h3", {}, "What the answer rests on"), createElement("div", { className: "maps" }, createElement("figure", {}, heat, caption))];
  if (explanation.nearest.length) {
    const near = explanation.nearest.map((neighbour) => {
      const image = neighbour.thumbnail
        ? createElement("img", { alt: "", src: source("jpeg", neighbour.thumbnail) })
        : createElement("div", { className: "none" });
      return createElement("figure", {}, image, createElement("figcaption", {}, `${neighbour.class_name}, likeness ${neighbour.similarity.toFixed(2)}`));
    });
    inside.push(createElement("h3", {}, "The known pictures most like it"), createElement("div", { className: "near" }, ...near));
  } else if (explanation.compared) inside.push(createElement("p", { className: "note" }, explanation.compared));
  return createElement("div", { className: "why" }, ...inside);
}

// ---------------------------------------------------------------- hands

byId("files").addEventListener("change", (event) => {
  askFiles(event.target.files);
  event.target.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  if (!byId("ask").hidden) askFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (!byId("ask").hidden && event.clipboardData.files.length) askFiles(event.clipboardData.files);
});
byId("model").addEventListener("change", describeModel);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = byId("key").value.trim();
  byId("key").value = "";
  connect();
});
byId("clear").addEventListener("click", () => {
  byId("answers").replaceChildren();
  Object.assign(state, { asked: 0, answered: 0, unread: 0 });
  byId("status").textContent = "";
  byId("clear").hidden = true;
  byId("files").focus();
});
connect();
