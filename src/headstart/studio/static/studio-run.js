// One run: at work, or finished, with its report, a picture to try, exports and what was said.

import { encodePath, commandBox, errorBox, replaceContent, getJson, h, stateBadge, postJson, formatCode, announce, scoreName, formatInterval, formatScore, formatState } from "./studio-base.js";
import { exportView } from "./studio-export.js";
import { followEvents } from "./studio-live.js";
import { labelView } from "./studio-label.js";
import { learningView, curvesView, progressView, rankingView } from "./studio-progress.js";
import { tryView } from "./studio-try.js";

const TABS = [["", "Overview"], ["report", "Report"], ["map", "Map"], ["try", "Try it"], ["label", "Label next"], ["export", "Export"], ["log", "Log"]];
const COMMANDS = { label: "suggest", export: "export" };  // without which a tab is not shown

const VERDICTS = {
  headline: "How good is it?", transfer: "Does the pre-training pay here?", overfitting: "Does it overfit?",
  enough_data: "Are there enough pictures?", fine_tuning: "Does fine-tuning pay here?", negative_transfer: "Does the pre-training harm here?",
  uneven_classes: "Is a class missed far more than others?", uneven_labels: "Is a label missed far more than others?",
  data_saved: "Does the pre-training save pictures?",
  unknown: "Does it know what it does not know?",
};

export async function runView({ main, studio, signal, again }, name, tab = "") {
  const facts = await getJson(`api/runs/${encodePath(name)}/facts`);
  const finished = facts.finished;
  const tabs = TABS.filter(([key]) => key === "" || key === "log" || (finished && (key !== "map" || facts.has_map) && (!COMMANDS[key] || studio.commands.includes(COMMANDS[key]))));
  const place = h("div");
  const state = h("span", {}, stateBadge(facts.state));
  replaceContent(main, 
    h("div", { class: "heading" }, h("h1", {}, name), state),
    h("p", { class: "under" }, facts.data || facts.path),
    h("nav", { class: "tabs", "aria-label": "This run" }, tabs.map(([key, title]) =>
      h("a", { href: `#/run/${encodePath(name)}${key && `/${key}`}`, "aria-current": key === tab && "page" }, title))),
    place);
  const views = { report: reportView, map: mapView, try: tryView, label: labelView, export: exportView, log: logView };
  await (views[tab] ?? overview)({ place, facts, name, studio, signal, again, state });
}

function overview({ place, facts, name, studio, signal, again, state }) {
  const problem = h("div"), work = h("div"), buttons = h("div", { class: "row" }), ranking = h("div"), curves = h("div"), learning = h("div"), result = h("div");
  const progress = progressView(facts);
  const cancel = h("button", { type: "button", onclick: () => act("cancel") }, "Stop");
  const resume = h("button", { type: "button", class: "main", onclick: () => act("resume") }, "Resume");
  async function act(what) {
    replaceContent(problem);
    try {
      await postJson(`api/runs/${encodePath(name)}/${what}`);
      if (what === "resume") again();
      else { cancel.textContent = "Stop now"; announce("It was asked to stop."); replaceContent(problem, h("p", { class: "note" }, "It was asked to stop; what is done is kept.")); }
    } catch (error) { replaceContent(problem, errorBox(error)); }
  }
  const draw = (found) => {
    progress.facts(found);
    replaceContent(ranking, rankingView(found));
    replaceContent(curves, curvesView(found));
    replaceContent(learning, learningView(found));
    if (found.verdicts.length) replaceContent(result, resultView(found));
  };
  const showState = ({ state: now, error, started }) => {
    replaceContent(state, stateBadge(now));
    progress.state(now, started);
    if (error && now !== "cancelled") replaceContent(problem, errorBox(error));
    if (now === "cut short") replaceContent(problem, h("p", {}, "Its process is gone: the machine was switched off, or it was killed. Resume goes on where it was."));
    replaceContent(buttons, ...(["running", "queued"].includes(now) ? (facts.task ? [cancel] : []) : now === "done" ? [] : [resume]));
  };
  const isDone = facts.state === "done";
  const earlier = String(facts.job.test_of ?? "").replace(`${studio.runs}/`, "");  // whose test pictures are these too
  const compare = isDone && earlier && !earlier.includes("/") && h("p", {}, h("a", { href: `#/compare/${[earlier, name].map(encodeURIComponent).join(",")}` }, `Compare with ${earlier}, on the same pictures`));
  replaceContent(place, ...(isDone ? [result, compare] : [work]), problem, buttons);
  replaceContent(work, progress.element);
  place.append(...(isDone ? [] : [result]), ranking, curves, learning,
    isDone ? h("details", {}, h("summary", {}, "How it went"), progress.element) : "", commandBox(facts.command));
  draw(facts);
  showState(facts);
  if (["running", "queued"].includes(facts.state)) {
    followEvents(`api/runs/${encodePath(name)}/events`, { facts: draw, state: showState, line: progress.line, end: ({ state: now }) => {
      announce(`${name}: ${formatState(now)}.`);
      if (now === "done" && !signal.aborted) again();
    } }, signal, problem);
    const clock = setInterval(progress.tick, 500);
    signal.addEventListener("abort", () => clearInterval(clock));
  }
}

