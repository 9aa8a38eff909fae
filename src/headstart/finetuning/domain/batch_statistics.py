"""Batch norm statistics of a trunk, estimated again on pictures of another domain (AdaBN, Li et al. 2016).

Each batch norm shall see the target as it saw the source. With mean and variance of both domains before it, m and v,
and what the layer has, m0 and v0, it gets v0' = v0 v_target / v_source and m0' = m_target - (m_source - m0)
sqrt(v_target / v_source). Where the layer has the source's own statistics, this is AdaBN; where it was pre-trained on
other data, source and target still look alike behind it, and the head that learnt from source features stays valid.
Target batches pass layers that are corrected already, each by the batch's own statistics, so one pass does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.finetuning.network import clone
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.networks.blocks import TrunkBlocks

BATCH, FEWEST = 32, 16  # pictures of a batch, and of a domain
Moments = Mapping[int, tuple[np.ndarray, np.ndarray]]  # id of a batch norm -> mean and variance (c,) float64 before it


def list_batch_norms(anatomy: TrunkBlocks, last: str) -> list[Any]:
    """Batch norms of a trunk up to the level `last`, in the order of the graph; NoOpError where there is none."""
    import keras

    levels = anatomy.depths[: anatomy.depths.index(last) + 1]
    operations = (operation for level in levels for operation in anatomy.segments[level])
    layers = (layer for operation in operations for layer in (operation, *getattr(operation, "layers", ())))
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        raise NoOpError(f"the trunk has no batch norm up to its level `{last}`, so there are no statistics to adapt")
    return norms


def adapt_statistics(
    trunk_model: Any, anatomy: TrunkBlocks, last: str, source: np.ndarray, target: np.ndarray
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """New moving mean and variance of each batch norm up to the level `last`, by its id.

    Args:
        trunk_model: Functional `keras.Model`; it is left as it is.
        source: (M, H, W, 3) 0..255 pictures that the head learnt from; whole batches of them are used.
        target: (T, H, W, 3) the same of the other domain.

    Raises:
        NoOpError: There is no batch norm, or too few pictures.
    """
    norms = list_batch_norms(anatomy, last)
    fewest = min(len(source), len(target))
    if fewest < FEWEST:
        raise NoOpError(f"{fewest} pictures of a domain are too few for statistics of batches; {FEWEST} are needed")
    before = _measure_moments(trunk_model, anatomy, norms, source, {})
    after = _measure_moments(trunk_model, anatomy, norms, target, before)
    return {id(norm): _match(norm, before[id(norm)], after[id(norm)]) for norm in norms}


def _match(norm: Any, source: tuple[Any, Any], target: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = (np.asarray(v, np.float64) for v in (norm.moving_mean, norm.moving_variance))
    ratio = (target[1] + norm.epsilon) / (source[1] + norm.epsilon)
    new_mean = target[0] - (source[0] - mean) * np.sqrt(ratio)
    return new_mean, np.maximum((variance + norm.epsilon) * ratio - norm.epsilon, 0.0)


@repeat_bit_for_bit()
def _measure_moments(
    trunk_model: Any, anatomy: TrunkBlocks, norms: Sequence[Any], pictures: np.ndarray, matched: Moments
) -> Moments:
    """What comes to each batch norm, over all whole batches; one of `matched` first brings a batch to its moments."""
    import keras

    chosen = {id(norm) for norm in norms}
    pooled = [anatomy.pooled[depth] for depth in anatomy.depths]
    new_input = keras.Input(trunk_model.inputs[0].shape[1:], name="pictures")
    body = clone.clone_between(
        trunk_model.inputs[0], pooled, new_input, anatomy.names,
        lambda layer: (_measuring_norm() if id(layer) in chosen else type(layer), {}),
    )  # fmt: skip
    copies = {id(norm): copy for norm, copy in body.pairs if id(norm) in chosen}
    for operation, copy in body.pairs:
        for original, own in zip(getattr(operation, "weights", ()), getattr(copy, "weights", ()), strict=False):
            own.assign(original)  # what a measuring norm has besides comes last
    for place, moments in matched.items():
        copies[place].matched = tuple(np.asarray(values, np.float32) for values in moments)
    size = min(BATCH, len(pictures))
    count = len(pictures) // size
    for at in range(count):
        body.model.predict_on_batch(np.asarray(pictures[at * size : (at + 1) * size], np.float32))
    sums = {place: [np.asarray(v, np.float64) / count for v in copy.sums] for place, copy in copies.items()}
    return {place: (mean, np.maximum(square - mean**2, 0.0)) for place, (mean, square) in sums.items()}


@functools.cache
def _measuring_norm() -> Any:
    """Class of a batch norm that sums the mean and the mean square of what comes to it, batch by batch."""
    import keras
    from keras import ops

    class MeasuringNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
        matched: Any = None  # mean and variance that a batch is brought to

        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            width = (input_shape[self.axis],)
            self.sums = [
                self.add_weight(shape=width, initializer="zeros", trainable=False, name=name, dtype="float32")
                for name in ("sum_mean", "sum_square")
            ]

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            axis = self.axis % len(inputs.shape)
            mean, variance = ops.moments(inputs, [place for place in range(len(inputs.shape)) if place != axis])
            self.sums[0].assign(self.sums[0] + mean)
            self.sums[1].assign(self.sums[1] + variance + ops.square(mean))
            if self.matched is not None:
                shape = [-1 if place == axis else 1 for place in range(len(inputs.shape))]
                wanted_mean, wanted_variance = (ops.convert_to_tensor(values) for values in self.matched)
                scale = ops.sqrt((wanted_variance + self.epsilon) / (variance + self.epsilon))
                inputs = inputs * ops.reshape(scale, shape) + ops.reshape(wanted_mean - mean * scale, shape)
            return super().call(inputs, training=False, mask=mask)

    return MeasuringNorm
