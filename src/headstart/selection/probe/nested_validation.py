"""Nested cross-validation of the probe: without a test split the whole search, ranking included, is judged anew.

It is the last thing that the budget is spent on: training comes first, and what it takes is told before it starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Feature, FitResult, NameInitialization, Ranking, Splits
from headstart.heads import cross_validation
from headstart.selection.probe import candidate_heads, fit_result, head_selection
from headstart.statistics import metrics


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
    probabilities, chosen = head_selection.judge_nested(candidates, embeddings, problem)
    counts = ", ".join(f"{name} {count} times" for name, count in chosen.items())
    ctx.console.print_line("adapt", f"nested cross-validation over {len(candidates)} candidates chose {counts}")
    scores = metrics.compute_scores(
        problem.y,
        probabilities,
        split="cv",
        class_names=data.class_names,
        clusters=problem.clusters[problem.rows],
        seed=problem.seed,
        n_folds=folds,
    )
    validated = dataclasses.replace(probe, nested=scores, nested_probabilities=probabilities)
    serialization.save_value(fit_result.without_times(validated), ctx.make_step_folder("adapt"))
    return validated


def _list_candidates(
    probe: FitResult, ranking: Ranking, embeddings: Sequence[Embeddings]
) -> list[tuple[str, tuple[Feature, ...]]]:
    """Everything that the search tried, by head and features."""
    rows = candidate_heads.list_judged_rows(ranking, embeddings)
    tried = [*((row.head, row.features) for row in probe.tried), *((row.probe, (row.candidate,)) for row in rows)]
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
