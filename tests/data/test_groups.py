"""What belongs together stays together: groups, near-duplicates and the newest pictures, in every draw."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import audit_sets
from headstart.core.errors import DataError
from headstart.core.registry import load_plugin
from headstart.core.types import AuditInput
from headstart.data.audit import audit_dataset
from headstart.data.groups import find_groups, find_learnable, join_clusters
from headstart.data.splits import draw_splits, estimate_training_count
from headstart.selection.ranking import screening

relaxed = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAY = 86_400.0


def grouped(targets, groups, split=(), digests=(), **columns):
    data = audit_sets.from_targets(targets, split=split, digests=digests)
    return dataclasses.replace(data, groups=tuple(str(name) for name in groups), **columns)


@st.composite
def grouped_sets(draw):
    """Classes of 4 to 60 pictures in groups of one or several classes, some exact copies, with times or without."""
    sizes = draw(st.lists(st.integers(4, 60), min_size=2, max_size=4))
    targets, rng = np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng(draw(st.integers(0, 2**16)))
    number = rng.integers(0, draw(st.integers(4, 40)), len(targets))
    mixed = rng.random(len(targets)) < draw(st.sampled_from([0, 0.5, 1]))  # groups of several classes
    names = [f"p{n}" if many else f"p{n}-{t}" for n, t, many in zip(number, targets, mixed, strict=True)]
    names = np.where(rng.random(len(targets)) < 0.2, "", names)
    digests = [f"{row:064x}" for row in range(len(targets))]
    for copy, original in rng.integers(0, len(targets), (draw(st.integers(0, 6)), 2)):
        digests[copy] = digests[original]
    times = rng.integers(0, draw(st.sampled_from([3, 50, 10_000])), len(targets)) * DAY
    times[rng.random(len(targets)) < 0.1] = np.nan
    columns = {"times": times} if draw(st.booleans()) else {}
    return grouped(targets, names, digests=digests, **columns)


def is_whole(parts, labels, rows):
    """Whether no label lies in two parts; `rows` are those that count."""
    pairs = {(label, part) for label, part in zip(labels[rows].tolist(), parts[rows].tolist(), strict=True)}
    return len(pairs) == len({label for label, _ in pairs})


@relaxed
@given(grouped_sets(), st.integers(0, 3), st.sampled_from([0.0, 0.2, 0.4]), st.integers(2, 6))
def test_no_group_and_no_copy_straddles_any_draw(context, data, seed, test_size, folds):
    ctx = context(seed=seed, test_size=test_size, folds=folds)
    n, groups = len(data.uris), find_groups(data)
    try:
        clusters = audit_dataset(data, ctx=ctx).clusters
        rows = screening.draw_rows(data, n // 3, seed, find_learnable(data, test_size), groups)
        problem = screening.make_screening_problem(data, rows, ctx)
        splits = draw_splits(data, clusters, ctx=ctx, screened=rows)
    except DataError:  # a class of one group: another test
        assume(False)
    copies = np.unique(data.digests, return_inverse=True)[1]
    side = np.zeros(n, int)
    side[splits.test] = 1
    assert not np.isin(clusters[splits.test], clusters[rows]).any()
    judged = np.full(n, -1)
    judged[problem.rows] = problem.folds[0]
    for labels in (groups, copies, splits.clusters):
        assert is_whole(side, labels, np.arange(n))
        assert all(is_whole(fold, labels, splits.train) for fold in splits.folds)
    assert is_whole(judged, groups, problem.rows)
    for fold in splits.folds:
        assert set(fold[splits.train]) == set(range(fold.max() + 1))
        for k in range(fold.max() + 1):
            assert set(data.targets[splits.train[fold[splits.train] != k]]) == set(data.targets)


def test_near_duplicates_tie_their_groups_together(context):
    targets = np.arange(120) % 2
    data = grouped(targets, np.arange(120) // 6)
    phash = np.array(data.facts.phash)
    phash[6] = phash[0]  # a picture of group 1 looks like one of group 0
    data = dataclasses.replace(data, facts=dataclasses.replace(data.facts, phash=phash))
    ctx = context()
    clusters = audit_dataset(data, ctx=ctx).clusters
    assert set(clusters[:12]) == {0} and len(np.unique(clusters)) == 19
    assert (
        "20 groups kept whole, 1 of them joined to another by near-duplicates"
        in draw_splits(data, clusters, ctx=ctx).why
    )
    assert join_clusters(np.array([0, 0, 2, 3]), np.array([0, 1, 1, 3])).tolist() == [0, 0, 0, 3]


def test_fewer_groups_than_folds_are_fewer_folds_and_it_is_said(context):
    targets = np.repeat([0, 1], 60)
    data = grouped(targets, np.concatenate([np.arange(60) // 20, 10 + np.arange(60) // 6]))
    splits = draw_splits(data, find_groups(data), ctx=context(test_size=0))
    assert splits.folds.max() == 2 and "(5 folds asked for, class `class0` has 3 groups)" in splits.why
    # Two patients of all classes and many of one: no four folds can all be filled and know every class.
    data = grouped(targets, np.where(np.arange(120) % 60 < 55, np.arange(120) % 2, np.arange(120)))
    splits = draw_splits(data, find_groups(data), ctx=context(test_size=0, name="b"))
    assert all(len(set(fold)) == fold.max() + 1 for fold in splits.folds)


def test_a_class_of_one_group_is_named_with_what_follows(context):
    data = grouped(np.repeat([0, 1, 2], 20), ["river"] * 20 + [f"p{n}" for n in range(40)])
    with pytest.raises(
        DataError, match=r"D105 all 20 pictures of class `class0` to learn from are of one group"
    ) as err:
        audit_dataset(data, ctx=context())
    assert "`river`" in str(err.value) and "its scores say nothing of other groups" in err.value.hint


def test_a_group_on_both_sides_of_given_splits_is_named_and_left_where_it_is(context):
    split = ["train"] * 40 + ["test"] * 20
    data = grouped(np.arange(60) % 2, [f"p{row // 2}" for row in range(39)] + ["ann"] * 3 + [""] * 18, split=split)
    ctx = context()
    audit = audit_dataset(data, ctx=ctx)
    outcome = next(each for each in audit.outcomes if each.code == "D105")
    assert outcome.status == "issue" and "`ann`, with 1 in `train`, 2 in `test`" in outcome.why
    assert "move each group to one side" in outcome.findings[0].fix
    splits = draw_splits(data, audit.clusters, ctx=ctx)
    assert splits.test.tolist() == list(range(40, 60)) and splits.straddling.tolist() == [[39, 40], [39, 41]]


def test_the_newest_pictures_are_the_test_in_whole_groups_and_ties(context):
    targets, start = np.arange(200) % 2, 1_700_000_000 - 1_700_000_000 % DAY
    times = start + np.arange(200) // 10 * DAY  # ten pictures a day
    data = grouped(targets, ["old and new" if row in (3, 199) else "" for row in range(200)], times=times)
    splits = draw_splits(data, find_groups(data), ctx=context())
    assert splits.test.tolist() == [3, *range(160, 200)]
    assert times[splits.train].max() < times[160]
    assert "the newest 41 of 200 pictures, of 2023-11-14 to 2023-12-03, for the test" in splits.why
    assert find_learnable(data, 0.2).tolist() == splits.train.tolist()
    assert estimate_training_count(data, context(name="b").job) == len(splits.train)
    times[:7] = np.nan
    splits = draw_splits(data, find_groups(data), ctx=context(name="untimed"))
    assert splits.test.tolist() == [3, *range(160, 200)] and "7 without a time count as old" in splits.why
    same = dataclasses.replace(data, times=np.zeros(200))
    assert (
        "no test split: all pictures are of the same time"
        in draw_splits(same, np.arange(200), ctx=context(name="c")).why
    )
    split = ("train",) * 100 + ("test",) * 100
    splits = draw_splits(dataclasses.replace(data, split=split), np.arange(200), ctx=context(name="d"))
    assert splits.test.tolist() == list(range(100, 200)) and "as given (times are not used)" in splits.why


def test_screening_touches_few_groups_and_leaves_a_test_of_others(context):
    targets, patients = np.arange(1_000) % 4, np.arange(1_000) // 25
    data = grouped(targets, patients)
    ctx = context()
    (*_, most) = screening.draw_rounds(data, ctx=ctx).values()
    assert len(most) >= 200 and len(np.unique(patients[most])) <= len(most) / 25 + 6
    splits = draw_splits(data, find_groups(data), ctx=ctx, screened=most)
    assert 150 <= len(splits.test) <= 250 and not set(patients[splits.test]) & set(patients[most])


def test_numbers_have_no_class_that_a_group_could_hold_whole():
    classes = grouped(np.repeat([0, 1], 10), ["river"] * 10 + [f"p{n}" for n in range(10)])
    numbers = dataclasses.replace(classes, task="regression", targets=np.repeat([0.0, 1.0], 10))
    check = load_plugin("data_checks", "d105_groups")
    assert [check(AuditInput(data=data, folds=5)).status for data in (classes, numbers)] == ["issue", "passed"]
