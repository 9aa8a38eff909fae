// A run as it happens: the server's events, until it has ended. The browser connects again by itself.

/** Follow a run; each handler gets the event's data. */
export function follow(path, handlers, signal) {
  const source = new EventSource(path);
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => { if (event.data) handler(JSON.parse(event.data)); });
  }
  source.addEventListener("end", () => source.close());
  signal.addEventListener("abort", () => source.close());
  return source;
}
