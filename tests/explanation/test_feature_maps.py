"""What lies under the outputs of graphs of all shapes: maps of either order, tokens, class tokens, joined depths."""

import numpy as np
import pytest

from headstart.explanation.feature_maps import add_map_outputs, square_side
from headstart.networks.openvino_engine import load_openvino

SIDE = 8


@pytest.fixture(scope="module")
def ops():
    load_openvino()
    from openvino import opset13

    return opset13


def graph(outputs, pictures):
    return load_openvino().Model(outputs, [pictures], "made")


def given(ops):
    pictures = ops.parameter([1, SIDE, SIDE, 3], np.uint8, name="pictures")
    return pictures, ops.convert(pictures, np.float32)


def run(model, seed=0):
    picture = np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)
    done = load_openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(picture)
    return picture, [np.array(done[place]) for place in range(len(model.outputs))]


def turned(ops, x):
    return ops.transpose(x, np.array([0, 3, 1, 2]))


def test_a_mean_over_places_gives_its_map_in_either_order(ops):
    pictures, x = given(ops)
    means = [ops.reduce_mean(x, np.array([1, 2])), ops.reduce_mean(turned(ops, x), np.array([-2, -1]))]
    found = []
    model = add_map_outputs(graph(means, pictures), found)
    picture, values = run(model)
    assert [(u.order, u.side, u.mean, u.stop) for u in found] == [("nhwc", 8, True, 3), ("nchw", 8, True, 3)]
    for under in found:
        assert under.arrange_places(values[under.at][0]) == pytest.approx(picture.reshape(-1, 3))
        assert under.arrange_places(values[under.at][0]).mean(axis=0) == pytest.approx(
            values[under.output][0], rel=1e-5
        )


def test_a_mean_is_found_through_what_only_changes_the_shape(ops):
    pictures, x = given(ops)
    kept = ops.reduce_mean(turned(ops, x), np.array([2, 3]), keep_dims=True)
    again = ops.reduce_mean(kept, np.array([2, 3]), keep_dims=True)  # over one place: changes nothing
    row = ops.transpose(ops.reshape(again, np.array([1, 3]), special_zero=False), np.array([0, 1]))
    found = []
    add_map_outputs(graph([row], pictures), found)
    assert [(u.order, u.side, u.mean) for u in found] == [("nchw", 8, True)]


def test_depths_that_are_joined_are_told_apart_and_what_is_no_mean_with_them(ops):
    pictures, x = given(ops)
    mean = ops.reduce_mean(x, np.array([1, 2]))
    hidden = ops.relu(ops.matmul(mean, np.ones((3, 5), np.float32), False, False))
    found = []
    add_map_outputs(graph([ops.concat([mean, hidden], 1)], pictures), found)
    assert [(u.start, u.stop, u.mean) for u in found] == [(0, 3, True), (3, 8, False)]
    assert found[1].side == 8  # the nearest map above, for Score-CAM


def test_one_map_under_two_outputs_is_given_once(ops):
    pictures, x = given(ops)
    means = [ops.reduce_mean(x, np.array([1, 2])), ops.reduce_mean(x, np.array([1, 2]))]
    found = []
    model = add_map_outputs(graph(means, pictures), found)
    assert [u.at for u in found] == [2, 2]
    assert len(model.outputs) == 3


def tokens(ops, x, ahead):
    rows = ops.reshape(x, np.array([1, SIDE * SIDE, 3]), special_zero=False)
    return ops.concat([ops.constant(np.full((1, ahead, 3), 7.0, np.float32)), rows], 1)


@pytest.mark.parametrize("ahead", [1, 5])
def test_tokens_that_stand_for_no_place_come_first(ops, ahead):
    pictures, x = given(ops)
    found = []
    model = add_map_outputs(graph([ops.reduce_mean(tokens(ops, x, ahead), np.array([1]))], pictures), found)
    (under,) = found
    assert (under.order, under.side, under.mean) == ("tokens", 8, True)
    picture, values = run(model)
    places = under.arrange_places(values[under.at][0])
    assert np.all(places[:ahead] == 7)
    assert places[ahead:] == pytest.approx(picture.reshape(-1, 3))


def test_a_class_token_is_no_mean_and_has_the_tokens_above_it(ops):
    pictures, x = given(ops)
    first = ops.gather(tokens(ops, x, 1), np.array(0), np.array(1))
    found = []
    add_map_outputs(graph([first], pictures), found)
    assert [(u.mean, u.side) for u in found] == [(False, 8)]


def test_a_mean_over_a_part_of_the_picture_is_not_taken_for_all_of_it(ops):
    pictures, x = given(ops)
    upper = ops.slice(x, [0], [SIDE // 2], [1], axes=[1])
    found = []
    add_map_outputs(graph([ops.reduce_mean(upper, np.array([1, 2]))], pictures), found)
    assert [u.mean for u in found] == [False]


def test_how_many_tokens_make_a_square():
    assert square_side(196) == (14, 0)
    assert square_side(197) == (14, 1)
    assert square_side(201) == (14, 5)
    assert square_side(3) == (0, 0)
    assert square_side(220) == (0, 0)
