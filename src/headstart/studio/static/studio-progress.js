// Stages, time left, the ranking and the curves of a run.

import { formatRoughly, formatDuration, replaceContent, h, isShare, formatPercent, formatCount, formatCode, scoreName } from "./studio-base.js";
import { lineChart, intervalStrip } from "./studio-charts.js";

const STEPS = {
  read: "Read the pictures", audit: "Check them", embed: "Look at them with trained networks", rank: "Find the network that fits",
  adapt: "Learn your classes", evaluate: "Test on pictures held back", doubt: "Learn when to be unsure", export: "Save the model",
  explain: "Prepare explanations", card: "Write the model card", report: "Write the report",
};
const STAGE = { train: "adapt", tune: "adapt", splits: "embed", plan: "embed", budget: "report", compare: "rank", screen: "rank", uncertainty: "doubt" };

export function progressView(first) {
  const bar = h("i"), left = h("span"), passed = h("span"), list = h("ol", { class: "steps" });
  const rail = h("div", { class: "progress", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" }, bar);
  const element = h("div", {}, rail, h("p", { class: "progress-text" }, left, passed), list);
  let facts = first, state = first.state, started = first.started, texts = {};

  const tick = () => {
    const now = Date.now() / 1000;
    const elapsed = started && state === "running" ? Math.max(0, now - started) : facts.seconds;
    const planned = facts.planned_seconds;
    const done = facts.steps.filter((one) => one.done).length / (facts.steps.length || 1);
    const share = state === "done" ? 1 : Math.min(0.97, planned && elapsed ? Math.max(done * 0.9, elapsed / Math.max(planned, elapsed * 1.03)) : done * 0.9);
    bar.style.width = `${100 * share}%`;
    rail.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    passed.textContent = elapsed ? `${formatDuration(elapsed)} so far` : "";
    if (state === "done") { left.textContent = "Finished"; passed.textContent = facts.seconds ? `took ${formatDuration(facts.seconds)}` : ""; }
    else if (state === "queued") left.textContent = "Another run is at work; this one starts when it is done";
    else if (state !== "running") left.textContent = "Not at work";
    else if (!planned) left.textContent = `Reckoning; the budget is ${facts.budget || "not known yet"}`;
    else if (planned > elapsed) left.textContent = `About ${formatRoughly(planned - elapsed)} left`;
    else left.textContent = `Longer than expected; the budget is ${facts.budget}`;
  };
  const draw = () => {
    const now = state === "running" ? facts.steps.findIndex((one) => !one.done) : -1;
    replaceContent(list, ...facts.steps.map((one, index) => {
      const kind = one.done ? "done" : index === now ? "now" : "todo";
      return h("li", { class: kind, "aria-current": kind === "now" && "step" },
        h("span", { class: "mark", "aria-hidden": "true" }),
        h("b", {}, STEPS[one.step] ?? one.step, h("span", { class: "unseen" }, { done: ", done", now: ", at work", todo: ", to come" }[kind])),
        h("span", { class: "took" }, formatStepTime(facts.timings, one.step)),
        texts[one.step] && kind !== "todo" ? h("span", { class: "said" }, formatCode(texts[one.step])) : null);
    }));
    tick();
  };
  draw();
  return {
    element,
    tick,
    facts(update) { facts = { ...facts, ...update, state }; draw(); },
    state(now, when) { state = now; started = when ?? started; draw(); },
    line({ stage, text }) {
      const step = STAGE[stage] ?? stage;
      if (!STEPS[step]) return;
      texts[step] = text;
      draw();
    },
  };
}

function formatStepTime(timings, step) {
  const seconds = Object.entries(timings).filter(([name]) => name === step || name.startsWith(`${step} `) || name.startsWith(`${step}_`)).reduce((sum, [, one]) => sum + one.wall_s, 0);
  return seconds ? formatDuration(seconds) : "";
}

const STATUS = { chosen: "chosen", tied: "as good", beaten: "behind", control: "for comparison", screened_out: "left early" };

export function rankingView(facts) {
  const rows = facts.ranking.filter((row) => row.scores.length);
  if (!rows.length) return h("div");
  const first = rows[0].scores[0];
  const rail = [Math.min(...rows.map((row) => row.scores[0].low)), Math.max(...rows.map((row) => row.scores[0].high))];
  const value = (number) => (isShare(first.name) ? formatPercent(number) : number.toFixed(3));
  return h("section", { "aria-labelledby": "ranking" }, h("h2", { id: "ranking" }, "Which network fits"),
    h("p", { class: "note" }, formatCode(facts.why)),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranking" }, h("table", { class: "ranking" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Network and depth"), h("td", { class: "strip" }), h("th", { scope: "col" }, scoreName(first.name)), h("th", { scope: "col" }, "Verdict"))),
      h("tbody", {}, rows.map((row) => h("tr", { class: row.status }, h("th", { scope: "row" }, row.candidate.split("@").flatMap((part, index) => (index ? [h("wbr"), `@${part}`] : [part]))),
        h("td", { class: "strip" }, intervalStrip(rail, row.scores[0], row.status)),
        h("td", { class: "num" }, value(row.scores[0].value), h("span", { class: "muted" }, ` ${value(row.scores[0].low)} to ${value(row.scores[0].high)}`)),
        h("td", { class: "verdict" }, STATUS[row.status] ?? row.status)))))));
}

