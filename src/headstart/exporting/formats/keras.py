"""A `.keras` file of Keras' own layers, which opens in safe mode."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from headstart.exporting.export_source import Exporter, ExportSource
from headstart.exporting.keras_graph import build_keras_graph
from headstart.networks.formats.keras_writer import write_keras

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by Keras."""
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)

    def run(inputs):
        floats = {name: one.astype(np.float32) for name, one in inputs.items()}
        return model.predict_on_batch(floats if len(floats) > 1 else next(iter(floats.values())))

    return run
'''
_WHY = "Keras computes as it stores, in f32; use `--to openvino`, `--to onnx` or `--to litert`"


_FILE = "model.keras"


def write_file(source: ExportSource, folder: Path, precision: str, pictures: list[np.ndarray], metadata: str) -> None:
    """Write `model.keras`; the metadata is a member `headstart.json` of it."""
    write_keras(build_keras_graph(source), folder / _FILE)
    with zipfile.ZipFile(folder / _FILE, "a") as archive:
        archive.writestr(zipfile.ZipInfo("headstart.json", (1980, 1, 1, 0, 0, 0)), metadata)


PLUGIN = Exporter(
    name="keras",
    file=_FILE,
    packages=("keras", "tensorflow"),
    making=("keras", "tensorflow"),
    cannot={"f16": _WHY, "int8": _WHY},
    runtime=_RUNTIME,
    write=write_file,
)
