"""Debian's Chromium without a window, for pages: screenshots, and what a script inside the page found out."""

import json
import re
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_S = 60


def find():
    """The browser's path, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def chromium():
    """The browser's path; skips the test aloud where there is none."""
    import pytest

    return find() or pytest.skip("no Chromium here: the page was not looked at (apt-get install chromium)")


def _run(*arguments):
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium(), *FLAGS, f"--user-data-dir={profile}", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)


def _scheme(dark):
    return f"--blink-settings=preferredColorScheme={0 if dark else 1}"


def ask(page: Path, script: str, folder: Path, *, width: int = 1280, fragment: str = "", dark: bool = False):
    """What `script`, an expression, gives inside the page at a width, and the errors that the page logged.

    The page is shown in a frame, since a window has a least width; the answer comes back through the frame's parent.
    """
    probe = (
        "<script>addEventListener('load', () => setTimeout(() => {"
        "let told; try { told = JSON.stringify("
        + script
        + "); } catch (error) { told = JSON.stringify(String(error)); }"
        "parent.postMessage(told, '*'); }, 300));</script>"
    )
    text = page.read_text(encoding="utf-8")
    # the page's own policy forbids foreign scripts: only this copy lets the probe in
    copy = folder / "copy.html"
    policy = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", text, count=1)
    copy.write_text(policy.replace("</body>", probe + "</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        "<!doctype html><body style='margin:0'><pre id=told></pre>"
        f"<iframe src='copy.html{fragment}' style='border:0;width:{width}px;height:900px'></iframe>"
        "<script>addEventListener('message', (e) => { told.textContent = e.data; });</script>",
        encoding="utf-8",
    )
    log = ("--enable-logging=stderr", "--log-level=0")
    done = _run(
        _scheme(dark), *log, "--virtual-time-budget=5000", "--window-size=1400,1000", "--dump-dom", frame.as_uri()
    )
    answer = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert answer and answer[1], f"the page did not answer: {done.stderr[-2000:]}"
    return json.loads(unescape(answer[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, out: Path, *, width: int = 1280, height: int = 1600, dark: bool = False):
    """A picture of the top of a page."""
    shown = (f"--window-size={width},{height}", f"--screenshot={out}", "--virtual-time-budget=3000")
    _run(_scheme(dark), *shown, page.as_uri())
