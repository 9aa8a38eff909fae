"""The shift between the labelled pictures and those of the target, measured before anything is adapted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headstart.core.errors import NoOpError
from headstart.core.run.context import Context
from headstart.core.storage.serialization import save_value
from headstart.core.types import Dataset, Embeddings, FitResult, Score, Splits, Verdict
from headstart.core.types.domain import DomainShift, FeatureShift, TargetDomain
from headstart.data.split_drift import SideTest
from headstart.domain_adaptation.shift import domain_classifier
from headstart.domain_adaptation.shift.label_shift import Answers, LabelShift, estimate_label_shift
from headstart.domain_adaptation.shift.unlabelled_accuracy import (
    MOST,
    choose_back_tested,
    estimate_accuracy,
    estimate_untested,
)
from headstart.features.embeddings import join_columns, take_vectors
from headstart.features.feature_matrix import predict_rows
from headstart.heads.cross_validation import count_folds
from headstart.heads.design_matrix import class_shares
from headstart.selection.cv_problem import make_cv_problem
from headstart.statistics.intervals import cross_validation_effect, make_score, share_interval
from headstart.statistics.paired_tests import holm_adjusted
from headstart.statistics.sampling import draw_rows
from headstart.uncertainty.temperature import apply_temperature

FEWEST = 10  # target pictures below which nothing is said
FEW = 30  # below which what is not seen is no sign that it is not there
ALPHA = 0.05
LABELLED = "labelled"  # subject of the accuracy that was measured on target pictures with a label


class _Sides(NamedTuple):
    """Pictures of both sides."""

    source: Answers  # held-out answers
    target: Answers
    rows: np.ndarray  # (M,) int64 of the source
    drawn_source: np.ndarray  # (A,) int64 positions in `rows` that are compared
    drawn_target: np.ndarray  # (B,) int64


def measure_shift(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    *,
    probe: FitResult | None = None,
    ctx: Context,
) -> DomainShift:
    """Tell the domains apart by every level of the head's backbones; estimate class shares and accuracy in the target.

    The source are the training pictures, by their held-out answers. Where `adapted` is a network, its trunk knows them
    from all others: domains are then told apart by the features of the frozen `probe`, and estimates of the accuracy
    are not back-tested. Saved in the run folder `domains/shift/`.

    Raises:
        NoOpError: Fewer than 10 target pictures.
    """
    n_target = len(target.pictures.uris)
    if n_target < FEWEST:
        raise NoOpError(
            f"a shift cannot be measured on {n_target} unlabelled pictures; at least {FEWEST} are needed",
            hint="add unlabelled pictures of the new domain",
        )
    frozen = probe or adapted
    sides = _take_sides(data, splits, target, target_embeddings, adapted, ctx)
    levels, furthest, vectors = _compare_levels(sides, embeddings, target_embeddings, frozen)
    strangeness = domain_classifier.measure_strangeness(*vectors, sides.drawn_target, ctx.seed)
    labels = estimate_label_shift(sides.source, sides.target, data.class_names, ctx.seed)
    at_equal_shares = _compare_at_equal_shares(sides, labels, vectors, ctx.seed)
    if adapted.strategy == "probe":
        tested = sides.rows[choose_back_tested(len(sides.rows), ctx.seed)]
        x_source = join_columns(embeddings, adapted.features, tested)
        x_target = join_columns(target_embeddings, adapted.features, draw_rows(n_target, MOST))
        balanced = ctx.job.class_weight == "balanced"
        accuracy = estimate_accuracy(
            sides.source, sides.target, x_source, x_target, adapted.fitted, ctx.seed, balanced=balanced
        )
    else:
        accuracy = estimate_untested(sides.source, sides.target)
    shift = DomainShift(
        levels=levels,
        verdict=_judge_shift(levels, at_equal_shares, furthest, n_target, adapted),
        label_verdict=_judge_labels(labels, at_equal_shares, n_target),
        label_p=labels.p,
        source_shares=labels.source,
        target_shares=labels.scores,
        accuracy=(*accuracy, *_score_labelled(sides.target)),
        source_accuracy=_score_source(sides.source, splits),
        farthest=domain_classifier.choose_farthest(strangeness, sides.target.clusters, vectors[1]),
        strangeness=strangeness,
        n_source=len(sides.rows),
        n_target=n_target,
    )
    save_value(shift, ctx.make_step_folder("domains/shift"))
    _print_shift(shift, ctx)
    return shift


def _take_sides(
    data: Dataset,
    splits: Splits,
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    ctx: Context,
) -> _Sides:
    """Answers to the source pictures that were held out, and to all target pictures."""
    problem = make_cv_problem(np.asarray(splits.train), data, splits.folds, splits.clusters, ctx=ctx)
    weights = None if problem.sample_weight is None else problem.sample_weight[problem.rows]
    prior = class_shares(problem.y, np.arange(problem.n_classes), problem.class_weight, weights)
    held_out = np.isfinite(np.asarray(adapted.cv_probabilities)).all(axis=1)
    rows, every = np.asarray(adapted.cv_rows)[held_out], np.arange(len(target.pictures.uris))
    p_source = np.asarray(adapted.cv_probabilities)[held_out]
    p_target = predict_rows(adapted.fitted, target_embeddings, adapted.features, every)
    p_source, p_target = (apply_temperature(p, adapted.temperature).astype(np.float64) for p in (p_source, p_target))
    clusters = np.asarray(splits.clusters)[rows]
    alike = domain_classifier.find_target_clusters(target.pictures)
    return _Sides(
        source=Answers(p=p_source, y=np.asarray(data.targets)[rows], clusters=clusters, prior=prior),
        target=Answers(p=p_target, y=target.labels, clusters=alike),
        rows=rows,
        drawn_source=domain_classifier.draw_unlike(clusters, ctx.seed),
        drawn_target=domain_classifier.draw_unlike(alike, ctx.seed),
    )


def _compare_levels(
    sides: _Sides, embeddings: Sequence[Embeddings], target_embeddings: Sequence[Embeddings], frozen: FitResult
) -> tuple[tuple[FeatureShift, ...], str, tuple[np.ndarray, np.ndarray]]:
    """The test of every level that both sides have; of the level with the largest area its name and features.

    These are of the drawn source pictures (A, D), and of all target pictures (T, D).
    """
    read, every = {f.backbone for f in frozen.features}, np.arange(len(sides.target.p))
    by_name = {e.spec.name: e for e in target_embeddings}
    tests, furthest, vectors = dict[str, SideTest](), "", (np.empty((0, 0)), np.empty((0, 0)))
    for source in (e for e in embeddings if e.spec.name in read):
        for depth in (level.name for level in source.spec.depths if level.name in source.vectors):
            x_source = take_vectors(source, depth, sides.rows[sides.drawn_source])
            x_target = take_vectors(by_name[source.spec.name], depth, every)
            test = domain_classifier.compare_domains(x_source, x_target[sides.drawn_target])
            if test is None:
                continue
            tests[f"{source.spec.name}@{depth}"] = test
            if not furthest or test.auc.value > tests[furthest].auc.value:
                furthest, vectors = f"{source.spec.name}@{depth}", (x_source, x_target)
    corrected = holm_adjusted([test.p for test in tests.values()])
    levels = tuple(
        FeatureShift(
            feature=name,
            auc=make_score("roc_auc", "target", test.auc, test.n_first + test.n_second, method="Newcombe, held out"),
            p=p,
        )
        for p, (name, test) in zip(corrected, tests.items(), strict=True)
    )
    return levels, furthest, vectors


def _compare_at_equal_shares(
    sides: _Sides, labels: LabelShift, vectors: tuple[np.ndarray, np.ndarray], seed: int
) -> SideTest | None:
    """The test with source pictures thinned to the target's class shares: it can but guess if these alone differ."""
    y, target = sides.source.y[sides.drawn_source], vectors[1][sides.drawn_target]
    odds = (labels.shares / np.maximum(labels.source, 1e-12))[y]
    is_drawn = np.random.default_rng([seed, 97_000]).random(len(y)) < odds / odds.max()
    return domain_classifier.compare_domains(vectors[0][is_drawn], target)


