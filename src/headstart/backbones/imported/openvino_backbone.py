"""A frozen trunk that a file itself gives: the graph edited by OpenVINO, and the proof that it gives the same vectors.

In front go scaling and the order of channels and axes, behind every cut a mean over the picture; the input becomes
uint8. There is no Keras model to compare with: the other side is the untouched graph, with NumPy's scaling and pooling.
Both must agree within the limits of `headstart.networks.openvino_conversion`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.imported.description import ImportedBackbone
from headstart.core.types import BackboneSpec, InputSpec
from headstart.images.normalization import scale_pictures
from headstart.networks import openvino_conversion, openvino_engine
from headstart.networks.cut_points import Cut
from headstart.networks.formats import openvino_reader

_PROBES = 8


def write_trunk(file: Path, backbone: ImportedBackbone, spec: BackboneSpec, pictures: np.ndarray, folder: Path) -> None:
    """Write `trunk.xml`, `trunk.bin` and `parity.json` of a file; of `pictures`, (n, H, W, 3) uint8, eight are used.

    `SetupError` where OpenVINO is missing or the edited graph gives other numbers, `DataError` where the file is
    damaged.
    """
    probes = pictures[:_PROBES]
    graph = _edit_graph(_read_fixed(file, backbone), backbone.cuts, backbone.input, backbone.layout)
    openvino_engine.save_graph(graph, folder / "trunk.xml")
    inputs = (scale_pictures(picture[None], backbone.input) for picture in probes)
    expected = _run_original(_read_fixed(file, backbone), backbone, inputs)
    names = [level.name for level in spec.depths]
    openvino_conversion.prove_parity(folder, spec, names, probes, expected, "the file as it came")


def _read_fixed(file: Path, backbone: ImportedBackbone) -> Any:
    model = openvino_reader.read_model(file)
    openvino_reader.fix_input_size(model, backbone.layout, backbone.input.size_px)
    return model


def _edit_graph(model: Any, cuts: Sequence[Cut], spec: InputSpec, order: str) -> Any:
    """The graph with a uint8 input (1, H, W, 3) and one (1, D) float32 output a cut; `model` is used up."""
    ov = openvino_engine.load_openvino()
    operations = _map_operations(model, order)
    old_input = model.get_parameters()[0]
    pictures = ov.opset13.parameter([1, spec.size_px, spec.size_px, 3], ov.Type.u8, name="pictures")
    preprocessed = _add_preprocessing(pictures, spec, order, old_input.get_element_type())
    for target in list(old_input.output(0).get_target_inputs()):
        target.replace_source_output(preprocessed.output(0))
    outputs = []
    for cut in cuts:
        pooled = _add_pooling(*operations[cut.layer], cut.dim)
        pooled.output(0).tensor.set_names({cut.name})
        outputs.append(ov.opset13.result(pooled, name=f"result_{cut.name}"))
    return ov.Model(outputs, [pictures], "trunk")


def _map_operations(model: Any, order: str) -> dict[str, tuple[Any, str]]:
    """Name -> operation, and where the channels of what it gives are."""
    pairs = zip(openvino_reader.list_operations(model), openvino_reader.list_channel_orders(model, order), strict=True)
    return {operation.get_friendly_name(): (operation, channel_order) for operation, channel_order in pairs}


def _add_preprocessing(pictures: Any, spec: InputSpec, order: str, kind: Any) -> Any:
    """Pictures as the file takes them, of its own number type; whole numbers are not scaled."""
    ov = openvino_engine.load_openvino()
    ops, whole_numbers = ov.opset13, kind == ov.Type.u8
    x = pictures if whole_numbers else ops.convert(pictures, "f32")
    if spec.channels == "bgr":
        x = ops.gather(x, ops.constant(np.array([2, 1, 0], np.int64)), ops.constant(np.int64(3)))
    factor, offset = spec.scale / np.array(spec.std), -np.array(spec.mean) / np.array(spec.std)
    if not whole_numbers and (np.any(factor != 1) or np.any(offset != 0)):
        x = ops.multiply(x, ops.constant(factor.astype(np.float32).reshape(1, 1, 1, 3)))
        x = ops.add(x, ops.constant(offset.astype(np.float32).reshape(1, 1, 1, 3)))
    if order == "nchw":
        x = ops.transpose(x, ops.constant(np.array(openvino_reader.TO_NCHW, np.int64)))
    return x if whole_numbers or kind == ov.Type.f32 else ops.convert(x, kind.get_type_name())


def _pooling_axes(rank: int, order: str) -> tuple[int, ...]:
    """Over which a value is averaged: the places of a map, the tokens, nothing of a vector."""
    return {4: (2, 3) if order == "nchw" else (1, 2), 3: (1,)}.get(rank, ())


def _add_pooling(operation: Any, order: str, dim: int) -> Any:
    """(1, D) float32 of what an operation gives."""
    ov = openvino_engine.load_openvino()
    ops, x = ov.opset13, operation.output(0)
    axes = _pooling_axes(len(x.shape), order)
    if x.element_type != ov.Type.f32:
        x = ops.convert(x, "f32").output(0)
    if axes:
        x = ops.reduce_mean(x, ops.constant(np.array(axes, np.int64)), keep_dims=False).output(0)
    return ops.reshape(x, ops.constant(np.array([1, dim], np.int64)), special_zero=False)


def _run_original(model: Any, backbone: ImportedBackbone, inputs: Iterable[np.ndarray]) -> list[np.ndarray]:
    """What the untouched graph gives at the cuts, pooled by NumPy: one (n, D) a cut."""
    ov = openvino_engine.load_openvino()
    operations = _map_operations(model, backbone.layout)
    outputs = [operations[cut.layer][0].output(0) for cut in backbone.cuts]
    graph = ov.Model(outputs, model.get_parameters(), "as it came")
    compiled = openvino_engine.load_compiling_core().compile_model(graph, "CPU", openvino_reader.EXACT)
    kind = compiled.input(0).element_type.to_dtype()
    orders = [operations[cut.layer][1] for cut in backbone.cuts]
    rows = [list(_pool_outputs(compiled, picture.astype(kind), backbone.layout, orders)) for picture in inputs]
    return [np.concatenate(vectors) for vectors in zip(*rows, strict=True)]


def _pool_outputs(compiled: Any, picture: np.ndarray, layout: str, orders: Sequence[str]) -> Iterator[np.ndarray]:
    ordered = picture.transpose(openvino_reader.TO_NCHW) if layout == "nchw" else picture
    answers = compiled(np.ascontiguousarray(ordered))
    for index, order in enumerate(orders):
        values = np.asarray(answers[index], np.float64)
        yield values.mean(axis=_pooling_axes(values.ndim, order)).reshape(1, -1).astype(np.float32)
