// All runs: what they came to, which are at work, and the way to compare them.

import { encodePath, formatDay, formatDuration, replaceContent, getJson, h, stateBadge, formatScore, formatInterval } from "./studio-base.js";

export async function runsView({ main, studio, signal, again }) {
  const list = await getJson("api/runs");
  const picked = new Set();
  const start = h("a", { class: "button main", href: "#/new" }, "New run");
  if (!list.runs.length) {
    replaceContent(main, h("h1", {}, "Runs"), h("div", { class: "empty" },
      h("h2", {}, "No runs yet"),
      h("p", {}, "Bring a folder of pictures with one sub-folder for each class. The studio checks them, learns the classes, and tells how far the answers can be trusted."),
      h("p", {}, start)),
    h("p", { class: "note" }, "No pictures at hand? ", h("code", {}, "headstart demo"), " fits 2,000 textile pictures that a package carries."));
    return;
  }
  const canCompare = studio.commands.includes("compare");
  const compare = h("button", { type: "button", disabled: true, onclick: () => { location.hash = `#/compare/${[...picked].map(encodeURIComponent).join(",")}`; } }, "Compare");
  const picking = (run) => h("span", { class: "pick" }, h("input", { type: "checkbox", "aria-label": `Compare ${run.name}`, disabled: !run.finished, onchange: (event) => {
    event.target.checked ? picked.add(run.name) : picked.delete(run.name);
    compare.disabled = picked.size < 2;
    compare.textContent = picked.size > 1 ? `Compare ${picked.size} runs` : "Compare";
  } }));
  const comparable = canCompare && list.runs.filter((run) => run.finished).length > 1;
  replaceContent(main, h("h1", {}, "Runs"),
    h("div", { class: "row" }, start, comparable && compare),
    comparable && h("p", { class: "note" }, "Tick two finished runs or more to compare them."),
    h("ul", { class: "runs" }, list.runs.map((run) => runRow(run, comparable && picking))));
  if (list.runs.some((run) => ["running", "queued"].includes(run.state))) {
    const later = setTimeout(() => { if (!picked.size && !signal.aborted) again(); }, 3000);
    signal.addEventListener("abort", () => clearTimeout(later));
  }
}

function runRow(run, picking) {
  const score = run.scores?.[0];
  const details = [run.data, run.made && formatDay(run.made), run.finished && run.seconds && `took ${formatDuration(run.seconds)}`].filter(Boolean).join(" · ");
  return h("li", {},
    picking ? picking(run) : h("span"),
    h("div", {},
      h("div", { class: "row title-row" }, h("a", { class: "title", href: `#/run/${encodePath(run.name)}` }, run.name), run.state !== "done" && stateBadge(run.state)),
      h("span", { class: "sub" }, details)),
    score ? h("div", { class: "score" }, h("b", {}, formatScore(score)), h("span", {}, `right, ${formatInterval(score)}`)) : h("span"));
}
