"""What a training adds to its loss where unlabelled pictures of another domain come with each batch.

A step then has G rows a picture: a labelled one, one of the target, and for G = 3 that one changed. They alternate, so
that a batch in parts has all of them in each. Rows of the target have targets of zeros, which no loss counts.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np


class DomainLoss(Protocol):
    """A loss of source and target together."""

    steps: int  # of the whole training
    layers: list[Any]  # Keras layers that train with the network; `build` makes them

    @property
    def name(self) -> str:
        """What it is known by."""
        ...

    @property
    def groups(self) -> int:
        """G."""
        ...

    def build(self, width: int) -> None:
        """Make its layers for features (B, D) of a width, equal in every process."""
        ...

    def __call__(self, features: Any, logits: Any, progress: Any) -> Any:
        """A number, of (b, G, D) what the head reads, (b, G, C) logits, and the part of the training that is over."""
        ...


@functools.cache
def adapting_model_class(observed: Any) -> Any:
    """Class of a model, a subclass of `observed`, that gives logits and features and learns by both losses."""
    import keras
    from keras import ops

    class Adapting(observed):  # type: ignore[misc]
        def add_domain(self, domain: DomainLoss, label_loss: Any) -> None:
            self.domain, self.label_loss, self.domain_layers = domain, label_loss, list(domain.layers)
            self.stage = keras.Variable(np.zeros(2, np.float32), trainable=False, name="domain_stage")

        def set_stage(self, share: float, progress: float) -> None:
            """Before each step: the part of its batch that comes now, and of the training that is over."""
            self.stage.assign(np.array([share, progress], np.float32))

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            logits, features = y_pred
            groups = self.domain.groups
            features = ops.reshape(features, (-1, groups, features.shape[-1]))
            by_group = ops.reshape(logits, (-1, groups, logits.shape[-1]))
            return self.label_loss(y, logits) + self.stage[0] * self.domain(features, by_group, self.stage[1])

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            metrics: dict[str, Any] = super().compute_metrics(x, y, y_pred[0], sample_weight)
            return metrics

    return Adapting