function resultView(facts) {
  return h("section", { "aria-labelledby": "result" }, h("h2", { id: "result", class: "unseen" }, "Result"),
    h("div", { class: "tiles" }, facts.scores.map((score) => h("div", { class: "tile" },
      h("p", { class: "name" }, scoreName(score.name)), h("p", { class: "value" }, formatScore(score)),
      h("p", { class: "range" }, `95 % interval ${formatInterval(score)}`)))),
    facts.finished ? h("p", {}, h("a", { class: "button main", href: `#/run/${encodePath(facts.name)}/report` }, "Read the report"), " ", h("a", { class: "button", href: `#/run/${encodePath(facts.name)}/try` }, "Try a picture")) : null,
    h("h3", {}, "What it means"),
    h("dl", { class: "verdicts" }, facts.verdicts.map((verdict) => [h("dt", {}, VERDICTS[verdict.code] ?? verdict.code.replaceAll("_", " ")), h("dd", {}, formatCode(verdict.sentence))])));
}

const reportView = (page) => showPage(page, "report", "Report");
const mapView = (page) => showPage(page, "map", "Map of the pictures");

function showPage({ place, name, facts }, file, title) {
  const source = `runs/${encodePath(name)}/${file}`;
  replaceContent(place, 
    h("div", { class: "row" }, h("a", { class: "button small", href: source, target: "_blank", rel: "noopener" }, "Open in a tab of its own")),
    h("iframe", { class: "report", src: source, title: `${title} of ${name}`, sandbox: "allow-scripts" }),
    h("p"), commandBox(`headstart report ${facts.path}`, "Writes the report and the map again"));
}

async function logView({ place, name, facts, signal }) {
  const log = h("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "What it said" });
  const choices = h("dl", { class: "verdicts" }, facts.choices.map((choice) => [h("dt", {}, choice.value.slice(0, 120)), h("dd", {}, formatCode(choice.why))]));
  replaceContent(place, facts.task ? log : h("p", { class: "muted" }, "It was not started here: there is no log."),
    facts.choices.length ? h("section", {}, h("h2", {}, "Choices that it made"), choices) : "", commandBox(facts.command));
  if (!facts.task) return;
  let moving = null;
  followEvents(`api/runs/${encodePath(name)}/events`, { line: ({ stage, text, moving: moves }) => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    moving?.remove();
    const line = h("span", {}, `${stage.padEnd(12)}${text}\n`);
    moving = moves ? line : null;
    log.append(line);
    if (below) log.scrollTop = log.scrollHeight;
  } }, signal);
}
