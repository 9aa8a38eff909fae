// Where the pictures are: a folder of this machine, or files that are dropped.

import { readingFields, readSettings } from "./studio-form.js";
import { encodePath, errorBox, replaceContent, getJson, h, formatCount, postJson, announce, sendBody } from "./studio-base.js";

const AT_ONCE = 4;

export async function newView({ main, studio, signal }) {
  const problem = h("div");
  const field = h("input", { type: "text", id: "folder", autocomplete: "off", spellcheck: "false", placeholder: studio.root });
  const list = h("div");
  const check = h("button", { class: "main", type: "submit" }, "Check the pictures");
  const reading = readingFields(studio);
  const choose = (path) => {
    field.value = path;
    reading.open = true;
    check.focus();
  };

  const browse = async (path) => {
    replaceContent(problem);
    try {
      const listing = await getJson(`api/folders?path=${encodeURIComponent(path)}`);
      field.value = listing.path;
      replaceContent(list, ...folderList(listing, browse, choose));
    } catch (error) { replaceContent(problem, errorBox(error)); }
  };
  const startAudit = async (path) => {
    replaceContent(problem);
    check.disabled = true;
    try {
      const listing = await postJson("api/looks", { data: path, settings: readSettings(form, studio.options) });
      location.hash = `#/check/${encodePath(listing.look)}`;
    } catch (error) { replaceContent(problem, errorBox(error)); } finally { check.disabled = false; }
  };
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); startAudit(field.value || studio.root); } },
    h("label", { for: "folder", class: "note" }, "Folder, table of labels, or archive"),
    h("div", { class: "row" }, h("div", { class: "grow" }, field),
      h("button", { type: "button", onclick: () => browse(field.value) }, "Open"), check), reading);
  replaceContent(main, 
    h("h1", {}, "New run"),
    h("p", { class: "lead" }, "Which pictures shall it learn from? A folder with one sub-folder for each class, an archive of one, or a table that names pictures and labels."),
    problem,
    h("section", { "aria-labelledby": "here" },
      h("h2", { id: "here" }, "On this machine"), form, list),
    h("div", { class: "either" }, "or"),
    h("section", { "aria-labelledby": "there" }, h("h2", { id: "there" }, "Drop pictures"), dropZone(problem, startAudit, signal)));
  await browse("");
}

export function folderList(listing, browse, choose) {
  const entry = (name, path, summary) => h("li", {}, h("button", { type: "button", onclick: async () => {
    await browse(path);
    document.querySelector(".folders button")?.focus();
  } }, h("span", {}, name), h("span", { class: "muted" }, summary)));
  const inside = listing.folders.reduce((sum, folder) => sum + folder.pictures, 0);
  const classes = listing.folders.filter((folder) => folder.pictures).length;
  const summary = inside
    ? `${formatCount(classes, "sub-folder")} with ${formatCount(inside, "picture")}: each would be a class.`
    : listing.pictures ? `${formatCount(listing.pictures, "picture")} here, and no sub-folder with pictures.` : "No pictures in its sub-folders: open the one that holds your classes.";
  return [
    h("p", { class: "note" }, summary),
    h("ul", { class: "folders", "aria-label": `Folders in ${listing.path}` },
      listing.above && entry("Up", listing.above, listing.above),
      listing.folders.map((folder) => entry(folder.name, folder.path, folder.pictures ? formatCount(folder.pictures, "picture") : "")),
      listing.files.map((file) => h("li", {}, h("button", { type: "button", onclick: () => choose(file.path) }, h("span", {}, file.name), h("span", { class: "muted" }, "learn from this file")))),
      !listing.folders.length && !listing.files.length && !listing.above && h("li", { class: "muted" }, "No folders here.")),
    listing.more ? h("p", { class: "note" }, `${formatCount(listing.more, "more folder")}: type the name.`) : null,
  ];
}

// ---------------------------------------------------------------- dropping

function dropZone(problem, startAudit, signal) {
  const progress = h("div");
  const pick = h("input", { type: "file", webkitdirectory: true, multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => upload([...pick.files].map((file) => [file.webkitRelativePath || file.name, file])) });
  const zone = h("div", { class: "empty drop" },
    h("p", {}, "Drop a folder here, with a sub-folder for each class, or an archive of one. Its pictures are copied to the studio's own folder."),
    h("button", { type: "button", onclick: () => pick.click() }, "Choose a folder"), pick, progress);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", (event) => { if (!zone.contains(event.relatedTarget)) zone.classList.remove("over"); });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    upload((await Promise.all(entries.map((entry) => listFiles(entry)))).flat());
  });

  async function upload(files) {
    const visible = files.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));
    replaceContent(problem);
    if (!visible.length) { replaceContent(problem, errorBox({ what: "nothing was dropped that could be a picture", hint: "drop a folder with one sub-folder for each class" })); return; }
    try {
      const { upload: draft } = await postJson("api/uploads");
      const refused = await sendAll(draft, visible, progress, signal);
      if (signal.aborted) return;
      if (refused.length === visible.length) throw refused[0][1];
      if (refused.length) replaceContent(problem, errorBox({ what: `${formatCount(refused.length, "file")} could not be taken, the first is ${refused[0][0]}: ${refused[0][1].message}` }));
      const { path } = await postJson(`api/uploads/${encodePath(draft)}/done`);
      await startAudit(path);
    } catch (error) { replaceContent(problem, errorBox(error)); replaceContent(progress); }
  }
  return zone;
}

async function sendAll(draft, files, progress, signal) {
  const refused = [];
  let next = 0, sent = 0;
  const line = h("p", { class: "note" });
  replaceContent(progress, line);
  const work = async () => {
    while (next < files.length && !signal.aborted) {
      const [path, file] = files[next++];
      const target = path.split("/").map(encodeURIComponent).join("/");
      try { await sendBody("PUT", `api/uploads/${encodePath(draft)}/files/${target}`, file, signal); } catch (error) { refused.push([path, error]); }
      line.textContent = `${(++sent).toLocaleString("en-GB")} of ${formatCount(files.length, "file")} copied`;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  announce(`${formatCount(sent, "file")} copied.`);
  return refused;
}

/** All files of a dropped entry, with their paths. */
async function listFiles(entry, before = "") {
  const path = before + entry.name;
  if (entry.isFile) return [[path, await new Promise((resolve, reject) => entry.file(resolve, reject))]];
  const reader = entry.createReader();
  const entries = [];
  for (;;) {  // a browser hands over a hundred at a time
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) break;
    entries.push(...batch);
  }
  return (await Promise.all(entries.map((child) => listFiles(child, `${path}/`)))).flat();
}
