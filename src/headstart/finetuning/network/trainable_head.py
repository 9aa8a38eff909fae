"""The head on a trunk's pooled features: a fixed standardisation, a linear layer, and beside it a hidden layer or none.

With D features x, C classes: z = (x - centre) / scale; logits = W z + b, for `mlp` plus V h with h = ReLU(LayerNorm(U z
+ u)). V starts at zero, so that the first logits are the probe's. All is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe

NAME = "head"
_DRAWS = {"linear": 1, "hidden": 2, "dropout": 3, "hidden dropout": 4}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadStart:
    """A fitted linear head that a network starts from.

    `weights` (D, C) on raw pooled features, `bias` (C,); `centre` and `scale` (D,): mean and standard deviation, or 0.
    """

    weights: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def reorder_features(self, rows: np.ndarray) -> HeadStart:
        """The same head on features in another order."""
        return HeadStart(weights=self.weights[rows], bias=self.bias, centre=self.centre[rows], scale=self.scale[rows])


def derive_seed(recipe: Recipe, *place: int) -> int:
    """A seed for one use, from the recipe's own."""
    return int(np.random.SeedSequence([recipe.seed, *place]).generate_state(1)[0] >> 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """Layers by role: `linear`, for `mlp` also `hidden`, `norm`, `output`; `centre`, `factor` (1 / scale) are (D,)."""

    logits: Any
    layers: dict[str, Any]
    centre: np.ndarray
    factor: np.ndarray

    @property
    def variables(self) -> list[Any]:
        """The trainable ones."""
        return [v for layer in self.layers.values() for v in layer.trainable_variables]


def build_head(features: Any, recipe: Recipe, start: HeadStart | None, n_classes: int) -> Head:
    """Lay a head on features, a symbolic tensor (B, D) float32; no start means random weights, no standardisation."""
    import keras

    width = int(features.shape[-1])
    centre = np.zeros(width) if start is None else np.asarray(start.centre, np.float64)
    scale = np.ones(width) if start is None else np.asarray(start.scale, np.float64)
    factor = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1.0), 0.0)
    z = features
    if start is not None:
        z = keras.layers.Rescaling(factor.tolist(), (-centre * factor).tolist(), dtype="float32", name="head_scale")(z)
    z = _add_dropout(z, recipe, "dropout")
    layers = {"linear": keras.layers.Dense(n_classes, dtype="float32", name="head_linear")}
    logits = layers["linear"](z)
    if recipe.head == "mlp":
        layers["hidden"] = keras.layers.Dense(recipe.mlp.hidden, dtype="float32", name="head_hidden")
        layers["norm"] = keras.layers.LayerNormalization(dtype="float32", name="head_norm")
        hidden = keras.layers.ReLU(dtype="float32", name="head_relu")(layers["norm"](layers["hidden"](z)))
        layers["output"] = keras.layers.Dense(
            n_classes, use_bias=False, kernel_initializer="zeros", dtype="float32", name="head_output"
        )
        more = layers["output"](_add_dropout(hidden, recipe, "hidden dropout"))
        logits = keras.layers.Add(dtype="float32", name="head_logits")([logits, more])
    head = Head(logits=logits, layers=layers, centre=centre, factor=factor)
    _set_first_weights(head, recipe, start, scale)
    return head


def _add_dropout(x: Any, recipe: Recipe, use: str) -> Any:
    import keras

    if not recipe.dropout:
        return x
    seed = derive_seed(recipe, _DRAWS[use])
    name = f"head_{use.replace(' ', '_')}"
    return keras.layers.Dropout(recipe.dropout, seed=seed, dtype="float32", name=name)(x)


def _set_first_weights(head: Head, recipe: Recipe, start: HeadStart | None, scale: np.ndarray) -> None:
    linear = head.layers["linear"]
    if start is None or recipe.start == "random":
        linear.set_weights([_draw_glorot_uniform(linear.kernel.shape, recipe, "linear"), np.zeros(linear.bias.shape)])
    else:
        weights = np.asarray(start.weights, np.float64)
        linear.set_weights([weights * scale[:, None], start.bias + head.centre @ weights])
    if "hidden" in head.layers:
        hidden = head.layers["hidden"]
        hidden.set_weights([_draw_glorot_uniform(hidden.kernel.shape, recipe, "hidden"), np.zeros(hidden.bias.shape)])


def _draw_glorot_uniform(shape: Sequence[int], recipe: Recipe, use: str) -> np.ndarray:
    """Uniform, variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010), float32."""
    limit = np.sqrt(6 / sum(shape))
    return np.random.default_rng([recipe.seed, _DRAWS[use]]).uniform(-limit, limit, shape).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldedHead:
    """A trained head as one linear layer; D features and H hidden units, 0 for `linear`.

    `weights` are (D + H, C) on raw features and hidden units, `bias` (C,); `hidden` (D, H) and (H,) of the hidden
    layer, then gamma and beta (H,) of its norm; empty for `linear`.
    """

    weights: np.ndarray
    bias: np.ndarray
    hidden: tuple[np.ndarray, ...]


def fold_head(head: Head, factor: float, summand: float) -> FoldedHead:
    """Standardisation becomes part of the weights, and so does what brings logits into another unit."""
    kernel, bias = _unstandardise(head, *head.layers["linear"].get_weights())
    hidden: tuple[np.ndarray, ...] = ()
    if "hidden" in head.layers:
        norm = head.layers["norm"].get_weights()
        hidden = (*_unstandardise(head, *head.layers["hidden"].get_weights()), *norm)
        kernel = np.concatenate([kernel, head.layers["output"].get_weights()[0]])
    weights, bias = kernel * factor, bias * factor + summand
    return FoldedHead(
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        hidden=tuple(np.asarray(array, np.float32) for array in hidden),
    )


def _unstandardise(head: Head, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    on_raw = kernel.astype(np.float64) * head.factor[:, None]
    return on_raw, bias.astype(np.float64) - head.centre @ on_raw
