"""Sets keep their promise for any number of pictures, whatever the probabilities are worth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.uncertainty import conformal

COVERAGES = st.sampled_from([0.5, 0.8, 0.9, 0.95])


@given(scores=st.lists(st.integers(0, 50), min_size=1, max_size=60), coverage=COVERAGES)
def test_the_quantile_is_exact_over_all_orders(scores, coverage):
    """Of n + 1 exchangeable scores, each equally likely the new one, at least the promised share is kept."""
    whole = np.array(scores, float)
    kept = [one <= conformal.conformal_quantile(np.delete(whole, at), coverage) for at, one in enumerate(whole)]
    assert np.mean(kept) >= coverage - 1e-9


@given(n=st.integers(1, 400), coverage=COVERAGES)
def test_without_ties_it_keeps_no_more_than_one_in_n_more(n, coverage):
    whole = np.random.default_rng(n).permutation(n + 1).astype(float)
    kept = np.mean(
        [one <= conformal.conformal_quantile(np.delete(whole, at), coverage) for at, one in enumerate(whole)]
    )
    assert coverage - 1e-9 <= kept <= coverage + 1 / (n + 1) + 1e-9


@given(coverage=COVERAGES)
def test_too_few_pictures_promise_nothing(coverage):
    least = conformal.count_needed_pictures(coverage)
    assert conformal.conformal_quantile(np.zeros(least - 1), coverage) == math.inf
    assert conformal.conformal_quantile(np.zeros(least), coverage) == 0
    assert conformal.count_needed_pictures(0.9) == 9


@pytest.mark.parametrize("kind", conformal.SCORES)
def test_the_likeliest_class_is_least_odd(kind):
    p = np.random.default_rng(0).dirichlet(np.ones(5), 200)
    found = conformal.compute_scores(p, kind)
    np.testing.assert_array_equal(found.argmin(axis=1), p.argmax(axis=1))
    np.testing.assert_array_equal(np.argsort(found, axis=1), np.argsort(-p, axis=1))


def test_the_adaptive_score_counts_what_is_likelier():
    [found] = conformal.compute_scores(np.array([[0.2, 0.5, 0.3]]), "adaptive")
    np.testing.assert_allclose(found, [0.8 + 0.01, 0.0, 0.5])
    with pytest.raises(ValueError, match="least_ambiguous"):
        conformal.compute_scores(np.ones((1, 2)), "sharp")


def drawn(n, seed, flat=1.0):
    """Pictures of three classes of very different difficulty, and probabilities that are too sure."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(n, 3)) * 3
    logits[np.arange(n), y] += np.array([4.0, 2.0, 0.5])[y]
    p = np.exp(logits * flat)
    return p / p.sum(axis=1, keepdims=True), y


@pytest.mark.parametrize("kind", conformal.SCORES)
@pytest.mark.parametrize("flat", [0.3, 3.0])
def test_promises_hold_in_each_class_whatever_the_probabilities_are_worth(kind, flat):
    shares = []
    for seed in range(60):
        (p, y), (new, truth) = drawn(600, seed, flat), drawn(2000, 1000 + seed, flat)
        own = conformal.compute_scores(p, kind)[np.arange(600), y]
        held = conformal.make_sets(new, kind, conformal.compute_thresholds(own, y, 3, 0.9, by_class=True))
        shares.append([held[truth == c, c].mean() for c in range(3)])
    mean, error = np.mean(shares, axis=0), np.std(shares, axis=0) / np.sqrt(60)
    assert (mean >= 0.9 - 2.6 * error).all(), mean


def test_on_average_the_hard_class_is_not_covered():
    p, y = drawn(4000, 0)
    own = conformal.compute_scores(p, "least_ambiguous")[np.arange(4000), y]
    held = conformal.make_sets(p, "least_ambiguous", conformal.compute_thresholds(own, y, 3, 0.9, by_class=False))
    hits = held[np.arange(4000), y]
    assert hits.mean() == pytest.approx(0.9, abs=0.01)
    assert hits[y == 2].mean() < 0.8


def test_what_is_answered_is_always_in_the_set():
    p = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]])
    assert not conformal.make_sets(p, "least_ambiguous", np.full(3, 0.1)).any()
    answered = conformal.make_sets(p, "least_ambiguous", np.full(3, 0.1), np.array([2, 0]))
    assert answered.tolist() == [[False, False, True], [True, False, False]]


def test_sets_of_grades_have_no_gap_and_lose_no_class():
    p = np.random.default_rng(0).dirichlet(np.full(5, 0.5), 400)
    limits, answers = np.full(5, 0.8), np.argmin(p, axis=1)
    plain = conformal.make_sets(p, "least_ambiguous", limits, answers)
    filled = conformal.make_sets(p, "least_ambiguous", limits, answers, ordered=True)
    ranks = np.arange(5)
    for before, after in zip(plain, filled, strict=True):
        assert after.tolist() == ((ranks >= ranks[before].min()) & (ranks <= ranks[before].max())).tolist()
    assert filled.sum() > plain.sum()
    sizes = conformal.count_set_sizes(p, "least_ambiguous", limits, answers, ordered=True)
    assert sizes.tolist() == filled.sum(axis=1).tolist()
    assert not conformal.make_sets(p, "least_ambiguous", np.full(5, -1.0), ordered=True).any()


def test_many_pictures_are_looked_at_block_by_block(monkeypatch):
    p, y = drawn(500, 1)
    for kind in conformal.SCORES:
        whole, limits = conformal.compute_scores(p, kind)[np.arange(500), y], np.full(3, 0.4)
        wide = conformal.make_sets(p, kind, limits, p.argmax(axis=1)).sum(axis=1)
        monkeypatch.setattr(conformal, "_BLOCK", 100)
        np.testing.assert_array_equal(conformal.score_true_classes(p, y, kind), whole)
        np.testing.assert_array_equal(conformal.count_set_sizes(p, kind, limits, p.argmax(axis=1)), wide)
    assert conformal.score_true_classes(p[:0], y[:0], kind).shape == (0,)


def test_cross_validation_guarantees_less_and_the_less_the_fewer():
    of_folds = [conformal.cross_validation_guarantee(n, 5, 0.9) for n in (50, 200, 20_000)]
    assert of_folds == [0.654, 0.76, 0.799]
    assert [conformal.cross_validation_guarantee(n, n, 0.9) for n in (0, 2, 200)] == [0.8] * 3  # the jackknife+
    bound = [2 * 0.9 - 1 - math.sqrt(2 / n) for n in (50, 200, 20_000)]  # for any number of folds
    assert all(np.array(of_folds) > bound)


def test_the_interval_of_the_size_never_collapses():
    same = conformal.size_interval(np.ones(40), 3)
    assert (same.value, same.low) == (1.0, 1.0)
    assert 1.05 < same.high < 1.15
    mixed = conformal.size_interval(np.array([1, 1, 2, 3] * 10), 3)
    assert 1 < mixed.low < mixed.value == 1.75 < mixed.high < 3
    assert conformal.size_interval(np.zeros(0), 3)[1:] == (1.0, 3.0)
