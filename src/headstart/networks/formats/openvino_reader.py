"""An ONNX file, an OpenVINO IR or a SavedModel, read and looked at by OpenVINO.

Nothing of the file runs but its operations on numbers. The graph is fixed to one picture of one size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError, UsageError
from headstart.networks import openvino_engine
from headstart.networks.cut_points import Cut, Node

_LIGHT = {
    *("Add", "Subtract", "Multiply", "Divide", "Softmax", "LogSoftmax", "Sigmoid", "Convert", "Identity"),
    *("Reshape", "Squeeze", "Unsqueeze", "Transpose", "FakeQuantize"),
}
_ACTIVE = {"Relu", "PRelu", "Clamp", "Swish", "Gelu", "Elu", "HSwish", "Mish"}
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide")
_PLACES_FIRST = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool", "BatchNormInference", "AdaptiveAvgPool")
_FRAME = ("Exception from", "Check '", "Loading input model", "While validating node")  # says where, not what
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def read_model(path: Path) -> Any:
    """The `openvino.Model` of a file or SavedModel folder.

    Raises:
        DataError: OpenVINO cannot read it, or it does not take one picture.
        SetupError: OpenVINO is not installed.
    """
    ov = openvino_engine.load_openvino()
    try:
        with openvino_engine.without_telemetry():
            model = ov.convert_model(path) if path.is_dir() else ov.Core().read_model(path)
    except Exception as err:  # its frontends raise kinds of their own
        hint = "save it again, whole and in one file; an IR needs its `.bin` beside the `.xml`"
        problem = f"OpenVINO cannot read `{path.name}`: {_format_error(err)}"
        raise DataError(problem, where=str(path), hint=hint) from err
    inputs = model.get_parameters()
    if len(inputs) != 1 or inputs[0].get_partial_shape().rank.is_dynamic or len(inputs[0].get_partial_shape()) != 4:
        shapes = ", ".join(str(parameter.get_partial_shape()) for parameter in inputs)
        raise DataError(f"`{path.name}` does not take one batch of pictures: its inputs are {shapes}", where=str(path))
    return model


def _format_error(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip() and not line.startswith(_FRAME)]
    return (lines[0] if lines else type(err).__name__)[:200]


def find_layout(model: Any, stated: str = "", usual: str = "") -> str:
    """`nchw` or `nhwc`: as given, else by the shape, else as usual.

    Raises:
        UsageError: The shape does not tell.
        DataError: It takes pictures of other than 3 channels.
    """
    sides = [side.get_length() if side.is_static else 0 for side in model.input(0).partial_shape]
    fits = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if sides[axis] in (0, 3)]
    if not fits or (stated and stated not in fits):
        raise DataError(f"the file takes pictures of shape {model.input(0).partial_shape}, not of 3 channels {stated}")
    sure = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if sides[axis] == 3]
    if not stated and len(sure) != 1 and usual not in fits:
        what = f"the input's shape {model.input(0).partial_shape} does not tell where the channels are"
        raise UsageError(what, hint="say it with `--layout nchw` or `--layout nhwc`")
    return stated or (sure[0] if len(sure) == 1 else usual)


def find_side_px(model: Any, order: str) -> int:
    """Side of the pictures that the file takes, 0 where it leaves that open; DataError where they are not square."""
    height, width = list(model.input(0).partial_shape)[2 if order == "nchw" else 1 :][:2]
    if height.is_static and width.is_static and height.get_length() != width.get_length():
        raise DataError(f"the file takes pictures of {height.get_length()} x {width.get_length()}, not square ones")
    return int(height.get_length()) if height.is_static else 0


def fix_input_size(model: Any, order: str, size_px: int) -> None:
    """Fix the graph to one picture of a size and fold what depends on sizes; UsageError where it does not allow it."""
    openvino_engine.load_openvino()
    from openvino import passes

    shape = [1, 3, size_px, size_px] if order == "nchw" else [1, size_px, size_px, 3]
    try:
        model.reshape({0: shape})
        manager = passes.Manager()
        manager.register_pass(passes.ConstantFolding())
        manager.run_passes(model)
    except RuntimeError as err:
        problem = f"the file does not take pictures of {size_px} px: {_format_error(err)}"
        raise UsageError(problem, where="--size") from err


def list_operations(model: Any) -> list[Any]:
    """Operations that depend on the picture, in the order of computing; results left out."""
    dependent, operations = set(), []
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind == "Parameter" or any(name in dependent for name in _list_inputs(operation)):
            dependent.add(operation.get_friendly_name())
            operations += [operation] if kind != "Result" else []
    return operations


def _list_inputs(operation: Any) -> list[str]:
    return [value.get_node().get_friendly_name() for value in operation.input_values()]


def list_channel_orders(model: Any, order: str) -> list[str]:
    """Where the channels of each operation's output are: `nchw`, `nhwc`, or empty where nothing tells."""
    orders: dict[str, str] = {}
    for operation in list_operations(model):
        input_orders = [orders[name] for name in _list_inputs(operation) if name in orders]
        orders[operation.get_friendly_name()] = _channel_order(operation, input_orders, order)
    return list(orders.values())


def list_nodes(model: Any, order: str) -> tuple[list[Node], dict[str, int]]:
    """The graph (fixed sizes, layout `order`) for `networks.cut_points`, and its outputs: name -> position."""
    place: dict[str, int] = {}
    nodes: list[Node] = []
    for operation, channel_order in zip(list_operations(model), list_channel_orders(model, order), strict=True):
        parents = tuple(dict.fromkeys(place[name] for name in _list_inputs(operation) if name in place))
        place[operation.get_friendly_name()] = len(nodes)
        kind, shape, single = operation.get_type_name(), _node_shape(operation, channel_order), len(parents) == 1
        nodes.append(
            Node(
                name=operation.get_friendly_name(),
                parents=parents,
                shape=shape,
                dense=single and _is_dense(kind, shape, nodes[parents[0]]),
                light=single and kind in _LIGHT,
                active=kind in _ACTIVE,
            )
        )
    return nodes, {_output_name(operation): place[_list_inputs(operation)[0]] for operation in model.get_results()}


