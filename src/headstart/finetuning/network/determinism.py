"""Training whose weights repeat bit for bit on one machine.

TensorFlow needs three settings: deterministic kernels; gradients of a tensor with three readers or more added in pairs,
in the order of the readers, for its `AddN` adds in an order that depends on the threads; and no arithmetic optimiser,
which would gather such pairs into an `AddN` again.
"""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Sequence
from typing import Any


@functools.cache
def repeat_bit_for_bit() -> None:
    """Set the backend of this process so; what is traced from now on obeys, be it a step or an answer."""
    import keras

    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop

    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    plain = backprop._default_vspace  # no public function sets how gradients are added

    def in_order(gradients: Sequence[Any]) -> Any:
        if all(isinstance(gradient, tf.Tensor) for gradient in gradients):
            return functools.reduce(operator.add, gradients)
        return plain.aggregate_fn(gradients)  # of rows that were gathered: side by side, not added

    pywrap_tfe.TFE_Py_RegisterVSpace(plain._replace(aggregate_fn=in_order))
    tf.get_logger().addFilter(_about_the_work)


def _about_the_work(record: logging.LogRecord) -> bool:
    """Whether a line of TensorFlow's log is for the user; that each network is traced once more is not."""
    return "tf.function retracing" not in record.getMessage()
