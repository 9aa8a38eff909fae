"""From probabilities to answers: thresholds, costs, and what is wrong with a file of costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.types import CLASSIFICATION, ORDINAL
from headstart.heads.decision_rule import (
    apply_decision,
    best_threshold,
    choose_classes,
    find_positive_class,
    format_reasons,
    make_decision,
    read_costs,
)

P = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
NAMES = ("cat", "dog", "mouse")


def test_without_a_rule_the_most_probable_class_is_answered():
    assert choose_classes(P).tolist() == [0, 2, 1]


def test_a_threshold_prefers_the_positive_class_from_there_on():
    assert choose_classes(P, positive=1, threshold=0.3).tolist() == [1, 1, 1]
    assert choose_classes(P, positive=1, threshold=0.31).tolist() == [0, 2, 1]
    assert choose_classes(P, positive=1, threshold=0.9).tolist() == [0, 2, 0]


def test_costs_answer_what_is_cheapest_on_average():
    equal = 1 - np.eye(3)
    assert choose_classes(P, costs=equal).tolist() == choose_classes(P).tolist()
    equal[1] = [10, 0, 10]  # to miss a dog is dear
    assert choose_classes(P, costs=equal).tolist() == [1, 1, 1]


def test_of_grades_the_median_is_answered_unless_costs_or_a_threshold_say_otherwise(tmp_path):
    p = np.array([[0.4, 0.25, 0.35], [0.6, 0.0, 0.4], [0.1, 0.2, 0.7]])
    plain = make_decision(Job(data="x"), NAMES, None, ORDINAL)
    assert apply_decision(plain, NAMES, p).tolist() == [1, 0, 2]
    assert format_reasons(plain, "dog", "cat") == ("`dog` has the fewest ranks off on average",)
    assert make_decision(Job(data="x"), NAMES, None, CLASSIFICATION).costs is None
    assert make_decision(Job(data="x", positive="cat"), NAMES, 0.3, ORDINAL).costs is None
    table = tmp_path / "costs.csv"
    table.write_text("truth,cat,dog,mouse\ncat,0,9,9\ndog,1,0,1\nmouse,1,1,0\n")
    own = make_decision(Job(data="x", costs=str(table)), NAMES, None, ORDINAL)
    assert own.costs[0] == (0, 9, 9) and format_reasons(own, "cat", "dog") == ("`cat` has the lowest expected cost",)


@given(seed=st.integers(0, 9999), n=st.integers(2, 60))
@settings(max_examples=50, deadline=None)
def test_no_threshold_has_a_higher_f1(seed, n):
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(seed)
    truth, score = rng.random(n) < 0.4, rng.integers(0, 10, n) / 10
    truth[0] = True
    found = f1_score(truth, score >= best_threshold(truth, score))
    assert found == pytest.approx(max(f1_score(truth, score >= t) for t in score))


def test_a_threshold_without_positives_is_refused():
    with pytest.raises(DataError, match="positive class"):
        best_threshold(np.zeros(3, bool), np.arange(3.0))


def test_an_unknown_class_names_the_nearest():
    assert find_positive_class("dog", NAMES) == 1
    with pytest.raises(UsageError, match="no class is named `dgo`") as caught:
        find_positive_class("dgo", NAMES)
    assert caught.value.hint == "did you mean `dog`? classes: cat, dog, mouse"


def costs(tmp_path, text):
    path = tmp_path / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return read_costs(path, NAMES)


def test_costs_are_read_in_any_order(tmp_path):
    found = costs(tmp_path, "\ufefftruth, dog,cat,mouse\nmouse,1,2,0\ncat,3,0,4\n\ndog,0,5,6\n")
    assert found.tolist() == [[0, 3, 4], [5, 0, 6], [2, 1, 0]]


def test_all_problems_of_costs_are_told_at_once(tmp_path):
    with pytest.raises(DataError) as caught:
        costs(tmp_path, "truth,cat,dog,muose\ncat,0,x,1\ncat,0,1,1\ndog,1,0,nan\n")
    said = caught.value.what
    for part in (
        "column `muose` is no class; did you mean `mouse`",
        "row `cat` comes twice",
        "row `cat`, column `mouse`: missing",
        "row `mouse`, column `cat`: missing",
    ):
        assert part in said, part
    assert "truth,cat,dog,mouse" in caught.value.hint


@pytest.mark.parametrize("text", ["", "truth,cat\n"])
def test_an_empty_file_of_costs_says_so(tmp_path, text):
    with pytest.raises(DataError, match="no rows"):
        costs(tmp_path, text)


def test_a_number_that_is_none_is_told(tmp_path):
    with pytest.raises(DataError, match="row `cat`, column `dog`: `x` is not a number"):
        costs(tmp_path, "t,cat,dog,mouse\ncat,0,x,1\ndog,1,0,1\nmouse,1,1,0\n")
    with pytest.raises(DataError, match="there is no file of costs") as caught:
        read_costs(tmp_path / "none.csv", NAMES)
    assert "truth,cat,dog,mouse" in caught.value.hint
    with pytest.raises(DataError, match="cannot be read"):
        read_costs(tmp_path, NAMES)


@pytest.mark.parametrize(
    ("cell", "why"), [("-1", "is below zero"), ("inf", "is not finite"), ("nan", "is not a number")]
)
def test_costs_are_finite_and_not_below_zero(tmp_path, cell, why):
    with pytest.raises(DataError, match=f"row `dog`, column `mouse`: `{cell}` {why}"):
        costs(tmp_path, f"t,cat,dog,mouse\ncat,0,1,1\ndog,1,0,{cell}\nmouse,1,1,0\n")


def test_a_right_answer_never_costs_more_than_a_wrong_one(tmp_path):
    with pytest.raises(
        DataError, match="row `dog`, column `dog`: the right answer costs 2, more than the 1 of .*`cat`"
    ):
        costs(tmp_path, "t,cat,dog,mouse\ncat,0,1,1\ndog,1,2,3\nmouse,1,1,1\n")
