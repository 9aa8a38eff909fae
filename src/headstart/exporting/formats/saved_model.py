"""A TensorFlow SavedModel, for TensorFlow Serving and whatever reads one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart.core.storage.files import write_text
from headstart.exporting.export_source import Exporter, ExportSource
from headstart.exporting.keras_graph import build_keras_graph
from headstart.networks.framework_state import silence_frameworks

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by TensorFlow."""
    import tensorflow

    loaded = tensorflow.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def run(inputs, kept=loaded):  # the graph goes with what was loaded
        return serve(**{name: tensorflow.constant(one, tensorflow.float32) for name, one in inputs.items()})

    return run
'''
_WHY = "a SavedModel computes as it stores, in f32; use `--to openvino`, `--to onnx` or `--to litert`"


_FOLDER = "model"


def write_folder(source: ExportSource, folder: Path, precision: str, pictures: list[np.ndarray], metadata: str) -> None:
    """Write the folder `model`; the metadata is an asset of the user's own, in its `assets.extra`."""
    model = build_keras_graph(source)
    with silence_frameworks():
        model.export(str(folder / _FOLDER), format="tf_saved_model", verbose=False)
    write_text(folder / _FOLDER / "assets.extra" / "headstart.json", metadata)


PLUGIN = Exporter(
    name="saved_model",
    file=_FOLDER,
    packages=("tensorflow",),
    making=("keras", "tensorflow"),
    cannot={"f16": _WHY, "int8": _WHY},
    runtime=_RUNTIME,
    write=write_folder,
)
