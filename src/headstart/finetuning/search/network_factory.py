"""Networks of recipes, on trunks that are built once, and what one picture costs in each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.recipe import Recipe
from headstart.core.storage.cache import Store
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.trainable_network import HeadStart, Network
from headstart.finetuning.objectives import Objective
from headstart.networks import flops


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkShape:
    """What one picture costs in a network: operations above and below `cut`, the level below which nothing trains."""

    trained_flops: float
    frozen_flops: float
    cut: str


@dataclass(kw_only=True, eq=False)
class NetworkFactory:
    """Builds networks on trunks from the cache."""

    objective: Objective
    store: Store
    _trunks: dict[str, tuple[ResolvedBackbone, Any]] = field(default_factory=dict)
    _shapes: dict[Any, NetworkShape] = field(default_factory=dict)

    def load_trunk(self, name: str) -> tuple[ResolvedBackbone, Any]:
        """A backbone and its frozen `keras.Model`, built once."""
        if name not in self._trunks:
            from headstart.networks.framework_state import silence_frameworks

            backbone = loading.find_backbone(name)
            with silence_frameworks():
                self._trunks[name] = backbone, backbone.build(self.store)
        return self._trunks[name]

    def build_network(self, recipe: Recipe, start: HeadStart | None) -> Network:
        """The network of a recipe, its head from `start` or random."""
        backbone, model = self.load_trunk(recipe.backbone)
        return trainable_network.build_network(model, backbone.spec, recipe, start=start, objective=self.objective)

    def measure_shape(self, recipe: Recipe) -> NetworkShape:
        """What one picture costs in the network of a recipe, counted once."""
        key = (recipe.backbone, recipe.depths, recipe.strategy, recipe.trunk.part, recipe.trunk.blocks)
        if key not in self._shapes:
            backbone, model = self.load_trunk(recipe.backbone)
            network = self.build_network(recipe, None)
            frozen = 0.0
            if network.cut:
                frozen = flops.count_flops(trainable_network.build_lower_trunk(model, backbone.spec, network.cut))
            elif network.low:  # features alone come in: the whole trunk lies below
                frozen = float(backbone.spec.flops)
            trained = flops.count_flops(network.model)
            self._shapes[key] = NetworkShape(trained_flops=trained, frozen_flops=frozen, cut=network.cut)
        return self._shapes[key]
