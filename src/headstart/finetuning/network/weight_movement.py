"""Whether training moved what it says it moves, and which block wants to move most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.errors import NoOpError
from headstart.finetuning.network.trainable_network import Network

_PART = 16  # pictures at a time: all activations of a trunk are held on the way back


def require_moved(
    network: Network,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    factors: Mapping[str, float],
) -> None:
    """Assert that after a step each block that trains has moved and nothing else has.

    Args:
        network: What trains.
        before: `network.get(frozen=True)` before the step.
        after: The same behind it.
        factors: Path of each trainable variable -> factor on the rate; a block whose factors are 0 must stand still.

    Raises:
        NoOpError: A block stands still, or a frozen weight moved; both are named.
    """
    statistics = {v.path for v in network.statistics}
    moved = {path for path, value in after.items() if not np.array_equal(value, before[path])} - statistics
    free = {v.path for block in network.blocks for v in block.variables if factors[v.path] > 0}
    still = [
        block.name
        for block in network.blocks
        if (paths := {v.path for v in block.variables} & free) and not paths & moved
    ]
    where = f"recipe {recipes.shown(network.recipe)}"
    if still:
        hint = "raise the rate, trunk_rate or decay"
        raise NoOpError(f"after one step nothing has moved in {', '.join(still)}", where=where, hint=hint)
    if moved - free:
        named = ", ".join(f"`{path}`" for path in sorted(moved - free)[:3])
        raise NoOpError(f"after one step {len(moved - free)} frozen weights have moved: {named}", where=where)


def gradient_norms(network: Network, inputs: Mapping[str, np.ndarray], y: np.ndarray) -> dict[str, float]:
    """Relative gradient norm |g| / |w| of each block of the trunk, at the weights that the network has.

    A block whose gradient is large beside its weights is the one to tune (surgical fine-tuning, Lee et al., ICLR
    2023, there called Auto-RGN).

    Args:
        network: Built with `part="all"`.
        inputs: The network's inputs by name, (B, …) each.
        y: (B, C) soft labels.

    Returns:
        Name of each block, the head left out, shallow to deep -> its norm.
    """
    import tensorflow as tf

    trunk = network.blocks[:-1]
    variables = [v for block in trunk for v in block.variables]
    gradients = {v.path: tf.zeros(v.shape) for v in variables}
    for at in range(0, len(y), _PART):
        few = slice(at, at + _PART)
        with tf.GradientTape() as tape:
            logits = network.model({name: one[few] for name, one in inputs.items()}, training=False)
            losses = tf.nn.softmax_cross_entropy_with_logits(tf.cast(y[few], tf.float32), logits)
            loss = tf.reduce_sum(losses) / len(y)
        for v, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
            gradients[v.path] += gradient
    found = {}
    for block in trunk:
        parts = [(gradients[v.path], v.value) for v in block.variables]
        found[block.name] = float(
            tf.linalg.global_norm([g for g, _ in parts]) / tf.linalg.global_norm([w for _, w in parts])
        )
    return found
