"""How weights are updated: rates a step, a factor for each variable, decay, clipping and the running mean.

Adam divides by the size of the gradient, so that scaling a gradient does nothing: the factor of a variable is applied
to its *update*, and the decay of a weight is part of the update. Factors and rates are variables: they may change
between two steps and nothing is traced again. A variable with factor 0 is as if it were not there: neither it nor its
moments move, its gradient does not count in the norm that is clipped, and when it is freed later its first step has
the bias correction of a first step. Decay is decoupled (Loshchilov and Hutter, ICLR 2019): biases and what has one
dimension (norms) do not decay, and what has an anchor is pulled there instead of to 0 (L2-SP, Li 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe

if TYPE_CHECKING:
    from keras.optimizers import Optimizer as _Base
else:
    _Base = object  # Keras is heavy: its class joins in `optimiser`

EPSILON = 1e-8  # of Adam


def optimiser(recipe: Recipe, *, factors: Mapping[str, float], anchors: Mapping[str, np.ndarray] | None = None) -> Any:
    """AdamW (Loshchilov 2019) or SGD with Nesterov's momentum, as a Keras optimiser.

    Its `learning_rate` is assigned a step, `set_factors` when blocks are freed; `variables` hold all of its state,
    the running mean of the weights included. Call `build(variables)` before the first step.

    Args:
        recipe: Its `optimiser`, `rate`, `clip`, `weight_decay`, `l2_sp` and `ema`.
        factors: Variable path -> factor on the rate, for every variable that it is built on.
        anchors: Variable path -> value that `l2_sp` pulls to, the trunk's.

    Raises:
        ValueError: In `build` and `set_factors`, when the factors are not of the variables, one each.
        NoOpError: In `build`, when `l2_sp` would pull nothing; in a step, when a variable has no gradient.
    """
    import keras

    rules = {"adamw": _AdamW, "sgd": _Nesterov}[recipe.optimiser]
    kind = type(rules.__name__.strip("_"), (rules, keras.optimizers.Optimizer), {})
    return kind(recipe, factors, anchors or {})


def averaged(optimiser: Any, variables: Sequence[Any]) -> dict[str, np.ndarray]:
    """The running mean of the weights by variable path; the weights themselves where none is kept.

    The mean weighs the weights after step s by decay^(t - s), over the sum of these: unlike a mean that starts at the
    first weights it is not held back by them in a short training.
    """
    means = dict(zip(optimiser.paths, optimiser.means, strict=False))
    return {v.path: np.array(means.get(v.path, v).numpy()) for v in variables}


@dataclass(frozen=True, slots=True)
class _Slot:
    """A mean that an optimiser keeps of each gradient or of its square: slot * keep + gradient ** power * gain."""

    name: str
    keep: float
    gain: float
    power: int


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What one step knows of each variable, a scalar each; a slot keeps all and gains nothing where nothing moves."""

    moves: list[Any]
    rate: list[Any]
    keep: list[list[Any]]
    gain: list[list[Any]]  # clipping included
    filled: list[list[Any]]  # 1 - keep^steps