export function curvesView(facts) {
  if (!facts.curves.length) return h("div");
  return h("section", { "aria-labelledby": "curves" }, h("h2", { id: "curves" }, "How the networks learn"),
    h("ul", { class: "key" }, h("li", {}, h("i"), "pictures held back"), h("li", { class: "train" }, h("i"), "pictures it learns from")),
    h("div", { class: "charts" }, facts.curves.slice(-12).map((training) => {
      const [[loss, words]] = training.scores;
      const points = (side) => training.epochs.map((row) => [row.epoch, row[side][loss] ?? NaN]);
      const last = training.epochs.at(-1);
      const title = `${training.name}: ${words} by epoch, ${formatNumber(last.held_out[loss])} on pictures held back after ${formatCount(training.epochs.length, "epoch")}`;
      return h("figure", {}, lineChart([{ kind: "train", points: points("train") }, { kind: "held", points: points("held_out") }], title),
        h("figcaption", {}, `${training.name}: ${words} by epoch; ${training.stopped || "at work"}`));
    })), epochTable(facts.curves.find((training) => !training.stopped) ?? facts.curves.at(-1)));
}

const formatNumber = (value) => value?.toFixed(3) ?? "not measured";

function epochTable(training) {
  const cells = (row, side) => training.scores.map(([name]) => h("td", { class: "num" }, formatNumber(row[side][name])));
  const names = () => training.scores.map(([, words]) => h("th", { scope: "col" }, words));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Epochs" }, h("table", { class: "epochs" },
    h("caption", {}, `${training.name}, epoch by epoch${"precision" in training.epochs[0].train ? "; precision and recall are means over the classes" : ""}`),
    h("thead", {},
      h("tr", {}, h("td"), h("th", { scope: "colgroup", colspan: String(training.scores.length) }, "pictures it learns from"), h("th", { scope: "colgroup", colspan: String(training.scores.length) }, "pictures held back")),
      h("tr", {}, h("th", { scope: "col" }, "epoch"), names(), names())),
    h("tbody", {}, training.epochs.map((row) => h("tr", {}, h("th", { scope: "row" }, String(row.epoch)), cells(row, "train"), cells(row, "held_out"))))));
}

export function learningView(facts) {
  if (facts.learning.length < 2) return h("div");
  const points = facts.learning.map((one) => [one.n_train, one.score.value]);
  const bands = facts.learning.map((one) => [one.n_train, one.score.low, one.score.high]);
  const title = `${scoreName(facts.learning[0].score.name)} by number of pictures: ${formatPercent(points[0][1])} with ${points[0][0]}, ${formatPercent(points.at(-1)[1])} with ${points.at(-1)[0]}`;
  return h("section", { "aria-labelledby": "more" }, h("h2", { id: "more" }, "Would more pictures help?"),
    h("figure", { class: "one-chart" }, lineChart([{ kind: "held", points }], title, { logarithmic: true, bands }), h("figcaption", {}, `${title}. The band is the 95 % interval.`)));
}
