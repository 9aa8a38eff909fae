"""Tests on the same pictures, against figures that are known and against each other."""

import itertools

import numpy as np
import pytest

from headstart.statistics import paired_tests


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (10, 2, 0.038574), (7, 7, 1.0), (121, 59, 4.434e-06)],
)
def test_mcnemar_is_the_exact_binomial(one, other, p):
    assert paired_tests.mcnemar_p(one, other) == pytest.approx(p, rel=1e-3)
    assert paired_tests.mcnemar_p(other, one) == paired_tests.mcnemar_p(one, other)


def test_mcnemar_equals_scipys_binomial():
    from scipy.stats import binomtest

    for one, other in itertools.product(range(0, 40, 7), range(1, 40, 5)):
        assert paired_tests.mcnemar_p(one, other) == pytest.approx(min(1, binomtest(one, one + other).pvalue), rel=1e-9)


def test_sign_flips_of_single_pictures_are_mcnemars_test():
    one, other = 10, 2
    differences = np.r_[np.ones(one), -np.ones(other), np.zeros(30)]
    assert paired_tests.sign_flip_p(differences, None, 0) == pytest.approx(paired_tests.mcnemar_p(one, other))
    many = np.r_[np.ones(30), -np.ones(12), np.zeros(60)]  # drawn, not tried out
    assert paired_tests.sign_flip_p(many, np.arange(102), 0) == pytest.approx(paired_tests.mcnemar_p(30, 12), abs=0.002)


def test_copies_of_a_picture_count_once():
    alone = np.r_[np.ones(5), -np.ones(0)]
    copies = np.repeat(alone, 10)
    assert paired_tests.sign_flip_p(copies, np.repeat(np.arange(5), 10), 0) == pytest.approx(0.0625)
    assert paired_tests.sign_flip_p(copies, None, 0) < 0.001


def test_nothing_differs():
    assert paired_tests.sign_flip_p(np.zeros(7), None, 0) == 1.0


def test_holm_by_hand():
    assert paired_tests.holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired_tests.holm_adjusted([0.5, 0.9]) == [1.0, 1.0]
    assert paired_tests.holm_adjusted([]) == []


def test_clusters_of_both_are_joined():
    a, b = np.array([0, 0, 2, 3, 4]), np.array([9, 8, 8, 7, 6])
    found = paired_tests.join_clusters(a, b)
    assert len({found[0], found[1], found[2]}) == 1
    assert len(set(found.tolist())) == 3


def test_under_no_difference_the_test_rarely_cries():
    rng, cried = np.random.default_rng(5), 0
    for _ in range(400):
        a, b = rng.random((2, 60)) < 0.8
        cried += paired_tests.mcnemar_p(int((a & ~b).sum()), int((b & ~a).sum())) < 0.05
    assert cried / 400 < 0.05  # exact: at most the level


def test_answers_that_differ_nowhere_or_alike_everywhere_leave_an_interval():
    right, clusters = np.ones(24, bool), np.arange(24)
    bound = 1 - 0.05 ** (1 / 24)  # 3 / n, about
    assert paired_tests.difference_of_shares(right, right, clusters, 0) == ((0.0, -bound, bound), "rule of three")
    (value, low, high), _ = paired_tests.difference_of_shares(right, ~right, clusters, 0)
    assert (value, high) == (1.0, 1.0) and low == pytest.approx(1 - 2 * bound)
    (_, low, _), _ = paired_tests.difference_of_shares(right, right, clusters // 3, 0)
    assert low == pytest.approx(-(1 - 0.05 ** (1 / 8)))  # look-alikes count once
    mixed, method = paired_tests.difference_of_shares(right, np.arange(24) > 3, clusters, 0)
    assert method == "paired bootstrap by cluster" and mixed.low < mixed.value < mixed.high


def test_equal_losses_are_the_same_answers_and_not_an_interval():
    losses, clusters = np.linspace(0, 2, 24), np.arange(24)
    interval, method = paired_tests.difference_of_losses(losses, losses, clusters, 0)
    assert (interval.value, method) == (0.0, "the same answers") and np.isnan(interval[1:]).all()
    interval, method = paired_tests.difference_of_losses(losses, losses**2, clusters, 0)
    assert method == "paired bootstrap by cluster" and interval.low < interval.value < interval.high
