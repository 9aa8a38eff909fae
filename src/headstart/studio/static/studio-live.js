// A run as it happens: the server's events, until it has ended. The browser connects again by itself.

import { errorBox } from "./studio-base.js";

const LOST = { what: "the studio does not answer any more", hint: "open the address that headstart studio printed; a fit goes on meanwhile" };

/** Follow a run; each handler gets the event's data. A place shows when the studio is gone for good. */
export function followEvents(path, handlers, signal, place = null) {
  const source = new EventSource(path);
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => { if (event.data) handler(JSON.parse(event.data)); });
  }
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) place?.replaceChildren(errorBox(LOST)); });
  source.addEventListener("end", () => source.close());
  signal.addEventListener("abort", () => source.close());
  return source;
}
