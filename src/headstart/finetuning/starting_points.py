"""Where fine-tuning starts: each backbone's best logistic head by cross-validation, fitted anew fold by fold.

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
from headstart.finetuning.network.trainable_network import Start
from headstart.heads import cross_validation, design_matrix
from headstart.selection import successive_halving
from headstart.selection.probe.head_selection import HeadCvProblem
from headstart.selection.probe.learning_curve import resize_params
from headstart.selection.published_accuracy import expected_accuracy
from headstart.selection.successive_halving import Finalist, Option

HEAD = "logistic"
STARTS = 3  # backbones that networks start from
FARTHEST = 30.0  # in logits: a probability of 1e-13


@dataclass(frozen=True, kw_only=True, eq=False)
class StartingPoint:
    """A backbone, the depths its head reads, and how that head did.

    Attributes:
        backbone: `source:preset`.
        features: What the head reads, shallow to deep.
        params: The head's setting, found with `pictures` pictures.
        pictures: How many the setting was found with.
        loss: Mean held-out loss of the metric.
    """

    backbone: str
    features: tuple[Feature, ...]
    params: Mapping[str, Any]
    pictures: int
    loss: float

    @property
    def depths(self) -> tuple[str, ...]:
        """Names of the depths."""
        return tuple(f.depth for f in self.features)


def bases(
    ranking: Ranking, embeddings: Sequence[Embeddings], on: HeadCvProblem, wanted: Sequence[str] = ()
) -> list[StartingPoint]:
    """The logistic heads to start from: of each backbone that on its best single depth, and the best of all.

    A network that trains does best when it reads the one depth whose features were best (docs/adapt.md has figures);
    several depths together make the better frozen start. With `wanted` only that set of depths is fitted.

    Args:
        ranking: Tells the best depth of each backbone.
        embeddings: Features of all pictures.
        on: Pictures and folds; the first repeat judges.
        wanted: Names of depths, or empty.

    Returns:
        Backbones by their best head, the best first; of each the single depth first.
    """
    found = []
    for each in embeddings:
        made = [_judged(features, embeddings, on) for features in _sets(each, ranking, wanted)]
        best = min(made, key=lambda base: (base.loss, len(base.features)), default=None)
        if best is not None:
            found.append((best.loss, each.spec.name, list(dict.fromkeys((made[0], best)))))
    return [base for _, _, own in sorted(found, key=lambda one: one[:2]) for base in own]


def starts(
    ranking: Ranking, found: Sequence[StartingPoint], embeddings: Sequence[Embeddings], ctx: Context
) -> tuple[Finalist, ...]:
    """The backbones that networks start from: the best by probe, the best by prior, and the cheapest to train.

    The probe is that of the ranking, on one depth, for there a network that trains does best.

    Args:
        ranking: Tells how the probes did.
        found: The heads of all that can be trained.
        embeddings: Of these backbones.
        ctx: The run.
    """
    specs = [e.spec for e in embeddings if e.spec.name in {base.backbone for base in found}]
    probed = [row for row in ranking.rows if row.status not in ("control", "screened_out")]  # the best first
    losses = {row.backbone: float(place) for place, row in reversed(list(enumerate(probed)))}
    options = [Option(name=spec.name, expected=expected_accuracy(spec), cost=spec.flops) for spec in specs]
    made = successive_halving.choose_finalists(options, losses, fewest=STARTS, most=STARTS)
    if not ctx.job.recipe and len(specs) > 1:
        told = ", ".join(f"{one.name} ({one.why})" for one in made)
        ctx.console.print_line(
            "adapt", f"fine-tuning starts from {told}; the cheaper first, so that something is there soon"
        )
    return made


def trainable(embeddings: tuple[Embeddings, ...], ctx: Context) -> tuple[Embeddings, ...]:
    """Features of the backbones whose weights can be trained; the others are named with the reason.

    Raises:
        NoOpError: None can be trained, and fine-tuning was asked for by name.
    """
    found = {e.spec.name: loading.find_backbone(e.spec.name) for e in embeddings}
    frozen = {name: one.frozen_reason for name, one in found.items() if one.frozen_reason}
    if frozen and len(frozen) == len(embeddings) and ctx.job.strategy != "auto":
        raise NoOpError(
            f"nothing can be fine-tuned: {'; '.join(frozen.values())}", hint="--strategy probe takes it frozen"
        )
    for name, why in frozen.items():
        ctx.console.print_line("adapt", f"{name} is not fine-tuned: it {why.partition('` ')[2]}")
    return tuple(e for e in embeddings if e.spec.name not in frozen)


def _sets(each: Embeddings, ranking: Ranking, wanted: Sequence[str]) -> list[tuple[Feature, ...]]:
    """The best single depth, the inner depths, all depths; or the set that is wanted, if the backbone has it."""
    depths = [Feature(backbone=each.spec.name, depth=d.name, dim=d.dim) for d in each.spec.depths]
    if wanted:
        chosen = tuple(f for f in depths if f.depth in wanted)
        return [chosen] if len(chosen) == len(set(wanted)) else []
    ranked = [row.depth for row in ranking.rows if row.backbone == each.spec.name and row.status != "control"]
    best = tuple(f for f in depths if ranked and f.depth == ranked[0])
    return [s for s in dict.fromkeys((best, tuple(depths[:-1]), tuple(depths))) if s]


def _judged(features: tuple[Feature, ...], embeddings: Sequence[Embeddings], on: HeadCvProblem) -> StartingPoint:
    x = join_columns(embeddings, features, on.rows)
    made = cross_validation.tune_head(
        registry.load_plugin("heads", HEAD), x, on.y, on.folds[:1], metric=on.metric, **on.shared
    )
    loss = float(np.nanmean(made.losses))
    backbone = features[0].backbone
    return StartingPoint(backbone=backbone, features=features, params=made.params, pictures=len(on.rows), loss=loss)


def fitted(
    base: StartingPoint, embeddings: Sequence[Embeddings], rows: np.ndarray, y: np.ndarray, on: HeadCvProblem
) -> Start:
    """The base's head fitted on some pictures, as what a network starts from.

    Args:
        base: The head.
        embeddings: Hold its features.
        rows: (M,) int64 pictures to learn from.
        y: (M,) int64 their classes.
        on: Gives the classes, their weights and the seed.
    """
    x = join_columns(embeddings, base.features, rows)
    params = resize_params(base.params, len(rows), base.pictures)
    with blas_threads.single_blas_thread():
        made = registry.load_plugin("heads", HEAD).path(x, y, params=[params], **on.shared)
        head: FittedHead = next(iter(made))
    found = design_matrix.column_moments(x)
    scale = np.where(found.inverse > 0, 1 / np.where(found.inverse > 0, found.inverse, 1.0), 1.0)
    return Start(
        weights=head.arrays["weights"],
        bias=_bounded(head.arrays["bias"]),
        centre=found.centre.astype(np.float32),
        scale=scale.astype(np.float32),
    )


def _bounded(bias: np.ndarray) -> np.ndarray:
    """(C,) a class that was not there to be learnt is impossible, but not so far out that a smoothed label explodes."""
    there = bias > design_matrix.ABSENT / 2
    return np.where(there, bias, bias[there].min() - FARTHEST).astype(np.float32)
