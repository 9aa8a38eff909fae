// The model in other formats, with what was measured of each.

import { encodePath, commandBox, errorBox, replaceContent, getJson, h, formatPercent, stateBadge, postJson, formatSize } from "./studio-base.js";
import { jsonTree } from "./studio-compare.js";
import { followEvents } from "./studio-live.js";

const FORMATS = {
  onnx: ["ONNX", "Runs nearly everywhere"], openvino: ["OpenVINO", "Fast on Intel machines"], litert: ["LiteRT", "Phones and small devices"],
  keras: ["Keras", "To train on, in Python"], saved_model: ["SavedModel", "TensorFlow Serving"],
};
const PRECISIONS = { f32: ["Full", "As it was measured"], f16: ["Half", "Half the size"], int8: ["8 bits", "A quarter of the size; the loss is measured"] };

export async function exportView({ place, name, studio, signal }) {
  const problem = h("div"), list = h("div");
  const go = h("button", { class: "main", type: "submit" }, "Export");
  const radios = (group, title, keys, texts, start) => h("fieldset", {}, h("legend", {}, title), h("div", { class: "choices" }, keys.map((key) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: group, value: key, checked: key === start }), h("span", {}, h("b", {}, texts[key]?.[0] ?? key), h("small", {}, texts[key]?.[1] ?? ""))))));
  const form = h("form", {}, radios("to", "Format", studio.formats, FORMATS, "onnx"), radios("precision", "Precision", studio.precisions, PRECISIONS, "f32"), h("div", { class: "row" }, go));
  const drawExports = async () => {
    const { exports } = await getJson(`api/runs/${encodePath(name)}/exports`);
    if (signal.aborted) return;
    replaceContent(list, ...exports.map((entry) => {
      const line = h("p", { class: "note" }), card = h("div", { class: "card" }, h("div", { class: "row" }, h("b", {}, FORMATS[entry.to]?.[0] ?? entry.to), stateBadge(entry.state)), line,
        entry.error ? errorBox(entry.error) : null, entry.state === "done" ? measurementsView(entry) : null, commandBox(entry.command));
      if (["running", "queued"].includes(entry.state)) followEvents(`api/tasks/${encodePath(entry.task)}/events`, { line: ({ text }) => { line.textContent = text; }, end: drawExports }, signal);
      return card;
    }));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    replaceContent(problem);
    try {
      await postJson(`api/runs/${encodePath(name)}/exports`, { to: form.elements.to.value, precision: form.elements.precision.value });
      await drawExports();
    } catch (error) { replaceContent(problem, errorBox(error)); } finally { go.disabled = false; }
  });
  replaceContent(place, h("p", {}, "Each export is loaded by its own runtime and compared with the run on real pictures before it is called done."), form, problem, list);
  await drawExports();
}

function measurementsView(entry) {
  const measurements = entry.result?.exports?.[0] ?? entry.result ?? {};
  const change = measurements.accuracy;
  const lines = measurements.bytes == null ? [] : [
    ["Size", formatSize(measurements.bytes)],
    ["The same answer as the run", `${formatPercent(measurements.label_agreement)} of ${measurements.compared.toLocaleString("en-GB")} pictures`],
    ["Largest difference of a probability", measurements.parity_max_abs.toExponential(1)],
    ["Time for a picture", `${measurements.p50_ms.toFixed(1)} ms, 95 % within ${measurements.p95_ms.toFixed(1)} ms`],
    ...(change ? [["Accuracy changes by", `${change.change.toFixed(3)} (${change.low.toFixed(3)} to ${change.high.toFixed(3)}, n = ${change.n.toLocaleString("en-GB")})`]] : []),
  ];
  return h("div", {}, h("p", {}, "It lies in ", h("code", {}, entry.out), ", with a predict.py that shows how to use it."),
    h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("details", {}, h("summary", {}, "Everything that was measured"), jsonTree(measurements)));
}
