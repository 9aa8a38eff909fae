"""The maps under a trunk's pooled outputs: an OpenVINO graph is edited so that it gives them as well.

Where a feature is the mean of a map, what each place of the map adds to a linear score is known exactly (Zhou 2016).
So from every output the graph is followed upwards, through what only changes a shape, to the mean; what lies under the
mean becomes an output. Of a transformer these are its tokens: those that are no patch come first. An output that is no
mean, such as a class token, still gets the nearest map above it: what Score-CAM takes its masks from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SHAPES_ONLY = ("Reshape", "Squeeze", "Unsqueeze", "Convert")
_FEWEST_TOKENS = 4
_MOST_AHEAD = 8  # class token and registers
_LEAST_SIDE = 2
_FARTHEST = 400  # operations looked at in search of a map


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """What lies under some columns of one of a trunk's outputs.

    Attributes:
        output: Position of the trunk's output.
        start: First column.
        stop: One after the last.
        at: Position of the map among the edited graph's outputs; None where there is none.
        order: Axes of the map (1, …) that hold channels first and places after; `places` brings it in order.
        side: Places in a row and in a column.
        ahead: Tokens that come before the patches and stand for no place.
        mean: Whether the columns are the means of the map.
    """

    output: int
    start: int
    stop: int
    at: int | None = None
    order: str = ""
    side: int = 0
    ahead: int = 0
    mean: bool = False

    def places(self, values: np.ndarray) -> np.ndarray:
        """(places, channels) of one picture's map as the graph gave it; tokens that stand for no place first."""
        if self.order == "nchw":
            return np.moveaxis(values, 0, -1).reshape(-1, values.shape[0])
        if self.order == "channels first":
            return values.T
        return values.reshape(-1, values.shape[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    tensor: Any
    order: str
    side: int
    ahead: int


def with_maps(model: Any, found: list[Under]) -> Any:
    """The graph with its maps as further outputs, each once.

    Args:
        model: An `openvino.Model` for one picture.
        found: Filled with what lies under each of its outputs.
    """
    extra: list[Any] = []
    count = len(model.outputs)
    for position, result in enumerate(model.get_results()):
        start = 0
        for tensor, width in _parts(result.input(0).get_source_output()):
            looked = _look(tensor)
            found.append(_under(looked, position, (start, start + width), count, extra))
            start += width
    if extra:
        model.add_outputs(extra)
    return model


def _under(
    looked: tuple[_Map | None, bool], position: int, columns: tuple[int, int], count: int, extra: list[Any]
) -> Under:
    one, mean = looked
    start, stop = columns
    if one is None:
        return Under(output=position, start=start, stop=stop)
    if one.tensor not in extra:
        extra.append(one.tensor)
    at = count + extra.index(one.tensor)
    return Under(
        output=position, start=start, stop=stop, at=at, order=one.order, side=one.side, ahead=one.ahead, mean=mean
    )


def _parts(tensor: Any) -> Iterator[tuple[Any, int]]:
    """What is joined side by side into an output, with its width."""
    node = tensor.get_node()
    if node.get_type_name() == "Concat" and len(_shape(tensor)) == 2 and node.get_attributes()["axis"] in (1, -1):
        for place in range(node.get_input_size()):
            yield from _parts(node.input(place).get_source_output())
    elif node.get_type_name() == "Convert":
        yield from _parts(node.input(0).get_source_output())
    else:
        yield tensor, math.prod(_shape(tensor)[1:])


def _look(tensor: Any) -> tuple[_Map | None, bool]:
    """The map under a vector, and whether the vector is its mean."""
    node = tensor.get_node()
    while node.get_type_name() in _SHAPES_ONLY or _of_one_place(node) or _of_one_row(node):
        node = node.input(0).get_source_output().get_node()
    if (axes := _averaged(node)) is not None:
        under = node.input(0).get_source_output()
        if (one := _as_map(under, axes)) is not None:
            return one, True
        return _nearest(under), False
    return _nearest(node.output(0)), False


def _of_one_place(node: Any) -> bool:
    """Whether it is a mean over a single place, which changes nothing."""
    axes = _averaged(node)
    shape = _shape(node.input(0).get_source_output()) if axes else []
    return axes is not None and math.prod(shape[axis] for axis in axes) == 1


def _of_one_row(node: Any) -> bool:
    """Whether it turns a single row (1, D) of numbers, which leaves them in their order."""
    return node.get_type_name() == "Transpose" and len([side for side in _shape(node.output(0)) if side > 1]) == 1


def _averaged(node: Any) -> tuple[int, ...] | None:
    """The axes over which an operation takes the plain mean; None where it does something else."""
    kind = node.get_type_name()
    shape = _shape(node.input(0).get_source_output()) if node.get_input_size() else []
    if not shape:
        return None
    if kind == "ReduceMean":
        axes = node.input(1).get_source_output().get_node()
        if axes.get_type_name() != "Constant":
            return None
        return tuple(sorted(int(axis) % len(shape) for axis in np.ravel(axes.get_data())))
    if kind == "AvgPool" and len(shape) == 4 and _shape(node.output(0))[2:] == [1, 1]:
        whole = list(node.get_attributes().get("kernel", ())) == shape[2:]
        return (2, 3) if whole else None
    return None


def _as_map(tensor: Any, axes: tuple[int, ...]) -> _Map | None:
    """A tensor as a square map over some axes; None where it is none."""
    shape = _shape(tensor)
    if not shape:
        return None
    sides = [shape[axis] for axis in axes]
    order = {(4, (2, 3)): "nchw", (4, (1, 2)): "nhwc", (3, (1,)): "tokens", (3, (2,)): "channels first"}.get(
        (len(shape), axes)
    )
    if order is None or shape[0] != 1:
        return None
    if len(sides) == 2 and sides[0] == sides[1] and sides[0] >= _LEAST_SIDE:
        return _Map(tensor=tensor, order=order, side=sides[0], ahead=0)
    if len(sides) == 2 and 1 not in sides:
        return None
    side, ahead = square(math.prod(sides))
    return _Map(tensor=tensor, order=order, side=side, ahead=ahead) if side else None


def _shape(tensor: Any) -> list[int]:
    """The sides of a tensor; empty where they are known only when the graph runs."""
    return list(tensor.shape) if tensor.partial_shape.is_static else []


def square(tokens: int) -> tuple[int, int]:
    """Side of the square that the patches make, and how many tokens come before them; (0, 0) where they make none."""
    side = math.isqrt(tokens)
    ahead = tokens - side * side
    fits = tokens >= _FEWEST_TOKENS and ahead <= min(_MOST_AHEAD, side)
    return (side, ahead) if fits else (0, 0)


def _nearest(tensor: Any) -> _Map | None:
    """The first map met on the way up from a tensor; tables of attention are none."""
    waiting, seen = [tensor], 0
    while waiting and seen < _FARTHEST:
        one = waiting.pop(0)
        node, seen = one.get_node(), seen + 1
        if (found := _any_map(one)) is not None:
            return found
        waiting += [node.input(place).get_source_output() for place in range(node.get_input_size())]
    return None


def _any_map(tensor: Any) -> _Map | None:
    node, shape = tensor.get_node(), _shape(tensor)
    if node.get_type_name() in ("Constant", "Parameter", "MatMul", "Softmax") or not tensor.element_type.is_real():
        return None
    for axes in _candidates(shape):
        if (found := _as_map(tensor, axes)) is not None and found.side > _LEAST_SIDE:
            return found
    return None


def _candidates(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Axes that may be places: of rank 4 the two equal ones, of rank 3 the tokens."""
    if len(shape) == 4:
        return ((2, 3),) if shape[2] == shape[3] else ((1, 2),) if shape[1] == shape[2] else ()
    return ((1,),) if len(shape) == 3 else ()
