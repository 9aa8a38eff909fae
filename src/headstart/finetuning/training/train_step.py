"""One step of training, by Keras' own compiled train step, and everything that such a step changes.

`compute_metrics`, a hook of Keras on every backend, hands out the logits that the step saw. A batch too large for
memory goes through in parts whose gradients are summed: with targets in their shares the sum is that of the whole.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.training import optimizers, replicas
from headstart.finetuning.training.domain_loss import DomainLoss, adapting_model_class

_LOSS_SCALE = 2.0**15  # at first: halved at once, and the step taken again, where a gradient is then too large


class TrainStep:
    """A network, its optimiser and its loss, compiled.

    Dropout draws from the recipe's seed, so that two steppers on equal weights take equal steps. `class_weight` is (C,)
    float64 or None; a batch norm that learns sees each of the `parts` of a batch for itself. A loss `domain` is of
    batches that have pictures of another domain too. With two `places` or more each part is spread over these devices;
    not with a `domain`.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        class_weight: np.ndarray | None,
        parts: int = 1,
        domain: DomainLoss | None = None,
        places: Sequence[str] = (),
    ) -> None:
        if places and domain is not None:
            raise ValueError("a loss of two domains is of whole batches, on one device")
        self.network, self.factors = network, dict(network.rate_factors())
        self._domain, self._groups = domain, domain.groups if domain else 1
        if domain is not None:
            domain.build(network.head.layers["linear"].input.shape[-1])
        self._domain_variables = [v for layer in domain.layers for v in layer.trainable_variables] if domain else []
        self.factors |= {variable.path: 1.0 for variable in self._domain_variables}
        anchors = {
            variable.path: np.array(variable.numpy())
            for block in network.blocks
            if block.distance and recipe.trunk.l2_sp
            for variable in block.variables
        }
        self.optimiser = optimizers.make_optimizer(recipe, factors=self.factors, anchors=anchors or None)
        self._summing = _summing_optimizer_class()(self.optimiser) if parts > 1 else None
        self._parts = parts
        optimiser, loss = self._summing or self.optimiser, network.objective.make_loss(recipe, class_weight)
        self.model = _make_observed_model(network, domain, loss, places)
        self._scaling = _scale_loss(optimiser) if recipe.precision == "mixed_float16" else None
        optimiser = self._scaling or optimiser
        jit = False if places else "auto"
        self.model.compile(optimizer=optimiser, loss=None if domain else loss, jit_compile=jit)
        optimiser.build(self.model.trainable_variables)
        self._draws = network.seeds
        for number, draw in enumerate(self._draws):
            draw.assign(np.array([recipe.seed, number], draw.dtype))

    def take_step(self, inputs: Mapping[str, np.ndarray], targets: np.ndarray, rate: float) -> tuple[float, np.ndarray]:
        """The loss that was minimised and the (b, C) float32 logits, both from before the step.

        With pictures of another domain the inputs have G rows for each of the b pictures; the logits are theirs alone.
        """
        self.optimiser.learning_rate = rate
        self._set_stage(1.0)
        if self._summing is None:
            loss, logits = self._train_part(inputs, targets)
            return loss, logits[:: self._groups]
        count = len(targets) // self._groups
        cuts = [part for part in np.array_split(np.arange(count), self._parts) if len(part)]
        results = []
        for part in cuts:
            self._summing.last.assign(part is cuts[-1])
            at = slice(part[0] * self._groups, (part[-1] + 1) * self._groups)
            share = len(part) / count
            self._set_stage(share)
            results.append(
                self._train_part({name: array[at] for name, array in inputs.items()}, targets[at] * np.float32(share))
            )
        return sum(loss for loss, _ in results), np.concatenate([logits for _, logits in results])[:: self._groups]

    def _set_stage(self, share: float) -> None:
        if self._domain is not None:
            progress = min(int(self.optimiser.iterations.numpy()) / self._domain.steps, 1.0)
            self.model.set_stage(share, progress)

    def _train_part(self, inputs: Mapping[str, np.ndarray], targets: np.ndarray) -> tuple[float, np.ndarray]:
        scale = self._loss_scale
        logs = self.model.train_on_batch(dict(inputs), targets, return_dict=True)
        while np.isfinite(logs["loss"]) and 1 < self._loss_scale < scale:  # gradients beyond float16 moved nothing
            scale = self._loss_scale
            logs = self.model.train_on_batch(dict(inputs), targets, return_dict=True)
        return float(logs["loss"]), np.asarray(logs["logits"], np.float32)

    @property
    def _loss_scale(self) -> float:
        return float(self._scaling.dynamic_scale.numpy()) if self._scaling else 1.0

    @property
    def rate(self) -> float:
        """The learning rate as it stands; a callback may have set it."""
        return float(self.optimiser.learning_rate.numpy())

    def average_weights(self) -> dict[str, np.ndarray]:
        """What training may change, with the running mean in the place of each weight that has one."""
        weights = self.network.get()
        self.optimiser.finalize_variable_values(self.model.trainable_variables)
        averages = self.network.get()
        self.network.set(weights)
        return averages

    def copy_state(self) -> list[np.ndarray]:
        """What a step changes besides the weights: of the optimiser and of the draws."""
        return [np.array(variable.numpy()) for variable in self._state_variables]

    def restore_state(self, state: list[np.ndarray]) -> None:
        """Put a state back."""
        for variable, value in zip(self._state_variables, state, strict=True):
            variable.assign(value)

    @property
    def _state_variables(self) -> list[Any]:
        scaling = (self._scaling.step_counter, self._scaling.dynamic_scale) if self._scaling else ()
        return [*self.optimiser.variables, *self._draws, *scaling, *self._domain_variables]


