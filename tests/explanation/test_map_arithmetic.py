"""Maps on other grids keep their mean; a head as a linear function of the features is what the head says."""

import numpy as np
import pytest

from headstart.explanation import map_arithmetic
from headstart.heads import design_matrix, prediction


@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (21, 10), (1, 1)])
def test_a_map_on_another_grid_keeps_its_mean(shape):
    values = np.random.default_rng(0).standard_normal((7, 7))
    made = map_arithmetic.resample_map(values, (10, 20, 80, 90), (10, 20, 80, 90), shape)
    assert made.shape == shape
    assert made.mean() == pytest.approx(values.mean(), abs=1e-12)


def test_a_map_in_a_larger_box_lies_where_it_belongs_and_keeps_its_mean():
    values = np.array([[1.0, 2.0], [3.0, 6.0]])
    made = map_arithmetic.resample_map(values, (50, 0, 100, 50), (0, 0, 100, 100), (4, 4))
    assert made.mean() == pytest.approx(values.mean(), abs=1e-12)
    assert np.array_equal(made > 0, np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool))
    assert made[:2, 2:] == pytest.approx(values * 4)


def test_a_grid_twice_as_fine_repeats_the_cells():
    values = np.arange(4.0).reshape(2, 2)
    assert map_arithmetic.resample_map(values, (0, 0, 1, 1), (0, 0, 1, 1), (4, 4)) == pytest.approx(
        np.kron(values, np.ones((2, 2)))
    )


def test_a_resized_map_is_linear_between_centres():
    assert map_arithmetic.resize_map(np.array([[0.0, 1.0]]), (1, 4)).tolist() == [[0.0, 0.25, 0.75, 1.0]]


def test_warmth_is_what_speaks_for_relative_to_the_strongest():
    assert map_arithmetic.positive_share(np.array([[-3.0, 1.0], [2.0, 0.0]])).tolist() == [[0.0, 0.5], [1.0, 0.0]]
    assert map_arithmetic.positive_share(np.array([[-3.0, -1.0]])).tolist() == [[0.0, 0.0]]


def test_a_linear_head_is_its_logit_against_the_mean_of_the_others():
    rng = np.random.default_rng(1)
    arrays = {
        "weights": rng.standard_normal((5, 4)).astype(np.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
    }
    x = rng.standard_normal(5).astype(np.float32)
    weights, bias = map_arithmetic.linear_form("linear", arrays, x, 2)
    logits = x.astype(np.float64) @ arrays["weights"] + arrays["bias"]
    assert x @ weights + bias == pytest.approx(logits[2] - logits[[0, 1, 3]].mean(), abs=1e-5)
    chances = prediction.predict_probabilities("linear", arrays, x[None])
    assert map_arithmetic.logit_margin(chances, 2)[0] == pytest.approx(x @ weights + bias, abs=1e-4)


def test_a_class_without_a_picture_takes_no_part_in_the_score():
    rng = np.random.default_rng(1)
    arrays = {"weights": rng.normal(size=(5, 3)), "bias": np.array([0.1, -0.2, 0.3])}
    wider = {
        "weights": np.insert(arrays["weights"], 1, 0.0, axis=1),
        "bias": np.insert(arrays["bias"], 1, design_matrix.ABSENT / 3),  # as after a temperature of 3
    }
    without = map_arithmetic.linear_form("linear", arrays, np.zeros(5), 2)
    beside = map_arithmetic.linear_form("linear", wider, np.zeros(5), 3)
    np.testing.assert_allclose(beside[0], without[0])
    assert beside[1] == pytest.approx(without[1])


def test_neighbours_are_half_the_difference_of_squared_distances():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], 6)
    arrays = {
        "points": rng.standard_normal((18, 4)).astype(np.float32),
        "labels": labels,
        "k": np.asarray(3),
        "centre": rng.standard_normal(4).astype(np.float32),
        "scale": rng.uniform(0.5, 2, 4).astype(np.float32),
    }
    x = rng.standard_normal(4)
    weights, bias = map_arithmetic.linear_form("neighbours", arrays, x, 1)
    away = ((arrays["points"] - (x - arrays["centre"]) / arrays["scale"]) ** 2).sum(axis=1)
    wanted = (np.sort(away[labels != 1])[:3].mean() - np.sort(away[labels == 1])[:3].mean()) / 2
    assert x @ weights + bias == pytest.approx(wanted, abs=1e-6)


def test_an_unknown_kind_of_head_is_refused():
    with pytest.raises(ValueError, match="`trees`"):
        map_arithmetic.linear_form("trees", {}, np.zeros(3), 0)
