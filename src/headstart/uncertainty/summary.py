"""What was measured of the uncertainty, in a few clauses for the console, the result and the report."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.core.storage.files import format_printable
from headstart.core.types import Score, UncertaintyReport, Verdict
from headstart.uncertainty import hidden_classes, ood_detection, prediction_intervals

USEFUL = 0.5  # share of strange pictures declined, below which `unknown` is said not to work
NEW_DOMAIN = "new domain"  # subject of a score that was measured there
OF_THRESHOLDS = "thresholds of cross-validation"  # subject of a score that older runs have


def format_coverage(report: UncertaintyReport) -> str:
    """How often the sets hold the true class, over the folds where these judge each other, and in the worst class."""
    scores = {(s.name, s.subject): s for s in report.scores}
    if ("coverage", "") not in scores:
        return report.why
    covered = scores["coverage", ""]
    goal = f"{100 * report.coverage:g} % asked for{_format_folds(scores, 'coverage')}"
    if report.score == prediction_intervals.SCORE:
        width = scores.get(("interval_width", ""))
        wide = f", {width.value:.4g} wide" if width else ", of any width"
        return f"{_format_share(covered)} of {covered.n:,} pictures have their number in the interval{wide}; {goal}"
    by_class = "coverage_where_present" if report.has_labels else "coverage"
    of_classes = [s for s in report.scores if s.name == by_class and s.subject not in ("", NEW_DOMAIN, OF_THRESHOLDS)]
    if report.has_labels:
        undecided = scores["open_labels", ""]
        word, first = "label", f"{_format_share(covered)} of the labels of {covered.n:,} pictures are in their set, "
        first += f"{100 * undecided.value:.1f} % stay open"
    else:
        size = scores["set_size", ""]
        word, first = "class", f"{_format_share(covered)} of {covered.n:,} pictures have their class in the "
        first += f"prediction set, {size.value:.2f} classes each"
    parts = [f"{first}; {goal}"]
    if of_classes:
        worst = min(of_classes, key=lambda s: s.value)
        parts.append(
            f"{'where the worst' if report.has_labels else 'in the worst'} {word}, "
            f"`{format_printable(worst.subject)}`, {'is there, ' * report.has_labels}{_format_share(worst)} "
            f"(n = {worst.n:,})"
        )
    if (of_target := scores.get(("coverage", NEW_DOMAIN))) is not None:
        parts.append(f"of the new domain {_format_share(of_target)} of {of_target.n:,} labelled pictures")
    elif report.has_target:
        parts.append("measured on the labelled domain: it need not hold in the new one")
    return "; ".join(parts)


def format_unknown(report: UncertaintyReport) -> str:
    """How many known pictures are declined, and of strange ones where no verdict tells; empty if none was measured."""
    scores = {(s.name, s.subject): s for s in report.scores}
    return ", ".join(
        f"{_format_share(s)} of {s.n:,} {format_printable(s.subject) if s.subject else 'known pictures'}"
        f"{'' if s.subject else _format_folds(scores, 'unknown')}"
        for s in _list_declined(report)
        if not s.subject or report.verdict is None
    )


def _list_declined(report: UncertaintyReport) -> Iterator[Score]:
    """Of known pictures, of each kind of others, and of the hidden classes together rather than one by one."""
    return (s for s in report.scores if s.name == "unknown" and not s.subject.startswith(hidden_classes.HIDDEN_CLASS))


def judge_unknown(report: UncertaintyReport, *, trained: bool) -> Verdict:
    """Does the answer `unknown` work here: yes or no where every kind, or any, lies surely on its side of a half."""
    unable = ood_detection.format_inability(report.novelty is not None, report.floors)
    if unable:
        return Verdict(code="unknown", answer="no", sentence=f"`unknown` does not work here: {unable}")
    strangers = [s for s in _list_declined(report) if s.subject]
    missed = [s for s in strangers if s.high < USEFUL]
    near = [s for s in strangers if s.subject == hidden_classes.ALL]
    is_sure = bool(near) and all(s.low > USEFUL for s in strangers)
    answer = "no" if missed else "yes" if is_sure else "unclear"
    limited = " for pictures that are like yours" if missed == near else ""
    claim = {
        "no": f"`unknown` does not work here{limited}",
        "yes": "`unknown` works here",
        "unclear": "whether `unknown` works here is unclear",
    }[answer]
    shares = [f"{_format_share(s)} of {_format_kind(s, report)}" for s in strangers]
    parts = [f"it declines {', '.join(shares)}"] if shares else []
    if not near and (report.has_labels or report.score == prediction_intervals.SCORE):
        parts.append("how it does on pictures like yours was not measured")
    elif not near:
        why = "a trained network has learnt from each" if trained else "too few pictures"
        parts.append(f"no class was left out to see: {why}")
    return Verdict(code="unknown", answer=answer, sentence=f"{claim}: {'; '.join(parts)}")


def _format_kind(score: Score, report: UncertaintyReport) -> str:
    """How many pictures of which kind; of the hidden classes also the one that is declined least."""
    if score.subject != hidden_classes.ALL:
        return f"{score.n:,} {format_printable(score.subject)}"
    of_classes = [s for s in report.scores if s.name == "unknown" and s.subject.startswith(hidden_classes.HIDDEN_CLASS)]
    least = min(of_classes, key=lambda s: s.value)
    name = format_printable(least.subject.removeprefix(hidden_classes.HIDDEN_CLASS))
    return (
        f"{score.n:,} pictures of {len(of_classes):,} classes, each left out in turn (least of `{name}`: "
        f"{_format_share(least)}, n = {least.n:,})"
    )


def _format_share(score: Score) -> str:
    return f"{100 * score.value:.1f} % [{100 * score.low:.1f} %, {100 * score.high:.1f} %]"


def _format_folds(scores: dict[tuple[str, str], Score], name: str) -> str:
    ends = [scores.get((f"{name}_of_folds", end)) for end in ("lowest", "highest")]
    if None in ends:
        return ""
    shares = [f"{100 * end.value:.1f} % (n = {end.n:,})" for end in ends if end is not None]
    return f", from {shares[0]} to {shares[1]} over the folds"
