// The page works without this. It opens a cell's pictures without moving the page, lets the arrow keys walk the
// confusion matrix, and opens folded parts before printing.
"use strict";
(() => {
  // shown by the studio, which keeps this page apart, it may not lead on: the map is a tab there
  if (location.pathname.endsWith("/report")) document.querySelectorAll(".map-link").forEach((link) => link.replaceWith("Open the tab Map"));
  const links = [...document.querySelectorAll(".matrix a, .pairs a")];
  const rows = [...document.querySelectorAll(".matrix tbody tr")].map((row) => [...row.querySelectorAll("td a, td .zero")]);
  const cells = document.querySelector(".cells");
  let opener = null;
  const close = () => {
    document.querySelectorAll(".cell.open").forEach((cell) => cell.classList.remove("open"));
    links.forEach((link) => link.removeAttribute("aria-current"));
  };
  const open = (link) => {
    close();
    const cell = document.getElementById(link.hash.slice(1));
    cell.classList.add("open");
    link.setAttribute("aria-current", "true");
    opener = link;
    return cell;
  };
  if (cells) cells.classList.add("scripted");
  links.forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    open(link).scrollIntoView({ block: "nearest" });
  }));
  document.querySelectorAll(".cell .back").forEach((back) => back.addEventListener("click", (event) => {
    event.preventDefault();
    close();
    if (opener) opener.focus();
  }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.querySelector(".cell.open")) {
      close();
      if (opener) opener.focus();
      return;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const at = step && document.activeElement.closest(".matrix td a");
    if (!at) return;
    let y = rows.findIndex((row) => row.includes(at));
    let x = rows[y].indexOf(at);
    do {
      y += step[0];
      x += step[1];
    } while (rows[y] && rows[y][x] && rows[y][x].tagName !== "A");
    if (rows[y] && rows[y][x]) {
      event.preventDefault();
      rows[y][x].focus();
    }
  });
  const asked = location.hash.startsWith("#cell-") && links.find((link) => link.hash === location.hash);
  if (asked) open(asked);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
})();
