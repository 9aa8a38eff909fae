"""The audit: every check with how it ended, the pictures it is about, and every file that is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Finding, Outcome
from headstart.data.strata import find_strata
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput

STATUS = ("issue", "tip", "passed", "skipped", "not_applicable", "ignored")  # in their order on the page
FINDINGS = 40  # shown for a check
FINDING = 6  # thumbnails for a finding
PAIRS = 6  # for a check
CHECKS = 90  # thumbnails of all checks together


def make_audit_view(report: ReportInput, thumbs: Thumbnails) -> dict[str, Any]:
    """What the template `audit.html` shows."""
    outcomes = [outcome for audit in report.audits for outcome in audit.outcomes]
    outcomes.sort(key=lambda o: (STATUS.index(o.status), o.code))
    budget = ThumbnailBudget(CHECKS)
    return {
        "outcomes": [_outcome_view(o, report.dataset, thumbs, budget) for o in outcomes],
        "counts": Counter(o.status.replace("_", " ") for o in outcomes),
        "excused": list_skipped(report.dataset),
        "excused_count": len(report.dataset.excused),
        "notes": _count_texts(filter(None, report.dataset.facts.notes)),
        "classes": _class_counts(report),
        "word": find_strata(report.dataset).word,
        "splits": report.splits,
        "clusters": _count_clusters(report),
    }


@dataclass
class ThumbnailBudget:
    """How many thumbnails may still be shown."""

    left: int

    def take_thumbnails(self, most: int) -> int:
        """As many of `most` as are left."""
        granted = min(most, self.left)
        self.left -= granted
        return granted


def _outcome_view(outcome: Outcome, data: Dataset, thumbs: Thumbnails, budget: ThumbnailBudget) -> dict[str, Any]:
    shown = budget.take_thumbnails(2 * min(PAIRS, len(outcome.links))) // 2 if outcome.status in ("issue", "tip") else 0
    most = 0 if shown else FINDING  # a check that shows its pairs shows them only
    return {
        "outcome": outcome,
        "findings": [
            _finding_view(f, outcome, data, thumbs, budget.take_thumbnails(min(most, len(f.rows))))
            for f in outcome.findings[:FINDINGS]
        ],
        "more": max(0, len(outcome.findings) - FINDINGS),
        "pairs": [(thumbs.make_thumbnail(a), thumbs.make_thumbnail(b)) for a, b in outcome.links[:shown]],
    }


def _finding_view(finding: Finding, outcome: Outcome, data: Dataset, thumbs: Thumbnails, shown: int) -> dict[str, Any]:
    """A finding; its sentence is left out where it only repeats that of the check."""
    names = [format_printable(uri) for uri in finding.uris or (data.uris[row] for row in finding.rows)]
    return {
        "sentence": "" if finding.sentence == outcome.why else finding.sentence,
        "fix": finding.fix,
        "pictures": [thumbs.make_thumbnail(row) for row in finding.rows[:shown]],
        "files": names[:FINDINGS],
        "rest": max(0, len(names) - FINDINGS),
    }


def list_skipped(data: Dataset) -> list[dict[str, Any]]:
    """The files that are not used, by `reason` in words, the most frequent first."""
    return [
        {
            "reason": formatting.REASONS.get(reason, reason.replace("_", " ")),
            "files": [file for file in data.excused if file.reason == reason],
        }
        for reason, _ in _count_texts(file.reason for file in data.excused)
    ]


def _count_texts(texts: Iterable[str]) -> list[tuple[str, int]]:
    """How often each is there, the most frequent first."""
    return sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))


def _class_counts(report: ReportInput) -> list[dict[str, Any]]:
    strata = find_strata(report.dataset)
    sides = {"all": strata.count_rows(np.arange(len(strata.labels)))}
    for side in ("train", "val", "test") if report.splits else ():
        rows = np.asarray(getattr(report.splits, side))
        if len(rows):
            sides[side] = strata.count_rows(rows)
    return [
        {"name": format_printable(name), "counts": {side: int(counts[position]) for side, counts in sides.items()}}
        for position, name in enumerate(strata.names)
    ]


def _count_clusters(report: ReportInput) -> dict[str, int]:
    if report.splits is None:
        return {}
    sizes = np.unique(np.asarray(report.splits.clusters), return_counts=True)[1]
    groups = sizes[sizes > 1]
    return {"count": len(groups), "pictures": int(groups.sum()), "straddling": len(report.splits.straddling)}
