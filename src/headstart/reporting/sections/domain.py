"""The domain that the model is for: how its pictures differ from the labelled ones, what was adapted, whom it hurts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from headstart.core.types.domain import ENOUGH_LABELS
from headstart.domain_adaptation.choice.guarded_choice import LABELS, MEASURES
from headstart.domain_adaptation.shift.measure_shift import ALPHA, LABELLED
from headstart.domain_adaptation.shift.unlabelled_accuracy import UNTESTED
from headstart.reporting import formatting
from headstart.reporting.charts import ChartPoint, ClassShare, draw_score_by_place, draw_shares
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput
from headstart.reporting.sections import audit

CLASSES = 25  # whose shares are shown, those that changed most
DRAWN_CLASSES = 8  # of these in the chart
PAIRS = 6  # of classes between which answers moved
PICTURES = 12  # whose answer changed, of each kind
ESTIMATES = {
    "ATC": "average thresholded confidence (Garg 2022)",
    "DoC": "difference of confidences (Guillory 2021)",
    LABELLED: "measured on new pictures with a label",
}
TRUNK_TITLES = {
    "adabn": "BatchNorm statistics taken anew (AdaBN)",
    "adabn_lower": "BatchNorm statistics of lower layers taken anew (AdaBN)",
    "dann": "domain-adversarial training (DANN)",
    "mmd": "training with matched means (MMD)",
    "consistency": "training for consistent answers",
}
LOOKS = {
    "yes": "the new pictures differ from the labelled ones",
    "no": "the new pictures look like the labelled ones",
    "unclear": "the new pictures are too few to say whether they differ from the labelled ones",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTile:
    """What is known of the new domain, on the first screen."""

    name: str
    value: str
    note: str
    band: Score | None = None  # drawn from 0 to 1
    is_measured: bool = False  # else a band without a point


def make_domain_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `domain.html` shows; None for a run without pictures of another domain."""
    shift, adaptation = report.shift, report.adaptation
    if shift is None:
        return None
    farthest, hurt, moved = _make_pictures(shift, report)
    return {
        "shift": shift,
        "lead": format_domain_lead(shift, adaptation),
        "tiles": _make_tiles(shift, adaptation),
        "scope": format_scope(adaptation),
        "others": "prediction sets and `unknown` are of the adapted model" if _is_adapted(adaptation) else "",
        "looks": LOOKS[shift.verdict.answer],
        "levels_chart": _draw_levels(shift),
        "shares_chart": _draw_shares(shift),
        "is_shifted": shift.verdict.answer == "yes",
        "shares": _list_shares(shift)[:CLASSES],
        "more_classes": max(0, len(shift.target_shares) - CLASSES),
        "accuracy": _list_accuracy(shift, adaptation),
        "estimates": [s for s in shift.accuracy if s.subject != LABELLED],
        "caution": _format_caution(shift),
        "has_labels": any(s.subject == LABELLED for s in shift.accuracy),
        "farthest": farthest,
        "hurt_pictures": hurt,
        "moved_pictures": moved,
        "copies": len(report.target.copies) if report.target else 0,
        "skipped": audit.list_skipped(report.target.pictures) if report.target else [],
        "adaptation": None if adaptation is None else _adaptation_view(adaptation, report),
    }


def format_scope(adaptation: DomainAdaptation | None) -> str:
    """Which domain the scores of a run with a new one are of, and which model."""
    return "labelled domain, before adaptation" if _is_adapted(adaptation) else "labelled domain"


def format_domain_lead(shift: DomainShift, adaptation: DomainAdaptation | None) -> str:
    """The verdict in one sentence: whether the domains differ, what that costs, what was done about it."""
    looks = LOOKS[shift.verdict.answer]
    if shift.label_verdict.answer == "yes":
        looks += ", and classes have other shares among them"
    source = formatting.format_percent(shift.source_accuracy.value)
    text = f"{looks}; accuracy on them is {_format_estimate(_find_best_estimate(shift))}, {source} on the labelled"
    if adaptation is None:
        return text
    if not _is_adapted(adaptation):
        return f"{text}; nothing is adapted, since no way is better beyond doubt"
    adapted = _find_adapted_accuracy(adaptation)
    after = "the model is adapted to them" if adapted is None else f"after adaptation it is {_format_interval(adapted)}"
    return f"{text}; {after}: {find_title(adaptation.method)}"


