"""Layers that stand in for Keras' own while a network trains.

Each class is made on first use, for Keras is imported late.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def frozen_norm() -> Any:
    """Class of a batch norm in inference mode whose gamma and beta train.

    Keras ties the mode to `trainable`: a batch norm that may learn also takes the batch's own statistics, which are
    poor in small batches and differ from the ones that the pre-trained kernels behind it expect.
    """
    import keras

    class FrozenNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
        folded = False  # into the convolution before it (`headstart.finetuning.network.batchnorm_folding`)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return inputs if self.folded else super().call(inputs, training=False, mask=mask)

    return FrozenNorm


@functools.cache
def residual_add() -> Any:
    """Class of a residual sum that leaves the branch out, picture by picture, while it trains.

    Stochastic depth (Huang et al., ECCV 2016): the branch is dropped with probability `rate`, and divided by `1 - rate`
    where it is kept, so that inference stays as it is. Takes a list of two tensors or two tensors.
    """
    import keras

    class ResidualAdd(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, rate: float, branch: int, seed: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rate, self.branch = rate, branch
            self.seed_generator = keras.random.SeedGenerator(seed)

        def call(self, inputs: Any, second: Any = None, training: bool = False) -> Any:
            parts = list(inputs) if second is None else [inputs, second]
            if training:
                x = parts[self.branch]
                shape = (keras.ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
                drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
                parts[self.branch] = x * keras.ops.cast(drawn >= self.rate, x.dtype) / (1 - self.rate)
            return parts[0] + parts[1]

    return ResidualAdd
