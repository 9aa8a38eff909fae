"""What all data checks share: a code, a name, a phase, and the six ways to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import AuditInput, Dataset, Finding, Outcome

Links = Iterable[tuple[int, int]]
TINY_PX = 32  # smaller side of a picture; below it the last stages of a trunk see one cell


@dataclass(frozen=True, slots=True)
class Check:
    """A data check of phase `files` (before embed) or `vectors` (after it); `look` ends with a method below."""

    code: str
    name: str
    phase: str
    look: Callable[[Check, AuditInput], Outcome]
    of_classes: bool = False  # whether it asks about classes
    of_labels: bool = False  # whether it asks about labels of any kind

    def __call__(self, audit_input: AuditInput) -> Outcome:
        """Look at the data and say how it ended."""
        task = audit_input.data.learning_task
        if not task.is_learnt and (self.of_labels or self.of_classes):
            return self.make_not_applicable("there are no labels")
        if self.of_classes and not task.has_classes:
            return self.make_not_applicable(f"the targets are {task.answers}, and it asks about classes")
        return self.look(self, audit_input)

    def make_passed(self, why: str) -> Outcome:
        """Nothing found; `why` says what was looked at, with numbers."""
        return Outcome(code=self.code, name=self.name, status="passed", why=why)

    def make_not_applicable(self, why: str) -> Outcome:
        """The question does not arise in this data set."""
        return Outcome(code=self.code, name=self.name, status="not_applicable", why=why)

    def make_skipped(self, why: str) -> Outcome:
        """The question arises and was not answered."""
        return Outcome(code=self.code, name=self.name, status="skipped", why=why)

    def make_finding(self, severity: str, sentence: str, fix: str, **about: Any) -> Finding:
        """One finding; `about` gives any of its other fields."""
        about |= {name: tuple(map(int, about[name])) for name in ("rows", "remove_rows") if name in about}
        about |= {name: tuple(about[name]) for name in ("uris", "likelier_classes") if name in about}
        return Finding(code=self.code, severity=severity, sentence=sentence, fix=fix, **about)

    def make_outcome(self, findings: Sequence[Finding], links: Links = ()) -> Outcome:
        """An issue, or a tip when all findings are mere information."""
        status = "tip" if all(finding.severity == "info" for finding in findings) else "issue"
        why = "; ".join(finding.sentence for finding in findings)
        pairs = tuple((int(a), int(b)) for a, b in links)
        return Outcome(code=self.code, name=self.name, status=status, why=why, findings=tuple(findings), links=pairs)

    def make_issue(self, sentence: str, fix: str, *, links: Links = (), **about: Any) -> Outcome:
        """One warning."""
        return self.make_outcome([self.make_finding("warning", sentence, fix, **about)], links)

    def make_tip(self, sentence: str, fix: str, *, links: Links = (), **about: Any) -> Outcome:
        """One piece of information."""
        return self.make_outcome([self.make_finding("info", sentence, fix, **about)], links)


def find_learning_rows(data: Dataset) -> np.ndarray:
    """(M,) int64 rows that the model may learn from: all but those of a given `val` or `test`."""
    return np.array([row for row, side in enumerate(data.split) if side in ("", "train")], np.int64)


def count_per_class(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(C,) int64 pictures of each class, or with each label, among rows."""
    if data.learning_task.has_labels:
        return np.asarray(np.asarray(data.targets)[rows].sum(axis=0))
    return np.bincount(np.asarray(data.targets)[rows], minlength=len(data.class_names))


def format_count(n: int, thing: str = "picture") -> str:
    """`1 picture`, `2,000 pictures`, `3 exact copies`, `4 classes`."""
    if n != 1:
        thing = thing[:-1] + "ies" if thing.endswith("y") else thing + ("es" if thing.endswith("s") else "s")
    return f"{n:,} {thing}"


def format_names(names: Iterable[str], most: int = 3) -> str:
    """The first few names, quoted and printable, and how many more there are."""
    listed_names = list(names)
    more = f" and {len(listed_names) - most:,} more" if len(listed_names) > most else ""
    return ", ".join(f"`{format_printable(name)}`" for name in listed_names[:most]) + more


def format_uris(data: Dataset, rows: Iterable[int], most: int = 3) -> str:
    """Like `some`, for rows."""
    return format_names((data.uris[int(row)] for row in rows), most)
