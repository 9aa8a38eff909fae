"""The tree of errors: facts are raised anywhere and become text in one place, `headstart.cli.main`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class HeadstartError(Exception):
    """A fact that stops the work: `what` in one sentence, `where` (file, row, option), as `hint` what to do next.

    `problems` are all files or rows that led to it, where there may be many: name, reason and detail of each.
    """

    exit_code = 3

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        problems: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.problems = problems

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


class Problem(NamedTuple):
    """One of several things that are wrong: the option or setting that it is about, a sentence, and what to do."""

    where: str
    what: str
    hint: str = ""
    kind: type[HeadstartError] = UsageError


def make_problem(err: HeadstartError, where: str = "") -> Problem:
    """An error as a problem among others; `where` where the error names no place."""
    return Problem(err.where or where, err.what, err.hint or "", type(err))


def make_error(problems: Sequence[Problem]) -> HeadstartError:
    """All problems, one or more, as one error: of their kind where they share it, else a wrong usage."""
    kinds = {problem.kind for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else UsageError
    where = ", ".join(dict.fromkeys(problem.where for problem in problems if problem.where))
    hint = "; ".join(dict.fromkeys(problem.hint for problem in problems if problem.hint))
    return kind("; ".join(problem.what for problem in problems), where=where or None, hint=hint or None)


def format_nearest(word: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.5) -> str:
    """The known names nearest to a word in any case, as the end of a sentence; empty when none is near."""
    import difflib

    by_lower = {name.lower(): name for name in reversed(list(known))}
    near = difflib.get_close_matches(word.lower(), by_lower, n=count, cutoff=cutoff)
    return f"did you mean {', '.join(f'`{by_lower[name]}`' for name in near)}?" if near else ""
