"""What a source head's classes tell of labels: LEEP and NCE as their papers define them, and CKA's invariances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.selection.transferability.leep import cka, leep, nce, one_hot

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=25)


def answers(seed, m=40, z=7, c=3, sharp=1.0):
    """(M, Z) probabilities with some columns that are never seen, and (M,) classes of which one may be missing."""
    rng = np.random.default_rng(seed)
    scores = sharp * rng.normal(size=(m, z))
    scores[:, rng.random(z) < 0.2] = -np.inf
    scores[:, 0] = np.where(np.isinf(scores[:, 0]), 0.0, scores[:, 0])
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True), rng.integers(0, c, m) * rng.integers(1, 3)


def slow_leep(p, y):
    """Equations (1) to (3) of the paper, sum by sum."""
    n, total = len(y), 0.0
    joint = {(c, z): sum(p[i][z] for i in range(n) if y[i] == c) / n for c in set(y) for z in range(len(p[0]))}
    marginal = [sum(joint[c, z] for c in set(y)) for z in range(len(p[0]))]
    for i in range(n):
        total += math.log(sum(joint[y[i], z] / marginal[z] * p[i][z] for z in range(len(p[0])) if marginal[z] > 0))
    return total / n


def slow_nce(p, y):
    """The mean over pictures of log P(y | z), counted."""
    z = [max(range(len(row)), key=lambda k: row[k]) for row in p.tolist()]
    pairs = list(zip(y.tolist(), z, strict=True))
    return sum(math.log(pairs.count((c, k)) / z.count(k)) for c, k in pairs) / len(pairs)


@few
@given(SEEDS, st.integers(1, 30), st.floats(0, 30))
def test_leep_and_nce_agree_with_their_definitions_and_are_never_above_0(seed, m, sharp):
    p, y = answers(seed, m=m, sharp=sharp)
    assert leep(p, y) == pytest.approx(slow_leep(p.tolist(), y.tolist()), abs=1e-9)
    assert nce(p, y) == pytest.approx(slow_nce(p, y), abs=1e-9)
    assert leep(p, y) <= 0
    assert nce(p, y) <= 0


@few
@given(SEEDS)
def test_of_certain_answers_leep_is_nce(seed):
    rng = np.random.default_rng(seed)
    p, y = np.eye(5)[rng.integers(0, 5, 30)], rng.integers(0, 3, 30)
    assert leep(p, y) == pytest.approx(nce(p, y), abs=1e-12)


@few
@given(SEEDS)
def test_a_head_that_sees_nothing_leaves_the_entropy_of_the_labels(seed):
    _, y = answers(seed)
    p = np.broadcast_to(np.random.default_rng(seed).dirichlet(np.ones(6)), (len(y), 6))
    share = np.unique(y, return_counts=True)[1] / len(y)
    assert leep(p, y) == pytest.approx(np.sum(share * np.log(share)), abs=1e-9)
    assert nce(p, y) == pytest.approx(np.sum(share * np.log(share)), abs=1e-9)


@few
@given(SEEDS)
def test_names_of_classes_and_copies_of_all_pictures_change_neither(seed):
    p, y = answers(seed)
    rng = np.random.default_rng(seed)
    order, turned = rng.permutation(p.shape[1]), rng.permutation(len(y))
    for score in (leep, nce):
        expected = pytest.approx(score(p, y), abs=1e-9)
        assert score(p[:, order], 7 - y) == expected
        assert score(p[turned], y[turned]) == expected
        assert score(np.vstack([p, p]), np.hstack([y, y])) == expected


def test_a_head_that_knows_the_classes_scores_best():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    found = []
    for sharp in (0, 1, 3, 30):
        scores = rng.normal(size=(300, 5)) + sharp * np.eye(5)[y]
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        found.append((leep(p, y), nce(p, y), cka(p, one_hot(y))))
    assert found == sorted(found)
    assert found[0][0] < -1.0
    assert abs(found[0][2]) < 0.05
    assert found[-1][0] > -1e-6
    assert found[-1][1:] == pytest.approx((0, 1), abs=1e-6)


@few
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_rotation_scale_and_shift_do_not_change_cka(seed, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 6)), rng.normal(size=(30, 4))
    a[:, :3] += 0.5 * b[:, :3]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    expected = pytest.approx(cka(a, b), abs=1e-9)
    assert cka(scale * a @ turn + shift, b) == expected
    assert cka(b, a) == expected
    assert cka(np.hstack([a, np.full((30, 5), shift)]), b) == expected
    assert cka(a, a) == pytest.approx(1)


def test_cka_is_the_unbiased_estimate_of_song():
    """HSIC_1 of its kernels written out, over the roots of each with itself."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    k, m = (x @ x.T * (1 - np.eye(12)) for x in (a, b))
    n, ones = 12, np.ones(12)

    def hsic(f, g):
        cross = ones @ f @ ones * (ones @ g @ ones) / (n - 1) / (n - 2)
        return (np.trace(f @ g) + cross - 2 / (n - 2) * ones @ f @ g @ ones) / n / (n - 3)

    assert cka(a, b) == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)))


def test_unrelated_descriptions_of_few_pictures_are_not_called_alike():
    found = [
        cka(*(np.random.default_rng([seed, side]).normal(size=(40, 1000)) for side in (0, 1))) for seed in range(20)
    ]
    assert abs(np.mean(found)) < 0.02
    assert min(found) < 0 < max(found)


@few
@given(arrays(np.float32, (10, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)), SEEDS)
def test_cka_is_a_number_in_its_bounds_or_nothing(a, seed):
    b = np.random.default_rng(seed).normal(size=(10, 2))
    found = cka(a, b)
    assert found is None or -1 <= found <= 1


def test_where_cka_does_not_exist_it_is_not_0():
    b = np.random.default_rng(0).normal(size=(9, 2))
    assert cka(np.full((9, 4), 0.1), b) is None
    assert cka(one_hot(np.zeros(9, np.int64)), b) is None
    assert cka(b[:3], b[:3]) is None
