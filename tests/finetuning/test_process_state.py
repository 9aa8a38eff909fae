"""A fit with fine-tuning leaves the process of its caller as it was: settings of TensorFlow, Keras and others."""

import json
import os
import subprocess
import sys

import pytest

from drawn_pictures import write_stripes
from network_files import tiny_keras

pytestmark = pytest.mark.medium
CODE = """
import json, logging, os, random, signal, sys, threading, warnings

import absl.logging, keras, numpy as np, optuna, tensorflow as tf
from tensorflow.python.framework import config

import headstart
from headstart.core.console import Console
from threadpoolctl import threadpool_info

data, out, *own = sys.argv[1:]
if own:  # what the user has set stays too
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_floatx("float64")
    keras.config.set_image_data_format("channels_first")
    optuna.logging.set_verbosity(optuna.logging.DEBUG)


def sum_of_gradients():
    '''Operations that add gradients of a tensor with three readers, as TensorFlow itself would.'''
    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.sin(x) + tf.cos(x) + tf.exp(x) + tf.sinh(x)
        return tape.gradient(y, x)

    graph = gradient.get_concrete_function(tf.TensorSpec((3,))).graph
    return [op.type for op in graph.get_operations() if op.type in ("AddN", "AddV2")]


def state():
    loggers = ("", "tensorflow", "absl", "optuna", "keras", "PIL", "headstart")
    return {
        "deterministic": config.is_op_determinism_enabled(),
        "optimizer": tf.config.optimizer.get_experimental_options(),
        "jit": str(tf.config.optimizer.get_jit()),
        "gradients": sum_of_gradients(),
        "threads": [tf.config.threading.get_intra_op_parallelism_threads(),
                    tf.config.threading.get_inter_op_parallelism_threads()],
        "eager functions": tf.config.functions_run_eagerly(),
        "backend": keras.config.backend(),
        "floatx": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "epsilon": keras.config.epsilon(),
        "format": keras.config.image_data_format(),
        "traceback filtering": keras.config.is_traceback_filtering_enabled(),
        "interactive": keras.config.is_interactive_logging_enabled(),
        "environment": dict(os.environ),
        "random": str(random.getstate()),
        "numpy random": str(np.random.get_state()),
        "numpy errors": np.geterr(),
        "filters": [str(entry) for entry in warnings.filters],
        "levels": {name: logging.getLogger(name).level for name in loggers},
        "log filters": {name: len(logging.getLogger(name).filters) for name in loggers},
        "optuna": optuna.logging.get_verbosity(),
        "blas": sorted((pool["prefix"], pool["num_threads"]) for pool in threadpool_info()),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "folder": os.getcwd(),
        "hooks": [sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__],
        "path": sys.path,
    }


before = state()
run = headstart.fit(
    data, out=out, backbones="saved_file:tiny", strategy="finetune", recipe="epochs=1,batch=16", folds=2,
    console=Console(quiet=True),
)
assert run.adapted.tuning.network is not None
after = state()
changed = [name for name in before if before[name] != after[name]]
print(json.dumps({name: [str(values[name])[-300:] for values in (before, after)] for name in changed}))
print(json.dumps(before["gradients"]))
"""


def test_a_fit_that_trains_leaves_the_process_as_it_was_and_does_not_depend_on_it(tmp_path):
    tiny_keras(tmp_path / "tiny.keras")
    data = write_stripes(tmp_path / "stripes", count=10)
    environment = os.environ | {"HEADSTART_CACHE": str(tmp_path / "cache")}
    add = [sys.executable, "-m", "headstart", "backbones", "add", tmp_path / "tiny.keras"]
    subprocess.run(add, env=environment, check=True, capture_output=True)
    for name, own in (("plain", ()), ("set", ("own",))):
        words = [sys.executable, "-c", CODE, data, tmp_path / name, *own]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        changes, gradients = map(json.loads, done.stdout.splitlines())
        assert changes == {}
        assert "AddN" in gradients  # or the measure would not see what a training sets
    networks = [(tmp_path / name / "adapt" / "model.keras").read_bytes() for name in ("plain", "set")]
    assert networks[0] == networks[1]
