"""Adapt takes what pays, drops what does not, never sees the test split, and says how few is too few."""

import dataclasses
import io
import re

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import NoOpError
from headstart.core.storage import serialization
from headstart.core.types import FitResult
from headstart.features import feature_matrix
from headstart.features.embeddings import join_columns, take_vectors
from headstart.heads import cross_validation, prediction
from headstart.selection.probe import candidate_heads
from headstart.selection.probe.nested_validation import validate_nested
from headstart.selection.probe.train_probe import train_probe
from headstart.selection.ranking.rank_backbones import rank_backbones as rank
from headstart.statistics.losses import log_losses
from judged_sets import dataset, embeddings, splits


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture(scope="module")
def backbones(data):
    """One whose depths know different things, and a weaker one."""
    strong = embeddings(data, "made:strong", {"inner": 2.0, "last": 1.5}, flops=2 * 10**9)
    weak = embeddings(data, "made:weak", {"inner": 0.2, "last": 0.0}, flops=10**9, prior=0.2)
    return weak, strong


def adapt(data, split, backbones, ctx):
    ranking = rank(data, split, backbones, ctx=ctx)
    return train_probe(data, split, ranking, backbones, ctx=ctx)


@pytest.fixture(scope="module")
def split(data):
    return splits(data)


@pytest.fixture
def adapted(data, split, backbones, context):
    return adapt(data, split, backbones, context())


def test_depths_that_know_different_things_are_put_side_by_side(adapted, data, split, backbones):
    assert feature_matrix.list_feature_names(adapted.features) == ("made:strong@inner", "made:strong@last")
    assert "best log loss" in adapted.why
    assert adapted.tried[0].status == "chosen"
    alone = next(row for row in adapted.tried if row.head == "logistic" and len(row.features) == 1)
    assert alone.paired.low > 0
    assert {row.head for row in adapted.tried if len(row.features) == 1} == set(candidate_heads.HEADS["many"])


def test_pictures_of_little_weight_are_hardly_learnt_from_and_count_in_the_scores_all_the_same(data, split, context):
    only = embeddings(data, "made:one", {"inner": 3.0}, dim=20)
    wrong = np.arange(len(data.uris)) % 3 == 0
    mislabelled = dataclasses.replace(data, targets=np.where(wrong, (data.targets + 1) % 3, data.targets))
    weighted = dataclasses.replace(mislabelled, weights=np.where(wrong, 0.05, 1.0))
    plain = adapt(mislabelled, split, (only,), context())
    result = adapt(weighted, split, (only,), context(name="weighted"))
    is_train, y = wrong[split.train], data.targets[split.train]
    right, plain_right = ((each.train_probabilities.argmax(axis=1) == y)[is_train] for each in (result, plain))
    assert right.mean() > 0.9 > 0.8 > plain_right.mean()
    assert {row.head for row in result.tried if len(row.features) == 1} == {*candidate_heads.HEADS["many"]} - {"knn"}
    score = next(s for s in result.tried[0].scores if s.name == "accuracy")
    assert score.value < 0.75 and score.n == len(split.train)  # mislabelled pictures are counted in full


def test_a_depth_without_signal_is_not_added(data, split, context):
    only = embeddings(data, "made:one", {"inner": 3.0, "last": 0.0}, dim=40)
    found = adapt(data, split, (only,), context())
    assert feature_matrix.list_feature_names(found.features) == ("made:one@inner",)


def test_held_out_and_training_probabilities_are_those_of_the_arrays(adapted, data, split, backbones):
    strong = backbones[1]
    assert np.array_equal(adapted.cv_rows, split.train)
    assert adapted.cv_probabilities.shape == (len(split.train), 3)
    x = np.concatenate([take_vectors(strong, f.depth, split.train) for f in adapted.features], axis=1)
    folds, head = split.folds[:1, split.train], registry.load_plugin("heads", adapted.fitted.head)
    one_model = {"n_classes": 3, "grid": [adapted.fitted.params]}  # a mean over the repeats would be another model
    held_out = cross_validation.predict_held_out(head, x, data.targets[split.train], folds, **one_model)[0, 0]
    assert np.allclose(held_out, adapted.cv_probabilities, atol=1e-6)
    said = prediction.predict_probabilities(adapted.fitted.kind, adapted.fitted.arrays, x)
    assert np.allclose(said, adapted.train_probabilities, atol=1e-6)
    y = data.targets[split.train]
    held, train = log_losses(y, adapted.cv_probabilities).mean(), log_losses(y, adapted.train_probabilities).mean()
    assert train < held < np.log(3) / 2
    shown = next(s for s in adapted.tried[0].scores if s.name == "log_loss")
    assert shown.n == len(split.train)
    assert shown.low < shown.value < shown.high


