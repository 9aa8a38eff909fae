"""The arithmetic of the benchmark that compares rules of choice: regret, its intervals, folds and draws."""

from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks import ranking, zoo_tasks, zoo_training
from benchmarks.zoo_rules import OURS, RANDOM, Case, choose
from benchmarks.zoo_tasks import Task


def task(name="a", counts=(8, 5, 4)):
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.zeros((len(y), 1, 1, 3), np.uint8)
    return Task(name=name, related="", classes=tuple("xyz"[: len(counts)]), x=x, y=y, test_x=x, test_y=y)


def case(name, truth, picks):
    return Case(of=SimpleNamespace(task=task(name), seed=0), truth=truth, picks=picks)


def test_regret_is_what_the_best_of_all_has_more_than_the_pick_in_points():
    one = case("a", {"p": 0.5, "q": 0.8, "r": 0.8}, {"best": "q", "also": "r", "worst": "p"})
    assert (one.regret("best"), one.regret("also")) == (0.0, 0.0)
    assert one.regret("worst") == pytest.approx(30)
    assert one.regret(RANDOM) == pytest.approx(10)  # what a draw comes to on average


def test_cases_of_one_target_are_no_independent_cases():
    def cases(names):
        return [case(name, {"p": 0.9 - 0.1 * ("b" in name), "q": 0.9}, {"rule": "p"}) for name in names]

    few, many = cases("aaabbbaaabbb"), cases([f"{'ab'[at % 2]}{at}" for at in range(12)])
    found, apart = ranking.regret(few, "rule"), ranking.regret(many, "rule")
    assert found.value == apart.value == pytest.approx(5)
    assert found.high - found.low > 5 * (apart.high - apart.low)
    assert ranking.regret(cases("aaaa"), "rule").high == np.inf  # of one target nothing is known of others


def test_the_mean_over_draws_takes_luck_out():
    shared = SimpleNamespace(task=task("a"), seed=0)
    truths = ({"p": 0.9, "q": 0.8}, {"p": 0.7, "q": 0.82})
    cases = [Case(of=shared, truth=each, picks={"rule": "p"}) for each in truths]
    assert ranking.regret(cases, "rule").value == pytest.approx(6)
    assert ranking.regret(ranking.settled(cases), "rule").value == pytest.approx(1)
    assert [one.truth["p"] for one in cases] == [0.9, 0.7]  # the cases are as they were


def test_two_rules_are_compared_case_by_case():
    truth = ({"p": 0.5, "q": 0.6}, {"p": 0.9, "q": 0.8}, {"p": 0.2, "q": 0.3})
    cases = [case(name, each, {OURS: "p", "other": "q"}) for name, each in zip("abc", truth, strict=True)]
    found = ranking.beyond(cases, OURS, "other")
    assert found.value == pytest.approx(10 / 3)
    assert found.low < 0 < found.high


def test_equal_merits_go_by_cost():
    members = [SimpleNamespace(name=name, spec=SimpleNamespace(flops=flops)) for name, flops in (("p", 2), ("q", 1))]
    one = case("a", {"p": 0.5, "q": 0.8}, {})
    one.scores = {"flat": {"p": 1.0, "q": 1.0}, "clear": {"p": 2.0, "q": 1.0}}
    choose(SimpleNamespace(members=members), one, ours=False)
    assert one.picks == {"flat": "q", "clear": "p"}


def test_rank_correlation_is_that_of_the_merits_with_the_truth():
    one = case("a", {"p": 0.1, "q": 0.2, "r": 0.3}, {})
    one.scores = {"right": {"r": 3, "q": 2, "p": 1}, "wrong": {"p": 3, "q": 2, "r": 1}, "flat": dict.fromkeys("pqr", 1)}
    assert [ranking.kendall([one], rule) for rule in one.scores] == pytest.approx([1, -1, 0])


def test_a_draw_is_even_over_classes_and_depends_on_the_seed_alone():
    of = task()
    rows = of.draw(11, seed=1)
    assert sorted(np.bincount(of.y[rows])) == [3, 4, 4]
    assert len(set(rows)) == 11
    np.testing.assert_array_equal(rows, of.draw(11, seed=1))
    assert any(not np.array_equal(rows, of.draw(11, seed=seed)) for seed in (2, 3, 4))


def test_folds_hold_each_class_alike():
    y = np.repeat([0, 1, 2], (12, 8, 4))
    folds = zoo_training.even_folds(y, np.random.default_rng(0))
    for fold in range(zoo_training.FOLDS):
        np.testing.assert_array_equal(np.bincount(y[folds == fold]), [3, 2, 1])


@pytest.mark.medium
def test_sources_and_targets_share_no_picture():
    """The black corners of the retina are no picture: one patch of nothing is like the other."""

    def seen(*parts):
        return {one.tobytes() for part in parts for one in part if one.std() > 0}

    learnt = seen(*(part for of in zoo_tasks.sources() for part in (of.x, of.test_x)))
    for of in zoo_tasks.targets():
        own, judged = seen(of.x), seen(of.test_x)
        assert not own & judged
        assert not own & learnt
        assert not judged & learnt
        assert of.related in ("", *(source.name for source in zoo_tasks.sources()))
