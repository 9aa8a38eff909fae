// Runs side by side: what `headstart compare` says of them.

import { encodePath, commandBox, errorBox, replaceContent, getJson, h, formatCount, postJson, formatCode, scoreName, formatInterval, formatScore } from "./studio-base.js";

export async function compareView({ main, studio }, list) {
  const names = list.split(",").map(decodeURIComponent);
  replaceContent(main, h("h1", {}, `${formatCount(names.length, "run")} compared`), h("p", { class: "muted" }, "Comparing them on the same pictures."));
  const place = h("div", { class: "tests" });
  const all = await Promise.all(names.map((name) => getJson(`api/runs/${encodePath(name)}/facts`)));
  const rows = [...new Set(all.flatMap((run) => run.scores.map((score) => score.name)))].map((name) => [scoreName(name), (run) => {
    const score = run.scores.find((one) => one.name === name);
    return score ? [h("b", {}, formatScore(score)), h("span", { class: "note" }, ` ${formatInterval(score)}`)] : ["-"];
  }]);
  rows.push(["Budget", (run) => [run.budget]], ["Strategy", (run) => [run.strategy]], ["Pictures", (run) => [run.pictures ? run.pictures.count.toLocaleString("en-GB") : "-"]]);
  replaceContent(main, h("h1", {}, `${formatCount(names.length, "run")} compared`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs side by side" }, h("table", {},
      h("thead", {}, h("tr", {}, h("td"), all.map((run) => h("th", { scope: "col" }, h("a", { href: `#/run/${encodePath(run.name)}` }, run.name))))),
      h("tbody", {}, rows.map(([title, cell]) => h("tr", {}, h("th", { scope: "row" }, title), all.map((run) => h("td", {}, cell(run)))))))),
    place);
  if (!studio.commands.includes("compare")) return;
  place.append(h("p", { class: "muted" }, "Testing whether the difference is more than chance."));
  try {
    const comparison = await postJson("api/comparisons", { runs: names });
    replaceContent(place, comparison.error ? errorBox(comparison.error) : comparisonView(comparison.result.at(-1)), commandBox(comparison.command));
  } catch (error) { replaceContent(place, errorBox(error)); }
}

/** What the tests say of each two runs, and what was asked for otherwise. */
function comparisonView(comparison) {
  const words = (name) => scoreName(name);
  const last = (path) => path.split("/").at(-1);
  const figure = (value) => (value === null ? "-" : value.toFixed(3));
  const line = (item) => h("tr", {}, h("th", { scope: "row" }, item.subject ? `${words(item.name)} of ${item.subject}` : words(item.name)),
    h("td", {}, figure(item.one)), h("td", {}, figure(item.other)),
    h("td", {}, item.low === null ? (item.value === 0 ? "the same answers" : "-") : `${item.value > 0 ? "+" : ""}${figure(item.value)} (${figure(item.low)} to ${figure(item.high)})`),
    h("td", {}, item.n.toLocaleString("en-GB")), h("td", { class: "verdict" }, item.tie ? "a tie" : "differs"));
  const pairs = comparison.pairs.map((pair) => h("section", {}, h("h2", {}, `${last(pair.one)} and ${last(pair.other)}`), h("p", {}, formatCode(pair.sentence)),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${last(pair.one)} and ${last(pair.other)}` }, h("table", {},
      h("thead", {}, h("tr", {}, ["Score", last(pair.one), last(pair.other), "Difference (95 % interval)", "n", ""].map((title) => (title ? h("th", { scope: "col" }, title) : h("td"))))),
      h("tbody", {}, [...pair.scores, ...pair.classes].map(line))))));
  const formatValue = (value) => (Array.isArray(value) ? value.join(", ") : String(value)) || "none";
  const settings = comparison.settings.length ? h("dl", { class: "facts" }, comparison.settings.map((item) => h("div", {}, h("dt", {}, item.name.replaceAll("_", " ")), h("dd", {}, item.values.map(formatValue).join(" / ")))))
    : h("p", { class: "muted" }, "The same was asked for in all runs.");
  const adapted = comparison.runs.filter((run) => run.adapted).map((run) => last(run.name)).join(", ");
  const scope = adapted && h("p", { class: "muted" }, `Scores are of the labelled domain, before the model was adapted to the new one: ${adapted}.`);
  return h("div", {}, scope, pairs, h("section", {}, h("h2", {}, "What was asked for otherwise"), settings));
}

/** Any JSON as a list of facts: shown as the command gives it. */
export function jsonTree(value) {
  if (Array.isArray(value)) return h("ul", {}, value.map((one) => h("li", {}, jsonTree(one))));
  if (value && typeof value === "object") {
    return h("dl", { class: "facts" }, Object.entries(value).map(([name, one]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, jsonTree(one)))));
  }
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4) : String(value);
}