def format_domain_note(shift: DomainShift, adaptation: DomainAdaptation | None) -> str:
    """One sentence for wherever a score of the labelled domain stands alone."""
    estimate, after = _format_estimate(_find_best_estimate(shift)), _find_adapted_accuracy(adaptation)
    count = f"{shift.n_target:,} new pictures"
    if not _is_adapted(adaptation):
        nothing = "" if adaptation is None else "; nothing is adapted, since no way is better beyond doubt"
        return f"scores are of the labelled domain; on the {count} accuracy is {estimate}{nothing}"
    now = "not known: none has a label" if after is None else f"{_format_interval(after)} ({after.n:,} with a label)"
    return (
        f"the model is adapted to {count}, and scores are of the labelled domain before that; on the new ones accuracy "
        f"was {estimate} before it, and is now {now}"
    )


def format_estimates(shift: DomainShift) -> str:
    """All estimates of the accuracy in the new domain, before anything is adapted."""
    estimates = [s for s in shift.accuracy if s.subject != LABELLED]
    points = [f"{s.value:.3f} by {ESTIMATES.get(s.subject, s.subject)}" for s in estimates]
    scores = [_format_estimate(estimates[0])]
    scores += [f"in it {formatting.format_list(points)}"] if shift.accuracy[0].method != UNTESTED else []
    scores += [f"{_format_interval(s)} {ESTIMATES[LABELLED]}" for s in shift.accuracy if s.subject == LABELLED]
    return f"accuracy there before any adaptation: {', '.join(scores)}"


def _make_tiles(shift: DomainShift, adaptation: DomainAdaptation | None) -> list[DomainTile]:
    """Accuracy on the new pictures, and what was adapted to them."""
    best, is_adapted = _find_best_estimate(shift), _is_adapted(adaptation)
    name = "accuracy, before adaptation" if is_adapted else "accuracy"
    if best.subject == LABELLED:
        tiles = [_make_measured_tile(name, best)]
    elif best.method == UNTESTED:
        note = "no new picture has a label, and the confidence of a trained network tells nothing"
        tiles = [DomainTile(name=name, value="not known", note=note)]
    else:
        note = f"a 95 % band, estimated without labels from {shift.n_target:,} pictures"
        band = f"{100 * best.low:.0f} % to {100 * best.high:.0f} %"
        tiles = [DomainTile(name=name, value=band, note=note, band=best)]
    if adaptation is None:
        return [*tiles, DomainTile(name="adaptation", value="none", note="as asked: the shift was measured alone")]
    if not is_adapted:
        note = f"none of {len(adaptation.trials) - 1} ways is better beyond doubt"
        return [*tiles, DomainTile(name="adaptation", value="none", note=note)]
    after, title = _find_adapted_accuracy(adaptation), find_title(adaptation.method)
    name = "accuracy, after adaptation"
    if after is None:
        return [*tiles, DomainTile(name=name, value="not known", note=f"{title}; no new picture has a label to tell")]
    note = f"{title}; the same labels chose it: optimistic" if adaptation.rule == LABELS else title
    return [*tiles, _make_measured_tile(name, after, note)]


def _make_measured_tile(name: str, score: Score, note: str = "") -> DomainTile:
    value, low, high = map(formatting.format_percent, (score.value, score.low, score.high))
    note = "; ".join(filter(None, (f"95 % interval {low} to {high}, n = {score.n:,} with a label", note)))
    return DomainTile(name=name, value=value, note=note, band=score, is_measured=True)


def _find_best_estimate(shift: DomainShift) -> Score:
    """What labels say, where there are any."""
    return next((s for s in shift.accuracy if s.subject == LABELLED), shift.accuracy[0])


def _is_adapted(adaptation: DomainAdaptation | None) -> bool:
    return adaptation is not None and adaptation.method != NO_ADAPTATION


def _find_adapted_accuracy(adaptation: DomainAdaptation | None) -> Score | None:
    """On labelled pictures of the new domain, where something was adapted."""
    if adaptation is None or not _is_adapted(adaptation):
        return None
    return next((_find_accuracy(t) for t in adaptation.trials if t.status == "chosen"), None)


def _format_interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _format_estimate(score: Score) -> str:
    """What was measured with its interval; of what was estimated the band alone, for a point in it would mislead."""
    if score.subject == LABELLED:
        return f"{_format_interval(score)} ({score.n:,} with a label)"
    if score.method == UNTESTED:
        return "not known (the confidence of a trained network tells nothing without labels)"
    return f"between {100 * score.low:.0f} % and {100 * score.high:.0f} % (estimated without labels)"


def _list_accuracy(shift: DomainShift, adaptation: DomainAdaptation | None) -> list[tuple[str, Score]]:
    """What was measured."""
    rows = [("the labelled domain, cross-validated", shift.source_accuracy)]
    rows += [(f"the new domain, {ESTIMATES[LABELLED]}", s) for s in shift.accuracy if s.subject == LABELLED]
    after = _find_adapted_accuracy(adaptation)
    return rows if after is None else [*rows, ("the same after adaptation", after)]


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


