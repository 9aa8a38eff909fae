"""What Keras and TensorFlow keep for a whole process: settings and their log, as they were after work of ours."""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_TF_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def isolate_keras() -> Iterator[None]:
    """Keras with float32 and channels last while the block runs, whatever the caller has set, and then as it was.

    So are Python's `random`, from which Keras draws the seeds of its layers, and the level of its log.
    """
    drawn, keras, log = random.getstate(), sys.modules.get("keras"), logging.getLogger("absl")
    level = log.level
    config = keras.config if keras else None  # where the block loads it, the caller has set nothing
    if config:
        floatx, policy, layout = config.floatx(), config.dtype_policy(), config.image_data_format()
        config.set_floatx("float32")
        config.set_dtype_policy("float32")
        config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        random.setstate(drawn)
        log.setLevel(level)
        if config:
            config.set_floatx(floatx)
            config.set_dtype_policy(policy)
            config.set_image_data_format(layout)


@contextmanager
def silence_frameworks() -> Iterator[None]:
    """Hold back what frameworks (TensorFlow's C++ too) write to standard error; shown after all when the work fails.

    A TensorFlow that is loaded in here says nothing but what is fatal later either: of its GPU, of its processor.
    Keras is isolated meanwhile.
    """
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    has_level = _TF_LEVEL in os.environ
    os.environ.setdefault(_TF_LEVEL, "3")
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            with isolate_keras():
                yield
        except Exception:
            noise.seek(0)
            os.write(stderr_copy, noise.read())
            raise
        finally:
            if not has_level:
                os.environ.pop(_TF_LEVEL, None)
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)
