import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import audit_sets
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Splits
from headstart.data.duplicates.clusters import find_clusters as components
from headstart.data.splits import draw_splits, estimate_training_count, find_straddling
from headstart.data.stratified_group_split import deal_clusters


@st.composite
def labelled_clusters(draw_):
    """Classes of 2 to 90 pictures, some tied to the next few rows of their own or (seldom) another class."""
    sizes = draw_(st.lists(st.integers(2, 90), min_size=2, max_size=5))
    targets = np.repeat(np.arange(len(sizes)), sizes)
    seed, tied, mixed = draw_(st.integers(0, 2**16)), draw_(st.integers(0, 25)), draw_(st.integers(0, 2))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(targets), tied)
    links = [(a, a + step) for a in starts for step in range(1, rng.integers(2, 5)) if a + step < len(targets)]
    links = [(a, b) for a, b in links if targets[a] == targets[b]]
    links += [tuple(rng.integers(0, len(targets), 2)) for _ in range(mixed)]
    return targets, components(len(targets), np.array(links, np.int64).reshape(-1, 2))


def independent(targets, clusters):
    return min(len(np.unique(clusters[targets == c])) for c in np.unique(targets))


relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(labelled_clusters(), st.integers(0, 3), st.sampled_from([0.0, 0.2, 0.5]), st.integers(2, 8))
def test_laws_of_every_draw(context, made, seed, test_size, folds):
    targets, clusters = made
    assume(independent(targets, clusters) >= 3)
    data = audit_sets.from_targets(targets)
    splits = draw_splits(data, clusters, ctx=context(seed=seed, test_size=test_size, folds=folds))
    n = len(targets)
    assert sorted([*splits.train, *splits.test, *splits.val]) == list(range(n))
    assert len(splits.straddling) == 0
    for repeat in splits.folds:
        assert (repeat[splits.train] >= 0).all() and (repeat[splits.test] == -1).all()
        for cluster in np.unique(clusters):
            assert len(np.unique(repeat[clusters == cluster])) == 1
        for fold in range(repeat.max() + 1):
            learnt = splits.train[repeat[splits.train] != fold]
            assert set(targets[learnt]) == set(targets)
    if len(splits.test):
        tested = np.bincount(targets[splits.test], minlength=targets.max() + 1)
        enough = np.isin(targets, np.flatnonzero(tested >= 10))
        assert 2 * enough.sum() >= n
        named = [c for c in np.unique(targets) if f"`class{c}` ({tested[c]})" in splits.why]
        assert named == np.flatnonzero(tested < 10).tolist()


@relaxed
@given(labelled_clusters(), st.integers(2, 8), st.integers(0, 99))
def test_deal_keeps_classes_within_their_largest_cluster_of_their_share(made, folds, seed):
    targets, clusters = made
    assume(all(len(np.unique(targets[clusters == c])) == 1 for c in np.unique(clusters)))
    parts = deal_clusters(targets, clusters, (1 / folds,) * folds, np.random.default_rng(seed))
    for label in np.unique(targets):
        counts = np.bincount(parts[targets == label], minlength=folds)
        largest = np.unique(clusters[targets == label], return_counts=True)[1].max()
        assert abs(counts - (targets == label).sum() / folds).max() <= largest


def test_without_clusters_every_class_has_its_share_to_the_picture(context):
    targets = np.repeat([0, 1, 2], [100, 250, 613])
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(963), ctx=context())
    assert np.bincount(targets[splits.test]).tolist() == [20, 50, 123]
    assert splits.folds.shape == (1, 963)
    for repeat in splits.folds:
        table = [np.bincount(targets[splits.train][repeat[splits.train] == fold]).tolist() for fold in range(5)]
        assert np.ptp(table, axis=0).max() <= 1
        assert np.ptp(np.sum(table, axis=1)) <= 1
    assert "193 of 963 pictures for the test, at least 20 of each class" in splits.why


def test_same_seed_same_draw_and_other_seed_other_draw(context):
    targets = np.repeat([0, 1], 80)
    clusters = np.arange(160) // 2 * 2
    one, two, other = (
        draw_splits(audit_sets.from_targets(targets), clusters, ctx=context(seed=seed, name=name))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert np.array_equal(one.test, two.test) and np.array_equal(one.folds, two.folds)
    assert not np.array_equal(one.test, other.test)
    assert not np.array_equal(one.folds[0], one.folds[1])


def test_clusters_take_their_fair_part_of_the_test(context):
    targets = np.repeat([0, 1], 300)
    clusters = np.where(np.arange(600) % 300 < 200, np.arange(600) // 4 * 4, np.arange(600))
    splits = draw_splits(audit_sets.from_targets(targets), clusters, ctx=context())
    grouped = np.mean(np.arange(600)[splits.test] % 300 < 200)
    assert len(splits.test) == 120 and 0.5 < grouped < 0.8


@pytest.mark.parametrize(("n", "repeats"), [(150, 10), (600, 3), (1_400, 1)])
def test_small_sets_are_repeated(context, n, repeats):
    targets = np.arange(n) % 2
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(n), ctx=context())
    assert len(splits.test) and splits.folds.shape[0] == repeats
    asked = draw_splits(audit_sets.from_targets(targets), np.arange(n), ctx=context(repeats=7, name="asked"))
    assert asked.folds.shape[0] == 7 and "cross-validation 7 times" in asked.why


def test_no_test_split_names_the_class_that_is_too_small_and_repeats(context):
    targets = np.repeat([0, 1, 2], [150, 40, 190])
    made = context(test_size=0.06)
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(380), ctx=made)
    assert np.bincount(targets[splits.test]).tolist() == [9, 2, 11]
    targets = np.repeat([0, 1, 2], [150, 40, 180])
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(370), ctx=context(test_size=0.06, name="b"))
    assert len(splits.test) == 0 and len(splits.train) == 370 and splits.folds.shape[0] == 3
    assert "6% would leave class `class1` 2 of the 10 pictures it needs" in splits.why


