// The model in other formats, with what was measured of each.

import { at, command, errorBox, fill, get, h, percent, pill, post, size } from "./studio-base.js";
import { tree } from "./studio-compare.js";
import { follow } from "./studio-live.js";

const FORMATS = {
  onnx: ["ONNX", "Runs nearly everywhere"], openvino: ["OpenVINO", "Fast on Intel machines"], litert: ["LiteRT", "Phones and small devices"],
  keras: ["Keras", "To train on, in Python"], saved_model: ["SavedModel", "TensorFlow Serving"],
};
const PRECISIONS = { f32: ["Full", "As it was measured"], f16: ["Half", "Half the size"], int8: ["8 bits", "A quarter of the size; the loss is measured"] };

export async function exportView({ place, name, studio, signal }) {
  const problem = h("div"), list = h("div");
  const go = h("button", { class: "main", type: "submit" }, "Export");
  const radios = (group, title, known, told, start) => h("fieldset", {}, h("legend", {}, title), h("div", { class: "choices" }, known.map((key) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: group, value: key, checked: key === start }), h("span", {}, h("b", {}, told[key]?.[0] ?? key), h("small", {}, told[key]?.[1] ?? ""))))));
  const form = h("form", {}, radios("to", "Format", studio.formats, FORMATS, "onnx"), radios("precision", "Precision", studio.precisions, PRECISIONS, "f32"), h("div", { class: "row" }, go));
  const draw = async () => {
    const { exports } = await get(`api/runs/${at(name)}/exports`);
    if (signal.aborted) return;
    fill(list, ...exports.map((one) => {
      const line = h("p", { class: "note" }), card = h("div", { class: "card" }, h("div", { class: "row" }, h("b", {}, FORMATS[one.to]?.[0] ?? one.to), pill(one.state)), line,
        one.error ? errorBox(one.error) : null, one.state === "done" ? measured(one) : null, command(one.command));
      if (["running", "queued"].includes(one.state)) follow(`api/tasks/${at(one.task)}/events`, { line: ({ text }) => { line.textContent = text; }, end: draw }, signal);
      return card;
    }));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    fill(problem);
    try {
      await post(`api/runs/${at(name)}/exports`, { to: form.elements.to.value, precision: form.elements.precision.value });
      await draw();
    } catch (error) { fill(problem, errorBox(error)); } finally { go.disabled = false; }
  });
  fill(place, h("p", {}, "Each export is loaded by its own runtime and compared with the run on real pictures before it is called done."), form, problem, list);
  await draw();
}

function measured(one) {
  const found = one.result?.exports?.[0] ?? one.result ?? {};
  const change = found.accuracy;
  const lines = found.bytes == null ? [] : [
    ["Size", size(found.bytes)],
    ["The same answer as the run", `${percent(found.label_agreement)} of ${found.compared.toLocaleString("en-GB")} pictures`],
    ["Largest difference of a probability", found.parity_max_abs.toExponential(1)],
    ["Time for a picture", `${found.p50_ms.toFixed(1)} ms, 95 % within ${found.p95_ms.toFixed(1)} ms`],
    ...(change ? [["Accuracy changes by", `${change.change.toFixed(3)} (${change.low.toFixed(3)} to ${change.high.toFixed(3)}, n = ${change.n.toLocaleString("en-GB")})`]] : []),
  ];
  return h("div", {}, h("p", {}, "It lies in ", h("code", {}, one.out), ", with a predict.py that shows how to use it."),
    h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("details", {}, h("summary", {}, "Everything that was measured"), tree(found)));
}
