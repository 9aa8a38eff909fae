"""Training whose weights repeat bit for bit on one machine, and whose settings end with it.

TensorFlow needs three settings: deterministic kernels; gradients of a tensor with three readers or more added in pairs,
in the order of the readers, for its `AddN` adds in an order that depends on the threads; and no arithmetic optimiser,
which would gather such pairs into an `AddN` again. They hold for the whole process, so they are undone afterwards.
"""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_ARITHMETIC = "arithmetic_optimization"


@contextmanager
def repeat_bit_for_bit() -> Iterator[None]:
    """Set the backend of this process so while the block runs; what is traced in it obeys, be it a step or an answer.

    Not to be nested. Other threads that use TensorFlow meanwhile see the settings too.
    """
    import keras

    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop
    from tensorflow.python.framework import config

    was_deterministic = config.is_op_determinism_enabled()
    arithmetic = tf.config.optimizer.get_experimental_options().get(_ARITHMETIC)  # None: never set
    plain = backprop._default_vspace  # no public function sets how gradients are added

    def in_order(gradients: Sequence[Any]) -> Any:
        if all(isinstance(gradient, tf.Tensor) for gradient in gradients):
            return functools.reduce(operator.add, gradients)
        return plain.aggregate_fn(gradients)  # of rows that were gathered: side by side, not added

    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({_ARITHMETIC: False})
    pywrap_tfe.TFE_Py_RegisterVSpace(plain._replace(aggregate_fn=in_order))
    tf.get_logger().addFilter(_about_the_work)
    try:
        yield
    finally:
        tf.get_logger().removeFilter(_about_the_work)
        pywrap_tfe.TFE_Py_RegisterVSpace(plain)
        tf.config.optimizer.set_experimental_options({_ARITHMETIC: arithmetic})
        if not was_deterministic:
            config.disable_op_determinism()  # no public function undoes it


def _about_the_work(record: logging.LogRecord) -> bool:
    """Whether a line of TensorFlow's log is for the user; that each network is traced once more is not."""
    return "tf.function retracing" not in record.getMessage()
