"""The domain that the model is for: how its pictures differ from the labelled ones, what was adapted, whom it hurts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.errors import UsageError
from headstart.core.storage.files import format_printable
from headstart.core.types import (
    NO_ADAPTATION,
    AdaptationTrial,
    Dataset,
    DomainAdaptation,
    DomainShift,
    Score,
    TargetDomain,
)
from headstart.domain_adaptation.shift.measure_shift import ALPHA, LABELLED
from headstart.reporting import formatting
from headstart.reporting.charts import ChartPoint, draw_score_by_place
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput

CLASSES = 25  # whose shares are shown, those that changed most
PAIRS = 6  # of classes between which answers moved
ESTIMATES = {
    "ATC": "average thresholded confidence (Garg 2022)",
    "DoC": "difference of confidences (Guillory 2021)",
    LABELLED: "measured on new pictures with a label",
}


def make_domain_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `domain.html` shows; None for a run without pictures of another domain."""
    shift = report.shift
    if shift is None:
        return None
    return {
        "shift": shift,
        "chart": _draw_levels(shift),
        "levels": shift.levels,
        "is_shifted": shift.verdict.answer == "yes",
        "shares": _list_shares(shift),
        "more_classes": max(0, len(shift.target_shares) - CLASSES),
        "accuracy": [
            ("the labelled domain, cross-validated", shift.source_accuracy),
            *((f"the new domain: {ESTIMATES.get(s.subject, s.subject)}", s) for s in shift.accuracy),
        ],
        "caution": _format_caution(shift),
        "farthest": _list_farthest(shift, report),
        "copies": len(report.target.copies) if report.target else 0,
        "adaptation": None if report.adaptation is None else _adaptation_view(report.adaptation, report),
    }


def format_domain_note(shift: DomainShift) -> str:
    """One sentence for wherever a score of the labelled domain stands alone."""
    measured = next((s for s in shift.accuracy if s.subject == LABELLED), None)
    best = measured or shift.accuracy[0]
    number = f"{best.value:.3f} [{best.low:.3f}, {best.high:.3f}]"
    how = (
        f"measured on {best.n:,} of them with a label" if measured else f"an estimate without labels, by {best.subject}"
    )
    return (
        f"scores are of the labelled domain; on the {shift.n_target:,} new pictures accuracy is about {number} before "
        f"any adaptation ({how})"
    )


def _draw_levels(shift: DomainShift) -> str:
    several = len({level.feature.partition("@")[0] for level in shift.levels}) > 1
    names = [level.feature if several else level.feature.rpartition("@")[2] for level in shift.levels]
    marks = [
        ChartPoint(
            x=place,
            y=level.auc.value,
            low=level.auc.low,
            high=level.auc.high,
            label="",
            kind="chosen" if level.p < ALPHA else "beaten",
        )
        for place, level in enumerate(shift.levels)
    ]
    return draw_score_by_place(
        marks,
        names,
        name="domain-levels",
        x_label="feature level",
        y_label="ROC AUC of telling the domains apart",
        title="How well a classifier tells new pictures from labelled ones at each feature level.",
        level=("guessing", 0.5),
    )


def _list_shares(shift: DomainShift) -> list[tuple[str, float, Score]]:
    rows = [(format_printable(s.subject), float(shift.source_shares[c]), s) for c, s in enumerate(shift.target_shares)]
    return sorted(rows, key=lambda row: -abs(row[2].value - row[1]))[:CLASSES]


def _format_caution(shift: DomainShift) -> str:
    best = next(s for s in shift.accuracy if s.subject != LABELLED)
    errors = best.method.partition("; ")[2]
    return (
        "An estimate takes the model's confidence to mean the same in both domains. It was tried on held-out pictures "
        f"that were shifted on purpose, about as far as the domains are apart ({errors}); the largest error widens the "
        "interval. A model that is surely wrong can be worse still: label some new pictures to know"
    )