def _draw_shares(shift: DomainShift) -> str:
    rows = [(name, share, score) for name, share, score in _list_shares(shift)[:DRAWN_CLASSES]]
    title = "Shares of the classes in the labelled domain and, estimated, in the new one."
    return draw_shares(
        [
            ClassShare(name=name, source=share, target=score.value, low=score.low, high=score.high)
            for name, share, score in rows
        ],
        name="domain-shares",
        title=title,
    )


def _list_shares(shift: DomainShift) -> list[tuple[str, float, Score]]:
    rows = [(format_printable(s.subject), float(shift.source_shares[c]), s) for c, s in enumerate(shift.target_shares)]
    return sorted(rows, key=lambda row: -abs(row[2].value - row[1]))


def _format_caution(shift: DomainShift) -> str:
    best = next(s for s in shift.accuracy if s.subject != LABELLED)
    if best.method == UNTESTED:
        return (
            "Estimates take the model's confidence to mean the same in both domains. The network has learnt the "
            "labelled pictures, so that this cannot be tried, and the band claims nothing. Label some new pictures"
        )
    errors = best.method.partition("; ")[2]
    return (
        f"The band is as wide as estimates were off on labelled pictures that were shifted on purpose ({errors}). It "
        "takes the model's confidence to mean the same in both domains: where it is sure and wrong, accuracy lies "
        "below. Label some new pictures to know"
    )


def _make_pictures(shift: DomainShift, report: ReportInput) -> tuple[list[Any], list[Any], list[Any]]:
    """Thumbnails: those farthest away, labelled ones that turned wrong, and unlabelled ones with another answer."""
    target, adaptation = report.target, report.adaptation
    if target is None:
        return [], [], []
    with Thumbnails(target.pictures, report.job.no_thumbnails) as thumbs:
        odds = np.exp(np.asarray(shift.strangeness, np.float64)[shift.farthest])
        notes = (f"{formatting.format_percent(share)} new" for share in (odds / (1 + odds)).tolist())
        farthest = list(map(thumbs.make_thumbnail, shift.farthest, notes))
        hurt, moved = list[Any](), list[Any]()
        if adaptation is not None:
            names = [format_printable(name) for name in report.dataset.class_names]
            plain, after = _choose_answers(adaptation)
            y, surest = np.asarray(target.labels), np.argsort(-np.asarray(adaptation.target_after).max(axis=1))
            for rows, shown in (((plain == y) & (after != y), hurt), ((y < 0) & (plain != after), moved)):
                for row in surest[rows[surest]][:PICTURES].tolist():
                    shown.append((thumbs.make_thumbnail(row), names[plain[row]], names[after[row]]))
        [each.data_url for each in (*farthest, *(row[0] for row in (*hurt, *moved)))]  # before the threads end
    return farthest, hurt, moved


def _choose_answers(adaptation: DomainAdaptation) -> tuple[np.ndarray, np.ndarray]:
    """(T,) int64 answers to target pictures, without adaptation and with it."""
    plain, after = (np.asarray(p).argmax(axis=1) for p in (adaptation.target_before, adaptation.target_after))
    return plain, after


def _adaptation_view(adaptation: DomainAdaptation, report: ReportInput) -> dict[str, Any]:
    names = [format_printable(name) for name in report.dataset.class_names]
    plain, after = _choose_answers(adaptation)
    moved, hurt = np.flatnonzero(plain != after), _list_hurt(plain, after, report.target, report.dataset)
    pairs = Counter(zip(plain[moved].tolist(), after[moved].tolist(), strict=True)).most_common(PAIRS)
    return {
        "is_adapted": _is_adapted(adaptation),
        "measure": MEASURES.get(adaptation.rule, format_rule(adaptation)),
        "trials": [(find_title(t.method), _name_status(t), t, _find_accuracy(t)) for t in adaptation.trials],
        "tied": sum(_name_status(t) == "tied" for t in adaptation.trials),
        "has_labels": any(trial.target for trial in adaptation.trials),
        "changed": len(moved),
        "of": len(plain),
        "pairs": [(names[a], names[b], count) for (a, b), count in pairs],
        "hurt": hurt,
        "hurts": _format_hurt(hurt),
        "sentences": list_sentences(adaptation),
    }


def list_sentences(adaptation: DomainAdaptation) -> list[str]:
    """Why it was chosen, and what it costs."""
    facts = (adaptation.why, format_surpassed(adaptation), format_lost(adaptation), format_harm(adaptation))
    return [fact for fact in facts if fact]


def _name_status(trial: AdaptationTrial) -> str:
    """How a way compares with no adaptation."""
    if trial.status in ("chosen", "failed"):
        return trial.status
    if trial.difference is None:
        return "beaten"
    if trial.why:
        return "refused"
    if trial.difference.high < 0:
        return "worse"
    return "better, not best" if trial.difference.low > 0 else "tied"


