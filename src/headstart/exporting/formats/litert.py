"""LiteRT (TensorFlow Lite), for phones and small devices.

In f16 weights are stored in 16 bits. In int8 weights and activations are 8 bits; inputs and outputs stay float32.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from headstart.exporting import conversion_process
from headstart.exporting.export_source import STRANGE_IN_8_BITS, Exporter

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()  # now rather than at the first picture, for it talks of its delegates
    runner = interpreter.get_signature_runner()

    def run(inputs):
        return runner(**{name: one.astype(np.float32) for name, one in inputs.items()})

    return run
'''


def convert(file: str, target: str, precision: str, metadata_file: str) -> None:
    """The conversion itself, in a process of its own; pictures for int8 lie beside the `.keras` file, `<input>.npy`."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    place = Path(file).parent / "saved"
    model.export(str(place), format="tf_saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(place))
    if precision != "f32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "f16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        names = [tensor.name for tensor in model.inputs]
        converter.representative_dataset = lambda: conversion_process.read_child_pictures(Path(file).parent, names)
    Path(target).write_bytes(_add_metadata(converter.convert(), Path(metadata_file).read_bytes()))


def _add_metadata(content: bytes, metadata: bytes) -> bytes:
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry.name, entry.buffer = "headstart", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


PLUGIN = Exporter(
    name="litert",
    file="model.tflite",
    packages=("ai-edge-litert",),
    making=("keras", "tensorflow", "ai_edge_litert"),
    cannot={
        "int8 neighbours": "distances to training pictures do not survive 8 bits",
        "int8 uncertainty": STRANGE_IN_8_BITS,
    },
    runtime=_RUNTIME,
    write=partial(conversion_process.export_in_child, "litert", "model.tflite"),
)
