"""One step of training spread over several devices of one kind.

Each takes its share of the batch, with a loss that counts as the share does, so that the gradients add up to those of
the whole batch; they are added in the order of the devices and applied once. The variables stay on the first device,
and every step reads them from there: as many copies as `tf.distribute.MirroredStrategy` sends of gradients, without a
second network to keep equal.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from headstart.finetuning.network.trainable_network import Network
from headstart.networks.devices import Device, list_replicas


def find_replicas(network: Network, batch: int) -> tuple[tuple[Device, ...], str]:
    """The devices over which a batch can be spread, the one in use first, and why others stand idle, if any do."""
    import keras

    devices = list_replicas()
    if len(devices) == 1:
        return devices, ""
    if keras.config.backend() != "tensorflow":
        return devices[:1], f"Keras on {keras.config.backend()} trains a network on one device"
    if network.statistics:
        return devices[:1], "its batch norm learns the statistics of whole batches"
    return devices[:batch], f"a batch has {batch} pictures" if batch < len(devices) else ""


def list_places(devices: tuple[Device, ...]) -> tuple[str, ...]:
    """Where TensorFlow finds several devices; empty for one."""
    return tuple(device.place for device in devices) if len(devices) > 1 else ()


@functools.cache
def replicated_model_class() -> Any:
    """A `keras.Model` whose step runs on its `places`; it answers with the loss and the logits of the whole batch."""
    import keras
    import tensorflow as tf

    class Replicated(keras.Model):  # type: ignore[misc]
        places: tuple[str, ...]

        def train_step(self, data: Any) -> dict[str, Any]:
            inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
            total, count = tf.shape(targets)[0], len(self.places)
            replicas = []
            for number, place in enumerate(self.places):
                with tf.device(place):
                    at = slice(total * number // count, total * (number + 1) // count)
                    part = keras.tree.map_structure(operator.itemgetter(at), inputs)
                    replicas.append(self._differentiate(part, targets[at], total))
            losses, logits, gradients = zip(*replicas, strict=True)
            with tf.device(self.places[0]):
                sums = [_sum_in_order(shares) for shares in zip(*gradients, strict=True)]
                self.optimizer.apply(sums, self.trainable_variables)
                return {"loss": _sum_in_order(losses), "logits": tf.concat(logits, 0)}

        def _differentiate(self, inputs: Any, targets: Any, total: Any) -> tuple[Any, Any, list[Any]]:
            """The loss of a part of the batch, in its share, with (b, C) logits and gradients."""
            share = tf.cast(tf.shape(targets)[0], "float32") / tf.cast(total, "float32")
            with tf.GradientTape() as tape:
                logits = self(inputs, training=True)
                loss = share * self.compute_loss(x=inputs, y=targets, y_pred=logits)
                scaled = self.optimizer.scale_loss(loss)
            return loss, logits, tape.gradient(scaled, [variable.value for variable in self.trainable_variables])

    return Replicated


def _sum_in_order(shares: tuple[Any, ...]) -> Any:
    import tensorflow as tf

    if any(share is None for share in shares):
        return None  # the optimiser names the variable
    return functools.reduce(operator.add, map(tf.convert_to_tensor, shares))
