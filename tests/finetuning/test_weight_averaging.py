"""Which weights count: the epoch, the point between two networks, the temperature, the soup."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.finetuning import objectives
from headstart.finetuning.training import weight_averaging
from headstart.statistics.losses import per_picture_loss

NAN = np.nan


# ---------------------------------------------------------------- epoch


def test_the_epoch_is_the_lowest_over_all_pictures_together():
    losses = np.array([[1.0, 0.4, 0.6, 0.5], [1.0, 0.9, 0.6, 0.8]])
    assert weight_averaging.choose_epoch(losses, np.array([10, 10])) == 2
    assert weight_averaging.choose_epoch(losses, np.array([90, 10])) == 1  # the large fold's pictures outvote
    pooled = np.concatenate([np.repeat(losses[0][None], 90, 0), np.repeat(losses[1][None], 10, 0)]).mean(axis=0)
    assert weight_averaging.choose_epoch(losses, np.array([90, 10])) == int(np.argmin(pooled))


def test_the_start_and_the_earlier_epoch_win_ties():
    assert weight_averaging.choose_epoch(np.array([[0.5, 0.7, 0.6]]), np.array([4])) == 0
    assert weight_averaging.choose_epoch(np.array([[0.5, 0.5, 0.5]]), np.array([4])) == 0
    assert weight_averaging.choose_epoch(np.array([[0.9, 0.25, 0.5], [0.9, 0.5, 0.25]]), np.array([4, 4])) == 1


def test_epochs_that_a_fold_did_not_reach_are_not_looked_at():
    losses = np.array([[1.0, 0.5, 0.6, NAN], [1.0, 0.5, 0.45, 0.1]])
    assert weight_averaging.choose_epoch(losses, np.array([1, 1])) == 1
    assert weight_averaging.choose_epoch(losses[1:], np.array([1])) == 3
    assert weight_averaging.choose_epoch(np.array([[1.0, NAN, 0.1]]), np.array([1])) == 0  # nothing counts after a gap
    with pytest.raises(ValueError, match="no score of the start"):
        weight_averaging.choose_epoch(np.array([[NAN, 0.5]]), np.array([1]))


# ---------------------------------------------------------------- alpha

Y = np.array([0, 1, 2, 1])
RIGHT = 4 * np.eye(3)[Y]
WRONG = 4 * np.eye(3)[(Y + 1) % 3]


def test_alpha_is_where_the_metric_is_lowest():
    assert weight_averaging.choose_alpha({0.0: 0.9, 0.5: 0.1, 1.0: 0.3}) == 0.5
    assert weight_averaging.choose_alpha({1.0: 0.1, 0.0: 0.9}) == 1.0


def test_equal_losses_take_the_smaller_alpha_in_whatever_order():
    assert weight_averaging.choose_alpha({1.0: 0.1, 0.25: 0.1, 0.5: 0.1, 0.0: 0.9}) == 0.25
    assert weight_averaging.choose_alpha({1.0: 0.9, 0.0: 0.9, 0.5: 0.9}) == 0.0


# ---------------------------------------------------------------- temperature


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_logits_were_multiplied_by(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6_000, 4)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (rng.random(6_000)[:, None] > shares.cumsum(axis=1)).sum(axis=1)
    found = objectives.fit_temperature((logits * true).astype(np.float32), y)
    assert found == pytest.approx(true, rel=0.06)

    def cost(t):
        p = np.exp(logits * true / t) / np.exp(logits * true / t).sum(axis=1, keepdims=True)
        return per_picture_loss("log_loss", y, p).mean()

    assert cost(found) <= min(cost(found * 1.05), cost(found / 1.05))


def test_the_temperature_is_bounded_and_few_pictures_move_it_little():
    many = np.tile(Y, 2_000)
    assert objectives.fit_temperature(np.eye(3)[many] * 1e-1, many) == pytest.approx(0.05, abs=1e-3)
    assert objectives.fit_temperature(np.eye(3)[(many + 1) % 3] * 50.0, many) == pytest.approx(20.0, abs=0.1)
    assert 0.3 < objectives.fit_temperature(np.eye(3)[Y] * 3, Y) < 1  # four pictures without an error ask for 0
    assert objectives.fit_temperature(np.zeros((4, 3)), Y) == pytest.approx(1.0, abs=1e-3)
    assert objectives.fit_temperature(np.zeros((0, 3)), Y[:0]) == pytest.approx(1.0, abs=1e-3)


# ---------------------------------------------------------------- soup


def numbers(members):
    """A score whose mean should come near 10."""
    return abs(float(np.mean(members)) - 10)


def test_the_soup_takes_who_makes_the_first_better():
    assert weight_averaging.choose_soup([9.0, 12.0, 8.0, 5.0], numbers) == (
        0,
        1,
        2,
    )  # 9, then 10.5, then 9.67; with 5 it were 8.5
    assert weight_averaging.choose_soup([9.0, 16.0, 5.0], numbers) == (0,)
    assert weight_averaging.choose_soup([10.0, 9.0, 11.0], numbers) == (0,)  # nothing improves on the first


def test_the_first_is_in_the_soup_even_if_another_is_better_alone():
    assert weight_averaging.choose_soup([8.0, 10.0], numbers) == (0, 1)
    assert weight_averaging.choose_soup([8.0, 10.0, 14.0], numbers) == (0, 1, 2)
    assert weight_averaging.choose_soup([8.0, 16.0, 9.5], numbers) == (0, 2)


def test_an_equal_soup_is_not_taken():
    assert weight_averaging.choose_soup([9.0, 11.0, 9.0], lambda members: 1.0) == (0,)
    assert weight_averaging.choose_soup([3.0], numbers) == (0,)


def test_a_soup_is_asked_about_with_all_that_were_taken():
    asked = []

    def score(members):
        asked.append(list(members))
        return numbers(members)

    assert weight_averaging.choose_soup([9.0, 8.0, 12.5], score) == (0, 2)
    assert asked == [[9.0], [9.0, 8.0], [9.0, 12.5]]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
@settings(deadline=None)
def test_a_soup_is_never_worse_than_its_first_member(members):
    taken = weight_averaging.choose_soup(members, numbers)
    assert len(set(taken)) == len(taken)
    assert taken[0] == 0
    assert numbers([members[at] for at in taken]) <= numbers(members[:1])


def test_the_mean_of_weights_is_taken_name_by_name():
    rng = np.random.default_rng(0)
    each = [
        {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=2).astype(np.float32)} for _ in range(3)
    ]
    found = weight_averaging.average_weights(each)
    for name in ("a", "b"):
        wanted = sum(one[name].astype(np.float64) for one in each) / 3
        assert found[name].dtype == np.float32
        assert (found[name] == wanted.astype(np.float32)).all()
    assert (weight_averaging.average_weights([each[0]] * 5)["a"] == each[0]["a"]).all()