def _name_trial(trial: AdaptationTrial, adaptation: DomainAdaptation) -> str:
    """A way to adapt in words, with its setting where the same way was tried with others."""
    title = find_title(trial.method)
    if sum(other.method == trial.method for other in adaptation.trials) == 1:
        return title
    return f"{title}, {', '.join(f'{name} {value}' for name, value in trial.params.items())}"


def find_title(method: str) -> str:
    """A way to adapt in words."""
    if method == NO_ADAPTATION:
        return "no adaptation"
    try:
        title: str = registry.load_plugin("adaptation_methods", method).title
    except UsageError:  # of an adapted trunk, or a package that is not installed here
        return TRUNK_TITLES.get(method, method.replace("_", " "))
    return title


def _find_accuracy(trial: AdaptationTrial) -> Score | None:
    return next((s for s in trial.target if s.name == "accuracy"), None)


def _list_hurt(
    plain: np.ndarray, after: np.ndarray, target: TargetDomain | None, data: Dataset
) -> list[tuple[str, int, int, int]]:
    """Class by class, of labelled target pictures: how many, how many turned right, how many turned wrong."""
    if target is None or not len(target.labelled) or not (plain != after).any():
        return []
    y = np.asarray(target.labels)
    is_mended, is_hurt = (plain != y) & (after == y), (plain == y) & (after != y)
    rows = list[tuple[str, int, int, int]]()
    for c in np.unique(y[target.labelled]).tolist():
        mended, hurt = (int(part[y == c].sum()) for part in (is_mended, is_hurt))
        rows.append((format_printable(data.class_names[c]), int((y == c).sum()), mended, hurt))
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def _format_hurt(rows: Sequence[tuple[str, int, int, int]]) -> str:
    """Whom the adaptation makes worse off, of those whom labels tell of."""
    worse = [
        f"`{name}` ({hurt:,} of {n:,} turned wrong, {mended:,} right)"
        for name, n, mended, hurt in rows
        if hurt > mended
    ]
    if not rows:
        return ""
    return f"it hurts {formatting.format_list(worse)}" if worse else "by the labelled ones it hurts no class"


def format_harm(adaptation: DomainAdaptation) -> str:
    """Negative adaptation in one sentence."""
    judged = [t for t in adaptation.trials if t.method != NO_ADAPTATION and t.difference is not None]
    worse = [t for t in judged if t.difference is not None and t.difference.high < 0]
    count, rule = f"{len(worse)} of {len(judged)} ways", format_rule(adaptation)
    text = f"negative adaptation: by {rule}, {count} would be worse than none"
    titles = dict.fromkeys(find_title(trial.method) for trial in worse)
    return f"{text}: {'; '.join(titles)}" if titles else text


def format_rule(adaptation: DomainAdaptation) -> str:
    """What decided, in words."""
    return "labels of new pictures" if adaptation.rule == "labels" else adaptation.rule.replace("_", " ")


def format_surpassed(adaptation: DomainAdaptation) -> str:
    """Why a way that is right on more labelled new pictures was not chosen; empty where there is none."""
    scores = [(s, t) for t in adaptation.trials if not t.why and (s := _find_accuracy(t)) is not None]
    chosen = next((s for s, t in scores if t.status == "chosen"), None)
    if chosen is None:
        return ""
    best, trial = max(scores, key=lambda pair: pair[0].value)
    if best.value <= chosen.value:
        return ""
    text = (
        f"{_name_trial(trial, adaptation)} is right on more of the labelled new pictures, {best.value:.3f} instead of "
        f"{chosen.value:.3f}"
    )
    if adaptation.rule == LABELS:
        return f"{text}; log loss decides all the same, as it also counts how sure an answer is"
    if best.n < ENOUGH_LABELS:
        return f"{text}; from {ENOUGH_LABELS} labels on they decide, {best.n} are too few"
    return f"{text}; that is not beyond doubt, so that {format_rule(adaptation)} decides"


def format_lost(adaptation: DomainAdaptation) -> str:
    """What the adapted model is worth where it learnt, and where there are labels in the new domain; else empty."""
    plain = next((t for t in adaptation.trials if t.method == NO_ADAPTATION), None)
    chosen = next((t for t in adaptation.trials if t.status == "chosen"), None)
    if plain is None or chosen is None or chosen is plain:
        return ""
    text = (
        "on held-out pictures of the labelled domain as they are, the adaptation takes accuracy from "
        f"{plain.source.value:.3f} to {chosen.source.value:.3f}"
    )
    first, last = _find_accuracy(plain), _find_accuracy(chosen)
    if first is not None and last is not None:
        text += f", on labelled new ones from {first.value:.3f} to {last.value:.3f}"
    return text
