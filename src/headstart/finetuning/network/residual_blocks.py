"""Where a trunk's residual blocks end: the sums that stochastic depth can thin out.

A sum of two tensors is residual when one of them, the shortcut, is what the other, the branch, was computed from.
Sums behind a projected shortcut, which cannot be left out, are none.
"""

from __future__ import annotations

from typing import Any

from headstart.networks.blocks import TrunkBlocks, iterate_ancestors, map_producers


def find_residual_branches(trunk_model: Any, anatomy: TrunkBlocks) -> dict[int, tuple[int, float]]:
    """Id of each residual sum -> position of the branch among its inputs, and depth l / L of all residual sums, up to
    1.
    """
    producers = map_producers(trunk_model)
    sums = [
        operation
        for depth in anatomy.depths
        for operation in anatomy.segments[depth]
        if type(operation).__name__ == "Add"
        and isinstance(operation.input, list)
        and len(operation.input) == 2  # a layer, or x + y
    ]
    candidates = [(operation, _find_branch(operation, producers)) for operation in sums]
    residual = [(operation, branch) for operation, branch in candidates if branch is not None]
    return {id(operation): (branch, (l + 1) / len(residual)) for l, (operation, branch) in enumerate(residual)}


def _find_branch(operation: Any, producers: dict[int, Any]) -> int | None:
    ends = [producers[id(tensor)] for tensor in operation.input]
    for branch, shortcut in ((1, 0), (0, 1)):
        earlier = {id(op) for op in iterate_ancestors(operation.input[branch], producers, set())}
        if id(ends[shortcut]) in earlier and ends[0] is not ends[1]:
            return branch
    return None