def _list_farthest(shift: DomainShift, report: ReportInput) -> list[Any]:
    if report.target is None:
        return []
    with Thumbnails(report.target.pictures, report.job.no_thumbnails) as thumbs:
        notes = (f"log-odds {formatting.format_signed(float(shift.strangeness[row]))}" for row in shift.farthest)
        pictures = list(map(thumbs.make_thumbnail, shift.farthest, notes))
        [picture.data_url for picture in pictures]  # before the threads end
    return pictures


def _adaptation_view(adaptation: DomainAdaptation, report: ReportInput) -> dict[str, Any]:
    names = [format_printable(name) for name in report.dataset.class_names]
    before, after = (np.asarray(p).argmax(axis=1) for p in (adaptation.target_before, adaptation.target_after))
    moved = np.flatnonzero(before != after)
    pairs = Counter(zip(before[moved].tolist(), after[moved].tolist(), strict=True)).most_common(PAIRS)
    return {
        "chosen": _find_title(adaptation.method),
        "is_adapted": adaptation.method != NO_ADAPTATION,
        "why": adaptation.why,
        "rule": "labels of new pictures" if adaptation.rule == "labels" else adaptation.rule.replace("_", " "),
        "trials": [(_find_title(trial.method), trial, _find_accuracy(trial)) for trial in adaptation.trials],
        "has_labels": any(trial.target for trial in adaptation.trials),
        "changed": len(moved),
        "of": len(before),
        "pairs": [(names[a], names[b], count) for (a, b), count in pairs],
        "hurt": _list_hurt(before, after, report.target, report.dataset),
        "harm": format_harm(adaptation),
    }


def _find_title(method: str) -> str:
    if method == NO_ADAPTATION:
        return "no adaptation"
    try:
        title: str = registry.load_plugin("adaptation_methods", method).title
    except UsageError:  # of an adapted trunk, or a package that is not installed here
        return method.replace("_", " ")
    return title


def _find_accuracy(trial: AdaptationTrial) -> Score | None:
    return next((s for s in trial.target if s.name == "accuracy"), None)


def _list_hurt(
    before: np.ndarray, after: np.ndarray, target: TargetDomain | None, data: Dataset
) -> list[tuple[str, int, int, int]]:
    """Class by class, of labelled target pictures: how many, how many turned right, how many turned wrong."""
    if target is None or not len(target.labelled) or not (before != after).any():
        return []
    y = np.asarray(target.labels)
    is_mended, is_hurt = (before != y) & (after == y), (before == y) & (after != y)
    rows = list[tuple[str, int, int, int]]()
    for c in np.unique(y[target.labelled]).tolist():
        mended, hurt = (int(part[y == c].sum()) for part in (is_mended, is_hurt))
        rows.append((format_printable(data.class_names[c]), int((y == c).sum()), mended, hurt))
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def format_harm(adaptation: DomainAdaptation) -> str:
    """Negative adaptation in one sentence."""
    judged = [t for t in adaptation.trials if t.method != NO_ADAPTATION and t.difference is not None]
    worse = [t for t in judged if t.difference is not None and t.difference.high < 0]
    by = "labelled new pictures" if adaptation.rule == "labels" else "the rule"
    plain = next((t for t in adaptation.trials if t.method == NO_ADAPTATION), None)
    chosen = next((t for t in adaptation.trials if t.method == adaptation.method), None)
    lost = "" if plain is None or chosen is None or chosen is plain else _format_lost(plain, chosen)
    named = f": {formatting.format_list([_find_title(t.method) for t in worse])}" if worse else ""
    return f"negative adaptation: by {by} {len(worse)} of {len(judged)} ways would make the model worse{named}{lost}"


def _format_lost(plain: AdaptationTrial, chosen: AdaptationTrial) -> str:
    """What the adapted model is worth where it learnt, and where there are labels in the new domain too."""
    text = (
        f"; on held-out pictures of the labelled domain as they are, accuracy goes from {plain.source.value:.3f} to "
        f"{chosen.source.value:.3f}"
    )
    first, last = _find_accuracy(plain), _find_accuracy(chosen)
    if first is not None and last is not None:
        text += f", on labelled new ones from {first.value:.3f} to {last.value:.3f}"
    return text
