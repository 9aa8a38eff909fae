"""What was measured of the uncertainty, in a few clauses for the console, the result and the report."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.core.storage.files import format_printable
from headstart.core.types import Score, UncertaintyReport

OF_THRESHOLDS = "thresholds of cross-validation"  # subject of a score that runs of before have


def format_coverage(report: UncertaintyReport) -> str:
    """How often the sets hold the true class, over the folds where these judge each other, and in the worst class."""
    scores = {(s.name, s.subject): s for s in report.scores}
    if ("coverage", "") not in scores:
        return report.why
    covered, size = scores["coverage", ""], scores["set_size", ""]
    of_classes = [s for s in report.scores if s.name == "coverage" and s.subject not in ("", OF_THRESHOLDS)]
    parts = [
        f"{_format_share(covered)} of {covered.n:,} pictures have their class in the prediction set, {size.value:.2f} "
        f"classes each; {100 * report.coverage:g} % asked for{_format_folds(scores, 'coverage')}"
    ]
    if of_classes:
        worst = min(of_classes, key=lambda s: s.value)
        parts.append(
            f"in the worst class, `{format_printable(worst.subject)}`, {_format_share(worst)} (n = {worst.n:,})"
        )
    return "; ".join(parts)


def format_unknown(report: UncertaintyReport) -> str:
    """How many known pictures and how many of each strange kind are declined; empty where nothing was measured."""
    scores = {(s.name, s.subject): s for s in report.scores}
    return ", ".join(
        f"{_format_share(s)} of {s.n:,} {format_printable(s.subject) if s.subject else 'known pictures'}"
        f"{'' if s.subject else _format_folds(scores, 'unknown')}"
        for s in _list_declined(report)
    )


def _list_declined(report: UncertaintyReport) -> Iterator[Score]:
    return (s for s in report.scores if s.name == "unknown")


def _format_share(score: Score) -> str:
    return f"{100 * score.value:.1f} % [{100 * score.low:.1f} %, {100 * score.high:.1f} %]"


def _format_folds(scores: dict[tuple[str, str], Score], name: str) -> str:
    ends = [scores.get((f"{name}_of_folds", end)) for end in ("lowest", "highest")]
    if None in ends:
        return ""
    shares = [f"{100 * end.value:.1f} % (n = {end.n:,})" for end in ends if end is not None]
    return f", from {shares[0]} to {shares[1]} over the folds"
