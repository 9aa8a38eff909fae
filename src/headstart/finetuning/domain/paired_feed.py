"""Batches of labelled source pictures with as many of the target: what `training.domain_loss` learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types.domain import TargetDomain
from headstart.finetuning.inputs import batches, cached_activations
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.finetuning.search.training_source import PreparedTraining
from headstart.finetuning.training.prefetch import Batch, Feed
from headstart.images import decoded_cache

STRONG, STRONG_VIEWS = 0.8, 3  # strength, and kept views where maps are kept, of the pictures that are changed


@dataclass(kw_only=True, eq=False)
class PairedFeed:
    """Rows of the source and of each of the `others`, alternating; those of the others have targets of zeros."""

    source: Feed
    others: Sequence[Feed]
    n: int  # labelled pictures
    steps: int  # of an epoch, which is one of the source

    def epoch(self, number: int) -> Iterator[Batch]:
        """Of an epoch: inputs by name (b G, …), targets (b G, T) of mean weight as without the others, those scored."""
        groups = 1 + len(self.others)
        feeds = (feed.epoch(number) for feed in self.others)
        for (inputs, targets, scored_targets), *rest in zip(self.source.epoch(number), *feeds, strict=True):
            rows = {name: _alternate([array, *(each[0][name] for each in rest)]) for name, array in inputs.items()}
            yield rows, _alternate([groups * targets, *[np.zeros_like(targets)] * len(rest)]), scored_targets


def _alternate(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(b, …) each -> (b G, …), a row of each in turn."""
    return np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])


def make_paired_feed(setup: TrainingSetup, training: PreparedTraining, target: TargetDomain, groups: int) -> PairedFeed:
    """The target is changed as the source is; for three groups it comes as it is, and strongly changed."""
    recipe = training.recipe.with_fields(mixup=0.0, cutmix=0.0, sampling="natural")
    kept = training.source.shared["maps"].views - 1 if training.source.kind == "maps" else 0
    if groups == 2:
        feeds = [_make_target_feed(setup, training, target, recipe, range(1 + kept))]
    else:
        strong = recipe.with_fields(augment=STRONG)
        feeds = [
            _make_target_feed(setup, training, target, recipe.with_fields(augment=0.0), range(1)),
            _make_target_feed(setup, training, target, strong, range(1, 1 + max(kept, STRONG_VIEWS))),
        ]
    for feed in feeds:
        feed.steps = training.feed.steps  # as many draws as the source's; the order goes on from epoch to epoch
    return PairedFeed(source=training.feed, others=feeds, n=training.feed.n, steps=training.feed.steps)


def _make_target_feed(
    setup: TrainingSetup, training: PreparedTraining, target: TargetDomain, recipe: Any, views: range
) -> Any:
    """A feed like the source's, of the kept `views` where maps are kept."""
    backbone, _ = setup.networks.load_trunk(recipe.backbone)
    data, rows, ctx = target.pictures, np.arange(len(target.pictures.uris)), setup.ctx
    cut, low = training.network.cut, training.network.low
    shared = {
        "positions": rows,
        "y": np.zeros(len(rows), training.source.targets.dtype),
        "objective": setup.networks.objective,
        "recipe": recipe,
        "low": low,
    }
    if training.source.kind == "maps":
        change = recipe.augmentation
        policy = Policy(domain=change.domain, strength=change.augment) if views.stop > 1 else None
        maps = cached_activations.cache_maps(
            backbone, cut, data, rows, store=ctx.store, console=ctx.console,
            views=views.stop - 1, policy=policy, seed=recipe.seed,
        )  # fmt: skip
        return batches.MapFeed(maps=dataclasses.replace(maps, at=maps.at[views.start :]), **shared)
    pictures = decoded_cache.load_decoded(data, rows, backbone.spec.input, store=ctx.store, console=ctx.console)
    below = None
    if cut:
        below = cached_activations.load_lower_trunk(backbone, cut, data, rows, store=ctx.store, console=ctx.console)
    return batches.PictureFeed(pictures=pictures, below=below, **shared)