class _Rules(_Base):  # type: ignore[misc]
    """What both optimisers do alike; `move` says how far a variable goes."""

    slots: tuple[_Slot, ...]

    def __init__(self, recipe: Recipe, factors: Mapping[str, float], anchors: Mapping[str, np.ndarray]) -> None:
        super().__init__(learning_rate=float(recipe.rate))
        self.recipe = recipe
        self.first = tuple(factors.items())
        self.anchors = tuple(anchors.items()) if recipe.trunk.l2_sp else ()
        self.paths: tuple[str, ...] = ()
        self.means: list[Any] = []

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(list(variables))
        from keras.initializers import Constant

        self.paths = tuple(v.path for v in variables)
        self.factors = self.add_variable((len(variables),), Constant(self._vector(dict(self.first))), name="factors")
        self.steps = self.add_variable((len(variables),), name="steps")
        self.state = [self.add_optimizer_variables(variables, slot.name) for slot in self.slots]
        anchors = {path: Constant(value) for path, value in self.anchors}
        self.pulled = [
            self.add_variable_from_reference(v, "anchor", anchors[v.path]) if v.path in anchors else None
            for v in variables
        ]
        if self.recipe.trunk.l2_sp and not any(v is not None for v in self.pulled):
            raise NoOpError(f"l2_sp `{self.recipe.trunk.l2_sp:g}` pulls nothing: no block of the trunk trains")
        if self.recipe.averaging.ema:
            self.means = [self.add_variable_from_reference(v, "mean", _copy_of(v)) for v in variables]

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Change the factors from the next step on; every variable is named."""
        self.factors.assign(self._vector(factors))

    def _vector(self, factors: Mapping[str, float]) -> np.ndarray:
        if set(factors) != set(self.paths) or len(factors) != len(self.paths):
            apart = sorted(set(factors) ^ set(self.paths)) or sorted(self.paths)
            raise ValueError(f"factors and variables are not the same: `{'`, `'.join(apart[:3])}`")
        return np.array([factors[path] for path in self.paths], np.float32)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        from keras import ops

        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = list(trainable_variables or self._trainable_variables)
        if tuple(v.path for v in variables) != self.paths:
            raise ValueError("the optimiser was built on other variables")
        missing = [path for g, path in zip(grads, self.paths, strict=True) if g is None]
        if missing:
            raise NoOpError(f"`{'`, `'.join(missing[:3])}` has no gradient: the loss does not depend on it")
        grads = [ops.cast(g, v.dtype) for g, v in zip(grads, variables, strict=True)]
        step = self._prepare(grads)
        for i, (g, variable) in enumerate(zip(grads, variables, strict=True)):
            self._update(i, g, variable, step)
        self.iterations.assign_add(1)
        self._average(variables)

    def _prepare(self, grads: Sequence[Any]) -> _Step:
        from keras import ops

        moves, scale = ops.greater(self.factors, 0.0), 1.0
        if self.recipe.clip:
            squares = ops.where(moves, ops.stack([ops.sum(ops.square(g)) for g in grads]), 0.0)
            scale = self.recipe.clip / ops.maximum(ops.sqrt(ops.sum(squares)), self.recipe.clip)
        self.steps.assign_add(ops.cast(moves, "float32"))
        steps = ops.maximum(self.steps, 1.0)
        return _Step(
            moves=self._each(moves),
            rate=self._each(ops.cast(self.learning_rate, "float32") * self.factors),
            keep=[self._each(ops.where(moves, slot.keep, 1.0)) for slot in self.slots],
            gain=[self._each(ops.where(moves, slot.gain * scale**slot.power, 0.0)) for slot in self.slots],
            filled=[self._each(-ops.expm1(steps * math.log(slot.keep))) for slot in self.slots],
        )

    def _each(self, vector: Any) -> list[Any]:
        from keras import ops

        return list(ops.unstack(vector, len(self.paths)))

    def _update(self, i: int, g: Any, variable: Any, step: _Step) -> None:
        from keras import ops

        state = [each[i] for each in self.state]
        for held, slot, keep, gain in zip(state, self.slots, step.keep, step.gain, strict=True):
            held.assign(held * keep[i] + (g if slot.power == 1 else ops.square(g)) * gain[i])
        move, anchor, rate = self.move(i, g, step), self.pulled[i], step.rate[i]
        if anchor is not None:
            move = move + (variable - anchor) * (rate * self.recipe.trunk.l2_sp)
        elif self.recipe.weight_decay and _decays(variable):
            move = move + variable * (rate * self.recipe.weight_decay)
        before = ops.convert_to_tensor(variable)
        variable.assign(ops.where(step.moves[i], before - move, before))

    def _average(self, variables: Sequence[Any]) -> None:
        from keras import ops

        if not self.means:
            return
        decay = self.recipe.averaging.ema
        part = (1 - decay) / -ops.expm1(ops.cast(self.iterations, "float32") * math.log(decay))
        for mean, variable in zip(self.means, variables, strict=True):
            mean.assign(mean - (mean - variable) * ops.minimum(part, 1.0))

    def move(self, i: int, g: Any, step: _Step) -> Any:
        """What is taken off variable `i`; its slots have been updated."""
        raise NotImplementedError


class _AdamW(_Rules):
    slots = _Slot("momentum", 0.9, 0.1, 1), _Slot("velocity", 0.999, 0.001, 2)

    def move(self, i: int, g: Any, step: _Step) -> Any:
        from keras import ops

        m, v = (each[i] for each in self.state)
        root = ops.sqrt(step.filled[1][i])
        return m * (step.rate[i] * root / step.filled[0][i]) / (ops.sqrt(v) + EPSILON * root)


class _Nesterov(_Rules):
    slots = (_Slot("momentum", 0.9, 1.0, 1),)

    def move(self, i: int, g: Any, step: _Step) -> Any:
        m, rate = self.state[0][i], step.rate[i]
        return g * (step.gain[0][i] * rate) + m * (self.slots[0].keep * rate)


def _decays(variable: Any) -> bool:
    return len(variable.shape) > 1 and variable.name != "bias"


def _copy_of(variable: Any) -> Callable[..., Any]:
    from keras import ops

    return lambda shape, dtype=None: ops.copy(ops.convert_to_tensor(variable))
