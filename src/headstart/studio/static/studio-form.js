// How long and how to learn; every setting of a fit is there for those who look for it.

import { about, at, command, errorBox, fill, h, post, size } from "./studio-base.js";

const BUDGETS = [["1m", "1 minute", "A first look"], ["5m", "5 minutes", "Usually enough for a new head"], ["30m", "30 minutes", "Room to tune a network"], ["2h", "2 hours", "A thorough search"]];
const STRATEGIES = {
  probe: ["A new head", "Quick: the network stays as it is, only the last step learns"],
  auto: ["Whatever pays", "Also trains the network when the budget has room and the gain is proven"],
};

export function fitForm(studio, data) {
  const problem = h("div"), line = h("div"), forecast = h("div");
  const go = h("button", { class: "main", type: "submit" }, "Start learning");
  const ask = h("button", { type: "button" }, "What would it take?");
  const form = h("form", {},
    choices("budget", "How long may it take?", BUDGETS, "5m"),
    choices("strategy", "What may it change?", Object.entries(STRATEGIES).map(([name, told]) => [name, ...told]), "probe"),
    h("details", {}, h("summary", {}, "More settings"), h("div", { class: "fields" }, studio.options.map((option) => field(option)))),
    line, problem, h("div", { class: "row" }, go, ask), forecast);
  const settings = () => chosen(form, studio.options);
  let asked = 0;
  const preview = async () => {
    const mine = ++asked;
    try {
      const found = await post("api/commands/fit", { data, settings: settings() });
      if (mine === asked) { fill(line, command(found.command)); fill(problem); }
    } catch (error) { if (mine === asked) fill(problem, errorBox(error)); }
  };
  form.addEventListener("input", () => { fill(forecast); preview(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const found = await post("api/fits", { data, settings: settings() });
      location.hash = `#/run/${at(found.run)}`;
    } catch (error) { fill(problem, errorBox(error)); } finally { go.disabled = false; }
  });
  ask.addEventListener("click", async () => {
    ask.disabled = true;
    fill(forecast, h("p", { class: "muted" }, "Reckoning."));
    try {
      const found = await post("api/plans", { data, settings: settings() });
      fill(forecast, found.error ? errorBox(found.error) : plan(found));
    } catch (error) { fill(forecast, errorBox(error)); } finally { ask.disabled = false; }
  });
  preview();
  return h("section", { "aria-labelledby": "learn" }, h("h2", { id: "learn" }, "Learn from them"), form);
}

function choices(name, title, list, start) {
  return h("fieldset", {}, h("legend", {}, title), h("div", { class: "choices" }, list.map(([value, label, told]) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name, value, checked: value === start }), h("span", {}, h("b", {}, label), h("small", {}, told))))));
}

/** One setting, from what the job says of it. */
function field(option) {
  const id = `set-${option.name}`, told = h("small", { id: `${id}-help` }, option.help);
  const given = { id, name: `own-${option.name}`, "aria-describedby": told.id };
  const usual = option.default === "" ? "none" : String(option.default);
  const input = option.kind === "bool" ? h("input", { ...given, type: "checkbox" })
    : option.choices.length ? h("select", given, h("option", { value: "" }, option.simple ? "as chosen above" : `${usual} (as usual)`), option.choices.map((one) => h("option", { value: one }, one)))
    : h("input", { ...given, type: "text", inputmode: ["int", "float"].includes(option.kind) ? "decimal" : undefined, placeholder: option.simple ? "as chosen above" : usual, autocomplete: "off", spellcheck: "false" });
  return h("div", { class: "field" }, h("label", { for: id }, option.name.replaceAll("_", " ")), told, input);
}

function chosen(form, options) {
  const found = {};
  for (const option of options) {
    const own = form.elements[`own-${option.name}`];
    const above = option.simple && form.elements[option.name] ? form.elements[option.name].value : "";
    const text = option.kind === "bool" ? own.checked : own.value.trim() || above;
    if (text === "" || text === false) continue;
    found[option.name] = ["int", "float"].includes(option.kind) && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return found;
}

function plan(found) {
  const told = found.result?.at(-1);
  if (!told) return errorBox({ what: "the plan did not come in time", hint: found.command });
  const lines = [["Time", `about ${about(told.seconds)}`], ["Disk", size(told.estimate.bytes)], ["Networks", told.candidates.join(", ")]];
  return h("div", {}, h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))), command(found.command));
}
