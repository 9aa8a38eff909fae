"""Pairs of domains with known truth: what a draw of the benchmark holds, and how its figures are put together."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.domain_pairs import PairFiles, draw_rows, list_pairs
from benchmarks.domains import average_pairs

from headstart.statistics.intervals import Interval


def test_pairs_that_tune_and_pairs_that_confirm_have_names_of_their_own():
    pairs = list_pairs()
    assert len({pair.name for pair in pairs}) == len(pairs)
    assert {pair.tunes for pair in pairs} == {True, False}
    assert {pair.shows for pair in pairs} == {"textile", "scenes", "objects", "digits", "materials"}


def test_a_draw_has_no_subject_in_both_domains_and_balances_the_source():
    rng = np.random.default_rng(0)
    subjects = np.array([f"thing {number % 60}" for number in range(240)])
    labels = np.array([number % 60 % 3 for number in range(240)])
    files = PairFiles(table=Path("labels.csv"), is_target=rng.random(240) < 0.5, subjects=subjects)
    source, target = draw_rows(files, labels, seed=1, most=(24, 30))
    assert not files.is_target[source].any()
    assert files.is_target[target].all()
    assert not set(subjects[source]) & set(subjects[target])
    assert np.bincount(labels[source]).tolist() == [8, 8, 8]
    assert len(target) == 30


def test_the_mean_over_pairs_has_the_error_of_independent_pairs():
    mean = average_pairs([Interval(0.1, 0.0, 0.2), Interval(0.3, 0.2, 0.4)])
    assert mean == pytest.approx((0.2, 0.2 - 0.1 / np.sqrt(2), 0.2 + 0.1 / np.sqrt(2)))
