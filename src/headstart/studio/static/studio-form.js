// How long and how to learn; every setting of a fit is there for those who look for it.

import { formatRoughly, encodePath, commandBox, errorBox, replaceContent, h, postJson, formatSize } from "./studio-base.js";

const BUDGETS = [["1m", "1 minute", "A first look"], ["5m", "5 minutes", "Usually enough for a new head"], ["30m", "30 minutes", "Room to tune a network"], ["2h", "2 hours", "A thorough search"]];
const STRATEGIES = {
  probe: ["A new head", "Quick: the network stays as it is, only the last step learns"],
  auto: ["Whatever pays", "Also trains the network when the budget has room and the gain is proven"],
};

/** Fields of the settings that say how pictures are read, closed unless they are needed. */
export function readingFields(studio) {
  return h("details", { class: "reading" }, h("summary", {}, "How they are read"), h("div", { class: "fields" }, studio.options.filter((option) => option.reading).sort((a, b) => a.reading - b.reading).map((option) => settingField(option))));
}

/** The form of a fit on some data; `job` has what the check was asked for. */
export function fitForm(studio, data, job = {}) {
  const problem = h("div"), line = h("div"), forecast = h("div");
  const go = h("button", { class: "main", type: "submit" }, "Start learning");
  const ask = h("button", { type: "button" }, "What would it take?");
  const form = h("form", {},
    choiceGroup("budget", "How long may it take?", BUDGETS, "5m"),
    choiceGroup("strategy", "What may it change?", Object.entries(STRATEGIES).map(([name, texts]) => [name, ...texts]), "probe"),
    h("details", {}, h("summary", {}, "More settings"), h("div", { class: "fields" }, studio.options.map((option) => settingField(option, option.reading ? job[option.name] : undefined)))),
    line, problem, h("div", { class: "row" }, go, ask), forecast);
  const settings = () => readSettings(form, studio.options);
  let lastTurn = 0;
  const preview = async () => {
    const turn = ++lastTurn;
    try {
      const reply = await postJson("api/commands/fit", { data, settings: settings() });
      if (turn === lastTurn) { replaceContent(line, commandBox(reply.command)); replaceContent(problem); }
    } catch (error) { if (turn === lastTurn) replaceContent(problem, errorBox(error)); }
  };
  form.addEventListener("input", () => { replaceContent(forecast); preview(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const reply = await postJson("api/fits", { data, settings: settings() });
      location.hash = `#/run/${encodePath(reply.run)}`;
    } catch (error) { replaceContent(problem, errorBox(error)); } finally { go.disabled = false; }
  });
  ask.addEventListener("click", async () => {
    ask.disabled = true;
    replaceContent(forecast, h("p", { class: "muted" }, "Reckoning."));
    try {
      const reply = await postJson("api/plans", { data, settings: settings() });
      replaceContent(forecast, reply.error ? errorBox(reply.error) : planView(reply));
    } catch (error) { replaceContent(forecast, errorBox(error)); } finally { ask.disabled = false; }
  });
  preview();
  return h("section", { "aria-labelledby": "learn" }, h("h2", { id: "learn" }, "Learn from them"), form);
}

function choiceGroup(name, title, list, start) {
  return h("fieldset", {}, h("legend", {}, title), h("div", { class: "choices" }, list.map(([value, label, hint]) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name, value, checked: value === start }), h("span", {}, h("b", {}, label), h("small", {}, hint))))));
}

/** One setting, from what the job says of it. */
function settingField(option, value = "") {
  const id = `set-${option.name}`, help = h("small", { id: `${id}-help` }, option.help);
  const attributes = { id, name: `own-${option.name}`, "aria-describedby": help.id };
  const byDefault = option.default === "" ? "none" : String(option.default);
  const text = Array.isArray(value) ? value.join(",") : String(value), start = text === String(option.default) ? "" : text;
  const input = option.kind === "bool" ? h("input", { ...attributes, type: "checkbox", checked: start === "true" })
    : option.choices.length ? h("select", attributes, h("option", { value: "" }, option.simple ? "as chosen above" : `${byDefault} (as usual)`), option.choices.map((choice) => h("option", { value: choice, selected: choice === start }, choice)))
    : h("input", { ...attributes, type: "text", value: start, inputmode: ["int", "float"].includes(option.kind) ? "decimal" : undefined, placeholder: option.simple ? "as chosen above" : byDefault, autocomplete: "off", spellcheck: "false" });
  return h("div", { class: "field" }, h("label", { for: id }, option.name.replaceAll("_", " ")), help, input);
}

export function readSettings(form, options) {
  const settings = {};
  for (const option of options) {
    const own = form.elements[`own-${option.name}`];
    if (!own) continue;
    const above = option.simple && form.elements[option.name] ? form.elements[option.name].value : "";
    const text = option.kind === "bool" ? own.checked : own.value.trim() || above;
    if (text === "" || text === false) continue;
    settings[option.name] = ["int", "float"].includes(option.kind) && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return settings;
}

function planView(reply) {
  const estimate = reply.result?.at(-1);
  if (!estimate) return errorBox({ what: "the plan did not come in time", hint: reply.command });
  const lines = [["Time", `about ${formatRoughly(estimate.seconds)}`], ["Disk", formatSize(estimate.estimate.bytes)], ["Networks", estimate.candidates.join(", ")]];
  return h("div", {}, h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))), commandBox(reply.command));
}
