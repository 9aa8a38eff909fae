"""How sure it is: certainty before and after the temperature, prediction sets, and the answer `unknown`."""

from __future__ import annotations

from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Score, UncertaintyReport
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput
from headstart.uncertainty import ood_detection

CERTAINTY = ("ece", "log_loss", "brier")
SETS = ("coverage", "set_size", "singletons", "empty_sets")
MANY = 25  # classes; above, the worst covered come first and alone


def view(given: ReportInput) -> dict[str, Any] | None:
    """What the template `uncertainty.html` shows; None for a run that measured none."""
    found = given.uncertainty
    if found is None:
        return None
    of = {(s.name, s.subject): s for s in found.scores}
    tempered = given.adapted.calibrated if given.adapted else None
    return {
        "lead": _lead(found, of),
        "split": formatting.SPLITS.get(found.split, found.split),
        "tempered": tempered.why if tempered else "",
        "certainty": [(name, of.get((name, "before")), of.get((name, "after"))) for name in CERTAINTY],
        "why": found.why,
        "sets": [(name, of[name, ""]) for name in SETS if (name, "") in of],
        "check": next((s for s in found.scores if s.name == "coverage" and s.subject.startswith("thresholds")), None),
        "by_class": _by_class(found, given.dataset.class_names),
        "measure": _measure(found),
        "unknown": _unknown(found, of),
        "asked": formatting.percent(found.coverage),
    }


def _lead(found: UncertaintyReport, of: dict[tuple[str, str], Score]) -> str:
    parts = []
    if ("coverage", "") in of:
        covered, size = of["coverage", ""], of["set_size", ""]
        parts.append(
            f"Of {covered.n:,} pictures, {formatting.percent(covered.value)} have their true class in the prediction "
            f"set, on average over re-draws of those that set the thresholds; {formatting.percent(found.coverage)} "
            f"were asked for. A set holds {formatting.number(size.value, 2)} classes on average"
        )
    if ("unknown", "") in of:
        own = of["unknown", ""]
        others = [s for s in found.scores if s.name == "unknown" and s.subject]
        told = [f"{formatting.percent(s.value)} of {s.subject}" for s in others]
        parts.append(
            f"The model declines to answer {formatting.percent(own.value)} of the pictures of your classes"
            + (f", and {' and '.join(told)} that it should not know" if told else "")
        )
    return ". ".join(parts)


def _by_class(found: UncertaintyReport, names: tuple[str, ...]) -> list[tuple[str, Score]]:
    scores = [s for s in found.scores if s.name == "coverage" and s.subject in names]
    if len(names) > MANY:
        scores = sorted(scores, key=lambda s: s.value)[:MANY]
    return [(format_printable(s.subject), s) for s in scores]


def _measure(found: UncertaintyReport) -> str:
    of = found.novelty
    if of is None:
        return ood_detection.format_inability(False, found.floors)
    what = {
        "nearest": "the distance to the fifth nearest training picture",
        "mahalanobis": "the distance to the nearest class, in units of the spread inside classes",
    }[of.method]
    by = " and ".join(f"{s.subject} {formatting.number(s.value)}" for s in of.tried if s.n)
    chosen = f" It told hidden classes best on average ({by})." if by else ""
    return (
        f"How strange a picture is, is {what}, among what the head sees.{chosen} Beyond the distance within which "
        f"{formatting.percent(of.familiar)} of pictures of your classes lie, it is unknown; so is a picture whose "
        "prediction set is empty"
    )


def _unknown(found: UncertaintyReport, of: dict[tuple[str, str], Score]) -> list[dict[str, Any]]:
    subjects = dict.fromkeys(s.subject for s in found.scores if s.name in ("unknown", "novelty_auc"))
    return [
        {
            "subject": format_printable(subject) if subject else "pictures of your classes",
            "unknown": of.get(("unknown", subject)),
            "area": of.get(("novelty_auc", subject)),
        }
        for subject in sorted(subjects, key=lambda name: (name.startswith("hidden class"), bool(name)))
    ]
