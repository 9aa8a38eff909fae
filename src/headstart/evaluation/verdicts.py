"""Answers in words, each with the numbers it rests on; where an interval does not decide, the answer is `unclear`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import REGRESSION, CurvePoint, FitResult, Score, Task, Verdict
from headstart.evaluation.baselines import HISTOGRAM, MEAN, MEDIAN, MODEL, RANDOM, SHARES, answer_plainly
from headstart.evaluation.curve_forecast import forecast_score, format_more, format_untold, list_latest, list_targets
from headstart.evaluation.held_out_scores import JudgedSplit
from headstart.statistics import metrics
from headstart.statistics.intervals import (
    Interval,
    Z,
    cross_validation_effect,
    difference_interval,
    mean_interval,
    share_interval,
)
from headstart.statistics.losses import binary_log_losses, is_gain, measure_share_loss, per_picture_loss
from headstart.statistics.paired_selection import CandidateLosses, paired_difference

GAP = 0.10  # accuracy on training pictures minus held-out accuracy that is called overfitting
UNEVEN = 0.05  # accuracy minus balanced accuracy that is spoken of
FAR = 0.2  # recall of the other classes minus that of a class which is spoken of, where it is surely larger
RISING = 0.005  # gain of the latest step, as for a doubling, from which on a curve still rises
STEP = 1.5  # times as many pictures, at least, in that step
FLAT = 0.01  # gain for each doubling that the upper end must stay under to call a curve flat
MATTERS = 0.02  # of log loss: the least by which features must do better to pay, some 2 % of the truth's probability
FEWEST = 20  # pictures below which a mean of log losses has no interval to trust
OPTIMISM = "optimistic: these folds also chose the model"
LOSSES = {
    "log_loss": "log loss",
    "binary_log_loss": "log loss of a label",
    "r2": "part of the variance that stays unexplained",
    "ranked_probability_score": "ranked probability score",
}
WORDS = {"mae": "mean absolute error", "r2": "R2", "macro_f1": "macro F1"}  # of scores, where their name is none


def format_interval(interval: Interval | Score) -> str:
    """`0.910 [0.880, 0.940]`."""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def sign_answer(difference: Interval | Score) -> str:
    """`yes` where an interval is above 0, `no` where it is below."""
    return "yes" if difference.low > 0 else "no" if difference.high < 0 else "unclear"


def find_score(scores: Sequence[Score], split: str, name: str) -> Score:
    """The model's own score of a split over all its pictures."""
    return next(s for s in scores if s.split == split and s.name == name and not s.subject)


def list_main_scores(task: Task) -> tuple[str, str]:
    """The two scores that a sentence tells; a number is off by the first."""
    return ("mae", "r2") if task is REGRESSION else (task.headline[0], task.headline[1])


def format_score_name(name: str) -> str:
    """`mean absolute error` for `mae`."""
    return WORDS.get(name, name.replace("_", " "))


def judge_headline(
    part: JudgedSplit,
    scores: Sequence[Score],
    constant: np.ndarray,
    names: tuple[str, ...],
    *,
    is_nested: bool = False,
    caveats: Sequence[str] = (),
) -> Verdict:
    """Better than always giving one answer? Compared picture by picture; where folds chose the model too, it is said.

    `constant` (C,) is of the constant baseline: the classes' shares, or the mean number.
    """
    main, other = (find_score(scores, part.split, name) for name in list_main_scores(part.task))
    gains, plain = _compare_with_constant(part, constant, names)
    gain = mean_interval(gains, part.clusters, cross_validation_effect(part.n_folds))
    judged_on = {"test": "the test pictures", "val": "the validation pictures"}.get(part.split, "nested held-out folds")
    optimism = ""
    if part.split == "cv" and not is_nested:
        judged_on, optimism = "held-out folds", f", {OPTIMISM}"
    answer = sign_answer(gain)
    against = {"yes": "which it beats", "no": "which is better", "unclear": "a tie"}[answer]
    sentence = (
        f"{format_score_name(main.name)} {format_interval(main)} on {judged_on} (n = {main.n:,}{optimism}), "
        f"{format_score_name(other.name)} {format_interval(other)}; {''.join(f'{caveat}; ' for caveat in caveats)}"
        f"always answering {plain}, {against}"
    )
    return Verdict(code="headline", answer=answer, sentence=sentence)


