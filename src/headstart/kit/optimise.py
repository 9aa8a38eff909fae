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

BETAS = 0.9, 0.999
EPSILON = 1e-8
MOMENTUM = 0.9
_ONE_CYCLE_START = 25.0  # the first and the last but one rate are the peak over this (Smith 2018)
_ONE_CYCLE_END = 100.0  # and the very last that rate over this


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


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What one step knows of all variables: each a list with a scalar a variable."""

    on: list[Any]  # whether it moves
    rate: list[Any]
    corrections: tuple[list[Any], ...]  # 1 - beta^steps, for each of the betas


class _Rules(_Base):  # type: ignore[misc]
    """What both optimisers do alike; `move` says how far a variable goes."""

    slots: tuple[str, ...]
    betas: tuple[float, ...]

    def __init__(self, recipe: Recipe, factors: Mapping[str, float], anchors: Mapping[str, np.ndarray]) -> None:
        super().__init__(learning_rate=float(recipe.rate))
        self.recipe = recipe
        self.first = tuple(factors.items())
        self.anchors = tuple(anchors.items()) if recipe.l2_sp else ()
        self.paths: tuple[str, ...] = ()
        self.means: list[Any] = []

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(list(variables))
        import keras

        self.paths = tuple(v.path for v in variables)
        fixed = keras.initializers.Constant
        self.factors = self.add_variable((len(variables),), fixed(self._vector(dict(self.first))), name="factors")
        self.steps = self.add_variable((len(variables),), name="steps")
        self.state = [self.add_optimizer_variables(variables, slot) for slot in self.slots]
        anchors = dict(self.anchors)
        self.pulled = [
            self.add_variable_from_reference(v, "anchor", fixed(anchors[v.path])) if v.path in anchors else None
            for v in variables
        ]
        if self.recipe.l2_sp and not any(v is not None for v in self.pulled):
            raise NoOpError(f"l2_sp `{self.recipe.l2_sp:g}` pulls nothing: no block of the trunk trains")
        if self.recipe.ema:
            self.means = [self.add_variable_from_reference(v, "mean", _copy_of(v)) for v in variables]

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Change the factors from the next step on; all variables are named."""
        self.factors.assign(self._vector(factors))

    def _vector(self, factors: Mapping[str, float]) -> np.ndarray:
        if set(factors) != set(self.paths) or len(set(self.paths)) != len(self.paths):
            apart = sorted(set(factors) ^ set(self.paths)) or sorted(self.paths)
            raise ValueError(f"factors and variables differ in `{'`, `'.join(apart[:3])}`")
        return np.array([factors[path] for path in self.paths], np.float32)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = list(trainable_variables or self._trainable_variables)
        if tuple(v.path for v in variables) != self.paths:
            raise ValueError("the optimiser was built on other variables")
        missing = [path for g, path in zip(grads, self.paths, strict=True) if g is None]
        if missing:
            raise NoOpError(f"`{'`, `'.join(missing[:3])}` has no gradient: the loss does not depend on it")
        step, grads = self._prepare(grads)
        for i, (g, variable) in enumerate(zip(grads, variables, strict=True)):
            self._update(i, g, variable, step)
        self.iterations.assign_add(1)
        self._average(variables)

    def _prepare(self, grads: Sequence[Any]) -> tuple[_Step, list[Any]]:
        from keras import ops

        n = len(self.paths)
        moving = ops.greater(self.factors, 0.0)
        self.steps.assign_add(ops.cast(moving, "float32"))
        done = ops.maximum(self.steps, 1.0)
        corrections = tuple(ops.unstack(-ops.expm1(done * math.log(beta)), n) for beta in self.betas)
        rate = ops.cast(self.learning_rate, "float32") * self.factors
        step = _Step(ops.unstack(moving, n), ops.unstack(rate, n), corrections)
        if not self.recipe.clip:
            return step, list(grads)
        squares = ops.where(moving, ops.stack([ops.sum(ops.square(g)) for g in grads]), 0.0)
        scale = self.recipe.clip / ops.maximum(ops.sqrt(ops.sum(squares)), self.recipe.clip)
        return step, [g * scale for g in grads]

    def _update(self, i: int, g: Any, variable: Any, step: _Step) -> None:
        from keras import ops

        state = [slot[i] for slot in self.state]
        new, move = self.move(g, state, step.rate[i], [each[i] for each in step.corrections])
        anchor = self.pulled[i]
        if anchor is not None:
            move = move + step.rate[i] * self.recipe.l2_sp * (variable - anchor)
        elif self.recipe.weight_decay and _decays(variable):
            move = move + step.rate[i] * self.recipe.weight_decay * variable
        for held, value in zip(state, new, strict=True):
            held.assign(ops.where(step.on[i], value, held))
        variable.assign(ops.where(step.on[i], variable - move, variable))

    def _average(self, variables: Sequence[Any]) -> None:
        from keras import ops

        if not self.means:
            return
        decay = self.recipe.ema
        part = (1 - decay) / -ops.expm1(ops.cast(self.iterations, "float32") * math.log(decay))
        for mean, variable in zip(self.means, variables, strict=True):
            mean.assign(mean + (variable - mean) * ops.minimum(part, 1.0))

    def move(self, g: Any, state: list[Any], rate: Any, corrections: list[Any]) -> tuple[list[Any], Any]:
        """The new state and what is taken off the variable."""
        raise NotImplementedError


