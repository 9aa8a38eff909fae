"""Losses on unlabelled target pictures: domain-adversarial, maximum mean discrepancy, and consistency.

Each takes (b, G, D) features as the head reads them and (b, G, C) logits; its weight rises with the training from 0 to
1 as 2 / (1 + exp(-10 p)) - 1 (Ganin et al., JMLR 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_HIDDEN = 256  # units of the discriminator
_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the kernels, in parts of the mean squared distance
CONFIDENT = 0.95  # probability from which on an answer is a pseudo-label


def ramp(progress: Any) -> Any:
    """The weight of a loss after a part of the training, 0..1."""
    from keras import ops

    return 2.0 / (1.0 + ops.exp(-10.0 * progress)) - 1.0


def reverse_gradient(x: Any, strength: Any) -> Any:
    """The same numbers, whose gradient is multiplied by -strength."""
    from keras import ops

    return ops.stop_gradient(x * (1.0 + strength)) - x * strength


@dataclass(kw_only=True, eq=False)
class AdversarialLoss:
    """DANN: a discriminator with one hidden layer tells the domains apart, and the trunk learns that it cannot."""

    name = "dann"
    groups = 2
    steps: int
    seed: int
    layers: list[Any] = field(default_factory=list)

    def build(self, width: int) -> None:
        """A layer for features (B, D) of a width, and one for its hidden units."""
        import keras

        kinds = (("domain_hidden", _HIDDEN, "relu", width), ("domain_output", 1, None, _HIDDEN))
        self.layers = []
        for place, (name, units, activation, inputs) in enumerate(kinds):
            start = keras.initializers.GlorotUniform(seed=self.seed + place)
            layer = keras.layers.Dense(
                units, activation=activation, kernel_initializer=start, dtype="float32", name=name
            )
            layer.build((None, inputs))
            self.layers.append(layer)

    def __call__(self, features: Any, logits: Any, progress: Any) -> Any:
        """Cross-entropy of the discriminator."""
        from keras import ops

        hidden, output = self.layers
        scores = output(hidden(reverse_gradient(features, ramp(progress))))[..., 0]
        return ops.mean(ops.softplus(scores[:, 0])) + ops.mean(ops.softplus(-scores[:, 1]))


@dataclass(kw_only=True, eq=False)
class DiscrepancyLoss:
    """Squared maximum mean discrepancy of the features by several Gaussian kernels (Long et al., ICML 2015)."""

    name = "mmd"
    groups = 2
    steps: int
    seed: int = 0
    layers: list[Any] = field(default_factory=list)

    def build(self, width: int) -> None:
        """Nothing of it trains."""

    def __call__(self, features: Any, logits: Any, progress: Any) -> Any:
        """0 where both samples are the same."""
        return ramp(progress) * squared_discrepancy(features[:, 0], features[:, 1])


def squared_discrepancy(x: Any, y: Any) -> Any:
    """Of (b, D) and (b, D) samples, all pairs counted; its kernels' width follows the mean squared distance."""
    from keras import ops

    joined = ops.concatenate([x, y])
    squares = ops.sum(ops.square(joined), axis=1)
    distances = ops.maximum(squares[:, None] + squares[None, :] - 2 * ops.matmul(joined, ops.transpose(joined)), 0.0)
    width = ops.stop_gradient(ops.mean(distances)) + 1e-6
    kernel = sum(ops.exp(-distances / (width * factor)) for factor in _WIDTHS) / len(_WIDTHS)
    count = ops.shape(x)[0]
    within = ops.mean(kernel[:count, :count]) + ops.mean(kernel[count:, count:])
    return within - 2 * ops.mean(kernel[:count, count:])


@dataclass(kw_only=True, eq=False)
class ConsistencyLoss:
    """FixMatch (Sohn et al., NeurIPS 2020): a confident answer is the label of the same picture strongly changed."""

    name = "consistency"
    groups = 3
    steps: int
    seed: int = 0
    layers: list[Any] = field(default_factory=list)

    def build(self, width: int) -> None:
        """Nothing of it trains."""

    def __call__(self, features: Any, logits: Any, progress: Any) -> Any:
        """Cross-entropy of the changed pictures against confident answers, averaged over all pictures."""
        from keras import ops

        weak = ops.stop_gradient(ops.softmax(logits[:, 1], axis=-1))
        labels = ops.one_hot(ops.argmax(weak, axis=-1), logits.shape[-1])
        counts = ops.cast(ops.max(weak, axis=-1) >= CONFIDENT, "float32")
        losses = -ops.sum(labels * ops.log_softmax(logits[:, 2], axis=-1), axis=-1)
        return ramp(progress) * ops.mean(counts * losses)


LOSSES = {kind.name: kind for kind in (AdversarialLoss, DiscrepancyLoss, ConsistencyLoss)}
