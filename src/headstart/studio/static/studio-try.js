// Drop a picture, see the answer with its uncertainty.

import { encodePath, commandBox, errorBox, replaceContent, h, shareBar, formatPercent, formatCount, announce, sendBody } from "./studio-base.js";

export function tryView({ place, name, signal }) {
  const answers = h("div", { "aria-live": "polite" });
  const pick = h("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => tryFiles([...pick.files]) });
  const zone = h("div", { class: "empty drop" }, h("p", {}, "Drop pictures that it has not learnt from, and see what it says."),
    h("button", { type: "button", class: "main", onclick: () => pick.click() }, "Choose pictures"), pick);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); tryFiles([...event.dataTransfer.files]); });
  async function tryFiles(files) {
    for (const file of files) {
      const card = h("div", {}, h("p", { class: "muted" }, `Looking at ${file.name}.`));
      answers.prepend(card);
      try {
        const found = await sendBody("POST", `api/runs/${encodePath(name)}/tries?file=${encodeURIComponent(file.name)}`, file, signal);
        replaceContent(card, found.answer.error && !found.answer.result?.[0]?.error ? errorBox(found.answer.error) : answerView(found, file, name));
      } catch (error) { if (!signal.aborted) replaceContent(card, errorBox(error)); }
    }
    pick.value = "";
  }
  replaceContent(place, zone, answers);
}

// A row of `headstart predict --json` in words: of a class, of labels, or of a number, whose `answer` is empty where it is declined.
export function describeAnswer(row) {
  const nearest = row.likeliest && !row.labels ? `; the nearest class is ${row.likeliest}` : "";
  const unknown = row.answer == null || row.answer === "unknown";
  const strange = unknown ? `It looks unlike what was learnt${nearest}.` : "";
  const title = unknown ? "I do not know" : row.labels ? row.labels.join(", ") || "None of the labels" : `${row.answer}`;
  if (!row.probabilities) return { title, summary: strange || (row.low == null ? "" : `Between ${row.low} and ${row.high}.`) };
  if (row.labels) return { title, summary: [strange, row.open.length ? `May be there or absent: ${row.open.join(", ")}.` : ""].filter(Boolean).join(" ") };
  const plausible = (row.plausible ?? []).filter((one) => one !== row.answer);
  const sure = `${formatPercent(row.confidence)} ${(row.likeliest || row.answer) === row.answer ? "sure" : `for ${row.likeliest}`}.`;
  return { title, summary: [strange || sure, plausible.length ? `Could also be ${plausible.join(", ")}.` : ""].filter(Boolean).join(" ") };
}

function answerView(reply, file, name) {
  const row = reply.answer.result?.[0] ?? {};
  if (row.error) return errorBox({ what: `${file.name}: ${row.error}` });
  if (row.answer == null && !row.reasons?.length) return errorBox({ what: "there was no answer", hint: reply.answer.command });
  const chances = Object.entries(row.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  const { title, summary } = describeAnswer(row);
  announce(`${file.name}: ${title}. ${summary}`);
  return h("article", { class: "try" },
    h("div", {}, h("figure", {}, h("img", { src: `api/runs/${encodePath(name)}/tries/${reply.try}/picture`, alt: `The picture ${file.name}` }), h("figcaption", {}, file.name)), heatMap(reply)),
    h("div", {}, h("h2", {}, title), h("p", {}, summary),
      (row.reasons ?? []).length ? h("ul", { class: "note" }, row.reasons.map((one) => h("li", {}, one))) : null,
      h("ul", { class: "bars" }, chances.slice(0, 6).map(([label, chance]) => h("li", {}, h("span", {}, label), shareBar(chance), h("span", {}, formatPercent(chance))))),
      chances.length > 6 ? h("p", { class: "note" }, `and ${formatCount(chances.length - 6, "more class", "more classes")}`) : null,
      neighboursView(reply, name)),
    h("div", {}, commandBox(reply.answer.command), reply.explained ? commandBox(reply.explained.command, "Where it looked") : null));
}

function heatMap(reply) {
  const explanation = reply.explained?.result;
  if (!explanation?.overlay) return null;
  return h("figure", {}, h("img", { src: `api/tries/${reply.try}/explained/${encodePath(explanation.overlay)}`, alt: `The same picture, with the parts coloured that speak for ${explanation.class}` }), h("figcaption", {}, `What speaks for ${explanation.class}`));
}

function neighboursView(reply, name) {
  const explanation = reply.explained?.result;
  if (!explanation?.neighbours?.length) return explanation?.compared ? h("p", { class: "note" }, explanation.compared) : null;
  return h("div", {}, h("p", { class: "note near" }, "It looks like these, which the model learnt from:"), h("div", { class: "thumbs" }, explanation.neighbours.map((neighbour) =>
    h("figure", {}, neighbour.row == null ? null : h("img", { src: `api/runs/${encodePath(name)}/pictures/${neighbour.row}`, alt: neighbour.file, width: "88", height: "88" }), h("figcaption", {}, `${neighbour.class}, ${neighbour.similarity.toFixed(2)}`)))));
}