class _AdamW(_Rules):
    slots = "momentum", "velocity"
    betas = BETAS

    def move(self, g: Any, state: list[Any], rate: Any, corrections: list[Any]) -> tuple[list[Any], Any]:
        from keras import ops

        m = state[0] + (g - state[0]) * (1 - BETAS[0])
        v = state[1] + (ops.square(g) - state[1]) * (1 - BETAS[1])
        root = ops.sqrt(corrections[1])
        return [m, v], m * (rate * root / corrections[0]) / (ops.sqrt(v) + EPSILON * root)


class _Nesterov(_Rules):
    slots = ("momentum",)
    betas = ()

    def move(self, g: Any, state: list[Any], rate: Any, corrections: list[Any]) -> tuple[list[Any], Any]:
        m = state[0] * MOMENTUM + g
        return [m], (g + m * MOMENTUM) * rate


def _decays(variable: Any) -> bool:
    return len(variable.shape) > 1 and variable.name != "bias"


def _copy_of(variable: Any) -> Callable[..., Any]:
    from keras import ops

    return lambda shape, dtype=None: ops.cast(ops.convert_to_tensor(variable), dtype)


# ---------------------------------------------------------------- rates


def rates(recipe: Recipe, steps: int, peak: float | None = None) -> np.ndarray:
    """The learning rate of every step.

    The rate rises in equal steps over the part `warmup` and is at its peak in the step after it. Then it stays
    (`constant`), or falls along half a cosine towards 0 (`cosine`, Loshchilov 2017); `one_cycle` rises from and falls
    to peak / 25 in straight lines, and in the last tenth of the steps to peak / 2500 (Smith 2018).

    Args:
        recipe: Its `schedule`, `warmup` and `rate`.
        steps: Of the whole training.
        peak: The highest rate; the recipe's without it.

    Returns:
        (steps,) float64, all above 0.
    """
    peak = recipe.rate if peak is None else peak
    if steps < 1 or peak <= 0:
        raise ValueError(f"no schedule has {steps} steps and peak {peak:g}")
    rise = min(round(recipe.warmup * steps), steps - 1)
    fall = steps - rise
    if recipe.schedule == "one_cycle":
        low, last = peak / _ONE_CYCLE_START, peak / _ONE_CYCLE_START / _ONE_CYCLE_END
        tail = min(round(0.1 * steps), fall - 1)
        down = np.linspace(peak, low, fall - tail) if fall - tail > 1 else np.array([peak])
        return np.concatenate([np.linspace(low, peak, rise + 1)[:-1], down, np.linspace(low, last, tail + 1)[1:]])
    up = peak * np.arange(1, rise + 1) / (rise + 1)
    after = np.full(fall, peak)
    if recipe.schedule == "cosine":
        after = peak * 0.5 * (1 + np.cos(np.pi * np.arange(fall) / fall))
    return np.concatenate([up, after])


def phases(
    recipe: Recipe, blocks: Sequence[Sequence[str]], epoch: int, factors: Mapping[str, float]
) -> dict[str, float]:
    """The factors in an epoch: with `gradual` the head is free first, then one block more at a time (Howard 2018).

    A block is freed every epochs / (2 blocks), so that all train in the second half; in the last epoch at the latest.

    Args:
        recipe: Its `gradual` and `epochs`.
        blocks: Paths of each block's variables, shallow to deep, the head last.
        epoch: From 1.
        factors: Of all variables when all are free.
    """
    if not recipe.gradual or epoch >= recipe.epochs:
        return dict(factors)
    free = 1 + (epoch - 1) * 2 * len(blocks) // recipe.epochs
    held = {path for block in blocks[: max(len(blocks) - free, 0)] for path in block}
    return {path: 0.0 if path in held else factor for path, factor in factors.items()}


def rising(start: float, end: float, steps: int) -> np.ndarray:
    """(steps,) float64 rates of a rising-rate test, each the same multiple of the one before."""
    return np.geomspace(start, end, steps)


def find_rate(losses: np.ndarray, rates: np.ndarray) -> float:
    """The rate that a rising-rate test suggests (Smith 2017): where the smoothed loss falls fastest.

    Args:
        losses: (S,) of each step; what comes after the first that is not finite does not count.
        rates: (S,) rising.
    """
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    slopes = np.gradient(losses[:end], np.log(rates[:end]))
    return float(rates[int(np.argmin(slopes))])
