"""What a step moved, and what must stand still."""

import numpy as np
import pytest

from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.trainable_network import require_moved
from small_nets import classes, descend, features, fitted, inputs_of, pictures, raw, small_trunk

X = pictures()
Y = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


@pytest.fixture(scope="module")
def trunk():
    return small_trunk()


def made(trunk, **changes):
    model, spec = trunk
    asked = Recipe(**{"backbone": spec.name, "depths": ("last",), "blocks": 2, **changes})
    start = fitted(raw(features(model, spec, X), asked.depths))
    net = trainable_network.build_network(model, spec, asked, start=start, objective=classes(3))
    return net, inputs_of(net, model, spec, X)


@pytest.mark.parametrize(
    "changes",
    [{}, {"strategy": "lora"}, {"strategy": "norms"}, {"strategy": "scratch"}, {"strategy": "probe", "head": "mlp"}],
)
def test_a_step_of_every_strategy_moves_its_blocks_and_no_other_weight(trunk, changes):
    net, given = made(trunk, **changes)
    before = net.get(frozen=True)
    descend(net, given, Y)
    after = net.get(frozen=True)
    require_moved(net, before, after, net.rate_factors())
    moved = {path for path in after if not np.array_equal(after[path], before[path])}
    for block in net.blocks:
        assert moved & {v.path for v in block.variables}, block.name
    assert moved <= {v.path for block in net.blocks for v in block.variables} | {v.path for v in net.statistics}


def test_a_block_that_stands_still_is_named(trunk):
    net, given = made(trunk)
    before = net.get(frozen=True)
    descend(net, given, Y)
    after = net.get(frozen=True)
    after |= {v.path: before[v.path] for v in net.blocks[0].variables}
    with pytest.raises(NoOpError, match="after one step nothing has moved in mid$"):
        require_moved(net, before, after, net.rate_factors())
    held = {**net.rate_factors(), **{v.path: 0.0 for v in net.blocks[0].variables}}
    require_moved(net, before, after, held)


def test_a_frozen_weight_that_moved_is_named(trunk):
    net, given = made(trunk)
    before = net.get(frozen=True)
    descend(net, given, Y)
    after = net.get(frozen=True)
    frozen = next(path for path in after if path.endswith("moving_mean"))
    after[frozen] = after[frozen] + 1
    with pytest.raises(NoOpError, match=f"1 frozen weights have moved: `{frozen}`"):
        require_moved(net, before, after, net.rate_factors())
    held = {**net.rate_factors(), **{v.path: 0.0 for v in net.blocks[0].variables}}
    with pytest.raises(NoOpError, match="frozen weights have moved"):
        require_moved(net, before, net.get(frozen=True), held)
