// Draws the points, shows the picture under the pointer or the chosen one, and lets keys walk from picture to picture.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("points").textContent);
  const sheets = [...document.querySelectorAll(".sheet")].map((element) => ({ element, image: null }));
  const board = find("map"), card = find("card"), tile = find("tile");
  const n = data.x.length, MISTAKE = 1, SUSPECT = 2, COLOURS = 8, PAD = 18, LEAP = 40;
  const view = { zoom: 1, x: 0.5, y: 0.5 };
  const shown = new Uint8Array(n).fill(1);
  let width = 0, height = 0, chosen = -1, hovered = -1, colours = [];

  const across = (i) => PAD + ((data.x[i] / data.size - view.x) * view.zoom + 0.5) * (width - 2 * PAD);
  const down = (i) => PAD + ((data.y[i] / data.size - view.y) * view.zoom + 0.5) * (height - 2 * PAD);
  const radius = () => Math.min(7, Math.max(1.4, 130 / Math.sqrt(n)) * Math.sqrt(view.zoom));
  const isMarked = (i, mark) => (data.marks[i] & mark) !== 0;

  function draw() {
    const ratio = devicePixelRatio || 1, pen = board.getContext("2d"), r = radius();
    const [ink, paper] = ["--ink", "--raised"].map((name) => getComputedStyle(document.body).getPropertyValue(name));
    board.width = Math.round(width * ratio);
    board.height = Math.round(height * ratio);
    pen.scale(ratio, ratio);
    const batches = Array.from({ length: COLOURS + 1 }, () => new Path2D()), crosses = new Path2D(), rings = new Path2D();
    for (let i = 0; i < n; i += 1) {
      const x = across(i), y = down(i);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      const batch = batches[shown[i] ? data.colours[i] : COLOURS];
      batch.moveTo(x + r, y);
      batch.arc(x, y, r, 0, 7);
      if (!shown[i]) continue;
      if (isMarked(i, MISTAKE)) for (const s of [1, -1]) { crosses.moveTo(x - r - 1, y - s * (r + 1)); crosses.lineTo(x + r + 1, y + s * (r + 1)); }
      if (isMarked(i, SUSPECT)) { rings.moveTo(x + r + 3, y); rings.arc(x, y, r + 3, 0, 7); }
    }
    pen.globalAlpha = 0.15;
    pen.fillStyle = colours[COLOURS - 1];
    pen.fill(batches[COLOURS]);
    pen.globalAlpha = 0.85;
    for (let c = COLOURS - 1; c >= 0; c -= 1) { pen.fillStyle = colours[c]; pen.fill(batches[c]); }
    pen.globalAlpha = 1;
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    pen.stroke(crosses);
    pen.lineWidth = 1.3;
    pen.stroke(rings);
    if (chosen >= 0) {
      for (const [colour, line] of [[paper, 6], [ink, 3]]) {
        pen.beginPath();
        pen.arc(across(chosen), down(chosen), r + 6, 0, 7);
        pen.strokeStyle = colour;
        pen.lineWidth = line;
        pen.stroke();
      }
    }
    showCard();
  }

  const label = (i) => data.labelTexts[data.labels[i]];
  const answer = (i) => data.answerTexts[data.answers[i]];
  function describe(i) {
    const chance = data.chances[i] >= 0 ? ` ${data.chances[i].toFixed(2)}` : "";
    const marks = [isMarked(i, MISTAKE) && "mistake", isMarked(i, SUSPECT) && "label suspect"].filter(Boolean).join(", ");
    return [data.names[i], `label: ${label(i)}`, answer(i) && `answered: ${answer(i)}${chance}`, marks].filter(Boolean);
  }

  function drawTile(i) {
    const perSheet = data.columns * data.columns, sheet = sheets[Math.floor(i / perSheet)];
    tile.hidden = !sheet;
    if (!sheet) return;
    if (!sheet.image) {
      sheet.image = new Image();
      sheet.image.addEventListener("load", showCard);
      sheet.image.src = sheet.element.textContent;
    }
    const at = i % perSheet, column = at % data.columns, line = Math.floor(at / data.columns);
    tile.width = tile.height = data.tile;
    if (sheet.image.complete) tile.getContext("2d").drawImage(sheet.image, column * data.tile, line * data.tile, data.tile, data.tile, 0, 0, data.tile, data.tile);
  }

  function showCard() {
    const i = hovered >= 0 ? hovered : chosen;
    card.hidden = i < 0;
    if (i < 0) return;
    drawTile(i);
    find("card-text").textContent = describe(i).join("\n");
    const x = across(i), y = down(i), gap = radius() + 10;
    const left = x + gap + card.offsetWidth <= width ? x + gap : x - gap - card.offsetWidth;
    card.style.left = `${Math.max(4, Math.min(left, width - card.offsetWidth - 4))}px`;
    card.style.top = `${Math.max(4, Math.min(y - card.offsetHeight / 2, height - card.offsetHeight - 4))}px`;
  }

  const isOutside = (i) => { const x = across(i), y = down(i); return x < 0 || y < 0 || x > width || y > height; };
  function choose(i) {
    chosen = i;
    hovered = -1;
    if (i >= 0 && isOutside(i)) { view.x = data.x[i] / data.size; view.y = data.y[i] / data.size; }
    find("said").textContent = i < 0 ? "" : describe(i).join(", ");
    draw();
  }

  // the picture that costs least, among those shown; a cost below 0 leaves it out
  function pick(cost) {
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i += 1) {
      if (!shown[i]) continue;
      const price = cost(i);
      if (price >= 0 && price < least) { best = i; least = price; }
    }
    return best;
  }
  const nearest = (x, y, most) => pick((i) => { const d = Math.hypot(across(i) - x, down(i) - y); return d <= most ? d : -1; });
  function step(dx, dy, least = 0) {
    if (chosen < 0) return nearest(width / 2, height / 2, Infinity);
    const x = across(chosen), y = down(chosen);
    return pick((i) => {
      const [h, v] = [across(i) - x, down(i) - y], along = h * dx + v * dy;
      if (h === 0 && v === 0 && !least) return (i - chosen) * (dx + dy) > 0 ? Math.abs(i - chosen) / n / 1e6 : -1; // one above the other
      return along > least ? (h * h + v * v) / along : -1;
    });
  }

  function zoom(factor) {
    view.zoom = Math.max(1, Math.min(64, view.zoom * factor));
    if (chosen >= 0) { view.x = data.x[chosen] / data.size; view.y = data.y[chosen] / data.size; }
    if (view.zoom === 1) { view.x = view.y = 0.5; }
    board.style.touchAction = view.zoom > 1 ? "none" : "pan-y";
    draw();
  }
  const zoomBy = { "+": 2, "=": 2, "-": 0.5, "−": 0.5, 0: 0 };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  board.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) { const i = step(...steps[event.key], event.shiftKey ? LEAP : 0); if (i >= 0) choose(i); }
    else if (event.key in zoomBy) zoom(zoomBy[event.key]);
    else if (event.key === "Escape") choose(-1);
    else if (event.key === "Enter" || event.key === " ") choose(chosen < 0 ? step(0, 0) : chosen);
    else return;
    event.preventDefault();
  });

  let grip = null;
  const at = (event) => { const box = board.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  board.addEventListener("pointerdown", (event) => { grip = { at: at(event), x: view.x, y: view.y, moved: false }; });
  board.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (grip && view.zoom > 1 && (grip.moved || Math.hypot(x - grip.at[0], y - grip.at[1]) > 6)) {
      grip.moved = true;
      view.x = grip.x - (x - grip.at[0]) / (width - 2 * PAD) / view.zoom;
      view.y = grip.y - (y - grip.at[1]) / (height - 2 * PAD) / view.zoom;
      draw();
    } else if (event.pointerType === "mouse") {
      const i = nearest(x, y, 12);
      if (i !== hovered) { hovered = i; showCard(); }
    }
  });
  board.addEventListener("pointerup", (event) => {
    if (grip && !grip.moved) choose(nearest(...at(event), event.pointerType === "mouse" ? 12 : 24));
    grip = null;
  });
  board.addEventListener("pointerleave", () => { grip = null; hovered = -1; showCard(); });
  board.addEventListener("pointercancel", () => { grip = null; });

  const read = (id, none) => { const field = find(id); return field ? Number(field.value) : none; };
  function filter() {
    const [mark, group, side] = [read("mark", 0), read("group", -1), read("side", -1)];
    let count = 0;
    for (let i = 0; i < n; i += 1) {
      shown[i] = (!mark || isMarked(i, mark)) && (group < 0 || data.members[i].includes(group)) && (side < 0 || data.sides[i] === side) ? 1 : 0;
      count += shown[i];
    }
    find("count").textContent = count < n ? `${count.toLocaleString("en")} of ${n.toLocaleString("en")}` : "";
    if (chosen >= 0 && !shown[chosen]) choose(-1); else draw();
  }
  ["mark", "group", "side"].forEach((id) => find(id) && find(id).addEventListener("change", filter));
  find("closer").addEventListener("click", () => zoom(2));
  find("further").addEventListener("click", () => zoom(0.5));
  find("whole").addEventListener("click", () => zoom(0));
  document.querySelectorAll("[data-place]").forEach((button) => button.addEventListener("click", () => {
    ["mark", "group", "side"].forEach((id) => { if (find(id)) find(id).selectedIndex = 0; });
    filter();
    board.focus();
    choose(Number(button.dataset.place));
  }));

  function paint() {
    const style = getComputedStyle(document.body);
    colours = Array.from({ length: COLOURS }, (_, c) => style.getPropertyValue(`--chart-class${c}`).trim());
    draw();
  }
  new ResizeObserver(() => { [width, height] = [board.clientWidth, board.clientHeight]; paint(); }).observe(board);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
})();
