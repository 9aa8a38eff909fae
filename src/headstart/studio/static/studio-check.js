// What the audit found, and how to learn from it.

import { encodePath, commandBox, errorBox, replaceContent, getJson, h, shareBar, formatCount, formatCode, announce } from "./studio-base.js";
import { fitForm } from "./studio-form.js";
import { followEvents } from "./studio-live.js";

export async function checkView({ main, studio, signal }, name) {
  const facts = await getJson(`api/looks/${encodePath(name)}/facts`);
  const counts = h("div"), findings = h("div"), status = h("p", { class: "muted" }), problem = h("div"), form = h("div");
  let formShown = false;
  const draw = (facts) => {
    if (facts.pictures) {
      replaceContent(counts, countsView(facts.pictures, (row) => `api/looks/${encodePath(name)}/pictures/${row}`));
      if (!formShown) { replaceContent(form, fitForm(studio, facts.data || facts.pictures.root, facts.job)); formShown = true; }
    }
    replaceContent(findings, findingsView(facts.audit, (row) => `api/looks/${encodePath(name)}/pictures/${row}`));
  };
  replaceContent(main, h("h1", {}, "The pictures"), h("p", { class: "under" }, facts.data || name), status, problem,
    counts, findings, commandBox(facts.command), form);
  draw(facts);
  let last = facts.state;
  const state = ({ state, error }) => {
    last = state;
    status.textContent = { running: "Checking the pictures.", queued: "Waits for its turn.", done: "", failed: "", cancelled: "The check was stopped." }[state] ?? "The check was cut short.";
    if (error) replaceContent(problem, errorBox(error));
    if (state === "done") announce("The pictures are checked.");
  };
  state(facts);
  if (["running", "queued"].includes(last)) {
    followEvents(`api/looks/${encodePath(name)}/events`, { facts: draw, state, line: (line) => {
      if (line.stage && last === "running") status.textContent = `Checking the pictures: ${line.text}`;
    } }, signal, problem);
  }
}

function countsTitle({ task, count, classes }) {
  if (task === "regression") return `${formatCount(count, "picture")}, each with a number`;
  const parts = task === "multilabel" ? formatCount(classes.length, "label") : formatCount(classes.filter((group) => group.count).length, "class", "classes");
  return `${formatCount(count, "picture")} ${task === "multilabel" ? "with" : "in"} ${parts}`;
}

export function countsView(pictures, source) {
  const largest = Math.max(1, ...pictures.classes.map((group) => group.count));
  return h("section", { "aria-labelledby": "counts" },
    h("h2", { id: "counts" }, countsTitle(pictures)),
    h("ul", { class: "classes" }, pictures.classes.map((group) => h("li", {},
      h("div", { class: "class-head" }, h("b", {}, group.name), h("span", { class: "muted" }, formatCount(group.count, "picture"))),
      shareBar(group.count / largest),
      h("div", { class: "thumbs" }, group.rows.map((row) => h("img", { src: source(row), alt: `A picture of ${group.name}`, loading: "lazy", width: "88", height: "88" })))))),
    pictures.left_out ? h("details", {}, h("summary", {}, `${formatCount(pictures.left_out, "file")} left out`),
      h("ul", {}, pictures.excused.map((group) => h("li", {}, h("code", {}, group.uri), `: ${group.reason.replaceAll("_", " ")}, ${group.detail}`)))) : null);
}

function findingsView(outcomes, source) {
  if (!outcomes.length) return h("div");
  const withFindings = outcomes.filter((outcome) => outcome.findings.length);
  const withoutFindings = outcomes.filter((outcome) => !outcome.findings.length);
  return h("section", { "aria-labelledby": "findings" },
    h("h2", { id: "findings" }, withFindings.length ? `${formatCount(withFindings.length, "thing")} to look at` : "Nothing to worry about"),
    withFindings.length ? h("ul", { class: "findings" }, withFindings.map((outcome) => h("li", {},
      h("span", { class: `pill ${outcome.status}` }, outcome.status.replaceAll("_", " ")), " ", h("b", {}, outcome.name), " ", h("code", { class: "muted" }, outcome.code),
      outcome.findings.map((finding, at) => [h("p", {}, formatCode(finding.sentence)),
        finding.fix && finding.fix !== outcome.findings[at + 1]?.fix ? h("p", { class: "muted" }, "What to do: ", formatCode(finding.fix)) : null]),
      outcome.rows.length ? h("div", { class: "thumbs" }, outcome.rows.map((row) => h("img", { src: source(row), alt: "A picture that this is about", loading: "lazy", width: "88", height: "88" }))) : null)))
      : h("p", { class: "muted" }, "None of the checks found anything that would spoil a result."),
    h("details", {}, h("summary", {}, `${formatCount(withoutFindings.length, "check")} without a finding`),
      h("ul", {}, withoutFindings.map((outcome) => h("li", {}, `${outcome.name}: ${outcome.status.replaceAll("_", " ")}; ${outcome.why}`)))));
}