def _scale_loss(optimiser: Any) -> Any:
    """The optimiser behind a scale on the loss, which keeps small gradients in float16 (Micikevicius et al. 2018)."""
    import keras

    return keras.optimizers.LossScaleOptimizer(optimiser, initial_scale=_LOSS_SCALE)


def _make_observed_model(network: Network, domain: DomainLoss | None, loss: Any, places: Sequence[str]) -> Any:
    """The network as it trains, on its places; with a loss of two domains it gives what its head reads too."""
    model, observed = network.model, _logits_model_class()
    if places:
        replicated = replicas.replicated_model_class()(model.input, model.output, name=model.name)
        replicated.places = tuple(places)
        return replicated
    if domain is None:
        return observed(model.input, model.output, name=model.name)
    outputs = [model.output, network.head.layers["linear"].input]
    adapting = adapting_model_class(observed)(model.input, outputs, name=model.name)
    adapting.add_domain(domain, loss)
    return adapting


@functools.cache
def _logits_model_class() -> Any:
    import keras

    class Observed(keras.Model):  # type: ignore[misc]
        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            return {**super().compute_metrics(x, y, y_pred, sample_weight), "logits": y_pred}

    return Observed


@functools.cache
def _summing_optimizer_class() -> Any:
    import keras

    class Summing(keras.optimizers.Optimizer):  # type: ignore[misc]
        """Sums gradients, and hands the sum to another optimiser when `last` is set."""

        def __init__(self, inner: Any) -> None:
            super().__init__(learning_rate=0.0)
            self.inner = inner

        @property
        def learning_rate(self) -> Any:
            return self.inner.learning_rate

        @learning_rate.setter
        def learning_rate(self, value: Any) -> None:
            self.inner.learning_rate = value

        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            self.inner.build(variables)
            self.targets = variables
            self.sums = self.add_optimizer_variables(variables, "sum")
            self.last = self.add_variable((), dtype="bool", name="last")

        def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
            for total, grad in zip(self.sums, grads, strict=True):
                if grad is not None:  # a variable without a gradient is found by its standing still
                    total.assign_add(grad)
            keras.ops.cond(self.last.value, self._step, lambda: None)

        def _step(self) -> None:
            self.inner.apply([total.value for total in self.sums], self.targets)
            for total in self.sums:
                total.assign(keras.ops.zeros_like(total))

    return Summing