def test_one_small_class_does_not_cost_the_others_their_test(context):
    """Of 316 pictures 16 (4) are of a class that is tested with what it has, or not at all."""
    targets = np.repeat([0, 1, 2], [150, 150, 16])
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(316), ctx=context())
    assert np.bincount(targets[splits.test]).tolist() == [30, 30, 3]
    assert "63 of 316 pictures for the test, at least 30 of each other class" in splits.why
    assert "few or none of `class2` (3): what is said of them is vague" in splits.why
    assert estimate_training_count(audit_sets.from_targets(targets), context(name="b").job) == len(splits.train)
    targets = np.repeat([0, 1, 2], [150, 150, 4])
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(304), ctx=context(name="c"))
    assert np.bincount(targets[splits.test], minlength=3).tolist() == [30, 30, 0]
    assert "`class2` (0)" in splits.why and splits.folds.max() == 3


def test_one_big_cluster_is_not_put_into_the_test(context):
    targets = np.repeat([0, 1], 60)
    clusters = np.concatenate([np.zeros(30, int), np.full(30, 30), np.arange(60, 120)])
    splits = draw_splits(audit_sets.from_targets(targets), clusters, ctx=context())
    assert len(splits.test) == 0 and "class `class0` 0 of the 10" in splits.why
    assert splits.folds.max() == 1 and "class `class0` has 2 unlike pictures" in splits.why


def test_the_test_never_takes_a_class_s_last_unlike_pictures(context):
    targets = np.repeat([0, 1], 40)
    clusters = np.concatenate([np.zeros(20, int), np.arange(20, 80)])
    whys = set()
    for seed in range(12):
        made = context(seed=seed, name=f"run{seed}", test_size=0.5)
        splits = draw_splits(audit_sets.from_targets(targets), clusters, ctx=made)
        whys.add(splits.why.partition(":")[0])
        assert set(splits.folds[0, splits.train]) != {-1}
    assert "no test split" in whys and len(whys) == 2


def test_screened_pictures_and_their_look_alikes_stay_out_of_the_test(context):
    targets = np.arange(1_000) % 2
    clusters = np.arange(1_000)
    clusters[900:] = np.arange(100)
    screened = np.arange(0, 256)
    splits = draw_splits(audit_sets.from_targets(targets), clusters, ctx=context(), screened=screened)
    assert len(splits.test) == 200
    assert not set(splits.test) & (set(range(256)) | set(range(900, 1_000)))


def test_given_splits_are_kept_and_what_straddles_is_told(context):
    targets = np.tile([0, 1], 30)
    split = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    clusters = np.arange(60)
    clusters[45] = clusters[55] = 3
    clusters[57] = 49
    splits = draw_splits(audit_sets.from_targets(targets, split=split), clusters, ctx=context())
    assert splits.given
    assert (splits.train.tolist(), splits.val.tolist(), splits.test.tolist()) == (
        list(range(40)),
        list(range(40, 50)),
        list(range(50, 60)),
    )
    assert (splits.folds[:, 40:] == -1).all() and (splits.folds[:, :40] >= 0).all()
    assert splits.straddling.tolist() == [[3, 45], [3, 55], [45, 55], [49, 57]]
    assert "splits as given: train 40, val 10, test 10" in splits.why


def test_given_train_and_val_leave_the_test_empty(context):
    split = ["train"] * 40 + ["val"] * 20
    splits = draw_splits(audit_sets.from_targets(np.tile([0, 1], 30), split=split), np.arange(60), ctx=context())
    assert len(splits.val) == 20 and len(splits.test) == 0 and len(splits.train) == 40


def test_straddling_is_linear_in_the_rows():
    side = np.array([0] * 3_000 + [2] * 3_000)
    assert find_straddling(side, np.zeros(6_000, np.int64)).shape == (3_000, 2)


def test_a_class_of_look_alikes_is_still_split(context):
    targets = np.repeat([0, 1], 60)
    clusters = np.concatenate([np.zeros(60, int), np.arange(60, 120)])
    splits = draw_splits(audit_sets.from_targets(targets), clusters, ctx=context())
    assert len(splits.test) == 24 and "all pictures of `class0` look alike" in splits.why
    assert np.array_equal(splits.clusters, np.arange(120))


def test_a_class_of_copies_of_one_picture_is_an_error(context):
    targets = np.repeat([0, 1], 20)
    digests = ["a" * 64] * 20 + [f"{row:064d}" for row in range(20)]
    clusters = np.concatenate([np.zeros(20, int), np.arange(20, 40)])
    with pytest.raises(DataError, match="`class0` are copies of one"):
        draw_splits(audit_sets.from_targets(targets, digests=digests), clusters, ctx=context())


def test_classes_without_pictures_do_not_count(context):
    targets = np.repeat([0, 2], 60)
    splits = draw_splits(audit_sets.from_targets(targets), np.arange(120), ctx=context())
    assert np.bincount(targets[splits.test]).tolist() == [12, 0, 12]


def test_splits_lie_in_the_run_folder(context):
    ctx = context()
    splits = draw_splits(audit_sets.from_targets(np.arange(100) % 2), np.arange(100), ctx=ctx)
    found = serialization.load_value(Splits, ctx.make_step_folder("splits"))
    assert found.why == splits.why and np.array_equal(found.folds, splits.folds)
