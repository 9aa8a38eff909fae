// Label the pictures that the model is least sure of, by keys; every label is saved as it is given. Then fit again.

import { announce, commandBox, encodePath, errorBox, formatCount, getJson, h, postJson, replaceContent } from "./studio-base.js";
import { followEvents } from "./studio-live.js";
import { folderList } from "./studio-new.js";

const KEYS = [..."123456789abcdefghijklmopqrtvwxyz"];  // without n, s and u, which do something else
const FEW = KEYS.length;  // classes; of more one types the name

export async function labelView({ place, name, signal, again }) {
  const base = `api/runs/${encodePath(name)}`, labels = await getJson(`${base}/labels`);
  const busy = ["running", "queued"].includes(labels.last?.state);
  const status = h("p", { class: "muted", role: "status" }), problem = h("div");
  const choose = chooseForm(base, labels, busy, problem, again);
  const work = { saved: Promise.resolve() };  // until all labels are on disk
  const refit = refitSection(base, labels, work);
  replaceContent(place, labels.rows.length ? [labelPanel(base, labels, work, refit.count), refit.element] : null,
    h("section", { "aria-labelledby": "which" }, h("h2", { id: "which" }, labels.rows.length ? "More pictures" : "Which pictures?"), choose, status, problem,
      labels.last && commandBox(labels.last.command)));
  if (labels.last?.error) replaceContent(problem, errorBox(labels.last.error));
  refit.count();
  if (busy) {
    status.textContent = "Looking at the pictures.";
    followEvents(`api/tasks/${encodePath(labels.last.task)}/events`, { line: ({ text }) => { status.textContent = text; }, end: () => { if (!signal.aborted) again(); } }, signal, problem);
  }
}

// ---------------------------------------------------------------- which

function chooseForm(base, labels, busy, problem, again) {
  const apart = labels.unlabelled ? `the ${formatCount(labels.unlabelled, "picture")} without a label that the run kept apart` : "";
  const field = h("input", { type: "text", id: "new-pictures", autocomplete: "off", spellcheck: "false", placeholder: apart || "a folder, an archive or a table of pictures", required: !apart });
  const count = h("input", { type: "number", id: "how-many", min: "1", max: "1000", value: "50" });
  const go = h("button", { type: "submit", class: labels.rows.length ? "" : "main", disabled: busy }, "Choose pictures");
  const list = h("div");
  const browse = async (path) => {
    replaceContent(problem);
    try {
      const listing = await getJson(`api/folders?path=${encodeURIComponent(path)}`);
      field.value = listing.path;
      replaceContent(list, ...folderList(listing, browse, (file) => { field.value = file; go.focus(); }));
    } catch (error) { replaceContent(problem, errorBox(error)); }
  };
  const submit = async (event) => {
    event.preventDefault();
    replaceContent(problem);
    go.disabled = true;
    try {
      await postJson(`${base}/suggestions`, { data: field.value, count: Number(count.value) });
      again();
    } catch (error) { replaceContent(problem, errorBox(error)); go.disabled = false; }
  };
  return h("form", { onsubmit: submit },
    h("p", {}, "Of many pictures those are chosen that the model is least sure of, no two of them alike."),
    h("label", { for: field.id, class: "note" }, apart ? "Folder, archive or table; empty for those that were kept apart" : "Folder, archive or table of pictures without labels"),
    h("div", { class: "row" }, h("div", { class: "grow" }, field), h("button", { type: "button", onclick: () => browse(field.value) }, "Open")),
    h("div", { class: "row" }, h("label", { for: count.id }, "How many"), count, go), list);
}

// ---------------------------------------------------------------- keys

