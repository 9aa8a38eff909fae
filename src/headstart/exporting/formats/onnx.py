"""ONNX, by tf2onnx from Keras' layers, for ONNX Runtime and whatever reads one.

In f16 weights are stored in 16 bits and computed in f32. For int8, NNCF quantises the trunks; the head stays f32,
novelty and `unknown` are left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.exporting import conversion_process
from headstart.exporting.export_source import STRANGE_IN_8_BITS, Exporter

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
_SMALL = 1024  # numbers; what has fewer stays in 32 bits
_LARGEST = 65504.0  # of 16 bits


def convert(file: str, target: str, precision: str, metadata_file: str) -> None:
    """The conversion itself, in a process of its own; pictures for int8 lie beside the `.keras` file, `<input>.npy`."""
    import keras
    import onnx

    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    shapes = {tensor.name: (1, *tensor.shape[1:]) for tensor in model.inputs}
    nothing = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    model(nothing if len(nothing) > 1 else next(iter(nothing.values())))  # its export wants it called once
    model.export(target, format="onnx", verbose=False)
    graph = onnx.load(target)
    if precision == "f16":
        _store_in_16_bits(graph)
    if precision == "int8":
        trunks = [layer.name for layer in model.layers if hasattr(layer, "layers")]
        graph = _quantise_trunks(
            graph, list(conversion_process.read_child_pictures(Path(file).parent, list(shapes))), trunks
        )
    graph.metadata_props.add(key="headstart", value=Path(metadata_file).read_text(encoding="utf-8"))
    onnx.save(graph, target)


def _store_in_16_bits(model: Any) -> None:
    """Store large weights in 16 bits; a cast before their use makes float32 of them again."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for at, initializer in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(initializer)
        if initializer.data_type != TensorProto.FLOAT or values.size < _SMALL or np.abs(values).max() > _LARGEST:
            continue
        half = f"{initializer.name}_f16"
        casts.append(helper.make_node("Cast", [half], [initializer.name], to=TensorProto.FLOAT))
        model.graph.initializer[at].CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)


def _quantise_trunks(model: Any, pictures: list[dict[str, np.ndarray]], trunks: list[str]) -> Any:
    from headstart.networks.openvino_engine import without_telemetry

    with without_telemetry():
        import nncf
    # tf2onnx renames what it merges, which only trunks have: convolutions and norms
    ours = [node.name for node in model.graph.node if node.name.startswith("headstart")]
    heads = [name for name in ours if not any(trunk in name for trunk in trunks)]
    ignored = nncf.IgnoredScope(names=heads, validate=False)
    return nncf.quantize(model, nncf.Dataset(pictures), subset_size=len(pictures), ignored_scope=ignored)


PLUGIN = Exporter(
    name="onnx",
    file="model.onnx",
    packages=("onnxruntime",),
    making=("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    cannot={"int8 uncertainty": STRANGE_IN_8_BITS},
    runtime=_RUNTIME,
    write=partial(conversion_process.export_in_child, "onnx", "model.onnx"),
)
