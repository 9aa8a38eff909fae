// Drop a picture, see the answer with its doubt.

import { at, command, errorBox, fill, h, meter, percent, plural, say, send } from "./studio-base.js";

export function tryView({ place, name, signal }) {
  const answers = h("div", { "aria-live": "polite" });
  const pick = h("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => all([...pick.files]) });
  const zone = h("div", { class: "empty drop" }, h("p", {}, "Drop pictures that it has not learnt from, and see what it says."),
    h("button", { type: "button", class: "main", onclick: () => pick.click() }, "Choose pictures"), pick);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); all([...event.dataTransfer.files]); });
  async function all(files) {
    for (const file of files) {
      const card = h("div", {}, h("p", { class: "muted" }, `Looking at ${file.name}.`));
      answers.prepend(card);
      try {
        const found = await send("POST", `api/runs/${at(name)}/tries?file=${encodeURIComponent(file.name)}`, file, signal);
        fill(card, found.answer.error && !found.answer.result?.[0]?.error ? errorBox(found.answer.error) : answered(found, file, name));
      } catch (error) { if (!signal.aborted) fill(card, errorBox(error)); }
    }
    pick.value = "";
  }
  fill(place, zone, answers);
}

function answered(found, file, name) {
  const row = found.answer.result?.[0] ?? {};
  if (row.error) return errorBox({ what: `${file.name}: ${row.error}` });
  if (!row.answer) return errorBox({ what: "there was no answer", hint: found.answer.command });
  const unknown = row.unknown === true || row.answer === "unknown";
  const chances = Object.entries(row.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  const title = unknown ? "I do not know" : row.answer;
  const sure = row.confidence ?? chances[0]?.[1];
  const plausible = (row.plausible ?? []).filter((one) => one !== row.answer);
  const told = [
    unknown ? `It looks unlike what was learnt${row.likeliest ? `; the nearest class is ${row.likeliest}` : ""}.` : sure != null && `${percent(sure)} sure.`,
    plausible.length ? `Could also be ${plausible.join(", ")}.` : "",
  ].filter(Boolean).join(" ");
  say(`${file.name}: ${title}. ${told}`);
  return h("article", { class: "try" },
    h("div", {}, h("figure", {}, h("img", { src: `api/tries/${found.try}/picture`, alt: `The picture ${file.name}` }), h("figcaption", {}, file.name)), heat(found)),
    h("div", {}, h("h2", {}, title), h("p", {}, told),
      (row.reasons ?? []).length ? h("ul", { class: "note" }, row.reasons.map((one) => h("li", {}, one))) : null,
      h("ul", { class: "bars" }, chances.slice(0, 6).map(([label, chance]) => h("li", {}, h("span", {}, label), meter(chance), h("span", {}, percent(chance))))),
      chances.length > 6 ? h("p", { class: "note" }, `and ${plural(chances.length - 6, "more class", "more classes")}`) : null,
      neighbours(found, name)),
    h("div", {}, command(found.answer.command), found.explained ? command(found.explained.command, "Where it looked") : null));
}

function heat(found) {
  const told = found.explained?.result;
  if (!told?.overlay) return null;
  return h("figure", {}, h("img", { src: `api/tries/${found.try}/explained/${at(told.overlay)}`, alt: `The same picture, with the parts coloured that speak for ${told.class}` }), h("figcaption", {}, `What speaks for ${told.class}`));
}

function neighbours(found, name) {
  const told = found.explained?.result;
  if (!told?.neighbours?.length) return told?.compared ? h("p", { class: "note" }, told.compared) : null;
  return h("div", {}, h("p", { class: "note near" }, "It looks like these, which the model learnt from:"), h("div", { class: "thumbs" }, told.neighbours.map((one) =>
    h("figure", {}, one.row == null ? null : h("img", { src: `api/runs/${at(name)}/pictures/${one.row}`, alt: one.file, width: "88", height: "88" }), h("figcaption", {}, `${one.class}, ${one.similarity.toFixed(2)}`)))));
}
