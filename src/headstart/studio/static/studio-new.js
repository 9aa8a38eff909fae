// Where the pictures are: a folder of this machine, or files that are dropped.

import { at, errorBox, fill, get, h, plural, post, say, send } from "./studio-base.js";

const AT_ONCE = 4;

export async function newView({ main, studio, signal }) {
  const problem = h("div");
  const field = h("input", { type: "text", id: "folder", autocomplete: "off", spellcheck: "false", placeholder: studio.root });
  const list = h("div");
  const check = h("button", { class: "main", type: "submit" }, "Check the pictures");

  const browse = async (path) => {
    fill(problem);
    try {
      const found = await get(`api/folders?path=${encodeURIComponent(path)}`);
      field.value = found.path;
      fill(list, ...folders(found, browse));
    } catch (error) { fill(problem, errorBox(error)); }
  };
  const look = async (path) => {
    fill(problem);
    check.disabled = true;
    try {
      const found = await post("api/looks", { data: path });
      location.hash = `#/check/${at(found.look)}`;
    } catch (error) { fill(problem, errorBox(error)); } finally { check.disabled = false; }
  };
  fill(main, 
    h("h1", {}, "New run"),
    h("p", { class: "lead" }, "Which pictures shall it learn from? One folder, with one sub-folder for each class."),
    problem,
    h("section", { "aria-labelledby": "here" },
      h("h2", { id: "here" }, "A folder of this machine"),
      h("form", { onsubmit: (event) => { event.preventDefault(); look(field.value || studio.root); } },
        h("label", { for: "folder", class: "note" }, "Folder"),
        h("div", { class: "row" }, h("div", { class: "grow" }, field),
          h("button", { type: "button", onclick: () => browse(field.value) }, "Open"), check)),
      list),
    h("div", { class: "either" }, "or"),
    h("section", { "aria-labelledby": "there" }, h("h2", { id: "there" }, "Drop pictures"), dropZone(problem, look, signal)));
  await browse("");
}

function folders(found, browse) {
  const entry = (name, path, told) => h("li", {}, h("button", { type: "button", onclick: async () => {
    await browse(path);
    document.querySelector(".folders button")?.focus();
  } }, h("span", {}, name), h("span", { class: "muted" }, told)));
  const inside = found.folders.reduce((sum, one) => sum + one.pictures, 0);
  const classes = found.folders.filter((one) => one.pictures).length;
  const told = inside
    ? `${plural(classes, "sub-folder")} with ${plural(inside, "picture")}: each would be a class.`
    : found.pictures ? `${plural(found.pictures, "picture")} here, and no sub-folder with pictures.` : "No pictures in its sub-folders: open the one that holds your classes.";
  return [
    h("p", { class: "note" }, told),
    h("ul", { class: "folders", "aria-label": `Folders in ${found.path}` },
      found.above && entry("Up", found.above, found.above),
      found.folders.map((one) => entry(one.name, one.path, one.pictures ? plural(one.pictures, "picture") : "")),
      !found.folders.length && !found.above && h("li", { class: "muted" }, "No folders here.")),
    found.more ? h("p", { class: "note" }, `${plural(found.more, "more folder")}: type the name.`) : null,
  ];
}

// ---------------------------------------------------------------- dropping

function dropZone(problem, look, signal) {
  const told = h("div");
  const pick = h("input", { type: "file", webkitdirectory: true, multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => upload([...pick.files].map((file) => [file.webkitRelativePath || file.name, file])) });
  const zone = h("div", { class: "empty drop" },
    h("p", {}, "Drop a folder here, with a sub-folder for each class. Its pictures are copied to the studio's own folder."),
    h("button", { type: "button", onclick: () => pick.click() }, "Choose a folder"), pick, told);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", (event) => { if (!zone.contains(event.relatedTarget)) zone.classList.remove("over"); });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    upload((await Promise.all(entries.map((entry) => walk(entry)))).flat());
  });

  async function upload(files) {
    const wanted = files.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));
    fill(problem);
    if (!wanted.length) { fill(problem, errorBox({ what: "nothing was dropped that could be a picture", hint: "drop a folder with one sub-folder for each class" })); return; }
    try {
      const { upload: draft } = await post("api/uploads");
      const refused = await sendAll(draft, wanted, told, signal);
      if (signal.aborted) return;
      if (refused.length === wanted.length) throw refused[0][1];
      if (refused.length) fill(problem, errorBox({ what: `${plural(refused.length, "file")} could not be taken, the first is ${refused[0][0]}: ${refused[0][1].message}` }));
      const { path } = await post(`api/uploads/${at(draft)}/done`);
      await look(path);
    } catch (error) { fill(problem, errorBox(error)); fill(told); }
  }
  return zone;
}

async function sendAll(draft, files, told, signal) {
  const refused = [];
  let next = 0, done = 0;
  const line = h("p", { class: "note" });
  fill(told, line);
  const work = async () => {
    while (next < files.length && !signal.aborted) {
      const [path, file] = files[next++];
      const target = path.split("/").map(encodeURIComponent).join("/");
      try { await send("PUT", `api/uploads/${at(draft)}/files/${target}`, file, signal); } catch (error) { refused.push([path, error]); }
      line.textContent = `${(++done).toLocaleString("en-GB")} of ${plural(files.length, "file")} copied`;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  say(`${plural(done, "file")} copied.`);
  return refused;
}

/** All files of a dropped entry, with their paths. */
async function walk(entry, before = "") {
  const path = before + entry.name;
  if (entry.isFile) return [[path, await new Promise((found, failed) => entry.file(found, failed))]];
  const reader = entry.createReader();
  const inside = [];
  for (;;) {  // a browser hands over a hundred at a time
    const some = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map((one) => walk(one, `${path}/`)))).flat();
}
