"""A TensorFlow SavedModel, for TensorFlow Serving and whatever reads one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headstart.core.storage.files import write_text
from headstart.exporting.export_source import ExportSource
from headstart.exporting.keras_graph import build_keras_graph
from headstart.networks.openvino_conversion import silence_frameworks

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    loaded = tensorflow.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def run(inputs, kept=loaded):  # the graph goes with what was loaded
        return serve(**{name: tensorflow.constant(one, tensorflow.float32) for name, one in inputs.items()})

    return run
'''
_WHY = "a SavedModel computes as it stores, in f32; use `--to openvino`, `--to onnx` or `--to litert`"


class SavedModel:
    """See the module."""

    name = "saved_model"
    file = "model"
    packages = ("tensorflow",)
    making = ("keras", "tensorflow")
    frozen = False
    cannot: Mapping[str, str] = {"f16": _WHY, "int8": _WHY}
    runtime = _RUNTIME

    def write(
        self, source: ExportSource, folder: Path, precision: str, pictures: list[np.ndarray], metadata: str
    ) -> None:
        """See `headstart.exporting.export_source.Exporter`; the metadata is an asset of the user's own,
        `assets.extra`."""
        model = build_keras_graph(source)
        with silence_frameworks():
            model.export(str(folder / self.file), format="tf_saved_model", verbose=False)
        write_text(folder / self.file / "assets.extra" / "headstart.json", metadata)


PLUGIN = SavedModel()
