"""The audit: every check with how it ended, the pictures it is about, and every file that is not used."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Finding, Outcome
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput

STATUS = {
    "issue": "issue",
    "tip": "tip",
    "passed": "passed",
    "skipped": "skipped",
    "not_applicable": "not applicable",
    "ignored": "ignored",
}
FINDINGS = 40  # shown for a check
FINDING = 6  # thumbnails for a finding
PAIRS = 6  # for a check
CHECKS = 90  # thumbnails of all checks together


def view(given: ReportInput, thumbs: Thumbnails) -> dict[str, Any]:
    """What the template `audit.html` shows."""
    outcomes = sorted(
        (o for audit in given.audits for o in audit.outcomes), key=lambda o: (list(STATUS).index(o.status), o.code)
    )
    left = Budget(CHECKS)
    return {
        "outcomes": [_outcome(o, given.dataset, thumbs, left) for o in outcomes],
        "counts": Counter(STATUS[o.status] for o in outcomes),
        "excused": _excused(given.dataset),
        "excused_count": len(given.dataset.excused),
        "notes": _notes(given.dataset),
        "classes": _classes(given),
        "splits": given.splits,
        "clusters": _clusters(given),
    }


class Budget:
    """How many thumbnails may still be shown."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, most: int) -> int:
        """As many of `most` as are left."""
        taken = min(most, self.left)
        self.left -= taken
        return taken


def _outcome(outcome: Outcome, data: Dataset, thumbs: Thumbnails, left: Budget) -> dict[str, Any]:
    shown = left.take(2 * min(PAIRS, len(outcome.links))) // 2 if outcome.status in ("issue", "tip") else 0
    return {
        "code": outcome.code,
        "name": outcome.name,
        "status": outcome.status,
        "word": STATUS[outcome.status],
        "why": outcome.why,
        "findings": [
            _finding(f, outcome, data, thumbs, left.take(_pictures(f, shown))) for f in outcome.findings[:FINDINGS]
        ],
        "more": max(0, len(outcome.findings) - FINDINGS),
        "pairs": [(thumbs.of(a), thumbs.of(b)) for a, b in outcome.links[:shown]],
        "links": len(outcome.links),
    }


def _pictures(found: Finding, pairs: int) -> int:
    """How many thumbnails a finding wants: none where the check shows its pairs already."""
    return 0 if pairs else min(FINDING, len(found.rows))


def _finding(found: Finding, outcome: Outcome, data: Dataset, thumbs: Thumbnails, shown: int) -> dict[str, Any]:
    """A finding; its sentence is left out where it only repeats that of the check."""
    names = [format_printable(uri) for uri in found.uris] or [format_printable(data.uris[row]) for row in found.rows]
    return {
        "sentence": "" if found.sentence == outcome.why else found.sentence,
        "fix": found.fix,
        "pictures": [thumbs.of(row) for row in found.rows[:shown]],
        "files": names[:FINDINGS],
        "rest": max(0, len(names) - FINDINGS),
    }


def _excused(data: Dataset) -> list[dict[str, Any]]:
    """All files that are not used, by reason."""
    reasons = Counter(e.reason for e in data.excused)
    return [
        {
            "reason": formatting.REASONS.get(reason, reason.replace("_", " ")),
            "files": [
                {"uri": format_printable(e.uri), "detail": format_printable(e.detail)}
                for e in data.excused
                if e.reason == reason
            ],
        }
        for reason, _ in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]


def _notes(data: Dataset) -> list[tuple[str, int]]:
    found = Counter(note for note in data.facts.notes if note)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _classes(given: ReportInput) -> list[dict[str, Any]]:
    """How many pictures of each class, and on which side they are."""
    targets, c = np.asarray(given.dataset.targets), len(given.dataset.class_names)
    sides = {"all": np.bincount(targets, minlength=c)}
    for side in ("train", "val", "test") if given.splits else ():
        rows = np.asarray(getattr(given.splits, side))
        if len(rows):
            sides[side] = np.bincount(targets[rows], minlength=c)
    return [
        {"name": format_printable(name), "counts": {side: int(counts[at]) for side, counts in sides.items()}}
        for at, name in enumerate(given.dataset.class_names)
    ]


def _clusters(given: ReportInput) -> dict[str, int]:
    """How many groups of near-duplicates stay together."""
    if given.splits is None:
        return {}
    sizes = np.unique(np.asarray(given.splits.clusters), return_counts=True)[1]
    many = sizes[sizes > 1]
    return {"count": len(many), "pictures": int(many.sum()), "straddling": len(given.splits.straddling)}
