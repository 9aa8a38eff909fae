"""ONNX, by tf2onnx from Keras' layers, for ONNX Runtime and whatever reads one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headstart.exporters import _child
from headstart.exporters._keras_graph import build
from headstart.exporters._source import Source
from headstart.kit import finish

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs):
        floats = {name: one.astype(np.float32) for name, one in inputs.items()}
        return dict(zip(names, session.run(names, floats)))

    return run
'''


class Onnx:
    """See the module."""

    name = "onnx"
    file = "model.onnx"
    packages = ("onnxruntime",)
    making = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime")
    frozen = False
    cannot: Mapping[str, str] = {
        "int8": "ONNX Runtime's 8 bits are another scheme than NNCF's; use `--to openvino` or `--to litert`",
        "f16 neighbours": "distances to training pictures do not survive 16 bits",
    }
    runtime = _RUNTIME

    def write(self, source: Source, folder: Path, precision: str, pictures: list[np.ndarray], told: str) -> None:
        """See `headstart.exporters._source.Exporter`; the metadata is the property `headstart` of the model."""
        with tempfile.TemporaryDirectory(dir=source.draft) as place:
            file, words = Path(place) / "model.keras", Path(place) / "told.json"
            finish.write_keras(build(source), file)
            words.write_text(told, encoding="utf-8")
            _child.convert(self.name, [file, folder / self.file, precision, words])


def convert(file: str, target: str, precision: str, told: str) -> None:
    """The conversion itself, in a process of its own.

    Args:
        file: `.keras`.
        target: `.onnx`.
        precision: `f32` or `f16`.
        told: A file with the metadata.
    """
    import keras
    import onnx

    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    model.export(target, format="onnx", verbose=False)
    made = onnx.load(target)
    if precision == "f16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        made = convert_float_to_float16(made, keep_io_types=True)
    property_ = made.metadata_props.add()
    property_.key, property_.value = "headstart", Path(told).read_text(encoding="utf-8")
    onnx.save(made, target)


PLUGIN = Onnx()
