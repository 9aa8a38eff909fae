"""Where networks are cut, and how their scaling is told: on graphs small enough to see."""

import numpy as np
import pytest

from headstart.core.errors import DataError, UsageError
from headstart.networks import cut_points, input_scaling
from headstart.networks.cut_points import Node


def chain(*nodes):
    """Nodes that each read the one before unless they say otherwise: (name, shape, more)."""
    made = []
    for at, (name, shape, more) in enumerate(nodes):
        made.append(Node(**{"name": name, "parents": (at - 1,) if at else (), "shape": shape, **more}))
    return made


PICTURE = ("pictures", (64, 64, 3), {})


def residual():
    return chain(
        PICTURE,
        ("stem", (16, 16, 8), {}),
        ("block", (8, 8, 12), {}),
        ("branch", (8, 8, 12), {}),
        ("sum", (8, 8, 12), {"parents": (2, 3)}),
        ("relu", (8, 8, 12), {"active": True}),
        ("wide", (8, 8, 48), {}),
        ("deep", (4, 4, 20), {}),
        ("mean", (20,), {}),
        ("drop", (20,), {"light": True}),
        ("dense", (3,), {"dense": True}),
        ("softmax", (3,), {"light": True}),
    )


def test_the_end_of_a_residual_block_is_taken_and_the_classifier_left_out():
    cuts = cut_points.choose_cuts(residual(), {"out": 11})
    assert [(c.name, c.layer, c.dim, c.side) for c in cuts] == [("map8", "relu", 12, 8), ("last", "drop", 20, 0)]


def test_tokens_are_taken_inside_a_transformer_and_its_patches_are_not():
    stream = [("patches", (8, 8, 5), {}), ("flat", (64, 5), {"light": True})]
    for number in range(1, 9):
        at = 2 * number
        stream += [
            (f"branch{number}", (64, 5), {"parents": (at,)}),
            (f"sum{number}", (64, 5), {"parents": (at, at + 1)}),
        ]
    nodes = chain(PICTURE, *stream, ("first", (5,), {}), ("classes", (3,), {"dense": True}))
    cuts = cut_points.choose_cuts(nodes, {"out": len(nodes) - 1})
    assert [(c.name, c.layer, c.dim, c.side) for c in cuts] == [
        ("tokens4", "sum4", 5, 0),
        ("tokens6", "sum6", 5, 0),
        ("last", "first", 5, 0),
    ]
    few = chain(PICTURE, *stream[:6], ("first", (5,), {}), ("classes", (3,), {"dense": True}))
    assert [c.layer for c in cut_points.choose_cuts(few, {"out": 8})] == ["patches", "first"]


def test_a_map_inside_a_branch_is_never_taken():
    nodes = chain(
        PICTURE,
        ("split", (32, 32, 8), {}),
        ("left", (8, 8, 8), {}),
        ("right", (8, 8, 8), {"parents": (1,)}),
        ("joined", (4, 4, 16), {"parents": (2, 3)}),
        ("top", (2, 2, 24), {}),
        ("mean", (24,), {}),
    )
    assert [c.layer for c in cut_points.choose_cuts(nodes, {"out": 6})] == ["joined", "mean"]


def test_a_flattened_map_is_pooled_instead():
    nodes = chain(
        PICTURE,
        ("conv", (4, 4, 9), {}),
        ("flatten", (144,), {"light": True}),
        ("dense", (5,), {"dense": True}),
    )
    last = cut_points.choose_cuts(nodes, {"out": 3})[-1]
    assert (last.layer, last.dim, last.side) == ("conv", 9, 4)


def test_several_outputs_are_the_depths_in_the_order_of_the_network():
    cuts = cut_points.choose_cuts(residual(), {"deep out": 9, "inner": 5})
    assert [(c.name, c.dim) for c in cuts] == [("inner", 12), ("last", 20)]


def test_layers_can_be_named_and_the_nearest_is_told():
    cuts = cut_points.choose_cuts(residual(), {"out": 11}, ("last", "sum"))
    assert [c.name for c in cuts] == ["sum", "last"]
    with pytest.raises(UsageError, match="no layer `rely`") as caught:
        cut_points.choose_cuts(residual(), {"out": 11}, ("rely",))
    assert "`relu`" in caught.value.hint
    with pytest.raises(DataError, match="nothing that can be pooled"):
        cut_points.choose_cuts(chain(PICTURE, ("odd", (), {})), {"out": 1})


def arithmetic(slope, centre):
    return np.full(4, slope), np.full(4, -slope * centre)


@pytest.mark.parametrize(
    ("slope", "centre", "scale"),
    [(1 / 127.5, 127.5, 1.0), (1 / 255, 0, 1.0), (1.0, 104, 1.0), (1 / 0.229, 0.485, 1 / 255), (2.0, 0.5, 1 / 255)],
)
def test_what_the_graph_does_first_tells_what_it_takes(slope, centre, scale):
    found = input_scaling.guess_scaling(arithmetic(slope, centre), None, nchw=True)
    assert found.scale == scale
    assert not found.guess


def test_tiny_first_filters_hold_the_scaling_and_the_rest_is_a_guess():
    kernel = np.random.default_rng(0).normal(0, 0.2, (16, 27))
    assert input_scaling.guess_scaling(None, kernel / 255, nchw=False).scale == 1.0
    torch, tf = (input_scaling.guess_scaling(None, kernel, nchw=nchw) for nchw in (True, False))
    assert (torch.guess, torch.mean) == (True, (0.485, 0.456, 0.406))
    assert (tf.guess, tf.scale) == (True, 1 / 127.5)
