"""Pages driven as a person does: Chromium by Playwright, at desktop and phone width, light and dark, with axe."""

import contextlib

import browser

DESKTOP, PHONE = (1280, 900), (390, 844)
LOOKS = [(size, scheme) for size in (DESKTOP, PHONE) for scheme in ("light", "dark")]


@contextlib.contextmanager
def opened():
    """A started browser; the test is skipped aloud where there is none."""
    path = browser.chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=list(browser.FLAGS[1:]))
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def page(started, url, *, size=DESKTOP, scheme="light"):
    """A page at an address; at the end it must have logged no error and asked no other machine."""
    origin = "/".join(url.split("/")[:3])
    context = started.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, has_touch=size == PHONE
    )
    try:
        shown = context.new_page()
        told, foreign = [], []
        shown.on("console", lambda said: told.append(said.text) if said.type in ("error", "warning") else None)
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("request", lambda sent: None if _own(sent.url, origin) else foreign.append(sent.url))
        shown.goto(url)
        yield shown
        assert told == [], told
        assert foreign == [], foreign
    finally:
        context.close()


def _own(url, origin):
    return url.startswith((f"{origin}/", "data:", "blob:"))


def faults(shown):
    """What axe finds wrong with a page as it stands: rule and the elements it is about."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(shown).response["violations"]
    return [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]


def overflows(shown):
    """How many px the page is wider than its window: 0 when nothing has to be scrolled sideways."""
    return shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