function labelPanel(base, labels, work, onCount) {
  const rows = labels.rows, many = labels.task === "multilabel", isNumber = labels.task === "regression";
  const classes = [...new Set([...labels.classes, ...(isNumber ? [] : rows.flatMap((row) => (many ? row.label.split("|") : [row.label])).filter(Boolean))])];
  const skipped = new Set(), history = [];
  let at = Math.max(0, rows.findIndex((row) => !row.label)), chosen = new Set();
  const image = h("img", { alt: "" }), caption = h("figcaption"), place = h("p", { class: "note" }), problem = h("div"), keys = h("div", { class: "keys" });
  const field = h("input", { type: "text", id: "label-text", autocomplete: "off", spellcheck: "false", inputmode: isNumber ? "decimal" : undefined, list: isNumber ? undefined : "label-names" });
  const names = h("datalist", { id: "label-names" });
  const typed = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); takeText(); } },
    h("label", { for: field.id }, isNumber ? labels.target_name || "Number" : "Class"), h("div", { class: "grow" }, field), h("button", { type: "submit" }, many ? "Add" : "Save"), names);

  const split = (label) => new Set(many ? label.split("|").filter(Boolean) : label ? [label] : []);
  const keyOf = (position) => (classes.length <= FEW ? KEYS[position] : null);
  const words = (label) => (label === "|" ? "none of the labels" : label.replaceAll("|", ", ")) || "no label";

  function draw() {
    const row = rows[at];
    image.src = `${base}/labels/${at}/picture`;
    image.alt = `Picture ${at + 1}: ${row.name}`;
    replaceContent(caption, h("b", {}, row.name), h("span", { class: "muted" }, ` The model says ${words(row.answer)}, ${Math.round(100 * row.uncertainty)} % unsure.`));
    const done = rows.filter((one) => one.label).length;
    replaceContent(place, `${at + 1} of ${rows.length}, ${done} labelled. `, h("b", {}, row.label ? `Labelled: ${words(row.label)}` : skipped.has(at) ? "Skipped" : "No label yet"));
    chosen = split(row.label);
    drawKeys();
    field.value = isNumber ? row.label : "";
    if (at + 1 < rows.length) new Image().src = `${base}/labels/${at + 1}/picture`;
    onCount();
  }

  function drawKeys() {
    replaceContent(names, classes.map((name) => h("option", { value: name })));
    replaceContent(keys, isNumber ? null : (classes.length <= FEW ? classes : [...chosen]).map((name, position) =>
      h("button", { type: "button", class: "key-button", "aria-pressed": chosen.has(name) ? "true" : "false", onclick: () => take(name) }, keyOf(position) && h("kbd", { "aria-hidden": "true" }, keyOf(position)), h("span", {}, name))),
      many && h("button", { type: "button", class: "main", onclick: confirm }, h("kbd", { "aria-hidden": "true" }, "Enter"), h("span", {}, "Save these")));
    typed.hidden = !isNumber && classes.length <= FEW && !typed.dataset.open;
  }

  /** Save a label in the order of the keys; one that is refused comes back. */
  function save(row, label, remember = true) {
    const before = rows[row].label;
    if (remember) history.push([row, before]);
    rows[row].label = label;
    skipped.delete(row);
    replaceContent(problem);
    work.saved = work.saved.then(() => postJson(`${base}/labels`, { row, label })).catch((error) => {
      rows[row].label = before;
      replaceContent(problem, errorBox(error));
      at = row;
      draw();
    });
  }

  function advance(word) {
    const open = (one, position) => !one.label && !skipped.has(position);
    const next = [...rows.keys()].map((step) => (at + 1 + step) % rows.length).find((position) => open(rows[position], position));
    const last = at;
    if (next !== undefined) at = next;
    draw();
    announce(`${rows[last].name}: ${word}. ${next === undefined ? "All pictures are through." : `Next: ${at + 1} of ${rows.length}, ${rows[at].name}, the model says ${words(rows[at].answer)}.`}`);
  }

  function give(label) {
    const typing = document.activeElement === field;
    save(at, label);
    advance(words(label));
    (typing && !typed.hidden ? field : panel).focus({ preventScroll: true });
  }
  function take(name) {
    if (!classes.includes(name)) classes.push(name);
    if (!many) return give(name);
    chosen.has(name) ? chosen.delete(name) : chosen.add(name);
    drawKeys();
    panel.focus({ preventScroll: true });
    announce(`${name} ${chosen.has(name) ? "chosen" : "taken away"}.`);
  }
  function confirm() { give([...chosen].sort().join("|") || "|"); }
  function takeText() {
    const text = field.value.trim();
    if (!text) return;
    const near = classes.filter((name) => name.toLowerCase().startsWith(text.toLowerCase()));
    const isNew = typed.dataset.open || classes.includes(text);
    delete typed.dataset.open;
    field.value = "";
    if (isNumber || isNew || !near.length) isNumber ? give(text.replace(",", ".")) : labels.task === "ordinal" && !classes.includes(text) ? replaceContent(problem, errorBox({ what: `\`${text}\` is none of the grades ${classes.join(", ")}` })) : take(text);
    else if (near.length === 1) take(near[0]);
    else replaceContent(problem, errorBox({ what: `\`${text}\` begins ${formatCount(near.length, "class", "classes")}: type more of it` }));
    drawKeys();
    if (typed.hidden) panel.focus({ preventScroll: true });
  }
  const move = (step) => { at = Math.min(rows.length - 1, Math.max(0, at + step)); draw(); announce(`${at + 1} of ${rows.length}, ${rows[at].name}, ${words(rows[at].label)}.`); };
  const skip = () => { skipped.add(at); advance("skipped"); };
  const undo = () => {
    const [row, label] = history.pop() ?? [at, ""];
    if (rows[row].label !== label) save(row, label, false);
    at = row;
    draw();
    announce(`${rows[row].name} has ${words(label)} again.`);
  };
  const newClass = () => { typed.dataset.open = "yes"; drawKeys(); field.focus(); };
  const canAdd = !isNumber && labels.task !== "ordinal";
  const hasLetters = isNumber || classes.length <= FEW;  // else letters begin the name of a class
  const MOVES = { arrowleft: () => move(-1), arrowright: () => move(1), backspace: undo };
  const DOES = { ...MOVES, ...(many && { enter: confirm }), ...(hasLetters && { u: undo, s: skip, ...(canAdd && { n: newClass }) }) };

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (event.target === field) {
      if (key === "escape") { delete typed.dataset.open; drawKeys(); panel.focus({ preventScroll: true }); }
      if (!field.value && MOVES[key]) { event.preventDefault(); MOVES[key](); }
      return;
    }
    if ((key === "enter" || key === " ") && event.target !== panel) return;  // of a button
    const position = isNumber || classes.length > FEW ? -1 : KEYS.indexOf(key);
    const does = DOES[key] ?? (position >= 0 && position < classes.length ? () => take(classes[position]) : null);
    if (!does && /^[\w.,-]$/.test(key) && !typed.hidden) { field.focus(); return; }  // the key is typed there
    if (!does) return;
    event.preventDefault();
    does();
  }

  const tool = (text, key, does) => h("button", { type: "button", onclick: () => { does(); if (does !== newClass) panel.focus({ preventScroll: true }); } }, key && h("kbd", { "aria-hidden": "true" }, key), h("span", {}, text));
  const panel = h("section", { class: "labelling", tabindex: "0", "data-start": true, "aria-label": "Label the pictures", onkeydown: press },
    h("figure", {}, image, caption), place, problem, keys, typed,
    h("div", { class: "tools" }, tool("Back", "\u2190", () => move(-1)), tool("Next", "\u2192", () => move(1)), tool("Undo", hasLetters ? "U" : "\u232b", undo), tool("Skip", hasLetters && "S", skip), canAdd && tool("New class", hasLetters && "N", newClass)),
    h("p", { class: "note" }, isNumber ? "Type the number and press Enter." : many ? "The keys choose labels, Enter saves them; Enter alone is none of them." : "Press a key for its class.", " The keys work while this part has the focus."));
  draw();
  return panel;
}

// ---------------------------------------------------------------- fit again

function refitSection(base, labels, work) {
  const problem = h("div"), summary = h("p");
  const go = h("button", { type: "button", class: "main", onclick: async () => {
    go.disabled = true;
    try {
      await work.saved;
      const reply = await postJson(`${base}/refits`);
      location.hash = `#/run/${encodePath(reply.run)}`;
    } catch (error) { replaceContent(problem, errorBox(error)); go.disabled = false; }
  } }, "Fit again");
  const count = () => {
    const done = labels.rows.filter((row) => row.label).length;
    go.disabled = !done;
    replaceContent(summary, `${formatCount(done, "new label")} in `, h("code", {}, labels.table), ". A new run learns from them too; the pictures that judged this run judge that one, so the scores can be compared.");
  };
  return { count, element: h("section", { "aria-labelledby": "refit" }, h("h2", { id: "refit" }, "Fit again"), summary, problem, h("div", { class: "row" }, go)) };
}
