"""Keras' own Adam and SGD, with a factor on the update of each variable: Adam's update does not scale with a gradient.

Factors and rates are variables: they change between steps and nothing is traced again. With a factor of 0 a variable
does not move nor count in the clipped norm; once freed, its first step has the bias correction of a first step. Decay
is decoupled (Loshchilov and Hutter, ICLR 2019) and has the factor too; biases and norms do not decay, and what has an
anchor is pulled there (L2-SP, Li 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe

if TYPE_CHECKING:
    from keras.optimizers import Optimizer as _KerasOptimizer
else:
    _KerasOptimizer = object  # Keras is heavy: its class joins in `make_optimizer`

_EPSILON = 1e-8  # of Adam


def make_optimizer(
    recipe: Recipe, *, factors: Mapping[str, float], anchors: Mapping[str, np.ndarray] | None = None
) -> Any:
    """AdamW (Loshchilov 2019) or SGD with Nesterov's momentum, as a Keras optimiser.

    `learning_rate` is assigned before each step, `set_factors` is called when blocks are freed; `variables` hold all of
    its state. Call `build(variables)` before the first step.

    Args:
        factors: Variable path -> factor on the rate, for every variable that it is built on; 0 with `gradual` alone.
        anchors: Variable path -> value that `l2_sp` pulls to, the trunk's.

    Raises:
        ValueError: In `build` and `set_factors`, when the factors are not of the variables, one each.
        NoOpError: In `build`, when `l2_sp` would pull nothing; in a step, when a variable has no gradient.
    """
    import keras

    if recipe.optimiser == "adamw":
        kind: type = type("AdamW", (_AdamW, keras.optimizers.Adam), {})
        return kind(recipe, factors, anchors, epsilon=_EPSILON)
    kind = type("NesterovSGD", (_NesterovSGD, keras.optimizers.SGD), {})
    return kind(recipe, factors, anchors, momentum=0.9, nesterov=True)


class _LayerwiseOptimizer(_KerasOptimizer):  # type: ignore[misc]
    """What joins a Keras optimiser: a rate for each variable, and its decay."""

    def __init__(
        self, recipe: Recipe, factors: Mapping[str, float], anchors: Mapping[str, np.ndarray] | None, **options: Any
    ) -> None:
        super().__init__(
            learning_rate=float(recipe.rate),
            global_clipnorm=recipe.clip or None,
            use_ema=bool(recipe.averaging.ema),
            ema_momentum=recipe.averaging.ema,
            **options,
        )
        self.recipe = recipe
        self.first_factors = tuple(factors.items())
        self.first_anchors = tuple((anchors or {}).items()) if recipe.trunk.l2_sp else ()
        self.paths: tuple[str, ...] = ()

    @property
    def ema_momentum(self) -> Any:
        """Of the next step: the weights after step s count decay^(t - s), over the sum of these.

        Unlike Keras' mean, which starts at the first weights, it is not held back by them in a short training.
        """
        return 1 - (1 - self._ema_decay) / _bias_correction(self.iterations + 1, self._ema_decay)

    @ema_momentum.setter
    def ema_momentum(self, decay: float) -> None:
        self._ema_decay = decay

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(list(variables))
        from keras.initializers import Constant

        self.paths = tuple(v.path for v in variables)
        factors = Constant(self._vector_of(dict(self.first_factors)))
        self.factors = self.add_variable((len(variables),), factors, name="factors")
        anchors = {path: Constant(value) for path, value in self.first_anchors}
        self.anchors = [
            self.add_variable_from_reference(v, "anchor", anchors[v.path]) if v.path in anchors else None
            for v in variables
        ]
        self.decays = [len(v.shape) > 1 and v.name != "bias" for v in variables]
        if self.recipe.trunk.l2_sp and not any(anchor is not None for anchor in self.anchors):
            raise NoOpError(f"l2_sp `{self.recipe.trunk.l2_sp:g}` pulls nothing: no block of the trunk trains")

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Change the factors from the next step on; every variable is named. A block that moved is not frozen again."""
        self.factors.assign(self._vector_of(factors))

    def _vector_of(self, factors: Mapping[str, float]) -> np.ndarray:
        if set(factors) != set(self.paths) or len(factors) != len(self.paths):
            apart = sorted(set(factors) ^ set(self.paths)) or sorted(self.paths)
            raise ValueError(f"factors and variables are not the same: `{'`, `'.join(apart[:3])}`")
        return np.array([factors[path] for path in self.paths], np.float32)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        from keras import ops

        if not self.built:
            self.build(trainable_variables)
        if tuple(v.path for v in trainable_variables) != self.paths:
            raise ValueError("the optimiser was built on other variables")
        missing = [path for gradient, path in zip(grads, self.paths, strict=True) if gradient is None]
        if missing:
            raise NoOpError(f"`{'`, `'.join(missing[:3])}` has no gradient: the loss does not depend on it")
        if self.recipe.trunk.gradual:
            moves = ops.unstack(ops.greater(self.factors, 0.0), len(self.paths))
            grads = [ops.where(move, gradient, 0.0) for move, gradient in zip(moves, grads, strict=True)]
        rates = ops.unstack(self.variable_rates(), len(self.paths))
        self._updates = iter(zip(rates, self.anchors, self.decays, strict=True))  # in the order of the variables
        super().apply(grads, trainable_variables)

    def variable_rates(self) -> Any:
        """(V,) learning rate of each variable."""
        from keras import ops

        return ops.cast(self.learning_rate, "float32") * self.factors

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, anchor, decays = next(self._updates)
        if anchor is not None:
            self.assign_sub(variable, (variable - anchor) * (rate * self.recipe.trunk.l2_sp))
        elif self.recipe.weight_decay and decays:
            self.assign_sub(variable, variable * (rate * self.recipe.weight_decay))
        self.update_at_rate(gradient, variable, rate)

    def update_at_rate(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Keras' update of one variable at its own rate."""
        super().update_step(gradient, variable, rate)


class _AdamW(_LayerwiseOptimizer):
    @property
    def epsilon(self) -> Any:
        """Of the next step: it is meant for the corrected mean of squares, and Keras adds it to the plain one."""
        return self._epsilon_in_step

    @epsilon.setter
    def epsilon(self, epsilon: float) -> None:
        self._epsilon = self._epsilon_in_step = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        if not self.built:
            super().build(variables)
            self.steps = self.add_variable((len(variables),), name="steps")

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        from keras import ops

        self._epsilon_in_step = self._epsilon * ops.sqrt(_bias_correction(self.iterations + 1, self.beta_2))
        super().apply(grads, trainable_variables)

    def variable_rates(self) -> Any:
        """With the bias correction of the steps in which each variable was free in place of that of all steps."""
        from keras import ops

        if not self.recipe.trunk.gradual:
            return super().variable_rates()
        self.steps.assign_add(ops.cast(ops.greater(self.factors, 0.0), "float32"))
        own_steps, all_steps = ops.maximum(self.steps, 1.0), self.iterations + 1
        betas = (self.beta_1, self.beta_2)
        mean, square = (_bias_correction(own_steps, beta) / _bias_correction(all_steps, beta) for beta in betas)
        return super().variable_rates() * ops.sqrt(square) / mean


class _NesterovSGD(_LayerwiseOptimizer):
    def update_at_rate(self, gradient: Any, variable: Any, rate: Any) -> None:
        """The velocity is one of gradients, so that a rate acts on its own step alone; Keras' has the rates in it."""
        self._rate = rate
        super().update_at_rate(gradient, variable, 1.0)

    def assign_add(self, variable: Any, value: Any) -> None:
        """Only the weights are added to; the velocity is assigned."""
        super().assign_add(variable, value * self._rate)


def _bias_correction(steps: Any, beta: float) -> Any:
    """1 - beta^steps."""
    from keras import ops

    return -ops.expm1(ops.cast(steps, "float32") * math.log(beta))
