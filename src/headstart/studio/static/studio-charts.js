// Small charts as SVG: a value with its interval, and losses by epoch.

function s(tag, given, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A value on a rail that all rows share: (low, high) of the rail, the score with its interval. */
export function strip([low, high], score, kind) {
  const x = (value) => (4 + (292 * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1)).toFixed(1);
  return s("svg", { viewBox: "0 0 300 16", class: kind, "aria-hidden": "true", preserveAspectRatio: "none", height: "16" },
    s("line", { class: "rail", x1: 4, x2: 296, y1: 8, y2: 8 }),
    s("line", { class: "range", x1: x(score.low), x2: x(score.high), y1: 8, y2: 8 }),
    s("rect", { class: "dot", x: x(score.value) - 3, y: 3, width: 6, height: 10, rx: 2 }));
}

/** Lines over whole numbers: series of {name, kind, points: [[x, y], …]}, with ticks on both axes. */
export function lines(series, title, { logarithmic = false, bands = [] } = {}) {
  const all = [...series.flatMap((one) => one.points), ...bands.flatMap((one) => [[one[0], one[1]], [one[0], one[2]]])].filter(([, y]) => Number.isFinite(y));
  if (!all.length) return null;
  const scale = logarithmic ? Math.log : (value) => value;
  const [left, right] = [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
  let [low, high] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
  if (low === high) { low -= 0.05; high += 0.05; }
  const x = (value) => 46 + (290 * (scale(value) - scale(left))) / (scale(right) - scale(left) || 1);
  const y = (value) => 14 + (140 * (high - value)) / (high - low);
  const path = (points) => points.filter((p) => Number.isFinite(p[1])).map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const label = (value) => (Math.abs(high) <= 1.5 ? value.toFixed(2) : value.toFixed(1));
  const made = s("svg", { viewBox: "0 0 350 180", role: "img", "aria-label": title },
    s("line", { class: "axis", x1: 46, x2: 340, y1: 154, y2: 154 }),
    ...[low, (low + high) / 2, high].map((value) => s("text", { x: 40, y: y(value) + 4, "text-anchor": "end" }, label(value))),
    s("text", { x: 46, y: 172 }, String(left)), s("text", { x: 336, y: 172, "text-anchor": "end" }, String(right)));
  if (bands.length) {
    const around = [...bands.map(([a, , b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`), ...[...bands].reverse().map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`)];
    made.append(s("polygon", { class: "band", points: around.join(" ") }));
  }
  for (const one of series) {
    made.append(s("path", { class: one.kind, d: path(one.points) }));
    const last = one.points.filter((p) => Number.isFinite(p[1])).at(-1);
    if (last) made.append(s("circle", { class: one.kind, cx: x(last[0]), cy: y(last[1]), r: 3 }));
  }
  return made;
}