def _score_source(source: Answers, splits: Splits) -> Score:
    right = source.p.argmax(axis=1) == source.y
    effect = cross_validation_effect(count_folds(splits.folds))
    return make_score("accuracy", "cv", share_interval(right, source.clusters, effect), len(right), subject="source")


def _score_labelled(target: Answers) -> list[Score]:
    """Accuracy on target pictures with a label, where there are any."""
    rows = np.flatnonzero(target.y >= 0)
    if not len(rows):
        return []
    right = target.p[rows].argmax(axis=1) == target.y[rows]
    interval = share_interval(right, target.clusters[rows])
    return [make_score("accuracy", "target", interval, len(rows), subject=LABELLED)]


def _judge_shift(
    levels: tuple[FeatureShift, ...],
    at_equal_shares: SideTest | None,
    furthest: str,
    n_target: int,
    adapted: FitResult,
) -> Verdict:
    shifted = [level for level in levels if level.p < ALPHA]
    most = next(level for level in levels if level.feature == furthest)
    depth = furthest.rpartition("@")[2]
    auc = f"AUC {most.auc.value:.3f} [{most.auc.low:.3f}, {most.auc.high:.3f}] at `{depth}`, p = {most.p:.3f}"
    if adapted.strategy != "probe":
        auc += "; of the features before training, as the network knows the labelled pictures"
    if not shifted:
        few = n_target < FEW
        reason = f"; {n_target} are too few to see a small one" if few else ""
        sentence = f"no sign of a shift: the domains cannot be told apart by the features ({auc}){reason}"
        return Verdict(code="shift", answer="unclear" if few else "no", sentence=sentence)
    levels_in_words = f"all {len(levels)}" if len(shifted) == len(levels) else f"{len(shifted)} of {len(levels)}"
    sentence = f"the new pictures differ from the labelled ones at {levels_in_words} levels ({auc}; 0.5 is guessing)"
    if at_equal_shares is not None:
        p, (value, low, high) = at_equal_shares.p, at_equal_shares.auc
        inside = f"AUC {value:.3f} [{low:.3f}, {high:.3f}], p = {p:.3f}"
        sentence += (
            f". With classes in equal shares they differ too ({inside}): the classes look different"
            if p < ALPHA
            else f". With classes in equal shares no difference is seen ({inside}): other shares may be all of it"
        )
    return Verdict(code="shift", answer="yes", sentence=sentence)


