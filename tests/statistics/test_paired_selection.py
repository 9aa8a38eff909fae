"""The paired rule, case by case."""

import numpy as np
import pytest

from headstart.statistics.paired_selection import CandidateLosses, choose_candidate, paired_difference

N = 400
BASE = np.random.default_rng(0).normal(0.5, 0.2, N)
NOISE = np.random.default_rng(1).normal(0, 1, N)
NOISE = (NOISE - NOISE.mean()) / NOISE.std()


def one(name, loses, cost, noise=0.0):
    """A contender that loses so much to the base on average, with so much noise picture by picture."""
    return CandidateLosses(name=name, rows=np.arange(N), losses=BASE + loses + noise * NOISE, cost=cost)


@pytest.mark.parametrize(
    ("contenders", "prefer", "winner", "ties"),
    [
        # the best mean wins, whatever it costs, when the difference is real
        ([one("best", 0, 9), one("cheap", 0.02, 1, 0.01)], "accurate", "best", ()),
        # a tie (interval holds 0) within half a point: the cheaper one is taken
        ([one("best", 0, 9), one("cheap", 0.004, 1, 0.1)], "accurate", "cheap", ("best",)),
        # a tie that loses more than half a point: the best is kept, and the tie is called a tie
        ([one("best", 0, 9), one("cheap", 0.01, 1, 0.2)], "accurate", "best", ("cheap",)),
        # ... and taken when speed is preferred
        ([one("best", 0, 9), one("cheap", 0.01, 1, 0.2)], "fast", "cheap", ("best",)),
        # less than half a point, but surely so: not a tie, not taken even when speed is preferred
        ([one("best", 0, 9), one("cheap", 0.004, 1, 0.001)], "fast", "best", ()),
        # more than two points is too much even for speed, tie or not
        ([one("best", 0, 9), one("cheap", 0.03, 1, 0.5)], "fast", "best", ("cheap",)),
        # the cheapest of several ties
        (
            [one("best", 0, 9), one("mid", 0.001, 5, 0.1), one("cheap", 0.004, 1, 0.1)],
            "accurate",
            "cheap",
            ("best", "mid"),
        ),
        # a tie that costs as much or more never replaces the best
        (
            [one("best", 0, 1), one("same", 0.001, 1, 0.1), one("dear", 0.001, 9, 0.1)],
            "accurate",
            "best",
            ("dear", "same"),
        ),
        # equal losses: the cheaper one is the best
        ([one("dear", 0, 9), one("cheap", 0, 1)], "accurate", "cheap", ("dear",)),
        ([one("only", 0, 1)], "accurate", "only", ()),
    ],
)
def test_the_rule(contenders, prefer, winner, ties):
    found = choose_candidate(contenders, prefer=prefer)
    assert found.winner == winner
    assert sorted(found.ties) == sorted(ties)
    assert choose_candidate(contenders[::-1], prefer=prefer).winner == winner
    assert f"`{winner}`" in found.why
    assert "400 pictures" in found.why


def test_why_has_the_numbers():
    found = choose_candidate([one("best", 0, 9), one("cheap", 0.004, 1, 0.1)], metric="log_loss")
    assert found.best == "best"
    assert "costs 89% less" in found.why
    assert "loses 0.004 [-0.006, 0.014] in log loss, a tie" in found.why
    assert found.paired["best"] == (0, 0, 0)


def test_pairing_finds_what_unpaired_intervals_cannot():
    better, worse = one("a", 0, 1), one("b", 0.01, 1, 0.02)
    found = paired_difference(worse, better)
    assert found.low > 0
    assert found.value == pytest.approx(0.01)
    assert found.value < 1.96 * BASE.std() / np.sqrt(N)


def test_order_of_rows_does_not_matter_and_only_shared_pictures_count():
    a = one("a", 0, 1)
    shuffled = np.random.default_rng(2).permutation(N)[:300]
    b = CandidateLosses(name="b", rows=shuffled, losses=BASE[shuffled] + 0.25, cost=1)
    assert paired_difference(b, a) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(ValueError, match="measured on different pictures"):
        choose_candidate([a, b])
    with pytest.raises(ValueError, match="not measured on the same"):
        paired_difference(a, CandidateLosses(name="c", rows=np.arange(N, N + 5), losses=np.zeros(5), cost=1))


def test_clusters_widen_the_paired_interval():
    clusters = np.arange(N) // 20
    noise = np.repeat(np.random.default_rng(3).normal(0, 1, N // 20), 20)
    a, b = one("a", 0, 1), CandidateLosses(name="b", rows=np.arange(N), losses=BASE + 0.1 * noise, cost=1)
    blind, aware = paired_difference(b, a), paired_difference(b, a, clusters)
    assert aware.high - aware.low > 3 * (blind.high - blind.low)


def test_no_contender_or_two_of_one_name_is_an_error():
    with pytest.raises(ValueError, match="names of their own"):
        choose_candidate([])
    with pytest.raises(ValueError, match="names of their own"):
        choose_candidate([one("a", 0, 1), one("a", 0, 1)])