def _compare_with_constant(part: JudgedSplit, constant: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """By how much each picture (M,) is answered better than by one answer for all, and what that gives in words."""
    if part.task.ordered:
        median = int(answer_plainly(constant[None], part.task)[0])
        off = np.abs(part.y - median)
        words = f"`{names[median]}`, the {MEDIAN}, is {off.mean():.3f} ranks off on average"
        return off - np.abs(part.y - part.answers), words
    if part.task.has_classes:
        majority = int(np.argmax(constant))
        same = part.y == majority
        return (part.answers == part.y) * 1.0 - same, f"`{names[majority]}` gives {same.mean():.3f}"
    if part.task.has_labels:
        plain = binary_log_losses(part.y, np.broadcast_to(constant, part.p.shape))
        losses = binary_log_losses(part.y, part.p)
        return (
            plain - losses,
            f"the {SHARES} has a log loss of {plain.mean():.3f} a label instead of {losses.mean():.3f}",
        )
    mean = float(constant[0])
    errors = np.abs(mean - part.y)
    words = f"{mean:.4g}, the {MEAN}, is off by {errors.mean():.3f}"
    return errors - np.abs(part.p[:, 0] - part.y), words


def find_uneven_classes(
    part: JudgedSplit, scores: Sequence[Score], table: np.ndarray, names: tuple[str, ...]
) -> list[Verdict]:
    """A class that is missed far more than the others: surely, or so that balanced accuracy is far under accuracy."""
    accuracy, balanced = (find_score(scores, part.split, s) for s in ("accuracy", "balanced_accuracy"))
    hides, right, effect = accuracy.value - balanced.value >= UNEVEN, part.answers == part.y, part.n_folds

    def find_recall(of_class: np.ndarray) -> Interval:
        return share_interval(right[of_class] * 1.0, part.clusters[of_class], cross_validation_effect(effect))

    recalls = {c: find_recall(part.y == c) for c in np.unique(part.y).tolist()}
    worst = min(recalls, key=lambda c: recalls[c].value if hides else recalls[c].high)
    others = part.y != worst
    if not hides and (not others.any() or difference_interval(find_recall(others), recalls[worst]).low < FAR):
        return []
    n, hits, wrong = table[worst].sum(), table[worst, worst], table[worst].copy()
    wrong[worst] = -1
    prefix = f"accuracy {accuracy.value:.3f} hides that balanced accuracy is {balanced.value:.3f}: " if hides else ""
    never = "" if table[:, worst].any() else f"; `{names[worst]}` is never answered"
    likeliest = int((part.p.argmax(axis=1) == worst)[~others].sum())
    by_rule = "" if likeliest == hits else f"; of {likeliest:,} it is the likeliest class"
    sentence = (
        f"{prefix}of {n:,} pictures of `{names[worst]}` {hits:,} are found and {wrong.max():,} are called "
        f"`{names[int(np.argmax(wrong))]}`{by_rule}{never}"
    )
    return [Verdict(code="uneven_classes", answer="yes", sentence=sentence)]


def find_uneven_labels(part: JudgedSplit, names: tuple[str, ...]) -> list[Verdict]:
    """A label that is surely found far less often, where it is there, than the others are."""
    pictures, label = np.nonzero(part.y)
    hits, clusters = part.answers[pictures, label] * 1.0, part.clusters[pictures]
    effect = cross_validation_effect(part.n_folds)

    def find_recall(of_label: np.ndarray) -> Interval:
        return share_interval(hits[of_label], clusters[of_label], effect)

    recalls = {c: find_recall(label == c) for c in np.unique(label).tolist()}
    worst = min(recalls, key=lambda c: recalls[c].high, default=-1)
    others = label != worst
    if not others.any() or difference_interval(find_recall(others), recalls[worst]).low < FAR:
        return []
    sentence = (
        f"of {(~others).sum():,} pictures with `{names[worst]}` {hits[~others].sum():,.0f} are found, of the other "
        f"labels {format_interval(find_recall(others))}"
    )
    return [Verdict(code="uneven_labels", answer="yes", sentence=sentence)]


def judge_transfer(feature_sets: dict[str, JudgedSplit], clusters: np.ndarray) -> Verdict:
    """Do pre-trained features pay, by a loss that is lower by `MATTERS` at least than the stronger control's?

    All are judged on the same pictures and folds. `no` where they surely pay less than that.
    """
    by_name = {
        name: CandidateLosses(
            name=name, rows=part.rows, losses=per_picture_loss(part.task.metrics[0], part.y, part.p), cost=0.0
        )
        for name, part in feature_sets.items()
    }
    words = LOSSES[feature_sets[MODEL].task.metrics[0]]
    model, controls = by_name.pop(MODEL), []
    effect = cross_validation_effect(feature_sets[MODEL].n_folds)
    differences = {name: paired_difference(control, model, clusters, effect) for name, control in by_name.items()}
    for name in (RANDOM, HISTOGRAM):
        if name in differences:
            controls.append(
                f"{by_name[name].mean_loss:.3f} with a {name} (difference {format_interval(differences[name])})"
            )
    too_few = len(model.rows) < FEWEST
    low, high = (min(getattr(i, end) for i in differences.values()) for end in ("low", "high"))
    matters = _scale_difference(feature_sets[MODEL])
    answer = "unclear" if too_few else "yes" if low >= matters else "no" if high < matters else "unclear"
    enough = HISTOGRAM in differences and differences[HISTOGRAM].high < matters
    claim = {
        "yes": "pre-trained features pay",
        "no": f"{'colours are enough, ' * enough}pre-trained features do not pay{': they lose' * (high < 0)}",
        "unclear": f"whether pre-trained features pay is unclear{' from so few pictures' if too_few else ''}",
    }[answer]
    same = f"on the same {len(model.rows):,} pictures the {words} is {model.mean_loss:.3f}"
    sentence = f"{claim}: {same} against {' and '.join(controls)}; a difference under {matters:.2g} does not matter"
    return Verdict(code="transfer", answer=answer, sentence=sentence)


def _scale_difference(part: JudgedSplit) -> float:
    """`MATTERS`; of labels as large a part of the loss of their shares as it is of that of two equal classes."""
    if not part.task.has_labels:
        return MATTERS
    return MATTERS * measure_share_loss(part.y) / float(np.log(2))


def _measure_fit(part: JudgedSplit) -> Interval:
    """How well a split is answered: the accuracy, or kappa of grades, or R2 of numbers."""
    if part.task.headline[0] == "accuracy":
        right = (part.answers == part.y) * 1.0
        return share_interval(right, part.clusters, cross_validation_effect(part.n_folds))
    score = metrics.compute_score(
        part.task.headline[0], part.y, part.p, split=part.split, clusters=part.clusters, n_folds=part.n_folds
    )
    return Interval(score.value, score.low, score.high)


def judge_overfitting(train: JudgedSplit, held_out: JudgedSplit, *, is_nested: bool = False) -> Verdict:
    """The gap between the accuracy, kappa or R2 on training pictures and on pictures never seen."""
    train_accuracy, held_out_accuracy = _measure_fit(train), _measure_fit(held_out)
    gap = difference_interval(train_accuracy, held_out_accuracy)
    answer = "yes" if gap.low > GAP else "no" if gap.high < GAP else "unclear"
    unclear = "this is unclear" + (" on so few pictures" if gap.low <= 0 else ", the gap is near the limit")
    claim = {"yes": "it learns its pictures by heart", "no": "no", "unclear": unclear}[answer]
    hint = "; more pictures or fewer features would narrow the gap" if answer == "yes" else ""
    source = f" in {'nested' if is_nested else 'plain'} cross-validation" if held_out.split == "cv" else ""
    sentence = (
        f"{claim}: {format_score_name(held_out.task.headline[0])} is {train_accuracy.value:.3f} on the "
        f"{len(train.y):,} training pictures "
        f"and {held_out_accuracy.value:.3f} on "
        f"{len(held_out.y):,} held-out ones{source}, a gap of {format_interval(gap)} "
        f"(called overfitting above {GAP:.2f}){hint}"
    )
    return Verdict(code="overfitting", answer=answer, sentence=sentence)


def judge_enough_data(adapted: FitResult, n_classes: float = 1) -> Verdict:
    """Whether the learning curve still rises, by its latest points, and how many more pictures reach the next score."""
    points, labelled = list_latest(adapted.curve), len(adapted.train_probabilities)
    if len(points) < 3:
        return Verdict(code="enough_data", answer="unclear", sentence="the learning curve has too few points to tell")
    last = points[-1]
    before = ([p for p in points if STEP * p.n_train <= last.n_train] or points[:1])[-1]
    slope, step = _fit_slope(points), _fit_slope((before, last))
    answer = "no" if slope.low > 0 and step.value >= RISING else "yes" if slope.high < FLAT else "unclear"
    claim = {
        "no": "more pictures would help, the curve still rises",
        "yes": "the curve is flat, so check labels rather than add pictures",
        "unclear": "whether more pictures would help cannot be said",
    }[answer]
    steps = " and ".join(f"{p.score.value:.3f} with {p.n_train:,} pictures" for p in (before, last))
    band = forecast_score(points, 2 * last.n_train, n_classes)
    parts = [f"{claim}: {format_score_name(last.score.name)} is {steps}"]
    parts.append(
        f"it is expected to be {band.low:.3f} to {band.high:.3f} with {2 * last.n_train:,}"
        if band
        else f"what more would bring cannot be said {format_untold(n_classes)}"
    )
    if answer != "yes":
        targets = list_targets(points, labelled, n_classes).items()
        parts += [f"{target:.2f} takes {format_more(more)} (now {labelled:,})" for target, more in [*targets][:1]]
    if adapted.strategy != "probe":
        parts.append("this is the curve of the frozen probe, a fine-tuned network may have another")
    sentence = "; ".join(parts)
    return Verdict(code="enough_data", answer=answer, sentence=sentence)


def _fit_slope(points: Sequence[CurvePoint]) -> Interval:
    """Weighted straight line through score against log2 of the size; positive is better."""
    sign = 1.0 if is_gain(points[-1].score.name) else -1.0
    x = np.log2([p.n_train for p in points])
    y = sign * np.array([p.score.value for p in points])
    error = np.maximum([(p.score.high - p.score.low) / (2 * Z) for p in points], 1e-6)
    weight = 1 / error**2
    centred = x - np.sum(weight * x) / weight.sum()
    spread = float(np.sum(weight * centred**2))
    slope, half = float(np.sum(weight * centred * y)) / spread, Z / np.sqrt(spread)
    return Interval(slope, slope - float(half), slope + float(half))
