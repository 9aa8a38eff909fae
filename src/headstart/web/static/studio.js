// The studio's page: which view is shown, by the address after #.

import { errorBox, fill, get, h } from "./studio-base.js";
import { checkView } from "./studio-check.js";
import { compareView } from "./studio-compare.js";
import { newView } from "./studio-new.js";
import { runView } from "./studio-run.js";
import { runsView } from "./studio-runs.js";

const main = document.getElementById("main");
let leave = () => {};
let studio = null;

const VIEWS = [
  [/^\/$/, runsView],
  [/^\/new$/, newView],
  [/^\/check\/([^/]+)$/, checkView],
  [/^\/run\/([^/]+)(?:\/(\w+))?$/, runView],
  [/^\/compare\/(.+)$/, compareView],
];

async function show() {
  const path = location.hash.slice(1) || "/";
  leave();
  leave = () => {};
  for (const link of document.querySelectorAll(".bar nav a")) {
    const here = link.hash === `#${path}` || (link.hash === "#/" && /^\/(run|compare)\//.test(path)) || (link.hash === "#/new" && path.startsWith("/check/"));
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  try {
    studio ??= await get("api/start");
    const [pattern, view] = VIEWS.find(([each]) => each.test(path)) ?? [/^/, runsView];
    const parts = path.match(pattern).slice(1).map((part) => part && decodeURIComponent(part));
    const end = new AbortController();
    leave = () => end.abort();
    const before = path.startsWith("/run/") && main.dataset.run === parts[0];
    main.dataset.run = path.startsWith("/run/") ? parts[0] : "";
    await view({ main, studio, signal: end.signal, again: show }, ...parts);
    const title = main.querySelector("h1")?.textContent ?? "headstart studio";
    document.title = `${title} · headstart studio`;
    if (!before) { scrollTo(0, 0); main.focus({ preventScroll: true }); }
  } catch (error) {
    fill(main, h("h1", {}, "This cannot be shown"), errorBox(error), h("p", {}, h("a", { href: "#/" }, "Back to the runs")));
  }
}

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", show);
show().then(() => { if (studio) document.getElementById("foot").textContent = `headstart ${studio.version}. Everything stays on this machine. Runs lie in ${studio.runs}.`; });
