"""A network from somebody else's file: where it can be cut, by its graph alone.

`last` is what the classifier reads. The other cuts are feature maps, one a resolution, or in a transformer tokens half
and three quarters of the way: at a cut everything that comes later reads that value alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.types import FeatureLevel

LAST = "last"
_MOST = 3  # maps that are taken unasked
_FEW_SUMS = 4  # of a residual stream: with fewer it is no transformer
_WAYS = ((1, 2), (3, 4))  # of the way through a transformer, where tokens are taken
_SMALL = 6  # times smaller than the picture at least: the first layers see edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step of a network that depends on the picture; the list of nodes is in the order of computing.

    Attributes:
        parents: Positions of the nodes it reads, all smaller than its own.
        shape: Of what it gives for one picture: a map (h, w, C), tokens (T, D), a vector (D,), or () for the rest.
        dense: It weighs a vector: a dense layer, or a convolution of a map with one place.
        light: It may follow a classifier and changes no more than the form: a bias, softmax, a reshape.
        active: It is an activation, without weights.
    """

    name: str
    parents: tuple[int, ...]
    shape: tuple[int, ...]
    dense: bool = False
    light: bool = False
    active: bool = False

    @property
    def side(self) -> int:
        """Height of a map with more than one place, else 0."""
        return self.shape[0] if len(self.shape) == 3 and self.shape[0] * self.shape[1] > 1 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A place for features: `dim` numbers after pooling, of a map with `side` places (0: a vector or tokens)."""

    name: str
    layer: str
    dim: int
    side: int

    @property
    def level(self) -> FeatureLevel:
        """As a spec names it."""
        return FeatureLevel(name=self.name, dim=self.dim)


def choose_cuts(nodes: Sequence[Node], outputs: Mapping[str, int], layers: Sequence[str] = ()) -> tuple[Cut, ...]:
    """The cuts of a network, shallow to deep: at `layers`, `last` among them, or found; `outputs`: name -> position.

    Raises:
        UsageError: A wanted layer is not in the file, or gives nothing that can be pooled.
        DataError: Nothing can be cut.
    """
    last = find_classifier_input(nodes, list(outputs.values())[-1])
    if layers:
        return _cut_at_layers(nodes, last, layers)
    if len(outputs) > 1:
        return _cut_at_outputs(nodes, outputs)
    if not nodes[last].shape:
        raise DataError(f"the last layer before the classifier, `{nodes[last].name}`, gives nothing that can be pooled")
    tokens = _find_token_cuts(nodes, last)
    cut_names = {at: f"map{nodes[at].side}" for at in _find_map_cuts(nodes, last, of_blocks=bool(tokens))} | tokens
    return (*(_make_cut(nodes[at], name) for at, name in sorted(cut_names.items())), _make_cut(nodes[last], LAST))


def find_classifier_input(nodes: Sequence[Node], output: int) -> int:
    """Position of what the classifier reads; of the output itself where there is no classifier."""
    classifier = _skip_light(nodes, output)
    if not nodes[classifier].dense:
        return output if nodes[output].shape else classifier
    at = nodes[classifier].parents[0]
    under = _skip_light(nodes, at)  # a map that was only flattened is pooled instead
    return under if nodes[under].side or not nodes[at].shape else at


def _skip_light(nodes: Sequence[Node], at: int) -> int:
    while nodes[at].light and len(nodes[at].parents) == 1:
        at = nodes[at].parents[0]
    return at


def _find_token_cuts(nodes: Sequence[Node], last: int) -> dict[int, str]:
    """Position -> name of tokens inside a transformer: sums of its residual stream, by their number; else nothing."""
    bottlenecks = [at for at in _find_bottlenecks(nodes, last) if at != last and len(nodes[at].parents) > 1]
    sums = [at for at in bottlenecks if len(nodes[at].shape) == 2 and nodes[at].shape[0] > 1]
    if len(sums) < _FEW_SUMS:
        return {}
    numbers = [len(sums) * part // parts for part, parts in _WAYS]
    return {sums[number - 1]: f"tokens{number}" for number in numbers}


def _find_map_cuts(nodes: Sequence[Node], last: int, *, of_blocks: bool) -> list[int]:
    """One map a resolution, at most three, the smallest ones; not the one that `last` is the mean of.

    Of a resolution it is the end of the last block whose branches meet, with its activation; without such blocks the
    last map, unless `of_blocks`: a transformer's only map is of its patches, which nothing has looked at yet.
    """
    picture_side = next((node.side for node in nodes if node.side), 0)
    pooled_map = _find_pooled_map(nodes, last)
    bottlenecks = [at for at in _find_bottlenecks(nodes, last) if nodes[at].side and at != last and nodes[at].parents]
    meeting = [at for at in bottlenecks if len(nodes[at].parents) > 1]
    activation = {nodes[at].parents: at for at in reversed(bottlenecks) if nodes[at].active}
    ends = [activation.get((at,), at) for at in meeting]
    by_side = {nodes[at].side: at for at in ([] if of_blocks else bottlenecks)} | {nodes[at].side: at for at in ends}
    if pooled_map is not None:
        by_side.pop(nodes[pooled_map].side, None)
    smaller = [side for side in by_side if side < picture_side]
    small = [side for side in smaller if side * _SMALL <= picture_side] or smaller
    return sorted(by_side[side] for side in sorted(small)[:_MOST])


def _find_pooled_map(nodes: Sequence[Node], last: int) -> int | None:
    """The map that `last` was pooled from, with as many channels; None where layers with weights lie between."""
    at = last
    while not nodes[at].side and len(nodes[at].parents) == 1 and not nodes[at].dense:
        at = nodes[at].parents[0]
    same = bool(nodes[at].side and nodes[last].shape and nodes[at].shape[-1] == nodes[last].shape[-1])
    return at if same else None


def _find_bottlenecks(nodes: Sequence[Node], last: int) -> list[int]:
    """Positions through which every path from the picture to `last` leads, in their order."""
    reach = {last: last}  # ancestor -> the farthest node that reads it
    for at in range(last, -1, -1):
        if at in reach:
            for parent in nodes[at].parents:
                reach[parent] = max(reach.get(parent, parent), at)
    bottlenecks, farthest = [], -1
    for at in sorted(reach):
        if farthest <= at:
            bottlenecks.append(at)
        farthest = max(farthest, reach[at])
    return bottlenecks


def _cut_at_outputs(nodes: Sequence[Node], outputs: Mapping[str, int]) -> tuple[Cut, ...]:
    """A file with several outputs was cut by its maker."""
    steps = _count_steps(nodes)
    order = sorted((steps[at], name) for name, at in outputs.items() if nodes[at].shape)
    if not order:
        raise DataError("none of the file's outputs is a map or a vector")
    deepest = order[-1][1]
    cut_names = {name: LAST if name == deepest else make_identifier(name) for _, name in order}
    return tuple(_make_cut(nodes[outputs[name]], cut_name) for name, cut_name in cut_names.items())


def _count_steps(nodes: Sequence[Node]) -> list[int]:
    """How many steps lie at most between the picture and each node; the order of the file says less."""
    steps: list[int] = []
    for node in nodes:
        steps.append(1 + max((steps[parent] for parent in node.parents), default=0))
    return steps


def _cut_at_layers(nodes: Sequence[Node], last: int, layers: Sequence[str]) -> tuple[Cut, ...]:
    places = {node.name: at for at, node in enumerate(nodes) if node.shape} | {LAST: last}
    for name in layers:
        if name not in places:
            near = format_nearest(name, places) or f"its deepest layers: {', '.join(list(places)[-6:])}"
            raise UsageError(f"the file has no layer `{name}` to cut at", where="--depths", hint=near)
    steps = _count_steps(nodes)
    order = sorted(dict.fromkeys(layers), key=lambda name: steps[places[name]])
    return tuple(_make_cut(nodes[places[name]], make_identifier(name)) for name in order)


def _make_cut(node: Node, name: str) -> Cut:
    return Cut(name=name, layer=node.name, dim=node.shape[-1], side=node.side)


def make_identifier(name: str, otherwise: str = "depth") -> str:
    """A name in letters, digits and underscores alone; `otherwise` where nothing is left of it."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or otherwise
