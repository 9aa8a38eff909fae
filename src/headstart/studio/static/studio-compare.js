// Runs side by side: what `headstart compare` says of them.

import { at, command, errorBox, fill, get, h, plural, post, rich, scoreName, scoreRange, scoreValue } from "./studio-base.js";

export async function compareView({ main, studio }, list) {
  const names = list.split(",").map(decodeURIComponent);
  fill(main, h("h1", {}, `${plural(names.length, "run")} compared`), h("p", { class: "muted" }, "Comparing them on the same pictures."));
  const place = h("div", { class: "tests" });
  const all = await Promise.all(names.map((name) => get(`api/runs/${at(name)}/facts`)));
  const rows = ["accuracy", "balanced_accuracy", "log_loss"].map((name) => [scoreName(name), (run) => {
    const score = run.scores.find((one) => one.name === name);
    return score ? [h("b", {}, scoreValue(score)), h("span", { class: "note" }, ` ${scoreRange(score)}`)] : ["-"];
  }]);
  rows.push(["Budget", (run) => [run.budget]], ["Strategy", (run) => [run.strategy]], ["Pictures", (run) => [run.pictures ? run.pictures.count.toLocaleString("en-GB") : "-"]]);
  fill(main, h("h1", {}, `${plural(names.length, "run")} compared`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs side by side" }, h("table", {},
      h("thead", {}, h("tr", {}, h("td"), all.map((run) => h("th", { scope: "col" }, h("a", { href: `#/run/${at(run.name)}` }, run.name))))),
      h("tbody", {}, rows.map(([title, cell]) => h("tr", {}, h("th", { scope: "row" }, title), all.map((run) => h("td", {}, cell(run)))))))),
    place);
  if (!studio.commands.includes("compare")) return;
  place.append(h("p", { class: "muted" }, "Testing whether the difference is more than chance."));
  try {
    const found = await post("api/comparisons", { runs: names });
    fill(place, found.error ? errorBox(found.error) : compared(found.result.at(-1)), command(found.command));
  } catch (error) { fill(place, errorBox(error)); }
}

/** What the tests say of each two runs, and what was asked for otherwise. */
function compared(found) {
  const words = (name) => scoreName(name);
  const last = (path) => path.split("/").at(-1);
  const figure = (value) => (value === null ? "-" : value.toFixed(3));
  const line = (one) => h("tr", {}, h("th", { scope: "row" }, one.subject ? `${words(one.name)} of ${one.subject}` : words(one.name)),
    h("td", {}, figure(one.one)), h("td", {}, figure(one.other)),
    h("td", {}, one.low === null ? "-" : `${one.value > 0 ? "+" : ""}${figure(one.value)} (${figure(one.low)} to ${figure(one.high)})`),
    h("td", {}, one.n.toLocaleString("en-GB")), h("td", { class: "verdict" }, one.tie ? "a tie" : "differs"));
  const pairs = found.pairs.map((pair) => h("section", {}, h("h2", {}, `${last(pair.one)} and ${last(pair.other)}`), h("p", {}, rich(pair.sentence)),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${last(pair.one)} and ${last(pair.other)}` }, h("table", {},
      h("thead", {}, h("tr", {}, ["Score", last(pair.one), last(pair.other), "Difference (95 % interval)", "n", ""].map((title) => (title ? h("th", { scope: "col" }, title) : h("td"))))),
      h("tbody", {}, [...pair.scores, ...pair.classes].map(line))))));
  const shown = (value) => (Array.isArray(value) ? value.join(", ") : String(value)) || "none";
  const asked = found.settings.length ? h("dl", { class: "facts" }, found.settings.map((one) => h("div", {}, h("dt", {}, one.name.replaceAll("_", " ")), h("dd", {}, one.values.map(shown).join(" / ")))))
    : h("p", { class: "muted" }, "The same was asked for in all runs.");
  return h("div", {}, pairs, h("section", {}, h("h2", {}, "What was asked for otherwise"), asked));
}

/** Any JSON as a list of facts: shown as the command gives it. */
export function tree(value) {
  if (Array.isArray(value)) return h("ul", {}, value.map((one) => h("li", {}, tree(one))));
  if (value && typeof value === "object") {
    return h("dl", { class: "facts" }, Object.entries(value).map(([name, one]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, tree(one)))));
  }
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4) : String(value);
}
