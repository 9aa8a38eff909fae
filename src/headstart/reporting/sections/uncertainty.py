"""How sure it is: certainty before and after the temperature, prediction sets, and the answer `unknown`."""

from __future__ import annotations

from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation, Score, UncertaintyReport
from headstart.reporting import formatting
from headstart.reporting.report_data import ReportInput
from headstart.uncertainty import ood_detection
from headstart.uncertainty.summary import NEW_DOMAIN, format_coverage, format_unknown

CERTAINTY = ("ece", "log_loss", "brier")
SETS = ("coverage", "open_labels", "interval_width", "set_size", "singletons", "empty_sets")
OF_LABEL = ("coverage", "coverage_where_present", "open_labels")
MANY = 25  # classes; above, the worst covered come first and alone


def make_uncertainty_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `uncertainty.html` shows; None for a run that measured none."""
    uncertainty = report.uncertainty
    if uncertainty is None:
        return None
    by_name = {(s.name, s.subject): s for s in uncertainty.scores}
    tempered = report.adapted.calibrated if report.adapted else None
    measured_on = next((s.split for s in uncertainty.scores if s.name in CERTAINTY), uncertainty.split)
    return {
        "lead": _format_lead(uncertainty),
        "split": formatting.SPLITS.get(measured_on, measured_on),
        "certainty_of": _format_certainty_source(report.evaluation),
        "tempered": tempered.why if tempered else "",
        "numbers": report.dataset.learning_task.is_number,
        "certainty": [(name, by_name.get((name, "before")), by_name.get((name, "after"))) for name in CERTAINTY],
        "why": uncertainty.why,
        "new_domain": by_name.get(("coverage", NEW_DOMAIN)),
        "sets": [(name, by_name[name, ""]) for name in SETS if (name, "") in by_name],
        "by_class": [] if uncertainty.has_labels else _coverage_by_class(uncertainty, report.dataset.class_names),
        "by_label": [
            (name, [by_name.get((measure, score.subject)) for measure in OF_LABEL])
            for name, score in _coverage_by_class(uncertainty, report.dataset.class_names)
            if uncertainty.has_labels
        ],
        "measure": _format_measure(uncertainty),
        "unknown": _unknown_shares(uncertainty, by_name),
        "asked": formatting.format_percent(uncertainty.coverage),
    }


def _format_certainty_source(evaluation: Evaluation | None) -> str:
    """How these scores lie to those of the result."""
    if evaluation is None or evaluation.split != "cv":
        return "With the temperature they are those of the result."
    if evaluation.nested:
        return "The result's own scores are of nested cross-validation, by whole searches: they are others."
    return "With the temperature they are those of the result: other pictures set the temperature of each."


def _format_lead(uncertainty: UncertaintyReport) -> str:
    parts = [format_coverage(uncertainty), format_unknown(uncertainty)]
    return ". ".join(part if at == 0 else f"Declined as unknown: {part}" for at, part in enumerate(parts) if part)


def _coverage_by_class(uncertainty: UncertaintyReport, names: tuple[str, ...]) -> list[tuple[str, Score]]:
    scores = [s for s in uncertainty.scores if s.name == "coverage" and s.subject in names]
    if len(names) > MANY:
        scores = sorted(scores, key=lambda s: s.value)[:MANY]
    return [(format_printable(s.subject), s) for s in scores]


def _format_measure(uncertainty: UncertaintyReport) -> str:
    detector = uncertainty.novelty
    if detector is None:
        return ood_detection.format_inability(False, uncertainty.floors)
    distance = {
        "nearest": "the distance to the fifth nearest training picture",
        "mahalanobis": "the distance to the nearest class, in units of the spread inside classes",
    }[detector.method]
    by = " and ".join(f"{s.subject} {formatting.format_number(s.value)}" for s in detector.tried if s.n)
    chosen = f" It recognised hidden classes best on average ({by})." if by else ""
    return (
        f"How strange a picture is, is {distance}, among what the head sees.{chosen} Beyond the distance within which "
        f"{formatting.format_percent(detector.familiar)} of pictures of your classes lie, it is unknown; so is a "
        "picture whose prediction set is empty"
    )


def _unknown_shares(uncertainty: UncertaintyReport, by_name: dict[tuple[str, str], Score]) -> list[dict[str, Any]]:
    subjects = dict.fromkeys(s.subject for s in uncertainty.scores if s.name in ("unknown", "novelty_auc"))
    return [
        {
            "subject": format_printable(subject) if subject else "pictures of your classes",
            "unknown": by_name.get(("unknown", subject)),
            "area": by_name.get(("novelty_auc", subject)),
        }
        for subject in sorted(subjects, key=lambda name: (name.startswith("hidden class"), bool(name)))
    ]