def _format_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _judge_labels(labels: LabelShift, at_equal_shares: SideTest | None, n_target: int) -> Verdict:
    change = labels.shares - labels.source
    most = int(np.abs(change).argmax())
    score = labels.scores[most]
    value, low, high, source = map(_format_percent, (score.value, score.low, score.high, labels.source[most]))
    moved = f"`{score.subject}` has {value} [{low}, {high}] instead of {source} ({labels.method}, p = {labels.p:.3f})"
    if labels.p >= ALPHA:
        answer = "unclear" if n_target < FEW else "no"
        return Verdict(code="label_shift", answer=answer, sentence=f"no sign of other class shares: {moved}")
    if at_equal_shares is not None and at_equal_shares.p < ALPHA:
        caution = ". This takes a class to look alike in both domains, and it does not"
        return Verdict(
            code="label_shift", answer="unclear", sentence=f"the answers point to other shares: {moved}{caution}"
        )
    return Verdict(code="label_shift", answer="yes", sentence=f"the shares of the classes differ: {moved}")


def _print_shift(shift: DomainShift, ctx: Context) -> None:
    best, source = shift.accuracy[0], shift.source_accuracy.value
    ctx.console.print_line(
        "shift", f"{shift.n_target:,} new pictures against {shift.n_source:,}: {shift.verdict.sentence}"
    )
    ctx.console.print_line("shift", shift.label_verdict.sentence)
    ctx.console.print_line(
        "shift",
        f"accuracy on them, estimated without labels: between {100 * best.low:.0f} % and {100 * best.high:.0f} % "
        f"({best.method}); {_format_percent(source)} on the labelled domain",
    )
    for score in (s for s in shift.accuracy if s.subject == LABELLED):
        ctx.console.print_line(
            "shift", f"accuracy on {score.n:,} labelled ones: {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        )
