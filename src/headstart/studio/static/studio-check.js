// What the audit found, and how to learn from it.

import { at, command, errorBox, fill, get, h, meter, plural, rich, say } from "./studio-base.js";
import { fitForm } from "./studio-form.js";
import { follow } from "./studio-live.js";

export async function checkView({ main, studio, signal }, name) {
  const found = await get(`api/looks/${at(name)}/facts`);
  const counts = h("div"), findings = h("div"), status = h("p", { class: "muted" }), problem = h("div"), form = h("div");
  let shown = false;
  const draw = (facts) => {
    if (facts.pictures) {
      fill(counts, countsView(facts.pictures, (row) => `api/looks/${at(name)}/pictures/${row}`));
      if (!shown) { fill(form, fitForm(studio, facts.pictures.root || facts.data)); shown = true; }
    }
    fill(findings, findingsView(facts.audit, (row) => `api/looks/${at(name)}/pictures/${row}`));
  };
  fill(main, h("h1", {}, "The pictures"), h("p", { class: "under" }, found.data || name), status, problem,
    counts, findings, command(found.command), form);
  draw(found);
  let last = found.state;
  const state = ({ state, error }) => {
    last = state;
    status.textContent = { running: "Checking the pictures.", queued: "Waits for its turn.", done: "", failed: "", cancelled: "The check was stopped." }[state] ?? "The check was cut short.";
    if (error) fill(problem, errorBox(error));
    if (state === "done") say("The pictures are checked.");
  };
  state(found);
  if (["running", "queued"].includes(last)) {
    follow(`api/looks/${at(name)}/events`, { facts: draw, state, line: (line) => {
      if (line.stage && last === "running") status.textContent = `Checking the pictures: ${line.text}`;
    } }, signal, problem);
  }
}

export function countsView(pictures, source) {
  const most = Math.max(1, ...pictures.classes.map((one) => one.count));
  return h("section", { "aria-labelledby": "counts" },
    h("h2", { id: "counts" }, `${plural(pictures.count, "picture")} in ${plural(pictures.classes.length, "class", "classes")}`),
    h("ul", { class: "classes" }, pictures.classes.map((one) => h("li", {},
      h("div", { class: "class-head" }, h("b", {}, one.name), h("span", { class: "muted" }, plural(one.count, "picture"))),
      meter(one.count / most),
      h("div", { class: "thumbs" }, one.rows.map((row) => h("img", { src: source(row), alt: `A picture of ${one.name}`, loading: "lazy", width: "88", height: "88" })))))),
    pictures.left_out ? h("details", {}, h("summary", {}, `${plural(pictures.left_out, "file")} left out`),
      h("ul", {}, pictures.excused.map((one) => h("li", {}, h("code", {}, one.uri), `: ${one.reason.replaceAll("_", " ")}, ${one.detail}`)))) : null);
}

function findingsView(outcomes, source) {
  if (!outcomes.length) return h("div");
  const told = outcomes.filter((one) => one.findings.length);
  const quiet = outcomes.filter((one) => !one.findings.length);
  return h("section", { "aria-labelledby": "findings" },
    h("h2", { id: "findings" }, told.length ? `${plural(told.length, "thing")} to look at` : "Nothing to worry about"),
    told.length ? h("ul", { class: "findings" }, told.map((one) => h("li", {},
      h("span", { class: `pill ${one.status}` }, one.status.replaceAll("_", " ")), " ", h("b", {}, one.name), " ", h("code", { class: "muted" }, one.code),
      one.findings.map((finding) => h("p", {}, rich(finding.sentence))),
      one.rows.length ? h("div", { class: "thumbs" }, one.rows.map((row) => h("img", { src: source(row), alt: "A picture that this is about", loading: "lazy", width: "88", height: "88" }))) : null)))
      : h("p", { class: "muted" }, "None of the checks found anything that would spoil a result."),
    h("details", {}, h("summary", {}, `${plural(quiet.length, "check")} without a finding`),
      h("ul", {}, quiet.map((one) => h("li", {}, `${one.name}: ${one.status.replaceAll("_", " ")}; ${one.why}`)))));
}
