"""What networks learn from: pooled features, feature maps at the cut, or the pictures themselves.

A source belongs to a kind of network and holds all training pictures; folds and trials take their own from it. Which
way is taken, and whether augmented views are kept, is decided by operations and bytes, and told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.say import size
from headstart.core.types import Feature
from headstart.kit import activations, feeds, pictures
from headstart.kit.augment import Policy
from headstart.kit.network import Network
from headstart.kit.vectors import columns

if TYPE_CHECKING:
    from headstart.stages.adapt.workbench import Workbench


VIEWS = 4  # augmented views that are kept of a picture


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
        make = {"pooled": feeds.PooledFeed, "maps": feeds.MapFeed, "pictures": feeds.PictureFeed}[self.kind]
        named = {"positions": positions, "y": self.y[positions], "n_classes": self.n_classes, "recipe": recipe}
        return make(**self.shared, **named)

    def held(self, positions: np.ndarray) -> Any:
        """Batches to be judged by."""
        make = {"pooled": feeds.HeldPooled, "maps": feeds.HeldMaps, "pictures": feeds.HeldPictures}[self.kind]
        return make(**self.shared, positions=positions, y=self.y[positions])


def source(bench: Workbench, made: Network, recipe: Recipe) -> Source:
    """What a kind of network learns from, computed or found in the cache.

    Args:
        bench: The training pictures, their features, the cache.
        made: One network of the kind.
        recipe: Its augmentation and views.
    """
    policy = Policy(domain=recipe.domain, strength=recipe.augment) if recipe.augment else None
    named: dict[str, Any] = {"low": made.low, "y": bench.y, "n_classes": bench.on.n_classes}
    if made.cut or (policy and recipe.strategy == "probe"):
        return _kept(bench, made, recipe, policy, named)
    if recipe.strategy == "probe":
        features = [_feature(bench, recipe.backbone, depth) for depth in made.low]
        shared = {"features": columns(bench.embeddings, features, bench.rows)}
        return Source(kind="pooled", shared=shared, notes=("learns from pooled features",), **named)
    found, _ = bench.trunk(recipe.backbone)
    raw = pictures.load(bench.data, bench.rows, found.spec.input, store=bench.ctx.store, say=bench.ctx.say)
    notes = ("learns from pictures: every block trains" + (f", augmented as {recipe.domain}" if policy else ""),)
    return Source(kind="pictures", shared={"pictures": raw, "low": made.low}, notes=notes, **named)


def _kept(bench: Workbench, made: Network, recipe: Recipe, policy: Policy | None, named: dict[str, Any]) -> Source:
    """Activations at the cut, of the pictures or of augmented views of them."""
    found, _ = bench.trunk(recipe.backbone)
    views = (recipe.views or VIEWS) if policy else 0
    store, say = bench.ctx.store, bench.ctx.say
    kept = activations.maps(
        found, made.cut, bench.data, bench.rows, store=store, say=say, views=views, policy=policy, seed=recipe.seed
    )
    told = f"learns from kept maps at {made.cut or 'all depths'} in {1 + views} views, {size(kept.bytes)}"
    return Source(kind="maps", shared={"maps": kept, "low": made.low}, notes=(told,), **named)


def _feature(bench: Workbench, backbone: str, depth: str) -> Feature:
    spec = next(e.spec for e in bench.embeddings if e.spec.name == backbone)
    return Feature(backbone=backbone, depth=depth, dim=next(d.dim for d in spec.depths if d.name == depth))
