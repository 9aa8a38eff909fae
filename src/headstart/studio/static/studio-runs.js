// All runs: what they came to, which are at work, and the way to compare them.

import { at, day, duration, fill, get, h, pill, scoreValue } from "./studio-base.js";

export async function runsView({ main, studio, signal, again }) {
  const found = await get("api/runs");
  const picked = new Set();
  const start = h("a", { class: "button main", href: "#/new" }, "New run");
  if (!found.runs.length) {
    fill(main, h("h1", {}, "Runs"), h("div", { class: "empty" },
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
  const comparable = canCompare && found.runs.filter((run) => run.finished).length > 1;
  fill(main, h("h1", {}, "Runs"),
    h("div", { class: "row" }, start, comparable && compare),
    comparable && h("p", { class: "note" }, "Tick two finished runs or more to compare them."),
    h("ul", { class: "runs" }, found.runs.map((run) => row(run, comparable && picking))));
  if (found.runs.some((run) => ["running", "queued"].includes(run.state))) {
    const later = setTimeout(() => { if (!picked.size && !signal.aborted) again(); }, 3000);
    signal.addEventListener("abort", () => clearTimeout(later));
  }
}

function row(run, picking) {
  const score = run.scores?.[0];
  const told = [run.data, run.made && day(run.made), run.finished && run.seconds && `took ${duration(run.seconds)}`].filter(Boolean).join(" · ");
  return h("li", {},
    picking ? picking(run) : h("span"),
    h("div", {},
      h("div", { class: "row title-row" }, h("a", { class: "title", href: `#/run/${at(run.name)}` }, run.name), run.state !== "done" && pill(run.state)),
      h("span", { class: "sub" }, told)),
    score ? h("div", { class: "score" }, h("b", {}, scoreValue(score)), h("span", {}, `right, n = ${score.n.toLocaleString("en-GB")}`)) : h("span"));
}
