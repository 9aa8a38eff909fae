"""All terminal output: one line a stage, progress while it runs, results apart.

Results go to stdout, everything else to stderr. A moving progress line appears only on a terminal; elsewhere each
stage prints one plain line when it ends, unless `HEADSTART_PROGRESS=lines` asks for a line of progress a second, which
begins with a carriage return. `NO_COLOR` is respected; colour decorates and never informs.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from headstart.core import settings

_REDRAW_S, _LINE_S = 0.2, 1.0
STAGE_WIDTH = 12  # of the name at the start of a line


def format_duration(seconds: float) -> str:
    """Seconds as people write them: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def format_bytes(count: float) -> str:
    """Bytes as people write them, decimal units: `18.8 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@dataclass
class Progress:
    """A running count; `add` may be called from several threads."""

    console: Console
    stage: str
    total: int
    unit: str
    done: int = 0
    cached: int = 0
    started: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _drawn: float = 0.0

    def count_done(self, count: int, *, cached: bool = False) -> None:
        """Count `count` more as done; `cached` ones do not enter the rate."""
        with self._lock:
            self.done += count
            self.cached += count if cached else 0
            now = time.monotonic()
            if self.console.shows_progress and now - self._drawn >= _REDRAW_S:
                self._drawn = now
                self.console.draw_progress(self._format_progress(now))

    def _format_progress(self, now: float) -> str:
        rate = (self.done - self.cached) / max(now - self.started, 1e-9)
        if self.unit == "bytes":
            total = f" of {format_bytes(self.total)}" if self.total else ""
            counted, pace = f"{format_bytes(self.done)}{total}", format_bytes(rate)
        else:
            counted, pace = f"{self.done:,} of {self.total:,} {self.unit}", f"{rate:,.0f}"
        has_end = rate > 0 and self.done < self.total
        remaining = f", {format_duration((self.total - self.done) / rate)} left" if has_end else ""
        return f"{self.stage:<{STAGE_WIDTH}}{counted}, {pace}/s{remaining}"


@dataclass
class Console:
    """Where a run speaks: progress to `err`, results to `out`, as one JSON object each with `json`."""

    quiet: bool = False
    json: bool = False
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    _dirty: bool = False
    _lined: float = float("-inf")

    @property
    def shows_progress(self) -> bool:
        """Whether progress is shown while it is made."""
        return not self.quiet and (self._is_terminal or settings.read_setting("HEADSTART_PROGRESS") == "lines")

    @property
    def _is_terminal(self) -> bool:
        return self.err.isatty() and os.environ.get("TERM") != "dumb"

    def draw_progress(self, text: str) -> None:
        """Redraw the moving line, or where there is no terminal, write a line of its own once a second."""
        if not self._is_terminal:
            if time.monotonic() - self._lined >= _LINE_S:
                self._lined = time.monotonic()
                print(f"\r{text}", file=self.err, flush=True)
            return
        width = 100
        with contextlib.suppress(OSError):
            width = os.get_terminal_size(self.err.fileno()).columns
        self.err.write("\r\x1b[K" + text[: width - 1])
        self.err.flush()
        self._dirty = True

    def _clear_progress(self) -> None:
        if self._dirty:
            self.err.write("\r\x1b[K")
            self._dirty = False

    def print_line(self, stage: str, text: str) -> None:
        """One line that a stage leaves behind: its name and what it did, with numbers."""
        if not self.quiet:
            self._clear_progress()
            print(f"{stage:<{STAGE_WIDTH}}{text}", file=self.err, flush=True)

    def print_warning(self, text: str) -> None:
        """One line that is shown even with `--quiet`."""
        self._clear_progress()
        print(f"warning: {text}", file=self.err, flush=True)

    @contextlib.contextmanager
    def show_progress(self, stage: str, total: int, unit: str = "pictures") -> Iterator[Progress]:
        """Count something that takes long; the stage says its own closing line."""
        try:
            yield Progress(self, stage, total, unit)
        finally:
            self._clear_progress()

    def print_result(self, text: str, payload: Any) -> None:
        """The result: text for people, or with `json` the payload as one object."""
        self._clear_progress()
        body = json.dumps(payload, allow_nan=False) if self.json else text
        print(body, file=self.out, flush=True)
