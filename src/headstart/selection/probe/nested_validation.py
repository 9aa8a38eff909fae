"""Nested cross-validation of the probe: without a test split the whole search, ranking included, is judged anew.

It is the last thing that the budget is spent on: training comes first, and what it takes is told before it starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Feature, FitResult, NameInitialization, Ranking, Splits
from headstart.features import feature_matrix
from headstart.features.embeddings import join_columns
from headstart.features.feature_matrix import sum_flops
from headstart.heads import cross_validation, ensemble
from headstart.heads.nested_cv import Candidate, run_nested_cv
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe import candidate_heads, ensemble_trial, fit_result, head_selection
from headstart.selection.probe.head_selection import HeadResult
from headstart.statistics import metrics
from headstart.uncertainty import temperature


def validate_nested(
    probe: FitResult,
    data: Dataset,
    splits: Splits,
    ranking: Ranking,
    embeddings: tuple[Embeddings, ...],
    *,
    ctx: Context,
    names: NameInitialization | None = None,
) -> FitResult:
    """The probe with nested scores, when nothing was held out, the folds allow it and there is time left."""
    folds = cross_validation.count_folds(splits.folds)
    if len(splits.test) or len(splits.val) or folds < 3:
        return probe
    candidates = _list_candidates(probe, ranking, embeddings)
    expected_s = sum(row.seconds for row in probe.tried) * folds * len(candidates) / len(probe.tried)
    if not _has_room(expected_s, ctx):
        return probe
    problem = head_selection.make_training_problem(data, splits, ctx, names)
    with_ensemble = len(candidate_heads.choose_strategy(data, splits).heads) > 1
    probabilities, chosen = judge_nested(candidates, embeddings, problem, with_ensemble)
    counts = ", ".join(f"{name} {count} times" for name, count in chosen.items())
    ctx.console.print_line("adapt", f"nested cross-validation over {len(candidates)} candidates chose {counts}")
    scores = metrics.compute_scores(
        problem.y,
        probabilities,
        split="cv",
        task=problem.task,
        class_names=data.class_names,
        clusters=problem.clusters[problem.rows],
        seed=problem.seed,
        n_folds=folds,
    )
    validated = dataclasses.replace(probe, nested=scores, nested_probabilities=probabilities)
    serialization.save_value(fit_result.without_times(validated), ctx.make_step_folder("adapt"))
    return validated


def judge_nested(
    tried: Sequence[tuple[str, tuple[Feature, ...]]],
    embeddings: Sequence[Embeddings],
    problem: CvProblem,
    with_ensemble: bool,
) -> tuple[np.ndarray, Mapping[str, int]]:
    """Judge the whole search: every outer fold chooses head, setting, features and temperature anew from the others.

    Returns (M, C) float32 held-out probabilities, and how often each candidate was chosen.
    """
    candidates = [_make_candidate(name, features, embeddings, problem) for name, features in tried]

    def choose(
        among: Sequence[Candidate], results: Sequence[cross_validation.TunedSetting], inner: np.ndarray
    ) -> tuple[Candidate, cross_validation.TunedSetting]:
        inside = dataclasses.replace(problem, folds=inner[None])
        entries = [
            HeadResult(head=name, features=features, flops=int(c.cost), tuned=tuned, seconds=0.0)
            for (name, features), c, tuned in zip(tried, among, results, strict=True)
        ]
        position = [e.name for e in entries].index(head_selection.choose_head(entries, inside).winner)
        if with_ensemble:
            trial = ensemble_trial.try_ensemble(entries[position], entries, embeddings, inside)
            if trial is not None and trial.is_better:
                pool = _make_candidate(ensemble.NAME, trial.entry.features, embeddings, problem)
                return dataclasses.replace(pool, name=f"an {ensemble.NAME}"), trial.entry.tuned
        return among[position], results[position]

    def calibrate(rows: np.ndarray, inner: np.ndarray, p: np.ndarray) -> np.ndarray:
        clusters = problem.clusters[problem.rows[rows]]
        calibrated = temperature.choose_temperature(inner, problem.y[rows], clusters, problem.seed, problem.task)
        return temperature.apply_temperature(p, calibrated.temperature, problem.task)

    hooks: dict[str, Any] = {"choose": choose, "calibrate": None if problem.task.is_number else calibrate}
    probabilities, chosen = run_nested_cv(
        candidates, problem.y, problem.folds[0], metric=problem.metric, **hooks, **problem.shared
    )
    return probabilities, {name: chosen.count(name) for name in dict.fromkeys(chosen)}


def _make_candidate(
    name: str, features: tuple[Feature, ...], embeddings: Sequence[Embeddings], problem: CvProblem
) -> Candidate:
    head, x = head_selection.load_head(name, features, problem), join_columns(embeddings, features, problem.rows)
    grid = list(head.grid(len(x), x.shape[1], problem.n_classes))
    title, cost = f"{name} on {feature_matrix.format_features(features)}", sum_flops(embeddings, features)
    return Candidate(name=title, x=x, head=head, grid=grid, cost=float(cost))


def _list_candidates(
    probe: FitResult, ranking: Ranking, embeddings: Sequence[Embeddings]
) -> list[tuple[str, tuple[Feature, ...]]]:
    """Everything that the search tried, by head and features."""
    rows = candidate_heads.list_judged_rows(ranking, embeddings)
    heads = [(row.head, row.features) for row in probe.tried if row.head != ensemble.NAME]
    tried = [*heads, *((row.probe, (row.candidate,)) for row in rows)]
    return [
        (head, tuple(candidate_heads.make_feature(embeddings, name) for name in features))
        for head, features in dict.fromkeys(tried)
    ]


def _has_room(expected_s: float, ctx: Context) -> bool:
    """Whether what training left of the budget suffices; decided once in a run, and told before it is spent."""
    left_s, needed = ctx.left_s(), f"about {format_duration(expected_s)}"
    left = f"{format_duration(left_s)} of the budget are left" if left_s > 0 else "nothing of the budget is left"
    room = plan_time(ctx.job).has_room_for_nested(expected_s, left_s)
    if not ctx.record_decision("adapt/nested", lambda: room, "is there time for nested validation"):
        line = f"nested cross-validation is left out: it needs {needed}, and {left}"
        ctx.console.print_line("adapt", line)
        return False
    ctx.console.print_line("adapt", f"nested cross-validation takes {needed}; {left}")
    return True
