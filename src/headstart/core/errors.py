"""The tree of errors; each says what, where, and what to do.

HeadstartError
├── UsageError          exit 2: the command or the job is wrong
├── DataError           exit 3: the data set cannot be used as it is
├── SetupError          exit 3: something the machine lacks (weights, disk, an engine, permission)
│   └── BusyError       exit 3: another process works on the same run folder
├── NoOpError           exit 3: the request would change nothing
└── GateFailed          exit 1: a check that the user asked for did not pass

Facts are raised anywhere and become text in one place, `headstart.cli.main`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadstartError(Exception):
    """A fact that stops the work.

    Attributes:
        what: One sentence with the offending value in backticks.
        where: File, row or option, or None.
        hint: What to do next, best one command to paste, or None.
    """

    exit_code = 3

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def format_text(self) -> str:
        """The error as it is shown: `error:`, `at:`, an empty line, `hint:`."""
        lines = [f"error: {self.what}"]
        if self.where:
            lines.append(f"at: {self.where}")
        if self.hint:
            lines += ["", f"hint: {self.hint}"]
        return "\n".join(lines)


class UsageError(HeadstartError):
    """The command line or the job file is wrong."""

    exit_code = 2


class DataError(HeadstartError):
    """The data set cannot be used as it is."""


class SetupError(HeadstartError):
    """The machine lacks something: weights, disk space, an engine, a permission."""


class BusyError(SetupError):
    """Another process works on the same run folder."""


class NoOpError(HeadstartError):
    """The request would change nothing."""


class GateFailed(HeadstartError):
    """A check that the user asked for did not pass."""

    exit_code = 1


def format_nearest(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """The known names nearest to a word, as the end of a sentence; empty when none is near."""
    near = difflib.get_close_matches(word, list(known), n=count, cutoff=0.5)
    return f"did you mean {', '.join(f'`{name}`' for name in near)}?" if near else ""