def _output_name(result: Any) -> str:
    tensors = sorted(name for name in result.input_value(0).get_names() if re.fullmatch(r"[A-Za-z]\w*", name))
    return tensors[0] if tensors else str(_list_inputs(result)[0])


def _is_dense(kind: str, shape: tuple[int, ...], parent: Node) -> bool:
    if kind == "MatMul":
        return len(shape) == 1
    return kind == "Convolution" and len(shape) == 3 and shape[:2] == (1, 1) and parent.shape[:2] == (1, 1)


def _channel_order(operation: Any, input_orders: Sequence[str], stated: str) -> str:
    """Where the channels of a four-dimensional value are; empty where nothing tells."""
    kind = operation.get_type_name()
    turned: dict[tuple[str, tuple[int, ...]], str] = {("nhwc", TO_NCHW): "nchw", ("nchw", TO_NHWC): "nhwc"}
    if kind == "Parameter":
        return stated
    if not operation.output(0).partial_shape.is_static or len(operation.output(0).shape) != 4:
        return ""
    if kind in _PLACES_FIRST:
        return "nchw"
    if kind == "Transpose":
        turn = tuple(int(axis) for axis in operation.input_value(1).get_node().data)
        return turned.get((input_orders[0] if input_orders else "", turn), "")
    distinct = set(input_orders)
    return distinct.pop() if len(distinct) == 1 else ""


def _node_shape(operation: Any, order: str) -> tuple[int, ...]:
    if len(operation.outputs()) != 1 or not operation.output(0).partial_shape.is_static:
        return ()
    shape = tuple(operation.output(0).shape)
    if len(shape) == 4:
        return {"nchw": (*shape[2:], shape[1]), "nhwc": shape[1:]}.get(order, ())
    return shape[1:] if len(shape) in (2, 3) and shape[0] == 1 else ()


def find_first_arithmetic(model: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """(a, b) of `a x + b` that the graph does to values before anything else; None where it does nothing."""
    ov = openvino_engine.load_openvino()
    at, does = model.get_parameters()[0], False
    while (after := _find_arithmetic_reader(at)) is not None:
        at, does = after, does or after.get_type_name() in _ARITHMETIC
    if not does:
        return None
    first = ov.Model([at.output(0)], model.get_parameters(), "first")
    part = openvino_engine.load_compiling_core().compile_model(first, "CPU", EXACT)
    shape, kind = tuple(part.input(0).shape), part.input(0).element_type.to_dtype()
    zero, one = (np.asarray(part(np.full(shape, value, kind))[0], np.float64) for value in (0, 1))
    return one - zero, zero


def _find_arithmetic_reader(at: Any) -> Any:
    """The only operation that reads a value, where it does arithmetic with constants on it; else None."""
    readers = [target.get_node() for target in at.output(0).get_target_inputs()]
    if len(readers) != 1 or readers[0].get_type_name() not in (*_ARITHMETIC, "Convert", "Transpose"):
        return None
    others = [value.get_node() for value in readers[0].input_values()]
    name = at.get_friendly_name()
    return readers[0] if all(node.get_friendly_name() == name or _is_constant(node) for node in others) else None


def _is_constant(node: Any) -> bool:
    kind = node.get_type_name()
    return kind == "Constant" or (kind == "Convert" and _is_constant(node.input_value(0).get_node()))


def _find_constant(operation: Any) -> np.ndarray | None:
    for value in operation.input_values():
        node = value.get_node()
        while node.get_type_name() == "Convert":
            node = node.input_value(0).get_node()
        if node.get_type_name() == "Constant" and len(node.output(0).shape) > 1:
            return np.asarray(node.data)
    return None


def find_first_kernel(model: Any) -> np.ndarray | None:
    """(filters, n) of the first convolution; None where there is none."""
    for operation in list_operations(model):
        if operation.get_type_name() == "Convolution":
            kernel = _find_constant(operation)
            return None if kernel is None else kernel.reshape(len(kernel), -1)
    return None


def count_cost(model: Any, cuts: Sequence[Cut]) -> tuple[int, int]:
    """Weights, and operations for one picture (two a multiply-add), of what the cuts need."""
    by_name = {operation.get_friendly_name(): operation for operation in model.get_ordered_ops()}
    outputs = [by_name[cut.layer].output(0) for cut in cuts]
    part = openvino_engine.load_openvino().Model(outputs, model.get_parameters(), "part")
    params = flops = 0
    for operation in part.get_ordered_ops():
        kind = operation.get_type_name()
        if kind == "Constant" and operation.output(0).element_type.is_real():
            params += math.prod(operation.output(0).shape)
        elif kind in ("Convolution", "GroupConvolution") and (weights := _find_constant(operation)) is not None:
            flops += 2 * weights.size * math.prod(operation.output(0).shape[2:])
        elif kind == "MatMul":
            inner_axis = -2 if operation.get_attributes().get("transpose_a") else -1
            flops += 2 * math.prod(operation.output(0).shape) * list(operation.input_value(0).shape)[inner_axis]
    return params, flops


def takes_uint8(model: Any) -> bool:
    """Whether it takes uint8."""
    return bool(model.get_parameters()[0].get_element_type() == openvino_engine.load_openvino().Type.u8)
