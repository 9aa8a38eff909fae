// The studio's page: which view is shown, by the address after #.

import { errorBox, replaceContent, getJson, h } from "./studio-base.js";
import { checkView } from "./studio-check.js";
import { compareView } from "./studio-compare.js";
import { newView } from "./studio-new.js";
import { runView } from "./studio-run.js";
import { runsView } from "./studio-runs.js";

const PATIENCE_MS = 250;  // what takes longer is shown while it comes
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

async function showView() {
  const path = location.hash.slice(1) || "/";
  leave();
  const end = new AbortController();
  leave = () => end.abort();
  for (const link of document.querySelectorAll(".bar nav a")) {
    const here = link.hash === `#${path}` || (link.hash === "#/" && /^\/(run|compare)\//.test(path)) || (link.hash === "#/new" && path.startsWith("/check/"));
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  // Each view has a place of its own: one that comes too late fills what nobody sees any more.
  const place = h("div", { class: "view" });
  const present = () => { if (!end.signal.aborted && !place.isConnected) replaceContent(main, place); };
  const slow = setTimeout(present, PATIENCE_MS);
  try {
    studio ??= await getJson("api/start");
    const [pattern, view] = VIEWS.find(([each]) => each.test(path)) ?? [/^/, runsView];
    const parts = path.match(pattern).slice(1).map((part) => part && decodeURIComponent(part));
    await view({ main: place, studio, signal: end.signal, again: showView }, ...parts);
  } catch (error) {
    replaceContent(place, h("h1", {}, "This cannot be shown"), errorBox(error), h("p", {}, h("a", { href: "#/" }, "Back to the runs")));
  }
  clearTimeout(slow);
  present();
  if (!end.signal.aborted) focusView(path);
}

/** Name the page and move the focus to it, unless it is another part of the same run, or the same again; or to what keys are for. */
function focusView(path) {
  document.title = `${main.querySelector("h1")?.textContent ?? "headstart"} · headstart studio`;
  const now = path.startsWith("/run/") ? path.split("/").slice(0, 3).join("/") : path;
  const start = main.querySelector("[data-start]");
  if (now !== main.dataset.at) scrollTo(0, 0);
  if (start || now !== main.dataset.at) (start ?? main).focus({ preventScroll: true });
  main.dataset.at = now;
}

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", showView);
showView().then(() => { if (studio) document.getElementById("foot").textContent = `headstart ${studio.version}. Everything stays on this machine. Runs lie in ${studio.runs}.`; });
