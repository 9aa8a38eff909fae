"""What is learnt from labels, told and overridable; numbers that cannot be learnt from are refused with examples."""

import dataclasses

import numpy as np
import pytest

from headstart.core.errors import DataError, NoOpError
from headstart.data.reading.records import Labelling, Record
from headstart.data.reading.targets import describe_targets, make_targets
from headstart.data.strata import find_strata
from judged_sets import dataset


def labelling(*labels, task="regression"):
    return Labelling(records=[Record(f"{number}.png", (label,)) for number, label in enumerate(labels)], task=task)


def test_numbers_are_targets_and_classes_have_no_say():
    with pytest.raises(DataError, match="3 pictures have a number, and at least 10"):
        make_targets(labelling("0.5", "2", "-1e3"))
    targets, names = make_targets(labelling("0.5", "2", "-1e3", *"3456789"))
    assert targets.tolist()[:3] == [0.5, 2.0, -1000.0] and targets.dtype == np.float64 and names == ()
    targets, names = make_targets(labelling("2", "0.5", "2", task="classification"))
    assert targets.tolist() == [1, 0, 1] and names == ("0.5", "2")


def test_labels_that_are_no_numbers_are_all_counted():
    with pytest.raises(DataError, match="2 of 4 labels are no numbers: `red`, `inf`") as refused:
        make_targets(labelling("1", "red", "inf", "2"))
    assert "--task classification" in refused.value.hint


def test_one_value_is_nothing_to_learn_and_two_are_told():
    with pytest.raises(NoOpError, match="the number 7"):
        make_targets(labelling("7", "7.0"))
    [told] = describe_targets(np.array([0.0, 1.0, 1.0]), "regression", ("grade",))
    assert "`grade` has two values alone, 0 and 1: --task classification" in told
    assert not describe_targets(np.array([0.0, 1.0, 2.0]), "regression", ("grade",))


def test_ranges_of_numbers_hold_as_many_pictures_each():
    data = dataset(300)
    numbers = np.random.default_rng(0).lognormal(size=300)
    strata = find_strata(dataclasses.replace(data, task="regression", targets=numbers, class_names=()))
    assert np.bincount(strata.labels).tolist() == [60] * 5 and strata.word == "range"
    assert (np.diff([numbers[strata.labels == c].mean() for c in range(5)]) > 0).all()
    same = find_strata(dataclasses.replace(data, task="regression", targets=np.repeat([1.0, 2.0], 150), class_names=()))
    assert np.bincount(same.labels).tolist() == [150, 150]


def several(*labels):
    return Labelling(records=[Record(f"{n}.png", each) for n, each in enumerate(labels)], task="multilabel")


def test_labels_become_columns_and_a_picture_may_have_none():
    targets, names = make_targets(several(("b", "a"), ("",), ("c",), *[("a",)] * 7))
    assert names == ("a", "b", "c") and targets.dtype == bool
    assert targets[:3].tolist() == [[True, True, False], [False] * 3, [False, False, True]]
    with pytest.raises(NoOpError, match=r"all 12 pictures have the same labels, a\|b"):
        make_targets(several(*[("a", "b")] * 12))
    with pytest.raises(DataError, match="2 pictures have labels, and at least 10"):
        make_targets(several(("a",), ("b",)))


def test_the_rarest_label_of_a_picture_is_its_stratum_unless_it_is_too_rare():
    targets = np.zeros((100, 3), bool)
    targets[:90, 0], targets[:20, 1], targets[18:21, 2] = True, True, True  # label 2 stands for three pictures at most
    data = dataclasses.replace(
        dataset(100), task="multilabel", targets=targets, class_names=("often", "seldom", "rare")
    )
    strata = find_strata(data)
    assert strata.word == "label" and strata.names == ("often", "seldom", "rare", "(none)")
    assert [strata.labels[row] for row in (0, 19, 20, 50, 95)] == [1, 1, 0, 0, 3]
    assert strata.count_rows(np.arange(20)).tolist() == [20, 20, 2, 0]


def test_grades_are_in_the_order_of_their_numbers_or_as_told():
    targets, names = make_targets(labelling("10", "2", "1.5", "2", task="ordinal"))
    assert names == ("1.5", "2", "10") and targets.tolist() == [2, 1, 0, 1]
    grades = labelling("high", "low", "medium", task="ordinal")
    with pytest.raises(DataError, match="order of the grades is not known: `high`") as refused:
        make_targets(grades)
    assert "--order high,low,medium" in refused.value.hint
    grades.order = ("none", "low", "medium", "high")  # none has no picture, and is a rank all the same
    targets, names = make_targets(grades)
    assert names == grades.order and targets.tolist() == [3, 1, 2]


def test_an_order_that_leaves_out_a_grade_names_the_nearest():
    grades = labelling("high", "low", "medium", task="ordinal")
    grades.order = ("low", "medum", "high")
    with pytest.raises(DataError, match="the order leaves out `medium`") as refused:
        make_targets(grades)
    assert refused.value.where == "--order" and "`medum`" in refused.value.hint


def test_consecutive_numbers_as_classes_are_offered_as_grades():
    targets = np.array([0, 1, 2])
    [told] = describe_targets(targets, "classification", ("0", "1", "2"))
    assert "--task ordinal" in told
    for names in (("0", "1"), ("1", "2", "4"), ("a", "b", "c"), ("0", "1", "2", "x")):
        assert not describe_targets(targets, "classification", names)
    assert describe_targets(targets, "ordinal", ("low", "high")) == ["grades from the lowest to the highest: low, high"]
