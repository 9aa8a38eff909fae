"""What networks learn from: pooled features, feature maps at the cut, or the pictures themselves, by their cost."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage.files import count_free_bytes
from headstart.core.types import Feature
from headstart.features.embeddings import join_columns
from headstart.finetuning.inputs import batches, cached_activations, data_path
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.inputs.cached_activations import CachedMaps
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.objectives import Objective
from headstart.finetuning.search.network_factory import NetworkFactory
from headstart.finetuning.search.training_set import TrainingSet
from headstart.images import decoded_cache

USUAL_TRAININGS = 2  # of a recipe in a search: most are tried on one fold
_FEEDS = {"pooled": batches.PooledFeed, "maps": batches.MapFeed, "pictures": batches.PictureFeed}
_HELD_OUT = {"pooled": batches.HeldOutPooled, "maps": batches.HeldOutMaps, "pictures": batches.HeldOutPictures}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What one kind of network learns from: `pooled`, `maps` or `pictures`."""

    kind: str
    shared: dict[str, Any]  # what feeds and held-out batches of this kind are made from
    targets: np.ndarray  # (M, …) of all training pictures
    objective: Objective
    weights: np.ndarray | None  # (M,) float64, how much each counts; or None
    notes: tuple[str, ...]  # choices, with their numbers

    def make_feed(self, positions: np.ndarray, recipe: Recipe) -> Any:
        """Batches to learn from."""
        make: Any = _FEEDS[self.kind]
        weights = None if self.weights is None else self.weights[positions]
        labels = {"y": self.targets[positions], "objective": self.objective, "weights": weights}
        return make(**self.shared, **labels, positions=positions, recipe=recipe)

    def make_held_out(self, positions: np.ndarray) -> Any:
        """Batches to be judged by."""
        make: Any = _HELD_OUT[self.kind]
        return make(**self.shared, positions=positions, y=self.targets[positions])

    @property
    def passes_frozen_part(self) -> bool:
        """Whether pictures go through an engine of this process at every step."""
        return self.shared.get("below") is not None

    def count_bytes(self) -> int:
        """Of what networks learn from, in memory."""
        if self.kind == "maps":
            maps: CachedMaps = self.shared["maps"]
            return maps.at.size * sum(column[:1].nbytes for column in maps.columns.values())
        return int(self.shared["features" if self.kind == "pooled" else "pictures"].nbytes)

    def load_into_memory(self) -> Source:
        """The same without files of this machine."""
        if self.kind == "maps":
            return dataclasses.replace(self, shared={**self.shared, "maps": self.shared["maps"].load_into_memory()})
        arrays = {name: np.array(part) if isinstance(part, np.ndarray) else part for name, part in self.shared.items()}
        return dataclasses.replace(self, shared=arrays)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTraining:
    """Something to train: a recipe with everything filled in, its network, and the feed it learns from."""

    network: Network
    recipe: Recipe
    source: Source
    feed: Any
    notes: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class TrainingSources:
    """The sources of a run, each computed once, or read from the cache."""

    training_set: TrainingSet
    networks: NetworkFactory
    ctx: Context
    _sources: dict[Any, Source] = field(default_factory=dict)

    def has(self, recipe: Recipe, cut: str) -> bool:
        """Whether what a recipe learns from was computed already in this process."""
        return source_key(recipe, cut) in self._sources

    def find_or_make(self, network: Network, recipe: Recipe) -> Source:
        """What a kind of network learns from."""
        key = source_key(recipe, network.cut)
        if key not in self._sources:
            kind, shared, note = self._make(network, recipe)
            self._sources[key] = Source(
                kind=kind,
                shared={**shared, "low": network.low} if kind != "pooled" else shared,
                targets=self.training_set.targets,
                objective=self.networks.objective,
                weights=self.training_set.weights,
                notes=(note,),
            )
        return self._sources[key]

    def _make(self, network: Network, recipe: Recipe) -> tuple[str, dict[str, Any], str]:
        """The kind of a source, what its batches are made from, and why."""
        if network.cut or (recipe.augmentation.augment and recipe.strategy == "probe"):
            return self._keep_activations(network, recipe)
        if recipe.strategy == "probe":
            spec = next(e.spec for e in self.training_set.embeddings if e.spec.name == recipe.backbone)
            dims = {level.name: level.dim for level in spec.depths}
            features = [Feature(backbone=spec.name, depth=depth, dim=dims[depth]) for depth in network.low]
            pooled = join_columns(self.training_set.embeddings, features, self.training_set.rows)
            return "pooled", {"features": pooled}, "learns from pooled features"
        return "pictures", {"pictures": self._load_pictures(recipe)}, "learns from pictures: every block trains"

    def _keep_activations(self, network: Network, recipe: Recipe) -> tuple[str, dict[str, Any], str]:
        """Of the pictures or of augmented views of them; or the frozen part runs at every step."""
        backbone, _ = self.networks.load_trunk(recipe.backbone)
        path = self._choose_path(network, recipe)
        data, rows = self.training_set.data, self.training_set.rows
        store, console, augmentation = self.ctx.store, self.ctx.console, recipe.augmentation
        if path["kind"] == "full path":
            below = cached_activations.load_lower_trunk(backbone, network.cut, data, rows, store=store, console=console)
            return "pictures", {"pictures": self._load_pictures(recipe), "below": below}, path["why"]
        policy = Policy(domain=augmentation.domain, strength=augmentation.augment) if augmentation.augment else None
        activations = cached_activations.cache_maps(
            backbone,
            network.cut,
            data,
            rows,
            store=store,
            console=console,
            views=path["views"],
            policy=policy,
            seed=recipe.seed,
        )
        return "maps", {"maps": activations}, path["why"]

    def _choose_path(self, network: Network, recipe: Recipe) -> dict[str, Any]:
        """Kept or not: decided once a run, for the disk has a say."""
        backbone, model = self.networks.load_trunk(recipe.backbone)
        map_size = 0
        if network.cut:
            lower = trainable_network.build_lower_trunk(model, backbone.spec, network.cut)
            map_size = math.prod(lower.output.shape[1:])
        pooled_size = sum(depth.dim for depth in backbone.spec.depths)
        trainings = len(self.training_set.fold_numbers) + 1 if self.ctx.job.recipe else USUAL_TRAININGS

        def plan() -> dict[str, Any]:
            path = data_path.plan_data_path(
                recipe,
                n=len(self.training_set.rows),
                trainings=trainings,
                lower_flops=self.networks.measure_shape(recipe).frozen_flops,
                view_bytes=2 * map_size + 4 * pooled_size,
                free_bytes=count_free_bytes(self.ctx.store.root),
            )
            self.ctx.console.print_line("adapt", path.why)
            return {"kind": path.kind, "views": path.views, "why": path.why}

        change = recipe.augmentation
        augmented = f"{change.domain} {change.augment:g} {change.views}" if change.augment else "plain"
        name = f"adapt/way/{recipe.backbone}/{network.cut or 'features'}/{augmented}"
        path: dict[str, Any] = self.ctx.record_decision(name, plan, "how pictures come into the network")
        return path

    def _load_pictures(self, recipe: Recipe) -> np.ndarray:
        backbone, _ = self.networks.load_trunk(recipe.backbone)
        data, rows, ctx = self.training_set.data, self.training_set.rows, self.ctx
        return decoded_cache.load_decoded(data, rows, backbone.spec.input, store=ctx.store, console=ctx.console)


def source_key(recipe: Recipe, cut: str) -> tuple[Any, ...]:
    """What two recipes must share to learn from the same source; pictures are augmented only on their way."""
    if recipe.strategy != "probe" and not cut:
        return (recipe.backbone, "pictures")
    change = recipe.augmentation
    changed = (change.augment, change.views, change.domain, recipe.seed) if change.augment else ()
    return (recipe.backbone, cut, recipe.depths, *changed)