def test_the_curve_rises_and_ends_at_the_cross_validation(adapted):
    sizes = [point.n_train for point in adapted.curve]
    assert sizes == sorted(sizes)
    assert len(sizes) >= 4
    assert adapted.curve[-1].score.value > adapted.curve[0].score.value + 0.1
    last = next(s for s in adapted.tried[0].scores if s.name == "balanced_accuracy")
    assert adapted.curve[-1].score.value == pytest.approx(last.value)


def test_labels_and_features_of_the_test_split_change_nothing(adapted, data, split, backbones, context):
    targets = data.targets.copy()
    targets[split.test] = (targets[split.test] + 1) % 3
    spoilt = []
    for each in backbones:
        vectors = {name: v.copy() for name, v in each.vectors.items()}
        for v in vectors.values():
            v[split.test] = 1e6
        spoilt.append(dataclasses.replace(each, vectors=vectors))
    other = adapt(dataclasses.replace(data, targets=targets), split, tuple(spoilt), context(name="other"))
    assert np.array_equal(other.cv_probabilities, adapted.cv_probabilities)
    assert all(np.array_equal(other.fitted.arrays[k], v) for k, v in adapted.fitted.arrays.items())


def test_what_is_saved_is_equal_byte_for_byte_and_loads(data, split, backbones, context):
    kept = []
    for name in ("a", "b"):
        ctx = context(name=name)
        adapt(data, split, backbones, ctx)
        folder = ctx.make_step_folder("adapt")
        kept.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert kept[0] == kept[1]
    loaded = serialization.load_value(FitResult, folder)
    assert {row.seconds for row in loaded.tried} == {0.0}
    assert loaded.fitted.arrays.keys() == {"weights", "bias"}


def test_a_recorded_choice_is_kept(data, split, backbones, context):
    ctx = context()
    ctx.record_decision("adapt/chosen", lambda: "nearest_mean on made:strong@inner")
    found = adapt(data, split, backbones, ctx)
    assert found.fitted.head == "nearest_mean"
    assert len(found.features) == 1
    assert np.isfinite(found.cv_probabilities).all()


def test_without_time_no_combination_is_tried_and_it_is_said(data, split, backbones, context):
    ctx = dataclasses.replace(context(budget="1s"), console=Console(err=io.StringIO()))
    ctx.started -= 100
    found = adapt(data, split, backbones, ctx)
    assert {len(row.features) for row in found.tried if row.head != "ensemble"} == {1}
    assert "left out for lack of time" in ctx.console.err.getvalue()
    decisions = (ctx.run.path / "decisions.jsonl").read_text()
    assert '"adapt/combination/0", "value": false' in decisions
    assert '"adapt/levels", "value": false' in decisions


def validated(adapted, data, split, backbones, ctx):
    ranking = rank(data, split, backbones, ctx=ctx)
    return validate_nested(adapted, data, split, ranking, backbones, ctx=ctx)


def test_nested_validation_has_only_what_training_left(data, backbones, context):
    whole, ctx = splits(data, test=0.0), context(strategy="auto", budget="100s")
    ctx.console.err, ctx.console.quiet = io.StringIO(), False
    probe = adapt(data, whole, backbones, ctx)
    assert ctx.run.find_decision("adapt/nested") is None  # training comes first
    ctx.started -= 92  # fine-tuning took its part; the reserve is left
    assert validated(probe, data, whole, backbones, ctx) is probe
    assert ctx.run.find_decision("adapt/nested") is False
    assert re.search(
        r"nested cross-validation is left out: it needs .* s, and \d.* s of the budget are left",
        ctx.console.err.getvalue(),
    )


