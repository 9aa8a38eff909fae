"""What networks learn from: pooled features, feature maps at the cut, or the pictures themselves.

A source belongs to a kind of network and holds all training pictures; folds and trials take their own from it. Which
way is taken, and whether augmented views are kept, is decided by operations and bytes, and told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.types import Feature
from headstart.features.embeddings import join_columns
from headstart.finetuning.inputs import batches, cached_activations, data_path
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.trainable_network import Network
from headstart.images import decoded_cache

if TYPE_CHECKING:
    from headstart.finetuning.search.training_setup import Workbench


USUAL_TRAININGS = 2  # of a recipe in a search: most are tried on one fold


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """See the module.

    Attributes:
        kind: `pooled`, `maps` or `pictures`.
        shared: What feeds and held-out batches of this kind are made from.
        low: Depths that come in pooled.
        y: (M,) int64 classes of all training pictures.
        n_classes: C.
        notes: Choices made, with their numbers.
    """

    kind: str
    shared: dict[str, Any]
    low: tuple[str, ...]
    y: np.ndarray
    n_classes: int
    notes: tuple[str, ...]

    def feed(self, positions: np.ndarray, recipe: Recipe) -> Any:
        """Batches to learn from."""
        make = {"pooled": batches.PooledFeed, "maps": batches.MapFeed, "pictures": batches.PictureFeed}[self.kind]
        named = {"positions": positions, "y": self.y[positions], "n_classes": self.n_classes, "recipe": recipe}
        return make(**self.shared, **named)

    def held(self, positions: np.ndarray) -> Any:
        """Batches to be judged by."""
        make = {"pooled": batches.HeldPooled, "maps": batches.HeldMaps, "pictures": batches.HeldPictures}[self.kind]
        return make(**self.shared, positions=positions, y=self.y[positions])


def source_key(recipe: Recipe, cut: str) -> tuple[Any, ...]:
    """What two recipes must share to learn from the same source; pictures are augmented only on their way."""
    if recipe.strategy != "probe" and not cut:
        return (recipe.backbone, "pictures")
    changed = (
        (recipe.augmentation.augment, recipe.augmentation.views, recipe.augmentation.domain, recipe.seed)
        if recipe.augmentation.augment
        else ()
    )
    return (recipe.backbone, cut, recipe.depths, *changed)


def source(bench: Workbench, made: Network, recipe: Recipe) -> Source:
    """What a kind of network learns from, computed or found in the cache.

    Args:
        bench: The training pictures, their features, the cache.
        made: One network of the kind.
        recipe: Its augmentation and views.
    """
    policy = (
        Policy(domain=recipe.augmentation.domain, strength=recipe.augmentation.augment)
        if recipe.augmentation.augment
        else None
    )
    named: dict[str, Any] = {"low": made.low, "y": bench.y, "n_classes": bench.on.n_classes}
    if made.cut or (policy and recipe.strategy == "probe"):
        return _kept(bench, made, recipe, policy, named)
    if recipe.strategy == "probe":
        features = [_feature(bench, recipe.backbone, depth) for depth in made.low]
        shared = {"features": join_columns(bench.embeddings, features, bench.rows)}
        return Source(kind="pooled", shared=shared, notes=("learns from pooled features",), **named)
    found, _ = bench.trunk(recipe.backbone)
    raw = decoded_cache.load_decoded(
        bench.data, bench.rows, found.spec.input, store=bench.ctx.store, console=bench.ctx.console
    )
    notes = ("learns from pictures: every block trains",)
    return Source(kind="pictures", shared={"pictures": raw, "low": made.low}, notes=notes, **named)


def _kept(bench: Workbench, made: Network, recipe: Recipe, policy: Policy | None, named: dict[str, Any]) -> Source:
    """Activations at the cut, of the pictures or of augmented views of them, or the frozen part at every step."""
    found, _ = bench.trunk(recipe.backbone)
    store, console, way = bench.ctx.store, bench.ctx.console, _way(bench, made, recipe)
    if way["kind"] == "full path":
        raw = decoded_cache.load_decoded(bench.data, bench.rows, found.spec.input, store=store, console=console)
        below = cached_activations.lower(found, made.cut, bench.data, bench.rows, store=store, console=console)
        shared = {"pictures": raw, "below": below, "low": made.low}
        return Source(kind="pictures", shared=shared, notes=(way["why"],), **named)
    kept = cached_activations.maps(
        found,
        made.cut,
        bench.data,
        bench.rows,
        store=store,
        console=console,
        views=way["views"],
        policy=policy,
        seed=recipe.seed,
    )
    return Source(kind="maps", shared={"maps": kept, "low": made.low}, notes=(way["why"],), **named)


def _way(bench: Workbench, made: Network, recipe: Recipe) -> dict[str, Any]:
    """Kept or not: decided once a run, for the disk has a say."""
    found, model = bench.trunk(recipe.backbone)
    numbers = 0
    if made.cut:
        numbers = math.prod(trainable_network.lower(model, found.spec, made.cut).output.shape[1:])
    pooled = sum(depth.dim for depth in found.spec.depths)

    def plan() -> dict[str, Any]:
        way = data_path.plan(
            recipe,
            n=len(bench.rows),
            trainings=len(bench.fold_numbers) + 1 if bench.explicit else USUAL_TRAININGS,
            lower_flops=bench.price.lower_flops(recipe),
            view_bytes=2 * numbers + 4 * pooled,
            free_bytes=decoded_cache.count_free_bytes(bench.ctx.store.root),
        )
        bench.ctx.console.print_line("adapt", way.why)
        return {"kind": way.kind, "views": way.views, "why": way.why}

    augmented = (
        f"{recipe.augmentation.domain} {recipe.augmentation.augment:g} {recipe.augmentation.views}"
        if recipe.augmentation.augment
        else "plain"
    )
    name = f"way/{recipe.backbone}/{made.cut or 'features'}/{augmented}"
    found_way: dict[str, Any] = bench.decide(name, plan, "how pictures come into the network")
    return found_way


def _feature(bench: Workbench, backbone: str, depth: str) -> Feature:
    spec = next(e.spec for e in bench.embeddings if e.spec.name == backbone)
    return Feature(backbone=backbone, depth=depth, dim=next(d.dim for d in spec.depths if d.name == depth))
