// Small charts as SVG: a value with its interval, and losses by epoch.

function svgElement(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A value on a rail that all rows share: (low, high) of the rail, the score with its interval. */
export function intervalStrip([low, high], score, kind) {
  const x = (value) => (4 + (292 * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1)).toFixed(1);
  return svgElement("svg", { viewBox: "0 0 300 16", class: kind, "aria-hidden": "true", preserveAspectRatio: "none", height: "16" },
    svgElement("line", { class: "rail", x1: 4, x2: 296, y1: 8, y2: 8 }),
    svgElement("line", { class: "range", x1: x(score.low), x2: x(score.high), y1: 8, y2: 8 }),
    svgElement("rect", { class: "dot", x: x(score.value) - 3, y: 3, width: 6, height: 10, rx: 2 }));
}

/** Lines over whole numbers: series of {name, kind, points: [[x, y], …]}, with ticks on both axes. */
export function lineChart(series, title, { logarithmic = false, bands = [] } = {}) {
  const all = [...series.flatMap((line) => line.points), ...bands.flatMap((line) => [[line[0], line[1]], [line[0], line[2]]])].filter(([, y]) => Number.isFinite(y));
  if (!all.length) return null;
  const scale = logarithmic ? Math.log : (value) => value;
  const [left, right] = [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
  let [low, high] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
  if (low === high) { low -= 0.05; high += 0.05; }
  const x = (value) => 46 + (290 * (scale(value) - scale(left))) / (scale(right) - scale(left) || 1);
  const y = (value) => 14 + (140 * (high - value)) / (high - low);
  const path = (points) => points.filter((p) => Number.isFinite(p[1])).map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const label = (value) => (Math.abs(high) <= 1.5 ? value.toFixed(2) : value.toFixed(1));
  const chart = svgElement("svg", { viewBox: "0 0 350 180", role: "img", "aria-label": title },
    svgElement("line", { class: "axis", x1: 46, x2: 340, y1: 154, y2: 154 }),
    ...[low, (low + high) / 2, high].map((value) => svgElement("text", { x: 40, y: y(value) + 4, "text-anchor": "end" }, label(value))),
    svgElement("text", { x: 46, y: 172 }, String(left)), svgElement("text", { x: 336, y: 172, "text-anchor": "end" }, String(right)));
  if (bands.length) {
    const around = [...bands.map(([a, , b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`), ...[...bands].reverse().map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`)];
    chart.append(svgElement("polygon", { class: "band", points: around.join(" ") }));
  }
  for (const line of series) {
    chart.append(svgElement("path", { class: line.kind, d: path(line.points) }));
    const last = line.points.filter((p) => Number.isFinite(p[1])).at(-1);
    if (last) chart.append(svgElement("circle", { class: line.kind, cx: x(last[0]), cy: y(last[1]), r: 3 }));
  }
  return chart;
}
