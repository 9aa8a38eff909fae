"""The maps under a trunk's pooled outputs: an OpenVINO graph is edited so that it gives them as well.

Where a feature is the mean of a map, what each place of the map adds to a linear score is known exactly (Zhou 2016).
So from every output the graph is followed upwards to the mean; what lies under it becomes an output. An output that is
no mean, such as a class token, still gets the nearest map above it: what Score-CAM takes its masks from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_SHAPES_ONLY = ("Reshape", "Squeeze", "Unsqueeze", "Convert")
_FEWEST_TOKENS = 4
_MOST_AHEAD = 8  # class token and registers
_LEAST_SIDE = 2
_FARTHEST = 400  # operations looked at in search of a map


@dataclass(frozen=True, slots=True, kw_only=True)
class MapColumns:
    """What lies under some columns of one of a trunk's outputs."""

    output: int  # position of the trunk's output
    start: int  # first column
    stop: int  # one after the last
    at: int | None = None  # position of the map among the edited graph's outputs; None where there is none
    order: str = ""  # axes of the map; `arrange_places` brings it in order
    side: int = 0  # places in a row and in a column
    mean: bool = False  # whether the columns are the means of the map

    def arrange_places(self, values: np.ndarray) -> np.ndarray:
        """(places, channels) of one picture's map as the graph gave it; tokens that stand for no place first."""
        if self.order == "nchw":
            return np.moveaxis(values, 0, -1).reshape(-1, values.shape[0])
        if self.order == "channels first":
            return values.T
        return values.reshape(-1, values.shape[-1])


class _Map(NamedTuple):
    tensor: Any
    order: str
    side: int


def add_map_outputs(model: Any, columns: list[MapColumns]) -> Any:
    """The `openvino.Model` with its maps as further outputs, each once; fills `columns`."""
    extra: list[Any] = []
    count = len(model.outputs)
    for position, result in enumerate(model.get_results()):
        start = 0
        for tensor, width in _split_output(result.input(0).get_source_output()):
            feature_map, mean = _locate_map(tensor)
            under: dict[str, Any] = {}
            if feature_map is not None:
                extra += [] if feature_map.tensor in extra else [feature_map.tensor]
                at = count + extra.index(feature_map.tensor)
                under = {"at": at, "order": feature_map.order, "side": feature_map.side, "mean": mean}
            columns.append(MapColumns(output=position, start=start, stop=start + width, **under))
            start += width
    if extra:
        model.add_outputs(extra)
    return model


def _split_output(tensor: Any) -> Iterator[tuple[Any, int]]:
    """What is joined side by side into an output, with its width."""
    node = tensor.get_node()
    if (
        node.get_type_name() == "Concat"
        and len(_static_shape(tensor)) == 2
        and node.get_attributes()["axis"] in (1, -1)
    ):
        for place in range(node.get_input_size()):
            yield from _split_output(node.input(place).get_source_output())
    elif node.get_type_name() == "Convert":
        yield from _split_output(node.input(0).get_source_output())
    else:
        yield tensor, math.prod(_static_shape(tensor)[1:])


def _locate_map(tensor: Any) -> tuple[_Map | None, bool]:
    """The map under a vector, and whether the vector is its mean."""
    node = tensor.get_node()
    while node.get_type_name() in _SHAPES_ONLY or _averages_one_place(node) or _transposes_one_row(node):
        node = node.input(0).get_source_output().get_node()
    if (axes := _averaged_axes(node)) is None:
        return _find_nearest_map(node.output(0)), False
    under = node.input(0).get_source_output()
    feature_map = _as_map(under, axes)
    return feature_map or _find_nearest_map(under), feature_map is not None


def _averages_one_place(node: Any) -> bool:
    """Whether it is a mean over a single place, which changes nothing."""
    axes = _averaged_axes(node)
    shape = _static_shape(node.input(0).get_source_output()) if axes else []
    return axes is not None and math.prod(shape[axis] for axis in axes) == 1


def _transposes_one_row(node: Any) -> bool:
    """Whether it turns a single row (1, D) of numbers, which leaves them in their order."""
    return (
        node.get_type_name() == "Transpose" and len([side for side in _static_shape(node.output(0)) if side > 1]) == 1
    )


def _averaged_axes(node: Any) -> tuple[int, ...] | None:
    """The axes over which an operation takes the plain mean; None where it does something else."""
    kind = node.get_type_name()
    shape = _static_shape(node.input(0).get_source_output()) if node.get_input_size() else []
    if not shape:
        return None
    if kind == "ReduceMean":
        axes = node.input(1).get_source_output().get_node()
        if axes.get_type_name() != "Constant":
            return None
        return tuple(sorted(int(axis) % len(shape) for axis in np.ravel(axes.get_data())))
    if kind == "AvgPool" and len(shape) == 4 and _static_shape(node.output(0))[2:] == [1, 1]:
        global_pool = list(node.get_attributes().get("kernel", ())) == shape[2:]
        return (2, 3) if global_pool else None
    return None


def _as_map(tensor: Any, axes: tuple[int, ...]) -> _Map | None:
    """A tensor as a square map over some axes; None where it is none."""
    shape = _static_shape(tensor)
    if not shape:
        return None
    sides = [shape[axis] for axis in axes]
    order = {(4, (2, 3)): "nchw", (4, (1, 2)): "nhwc", (3, (1,)): "tokens", (3, (2,)): "channels first"}.get(
        (len(shape), axes)
    )
    if order is None or shape[0] != 1:
        return None
    if len(sides) == 2 and sides[0] == sides[1] and sides[0] >= _LEAST_SIDE:
        return _Map(tensor, order, sides[0])
    if len(sides) == 2 and 1 not in sides:
        return None
    side = square_side(math.prod(sides))[0]
    return _Map(tensor, order, side) if side else None


def _static_shape(tensor: Any) -> list[int]:
    """The sides of a tensor; empty where they are known only when the graph runs."""
    return list(tensor.shape) if tensor.partial_shape.is_static else []


def square_side(tokens: int) -> tuple[int, int]:
    """Side of the square that the patches make, and how many tokens come before them; (0, 0) where they make none."""
    side = math.isqrt(tokens)
    ahead = tokens - side * side
    fits = tokens >= _FEWEST_TOKENS and ahead <= min(_MOST_AHEAD, side)
    return (side, ahead) if fits else (0, 0)


def _find_nearest_map(tensor: Any) -> _Map | None:
    """The first map met on the way up from a tensor; tables of attention are none."""
    waiting, visited = [tensor], 0
    while waiting and visited < _FARTHEST:
        candidate = waiting.pop(0)
        node, visited = candidate.get_node(), visited + 1
        if (feature_map := _any_map(candidate)) is not None:
            return feature_map
        waiting += [node.input(place).get_source_output() for place in range(node.get_input_size())]
    return None


def _any_map(tensor: Any) -> _Map | None:
    node, shape = tensor.get_node(), _static_shape(tensor)
    if node.get_type_name() in ("Constant", "Parameter", "MatMul", "Softmax") or not tensor.element_type.is_real():
        return None
    for axes in _candidate_axes(shape):
        if (feature_map := _as_map(tensor, axes)) is not None and feature_map.side > _LEAST_SIDE:
            return feature_map
    return None


def _candidate_axes(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Axes that may be places: of rank 4 the two equal ones, of rank 3 the tokens."""
    if len(shape) == 4:
        return ((2, 3),) if shape[2] == shape[3] else ((1, 2),) if shape[1] == shape[2] else ()
    return ((1,),) if len(shape) == 3 else ()
