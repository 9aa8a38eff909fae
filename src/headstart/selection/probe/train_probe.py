"""Adapt: a head on frozen features, chosen by paired cross-validation and fitted on all training pictures.

All heads that the number of pictures allows compete on the chosen candidate. Then the best kinds get several feature
levels and backbones side by side, which are taken only when the paired comparison says that they pay. Everything
happens inside `train`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from headstart.core import blas_threads
from headstart.core.console import format_duration
from headstart.core.errors import NoOpError
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.storage import serialization
from headstart.core.types import (
    Calibrated,
    Dataset,
    Embeddings,
    Feature,
    FitResult,
    FittedHead,
    NameInitialization,
    Ranking,
    Splits,
)
from headstart.features import feature_matrix
from headstart.features.embeddings import join_columns
from headstart.heads import cross_validation, ensemble, prediction
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe import candidate_heads, ensemble_trial, fit_result, head_selection
from headstart.selection.probe.head_selection import HeadResult
from headstart.selection.probe.learning_curve import learning_curve
from headstart.statistics.paired_selection import PairedChoice
from headstart.uncertainty import temperature


def train_probe(
    data: Dataset,
    splits: Splits,
    ranking: Ranking,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    names: NameInitialization | None = None,
) -> FitResult:
    """Choose a head and fit it; only `train` of the splits is looked at.

    With `names`, what the names of the classes say, a head that starts from it competes too.

    Raises:
        NoOpError: The fitted head answers the same for every picture.
    """
    started = time.monotonic()
    problem = head_selection.make_training_problem(data, splits, ctx, names)
    strategy = candidate_heads.choose_strategy(data, splits)
    entries = _try_heads(strategy, ranking, embeddings, problem, ctx)
    choice = head_selection.choose_head(entries, problem)
    winner = ctx.record_decision("adapt/chosen", lambda: choice.winner, choice.why)
    entry = next(e for e in entries if e.name == winner)
    if len(entry.tuned.held_out) < len(problem.folds):  # a replayed choice that this machine would not have made
        entry = head_selection.judge_repeats(entry, embeddings, problem)
    why, trial = choice.why, None
    if len(strategy.heads) > 1:
        pool = [*entries, *_judge_levels(entry, entries, ranking, embeddings, problem, ctx)]
        trial = ensemble_trial.try_ensemble(entry, pool, embeddings, problem)
    if trial is not None:
        entries, why = [*entries, trial.entry], f"{why}; {trial.choice.why}"
        choice = head_selection.choose_head(entries, problem)
        if ctx.record_decision("adapt/ensemble", lambda: trial.is_better, trial.choice.why):
            winner, entry = trial.entry.name, trial.entry
    head, p_train = _fit_winner(entry, data, splits, embeddings, problem, ctx)
    adapted = FitResult(
        strategy="probe",
        features=entry.features,
        fitted=head,
        tried=head_selection.make_head_rows(entries, choice, winner, problem),
        why=f"{why}; {strategy.why}",
        cv_rows=problem.rows,
        cv_probabilities=np.asarray(entry.tuned.held_out[0]),
        train_probabilities=p_train,
        nested=(),
        curve=learning_curve(entry, join_columns(embeddings, entry.features, problem.rows), problem),
        calibrated=_calibrate(entry, problem),
    )
    serialization.save_value(fit_result.without_times(adapted), ctx.make_step_folder("adapt"))
    _print_result(adapted, entry, choice, problem, ctx, time.monotonic() - started)
    return adapted


def _calibrate(entry: HeadResult, problem: CvProblem) -> Calibrated | None:
    """The temperature of probabilities; None for numbers."""
    if problem.task.is_number:
        return None
    clusters = problem.clusters[problem.rows]
    return temperature.choose_temperature(entry.tuned.held_out, problem.y, clusters, problem.seed, problem.task)


def _try_heads(
    strategy: candidate_heads.Strategy,
    ranking: Ranking,
    embeddings: Sequence[Embeddings],
    problem: CvProblem,
    ctx: Context,
) -> list[HeadResult]:
    """The heads on the chosen candidate, then combinations as long as the budget has room: the quickest head goes over
    all, the main one follows on the best of them.
    """
    chosen = candidate_heads.make_feature(embeddings, ranking.chosen)
    entries = head_selection.tune_heads(strategy.heads, (chosen,), embeddings, problem)
    with_names = candidate_heads.features_with_names(chosen, problem.names)
    for features in candidate_heads.filter_by_limits(with_names, embeddings, ctx):
        entries += head_selection.tune_heads((candidate_heads.FROM_NAMES,), features, embeddings, problem)
    combinations = candidate_heads.list_combinations(ranking, embeddings, len(problem.rows)) if strategy.combine else []
    combinations = candidate_heads.filter_by_limits(combinations, embeddings, ctx)
    scouts: list[HeadResult] = []
    for number, features in enumerate(combinations):
        expected_s = sum(e.seconds for e in entries) * _count_work(features) / _count_work(entries[0].features)
        if not _has_room(number, features, expected_s, ctx):
            left = len(combinations) - number
            ctx.console.print_line("adapt", f"{left} combinations of feature levels are left out for lack of time")
            break
        scouts += head_selection.tune_heads((problem.task.scout,), features, embeddings, problem)
    if scouts:
        best = min(scouts, key=lambda e: float(np.nanmean(e.tuned.losses)))
        scouts += head_selection.tune_heads(problem.task.after_scout, best.features, embeddings, problem)
    return head_selection.repeat_close([*entries, *scouts], embeddings, problem)


def _judge_levels(
    single: HeadResult,
    entries: Sequence[HeadResult],
    ranking: Ranking,
    embeddings: Sequence[Embeddings],
    problem: CvProblem,
    ctx: Context,
) -> list[HeadResult]:
    """The other levels of the trunks that a head reads, by the probe that they were ranked with, if time is left."""
    trunks, judged = {f.backbone for f in single.features}, {e.features for e in entries}
    levels = {
        (candidate_heads.make_feature(embeddings, row.candidate),): row
        for row in candidate_heads.list_judged_rows(ranking, embeddings)
        if row.backbone in trunks
    }
    rows = {features: row for features, row in levels.items() if features not in judged}
    room, expected_s = plan_time(ctx.job).has_room_for_combination, sum(row.seconds for row in rows.values())
    why = "is there time to try the other levels"
    if not ctx.record_decision("adapt/levels", lambda: room(expected_s, ctx.left_s()), why):
        return []
    tried = (head_selection.tune_heads((r.probe,), features, embeddings, problem) for features, r in rows.items())
    return [entry for results in tried for entry in results]


def _count_work(features: Sequence[Feature]) -> int:
    """What a head costs, in columns: measured, it is a constant plus a straight line."""
    return 300 + sum(f.dim for f in features)


def _has_room(number: int, features: tuple[Feature, ...], expected_s: float, ctx: Context) -> bool:
    """Whether the budget has room for a combination; decided once in a run."""
    why = f"{feature_matrix.format_features(features)}: is there time to try it"
    room = plan_time(ctx.job).has_room_for_combination
    return bool(ctx.record_decision(f"adapt/combination/{number}", lambda: room(expected_s, ctx.left_s()), why))


def _fit_winner(
    entry: HeadResult,
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    problem: CvProblem,
    ctx: Context,
) -> tuple[FittedHead, np.ndarray]:
    rows = np.asarray(splits.train)
    y, head = np.asarray(data.targets)[rows], head_selection.load_head(entry.head, entry.features, problem)
    params = cross_validation.resize_params(entry.tuned.params, len(rows), len(problem.rows))
    weight = None if problem.class_weight is None else cross_validation.balanced_class_weights(y, problem.n_classes)
    with (
        feature_matrix.open_columns(embeddings, entry.features, rows, ctx.make_step_folder("adapt")) as x,
        blas_threads.single_blas_thread(),
    ):
        settings = problem.make_settings(rows) | {"class_weight": weight, "params": [params]}
        fitted: FittedHead = next(iter(cross_validation.fit_rows(head, x, y, slice(None), **settings)))
        chunks = feature_matrix.row_chunks(x)
        p_train = np.concatenate([prediction.predict_probabilities(fitted.kind, fitted.arrays, c) for c in chunks])
    if "weights" in fitted.arrays and not np.any(fitted.arrays["weights"]):
        raise NoOpError(
            f"the head `{entry.name}` learnt nothing: all its weights are 0",
            hint="the features are the same for every picture; try other backbones with `--backbones`",
        )
    return fitted, p_train


def _print_result(
    adapted: FitResult, entry: HeadResult, choice: PairedChoice, problem: CvProblem, ctx: Context, seconds: float
) -> None:
    score = problem.average_scores(problem.metric, entry.tuned.held_out)
    beside = problem.average_scores(problem.task.shown[0], entry.tuned.held_out)
    tuned = ensemble.format_params(adapted.fitted.params)
    ctx.console.print_line(
        "adapt",
        f"{entry.name}{f' ({tuned})' if tuned else ''}: {problem.metric.replace('_', ' ')} {score.value:.3f} "
        f"[{score.low:.3f}, {score.high:.3f}], {beside.name.replace('_', ' ')} {beside.value:.3f} "
        f"[{beside.low:.3f}, {beside.high:.3f}] (cross-validated, n = {score.n:,}); {len(adapted.tried)} tried, "
        f"{format_duration(seconds)}",
    )
    ctx.console.print_line("adapt", adapted.why)
    if adapted.calibrated:
        ctx.console.print_line("adapt", adapted.calibrated.why)
