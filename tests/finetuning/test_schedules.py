"""The rate of every step, which blocks are free, and the rate that a rising-rate test finds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.recipe import Recipe
from headstart.finetuning.training import optimizers
from headstart.finetuning.training.schedules import factors_in_epoch, find_rate, schedule_rates
from small_nets import classes

SCHEDULES = ["cosine", "one_cycle", "constant"]


def of(schedule, steps, warmup=0.1, rate=1.0, **more):
    return schedule_rates(Recipe(schedule=schedule, warmup=warmup, rate=rate), steps, **more)


def test_constant_rises_in_equal_steps_and_stays():
    assert of("constant", 10, 0.3).tolist() == [0.25, 0.5, 0.75] + [1.0] * 7


def test_cosine_falls_from_the_peak_along_half_a_wave():
    found = of("cosine", 110, 0.1, rate=0.4)
    assert found[:12] == pytest.approx(0.4 * np.arange(1, 13) / 12 * np.append(np.ones(11), 1.0), rel=1e-12)
    fall = found[11:]
    assert len(fall) == 99
    assert fall == pytest.approx(0.2 * (1 + np.cos(np.pi * np.arange(99) / 99)))
    assert fall[33] == pytest.approx(0.3) and fall[66] == pytest.approx(0.1)  # a third and two thirds of the way
    assert 0 < fall[-1] < 0.4e-3


def test_one_cycle_has_two_straight_lines_and_a_tail():
    found = of("one_cycle", 100, 0.4)
    assert (found[0], found.argmax(), found.max()) == (1 / 25, 40, 1.0)
    assert np.diff(found[:41]) == pytest.approx(np.full(40, 0.024))
    assert np.diff(found[40:90]) == pytest.approx(np.full(49, -0.96 / 49))
    assert found[89] == pytest.approx(1 / 25) and found[99] == pytest.approx(1 / 2500)
    assert np.diff(found[89:]) == pytest.approx(np.full(10, (1 / 2500 - 1 / 25) / 10))


@given(st.sampled_from(SCHEDULES), st.integers(1, 400), st.floats(0, 0.9), st.floats(1e-6, 10))
@settings(deadline=None)
def test_every_schedule_has_all_steps_one_peak_and_no_rate_of_0(schedule, steps, warmup, peak):
    found = of(schedule, steps, warmup, rate=1.23, peak=peak)
    rise = min(round(warmup * steps), steps - 1)
    assert found.shape == (steps,)
    assert (found > 0).all() and found.max() == pytest.approx(peak) and found[rise] == pytest.approx(peak)
    assert (np.diff(found[: rise + 1]) > 0).all() and (np.diff(found[rise:]) <= 0).all()


def test_a_schedule_needs_a_peak_and_steps():
    with pytest.raises(ValueError, match="peak 0"):
        of("cosine", 5, rate=0.0)
    with pytest.raises(ValueError, match="0 steps"):
        of("cosine", 0)


# ---------------------------------------------------------------- gradual unfreezing

BLOCKS = (("s4/k",), ("s5/k", "s5/b"), ("head/k",))
ALL = {"s4/k": 0.49, "s5/k": 0.7, "s5/b": 0.7, "head/k": 1.0}


def free(epoch, epochs, gradual=True):
    found = factors_in_epoch(Recipe(gradual=gradual, epochs=epochs), BLOCKS, epoch, ALL)
    assert all(factor in (0.0, ALL[path]) for path, factor in found.items()) and list(found) == list(ALL)
    return sum(found[block[0]] > 0 for block in BLOCKS), found


def test_blocks_are_freed_from_the_head_down():
    assert [free(epoch, 12)[0] for epoch in range(1, 13)] == [1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    assert free(3, 12)[1] == {"s4/k": 0.0, "s5/k": 0.7, "s5/b": 0.7, "head/k": 1.0}


def test_without_gradual_all_are_free_at_once():
    assert free(1, 12, gradual=False)[1] == ALL


@given(st.integers(1, 60))
@settings(deadline=None)
def test_all_blocks_train_in_the_second_half(epochs):
    seen = [free(epoch, epochs)[0] for epoch in range(1, epochs + 1)]
    assert seen[0] == (1 if epochs > 1 else 3)
    assert seen == sorted(seen)
    assert set(seen[epochs // 2 :]) == {3} or epochs < 4
    assert seen[-1] == 3


# ---------------------------------------------------------------- the rate finder


def descent(curvature, given, noise=0.0, seed=0):
    """The losses of gradient descent on curvature / 2 w^2 from w = 1."""
    rng, w, losses = np.random.default_rng(seed), 1.0, []
    for rate in given:
        losses.append(curvature / 2 * w * w)
        w -= rate * curvature * (w + noise * rng.normal())
    return np.array(losses)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 40.0])
@pytest.mark.parametrize("seed", range(4))
def test_on_a_quadratic_the_found_rate_learns_and_does_not_diverge(curvature, seed):
    """A rate above 2 / curvature diverges; one below 0.01 / curvature needs hundreds of steps."""
    tried = np.geomspace(1e-4 / curvature, 1e2 / curvature, 80)
    found = find_rate(descent(curvature, tried, 0.05, seed), tried)
    assert 0.01 < found * curvature < 1
    after = descent(curvature, np.full(101, found))
    assert after[100] < 1e-3 * after[0]


@pytest.mark.parametrize("seed", range(6))
def test_from_an_optimum_it_stays_well_below_where_the_loss_rises(seed):
    tried = np.geomspace(1e-6, 1.0, 100)
    noise = 0.1 * np.random.default_rng(seed).normal(size=100)
    found = find_rate(0.4 + noise + 2 * np.maximum(0, np.log10(tried / 1e-2)), tried)
    assert 3e-4 < found < 3e-3  # a tenth of where it rises, give or take a few tried rates


def test_what_comes_after_a_loss_that_is_not_finite_does_not_count():
    tried = np.geomspace(1e-4, 10.0, 60)
    losses = descent(1.0, tried)
    broken = losses.copy()
    broken[50] = np.nan
    broken[51:] = -1e9
    assert find_rate(broken, tried) == find_rate(losses[:50], tried[:50])
    assert find_rate(np.full(60, np.nan), tried) == tried[0]
    assert find_rate(np.full(60, 0.3), tried) == pytest.approx(1.0)  # nothing rises: a tenth of the last


def test_a_small_network_learns_at_the_found_rate():
    """Better than at a thirtieth of it, in 60 steps; and 60 times of it learns nothing."""
    import keras

    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 16)).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[
        np.argmax(np.tanh(x @ rng.normal(size=(16, 12))) @ rng.normal(size=(12, 4)), axis=1)
    ]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(4)])
    start, recipe = model.get_weights(), Recipe(weight_decay=0.0)
    made = optimizers.make_optimizer(recipe, factors={v.path: 1.0 for v in model.trainable_variables})
    made.build(model.trainable_variables)
    model.compile(optimizer=made, loss=classes(3).make_loss(recipe), jit_compile=False)
    fresh = [v.numpy() for v in made.variables]

    def losses(given):
        model.set_weights(start)
        for variable, value in zip(made.variables, fresh, strict=True):
            variable.assign(value)
        draw, seen = np.random.default_rng(1), []
        for rate in given:
            rows = draw.choice(len(x), 32, replace=False)
            made.learning_rate = float(rate)
            seen.append(float(model.train_on_batch(x[rows], y[rows])))
        return np.array(seen)

    tried = np.geomspace(1e-6, 10.0, 60)
    found = find_rate(losses(tried), tried)
    slow, good, wild = (
        losses(schedule_rates(replace(recipe, rate=found * times), 60))[-10:].mean() for times in (1 / 30, 1, 60)
    )
    assert good < 0.7 * slow and good < 0.5 * wild
