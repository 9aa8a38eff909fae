"""Where fine-tuning starts: each backbone's best linear head by cross-validation, fitted anew fold by fold.

A network that starts from the head fitted on the very pictures it learns from gives the probe's own answers before its
first step (LP-FT, Kumar et al., ICLR 2022). In cross-validation the head of a fold never sees the held-out pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core import blas_threads, registry
from headstart.core.errors import NoOpError
from headstart.core.run.context import Context
from headstart.core.types import Embeddings, Feature, FittedHead, Ranking
from headstart.features.embeddings import join_columns
from headstart.finetuning.network.trainable_network import HeadStart
from headstart.finetuning.objectives import Objective, make_objective
from headstart.heads import cross_validation, design_matrix
from headstart.selection import successive_halving
from headstart.selection.cv_problem import CvProblem
from headstart.selection.published_accuracy import make_option
from headstart.selection.successive_halving import Finalist

STARTS = 3  # backbones that networks start from


@dataclass(frozen=True, kw_only=True, eq=False)
class StartingPoint:
    """A backbone, the levels that its head reads (shallow to deep), and the head's mean held-out `loss`.

    `params`, the head's setting, were tuned on so many `pictures`.
    """

    backbone: str
    features: tuple[Feature, ...]
    params: Mapping[str, Any]
    pictures: int
    loss: float

    @property
    def depths(self) -> tuple[str, ...]:
        """Names of the feature levels."""
        return tuple(f.depth for f in self.features)

    @property
    def recipe_fields(self) -> dict[str, Any]:
        """The fields of a recipe that starts here."""
        return {"backbone": self.backbone, "depths": self.depths}


def judge_starting_points(
    ranking: Ranking, embeddings: Sequence[Embeddings], problem: CvProblem, depths: Sequence[str] = ()
) -> list[StartingPoint]:
    """The linear heads to start from: of each backbone that on its best single level, and the best of all.

    A network that trains does best when it reads the one level whose features were best;
    several levels together make the better frozen start. With `depths` only that set of levels is fitted. The first
    repeat judges; backbones come by their best head, the best first, and of each the single level first.
    """
    by_backbone, head = [], make_objective(problem.task, problem.y, problem.n_classes).start
    for each in embeddings:
        level_sets = _list_level_sets(each, ranking, depths)
        points = [judge_starting_point(features, embeddings, problem, head) for features in level_sets]
        if points:
            best = min(points, key=lambda point: (point.loss, len(point.features)))
            by_backbone.append((best.loss, each.spec.name, list(dict.fromkeys((points[0], best)))))
    return [point for *_, points in sorted(by_backbone, key=lambda entry: entry[:2]) for point in points]


def choose_backbones(
    ranking: Ranking, points: Sequence[StartingPoint], embeddings: Sequence[Embeddings], ctx: Context
) -> tuple[Finalist, ...]:
    """The backbones that networks start from: the best by (single-level) probe, by prior, and the cheapest to train."""
    specs = [e.spec for e in embeddings if e.spec.name in {point.backbone for point in points}]
    probed = [row for row in ranking.rows if row.status not in ("control", "screened_out")]  # the best first
    losses = {row.backbone: float(place) for place, row in reversed(list(enumerate(probed)))}
    options = map(make_option, specs)
    chosen = successive_halving.choose_finalists(options, losses, fewest=STARTS, most=STARTS)
    if not ctx.job.recipe and len(specs) > 1:
        names = ", ".join(f"{backbone.name} ({backbone.why})" for backbone in chosen)
        order = "the cheaper first, so that something is there soon"
        ctx.console.print_line("adapt", f"fine-tuning starts from {names}; {order}")
    return chosen


def select_trainable(embeddings: tuple[Embeddings, ...], ctx: Context) -> tuple[Embeddings, ...]:
    """Features of the backbones whose weights can be trained; the others are named with the reason.

    Raises:
        NoOpError: None can be trained, and fine-tuning was asked for by name.
    """
    backbones = [loading.find_backbone(e.spec.name) for e in embeddings]
    frozen = {e.spec.name: b.frozen_reason for e, b in zip(embeddings, backbones, strict=True) if b.frozen_reason}
    if frozen and len(frozen) == len(embeddings) and ctx.job.strategy != "auto":
        reasons = "; ".join(frozen.values())
        raise NoOpError(f"nothing can be fine-tuned: {reasons}", hint="--strategy probe takes it frozen")
    for name, why in frozen.items():
        ctx.console.print_line("adapt", f"{name} is not fine-tuned: it {why.partition('` ')[2]}")
    return tuple(e for e in embeddings if e.spec.name not in frozen)


def _list_level_sets(each: Embeddings, ranking: Ranking, depths: Sequence[str]) -> list[tuple[Feature, ...]]:
    """The best single level, the inner levels, all levels; or the set asked for, if the backbone has it."""
    features = tuple(Feature(backbone=each.spec.name, depth=d.name, dim=d.dim) for d in each.spec.depths)
    if depths:
        chosen = tuple(f for f in features if f.depth in depths)
        return [chosen] if len(chosen) == len(set(depths)) else []
    ranked = [row.depth for row in ranking.rows if row.backbone == each.spec.name and row.status != "control"]
    best = tuple(f for f in features if ranked and f.depth == ranked[0])
    return [levels for levels in dict.fromkeys((best, features[:-1], features)) if levels]


def judge_starting_point(
    features: tuple[Feature, ...], embeddings: Sequence[Embeddings], problem: CvProblem, head: str
) -> StartingPoint:
    """The head named `head` on some features of one backbone, by cross-validation."""
    x, loaded_head = join_columns(embeddings, features, problem.rows), registry.load_plugin("heads", head)
    fold, metric = problem.folds[:1], problem.metric
    tuned = cross_validation.tune_head(loaded_head, x, problem.y, fold, metric=metric, **problem.shared)
    return StartingPoint(
        backbone=features[0].backbone,
        features=features,
        params=tuned.params,
        pictures=len(problem.rows),
        loss=float(np.nanmean(tuned.losses)),
    )


def fit_start(
    point: StartingPoint,
    embeddings: Sequence[Embeddings],
    rows: np.ndarray,
    y: np.ndarray,
    problem: CvProblem,
    objective: Objective,
) -> HeadStart:
    """The head of a starting point fitted on the (M,) int64 `rows` with targets `y`; it gives logits."""
    x = join_columns(embeddings, point.features, rows)
    params = cross_validation.resize_params(point.params, len(rows), point.pictures)
    with blas_threads.single_blas_thread():
        heads = registry.load_plugin("heads", objective.start).path(
            x, y, params=[params], **problem.make_settings(rows)
        )
        head: FittedHead = next(iter(heads))
    moments = design_matrix.column_moments(x)
    scale = np.where(moments.inverse > 0, 1 / np.where(moments.inverse > 0, moments.inverse, 1.0), 1.0)
    factor, summand = objective.find_unit()
    return HeadStart(
        weights=(head.arrays["weights"] / factor).astype(np.float32),
        bias=objective.bound_bias((head.arrays["bias"] - summand) / factor).astype(np.float32),
        centre=moments.centre.astype(np.float32),
        scale=scale.astype(np.float32),
    )
