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
from headstart.finetuning.training.domain_loss import DomainLoss


def explain_one_device(network: Network, domain: DomainLoss | None) -> str:
    """Why the steps of a network cannot be spread; empty where they can."""
    import keras

    if keras.config.backend() != "tensorflow":
        return f"Keras on {keras.config.backend()} trains a network on one device"
    if domain is not None:
        return "a loss of two domains is of whole batches"
    return "its batch norm learns the statistics of whole batches" if network.statistics else ""


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
                    first, end = total * number // count, total * (number + 1) // count
                    at = slice(first, tf.maximum(end, first + 1))  # where pictures lack, one that does not count
                    part = keras.tree.map_structure(operator.itemgetter(at), inputs)
                    share = tf.cast(end - first, "float32") / tf.cast(total, "float32")
                    loss, outputs, shares = self._differentiate(part, targets[at], share)
                    replicas.append((loss, outputs[: end - first], shares))
            losses, logits, gradients = zip(*replicas, strict=True)
            with tf.device(self.places[0]):
                sums = [_sum_in_order(shares) for shares in zip(*gradients, strict=True)]
                self.optimizer.apply(sums, self.trainable_variables)
                return {"loss": _sum_in_order(losses), "logits": tf.concat(logits, 0)}

        def _differentiate(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any, list[Any]]:
            """The loss of a part of the batch, times its share, with (b, C) logits and gradients."""
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