def test_nested_scores_exist_exactly_when_nothing_is_held_out(adapted, data, split, backbones, context):
    assert validated(adapted, data, split, backbones, context()) is adapted
    assert adapted.nested == () and adapted.nested_probabilities is None
    whole, ctx = splits(data, test=0.0), context(name="whole")
    ctx.console.err, ctx.console.quiet = io.StringIO(), False
    found = validated(adapt(data, whole, backbones, ctx), data, whole, backbones, ctx)
    assert re.search(
        r"nested cross-validation takes about \d.* s; 4 min .* of the budget are left", ctx.console.err.getvalue()
    )
    scores = {s.name: s for s in found.nested if not s.subject}
    assert scores["accuracy"].n == len(data.uris)
    assert scores["accuracy"].split == "cv"
    searched = next(s for s in found.tried[0].scores if s.name == "log_loss")
    assert scores["log_loss"].value > searched.value - 0.05
    assert found.nested_probabilities.shape == found.cv_probabilities.shape
    right = found.nested_probabilities.argmax(axis=1) == data.targets[found.cv_rows]
    assert scores["accuracy"].value == pytest.approx(right.mean())


@pytest.mark.parametrize(("n", "heads"), [(10, {"nearest_mean"}), (45, {"ridge", "logistic"})])
def test_the_fewer_pictures_the_fewer_heads(n, heads, context):
    small = dataset(n, shares=(0.34, 0.33, 0.33))
    only = embeddings(small, "made:one", {"inner": 2.0, "last": 1.0})
    found = adapt(small, splits(small, test=0.0, folds=3), (only,), context())
    singles = [row for row in found.tried if row.head != "ensemble"]
    assert {row.head for row in singles} == heads
    assert {len(row.features) for row in singles} == {1}
    assert (len(singles) == len(found.tried)) == (n == 10)
    assert ("no claim" in found.why) == (n == 10)


def test_features_that_say_nothing_are_an_error(data, split, context):
    flat = embeddings(data, "made:flat", {"last": 0.0})
    flat = dataclasses.replace(flat, vectors={"last": np.ones_like(flat.vectors["last"])})
    with pytest.raises(NoOpError, match="learnt nothing"):
        adapt(data, split, (flat,), context())


def test_class_weights_raise_the_rare_class(data, split, backbones, context):
    rare = 2
    plain = adapt(data, split, backbones, context(name="plain"))
    even = adapt(data, split, backbones, context(name="even", class_weight="balanced"))
    assert even.cv_probabilities[:, rare].mean() > plain.cv_probabilities[:, rare].mean() + 0.01


def test_clusters_are_thinned_as_a_whole(data, split):
    from headstart.selection.cv_problem import CvProblem
    from headstart.selection.probe.learning_curve import thin_by_clusters

    rows = split.train
    clusters = np.asarray([i - i % 5 for i in range(len(data.uris))])
    on = CvProblem(
        rows=rows,
        y=np.zeros(len(rows), np.int64),
        folds=split.folds[:, rows],
        clusters=clusters,
        n_classes=1,
        metric="log_loss",
        prefer="accurate",
        class_weight=None,
        seed=0,
    )
    kept = thin_by_clusters(np.arange(len(rows)), 0.25, on, [0, 0])
    assert 0.2 < len(kept) / len(rows) < 0.3
    groups = clusters[rows]
    assert np.array_equal(kept, np.flatnonzero(np.isin(groups, groups[kept])))


def test_many_rows_go_through_a_file(data, backbones, monkeypatch, tmp_path):
    features = tuple(candidate_heads.make_feature(backbones, f"made:strong@{d}") for d in ("inner", "last"))
    rows = np.arange(0, len(data.uris), 3)
    monkeypatch.setattr(feature_matrix, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(feature_matrix, "_CHUNK_ROWS", 7)
    with feature_matrix.open_columns(backbones, features, rows, tmp_path) as x:
        assert len(list(tmp_path.iterdir())) == 1
        assert np.array_equal(x, join_columns(backbones, features, rows))
        del x
    assert not list(tmp_path.iterdir())


def test_it_says_what_was_chosen_and_why(data, split, backbones, context):
    ctx = dataclasses.replace(context(), console=Console(err=io.StringIO()))
    adapt(data, split, backbones, ctx)
    lines = [line for line in ctx.console.err.getvalue().splitlines() if line.startswith("adapt")]
    assert len(lines) == 3
    assert "by the temperature" in lines[2]
    assert "log loss" in lines[0]
    assert "n = 180" in lines[0]
    assert "made:strong@inner+last" in lines[0]
