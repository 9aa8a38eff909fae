"""Where a trunk's residual blocks end: the sums that stochastic depth can thin out.

A sum of two tensors is residual when one of them, the shortcut, is what the other, the branch, was computed from.
Sums behind a projected shortcut, which cannot be left out, are none.
"""

from __future__ import annotations

from typing import Any

from headstart.networks.blocks import TrunkBlocks, iterate_ancestors, map_producers


def branches(trunk_model: Any, anatomy: TrunkBlocks) -> dict[int, tuple[int, float]]:
    """Id of each residual sum -> position of the branch among its inputs, and depth l / L from 0 to 1.

    L counts the residual sums of the whole network, so that the last one is at 1.
    """
    producers = map_producers(trunk_model)
    sums = [
        one
        for depth in anatomy.depths
        for one in anatomy.segments[depth]
        if type(one).__name__ == "Add" and isinstance(one.input, list) and len(one.input) == 2  # a layer, or x + y
    ]
    found = [(one, _branch(one, producers)) for one in sums]
    residual = [(one, branch) for one, branch in found if branch is not None]
    return {id(one): (branch, (l + 1) / len(residual)) for l, (one, branch) in enumerate(residual)}


def _branch(one: Any, producers: dict[int, Any]) -> int | None:
    """Which input was computed from the other one."""
    ends = [producers[id(tensor)] for tensor in one.input]
    for branch, shortcut in ((1, 0), (0, 1)):
        before = {id(op) for op in iterate_ancestors(one.input[branch], producers, set())}
        if id(ends[shortcut]) in before and ends[0] is not ends[1]:
            return branch
    return None
