"""The shift between two domains, where the truth is known: features are drawn, not made from pictures."""

import dataclasses

import numpy as np
import pytest

import made_runs
from headstart.core import registry
from headstart.core.errors import NoOpError
from headstart.core.storage.serialization import load_value
from headstart.core.types import BackboneSpec, DomainShift, Embeddings, Feature, FeatureLevel, InputSpec, TargetDomain
from headstart.domain_adaptation.shift import domain_classifier, label_shift, unlabelled_accuracy
from headstart.domain_adaptation.shift.measure_shift import measure_shift
from headstart.heads.cross_validation import balanced_class_weights, predict_held_out
from headstart.heads.prediction import predict_probabilities
from headstart.uncertainty import temperature

C, D, PARAMS = 3, 12, {"strength": 0.1}
CENTRES = 2.0 * np.eye(C, D)


def pictures(count, rng, shares=None):
    """Features and classes."""
    y = rng.choice(C, count, p=shares) if shares is not None else np.arange(count) % C
    return (CENTRES[y] + rng.normal(size=(count, D))).astype(np.float32), y


def answered(x, y, class_weight=None, prior=None):
    """Held-out answers to pictures, and the head."""
    head = registry.load_plugin("heads", "logistic")
    folds, shared = np.arange(len(y)) % 4, {"n_classes": C, "class_weight": class_weight}
    p = predict_held_out(head, x, y, folds, grid=[PARAMS], **shared)[0, 0]
    fitted = next(iter(head.path(x, y, params=[PARAMS], seed=0, **shared)))
    return label_shift.Answers(p=p.astype(np.float64), y=y, clusters=np.arange(len(y)), prior=prior), fitted


def asked(fitted, x):
    """Answers of a head to pictures without a label."""
    p = predict_probabilities(fitted.kind, fitted.arrays, x).astype(np.float64)
    return label_shift.Answers(p=p, y=np.full(len(x), -1), clusters=np.arange(len(x)))


def test_a_planted_shift_is_told_and_none_is_not():
    planted, harmless = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        (a, _), (b, _) = pictures(90, rng), pictures(90, rng)
        harmless.append(domain_classifier.compare_domains(a, b).p)
        planted.append(domain_classifier.compare_domains(a, b + 0.4).p)
    assert max(planted) < 0.05
    assert sum(p < 0.05 for p in harmless) <= 2


def test_one_of_a_cluster_takes_part_where_there_are_enough():
    clusters = np.repeat(np.arange(200), 5)
    rows = domain_classifier.draw_unlike(clusters, 0)
    assert len(rows) == len(np.unique(clusters[rows])) == 200
    few = domain_classifier.draw_unlike(np.repeat(np.arange(6), 40), 0)
    assert len(few) == 60


def test_the_strangest_pictures_come_first_and_no_two_alike():
    rng = np.random.default_rng(0)
    (a, _), (b, _) = pictures(90, rng), pictures(120, rng)
    b[:20] += 3.0
    clusters = np.maximum(np.arange(120) - 1, 0)  # the first two look alike
    strangeness = domain_classifier.measure_strangeness(a, b, np.arange(10, 100), 0)  # others are not learnt from
    farthest = domain_classifier.choose_farthest(strangeness, clusters, b)
    assert set(farthest.tolist()) < set(range(20))
    assert len(set(clusters[farthest].tolist())) == len(farthest) == domain_classifier.FARTHEST


def test_the_strangest_pictures_that_are_shown_look_unlike_each_other():
    places = np.random.default_rng(0).normal(size=(domain_classifier.FARTHEST, 8))
    x = np.concatenate([np.repeat(places, 5, axis=0), np.zeros((540, 8))])  # twelve looks, five pictures of each
    strangeness = -np.arange(600.0)
    farthest = domain_classifier.choose_farthest(strangeness, np.arange(600), x)
    assert sorted((farthest // 5).tolist()) == list(range(domain_classifier.FARTHEST))
    assert farthest[0] == 0 and (np.diff(farthest) > 0).all()


def test_label_shift_is_recovered_and_none_is_not_claimed():
    shares = np.array([0.7, 0.2, 0.1])
    rng = np.random.default_rng(1)
    x, y = pictures(240, rng)
    source, fitted = answered(x, y)
    shifted, _ = pictures(300, rng, shares)
    estimate = label_shift.estimate_label_shift(source, asked(fitted, shifted), ("a", "b", "c"), 0)
    assert estimate.p < 0.05
    assert np.abs(estimate.shares - shares).max() < 0.08
    assert all(s.low <= share <= s.high for s, share in zip(estimate.scores, shares, strict=True))
    alike = label_shift.estimate_label_shift(source, asked(fitted, pictures(300, rng)[0]), ("a", "b", "c"), 0)
    assert alike.p > 0.05


@pytest.mark.parametrize("size", [1, 6])
def test_near_duplicates_in_the_target_do_not_make_its_shares_look_other(size, monkeypatch):
    monkeypatch.setattr(label_shift, "DRAWS", 39)
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        source, fitted = answered(*pictures(240, rng, np.full(C, 1 / C)))
        unlike, _ = pictures(180 // size, rng, np.full(C, 1 / C))
        x = np.repeat(unlike, size, axis=0)
        x += 0.2 * rng.normal(size=x.shape).astype(np.float32)
        target = dataclasses.replace(asked(fitted, x), clusters=np.repeat(np.arange(len(unlike)), size))
        alarms += label_shift.estimate_label_shift(source, target, ("a", "b", "c"), 0).p < 0.05
    assert alarms <= 7  # of 60, as more than 5 % of true null hypotheses give once in a hundred times


def test_of_many_pictures_whole_clusters_count():
    rng = np.random.default_rng(5)
    source, fitted = answered(*pictures(120, rng))
    many = asked(fitted, np.repeat(pictures(1_000, rng)[0], 3, axis=0))
    many = dataclasses.replace(many, clusters=np.repeat(np.arange(1_000), 3))
    assert label_shift.estimate_label_shift(source, many, ("a", "b", "c"), 0).scores[0].n == 1_998


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.2, 0.2, 0.6)])  # those of the source, and others
@pytest.mark.parametrize("method", sorted(label_shift.ESTIMATES))
def test_a_head_that_weighs_classes_alike_finds_the_shares_of_both_domains(method, shares):
    rng = np.random.default_rng(4)
    x, y = pictures(600, rng, [0.8, 0.1, 0.1])
    source, fitted = answered(x, y, balanced_class_weights(y, C), prior=np.full(C, 1 / C))
    factor = temperature.fit_temperature(source.p, y)
    source = dataclasses.replace(source, p=temperature.apply_temperature(source.p, factor))
    p = temperature.apply_temperature(asked(fitted, pictures(900, rng, shares)[0]).p, factor)
    assert np.abs(label_shift.ESTIMATES[method](source, p) - shares).max() < 0.06


@pytest.mark.parametrize("method", sorted(label_shift.ESTIMATES))
def test_both_estimates_recover_the_shares(method):
    rng = np.random.default_rng(2)
    x, y = pictures(300, rng)
    source, fitted = answered(x, y)
    shares = np.array([0.1, 0.1, 0.8])
    factor = temperature.fit_temperature(source.p, y)  # EM takes probabilities at their word
    source = dataclasses.replace(source, p=temperature.apply_temperature(source.p, factor))
    p = temperature.apply_temperature(asked(fitted, pictures(600, rng, shares)[0]).p, factor)
    assert np.abs(label_shift.ESTIMATES[method](source, p) - shares).max() < 0.08


def test_the_band_holds_the_accuracy_under_planted_shifts():
    held = {name: list[bool]() for name in unlabelled_accuracy.ESTIMATES}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, y = pictures(240, rng)
        source, fitted = answered(x, y)
        for move in (0.0, 0.3, 0.6, 1.0, "noise", "pale"):
            seen, truth = pictures(240, rng)
            if move == "noise":
                seen = seen + rng.normal(size=seen.shape).astype(np.float32)
            elif move == "pale":
                seen = 0.5 * seen
            else:
                direction = rng.normal(size=D)
                seen = (seen + move * np.sqrt(D) * direction / np.linalg.norm(direction)).astype(np.float32)
            target = asked(fitted, seen)
            accuracy = (target.p.argmax(axis=1) == truth).mean()
            first, second = unlabelled_accuracy.estimate_accuracy(source, target, x, seen, fitted, seed)
            assert (first.low, first.high) == (second.low, second.high)
            for score in (first, second):
                held[score.subject].append(score.low <= accuracy <= score.high)
                assert score.low <= score.value <= score.high
    assert {name: np.mean(each) >= 0.8 for name, each in held.items()} == {"ATC": True, "DoC": True}


def embedded(x):
    """Two levels of a backbone, of which the first is blind to the classes."""
    depths = (FeatureLevel(name="early", dim=3), FeatureLevel(name="stage4", dim=D))
    spec = BackboneSpec(
        name=made_runs.TRUNK,
        family="made",
        revision="1",
        input=InputSpec(size_px=8),
        depths=depths,
        params=10,
        flops=10,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on="nothing",
        download_bytes=0,
        prior=0.5,
        prior_source="made up",
    )
    vectors = {"early": x[:, -3:], "stage4": x}
    rows = np.arange(len(x))
    return (Embeddings(key=None, spec=spec, rows=rows, vectors=vectors, seconds=0.0, cached=0, latency_ms=1.0),)


def domains(context, move, count, *, shares=None, labelled=0):
    """What `measure_shift` takes."""
    rng = np.random.default_rng(3)
    x, y = pictures(120, rng)
    seen, truth = pictures(count, rng, shares)
    seen[:, :C] += move
    hashes = rng.integers(0, 2**63, 120 + count, dtype=np.uint64)
    data = made_runs.dataset(y, phash=hashes[:120])
    drawn = made_runs.splits(120, 0)
    source, fitted = answered(x, y)
    adapted = dataclasses.replace(
        made_runs.adapted(data, drawn),
        features=(Feature(backbone=made_runs.TRUNK, depth="stage4", dim=D),),
        fitted=fitted,
        cv_probabilities=source.p.astype(np.float32),
    )
    labels = np.where(np.arange(count) < labelled, truth, -1)
    new = made_runs.dataset(np.zeros(count), phash=hashes[120:], content=1000 + np.arange(count), name="new")
    target = TargetDomain(pictures=dataclasses.replace(new, targets=labels), labels=labels, copies=())
    return (data, drawn, embedded(x), target, embedded(seen), adapted), context(seed=0)


def test_a_shift_of_one_level_is_told_from_none_at_the_other(context):
    values, ctx = domains(context, 1.2, 120, labelled=30)
    shift = measure_shift(*values, ctx=ctx)
    by_level = {level.feature.rpartition("@")[2]: level for level in shift.levels}
    assert by_level["stage4"].p < 0.05 <= by_level["early"].p
    assert by_level["stage4"].auc.low > 0.5
    assert shift.verdict.answer == "yes"
    assert "1 of 2 levels" in shift.verdict.sentence
    assert "differ too" in shift.verdict.sentence
    assert [s.n for s in shift.accuracy if s.subject == "labelled"] == [30]
    assert "back-tests" in shift.accuracy[0].method
    again = load_value(DomainShift, ctx.run.path / "domains/shift")
    assert np.array_equal(again.strangeness, shift.strangeness)
    assert again.levels == shift.levels


def test_other_shares_alone_are_told_from_other_features(context):
    values, ctx = domains(context, 0.0, 150, shares=[0.8, 0.1, 0.1])
    shift = measure_shift(*values, ctx=ctx)
    assert shift.label_verdict.answer == "yes"
    assert "may be all of it" in shift.verdict.sentence


def train_trunk(values):
    """The same with a network of which nothing but its source pictures is changed, and the probe before it."""
    data, drawn, source, target, new, probe = values
    (frozen,), (seen,) = source, new
    learnt = frozen.vectors["stage4"] + 4 * np.eye(C, D)[np.asarray(data.targets)].astype(np.float32)
    spec = dataclasses.replace(frozen.spec, name="own", depths=frozen.spec.depths[1:])
    trained = dataclasses.replace(frozen, spec=spec, vectors={"stage4": learnt})
    of_target = dataclasses.replace(seen, spec=spec, vectors={"stage4": seen.vectors["stage4"]})
    network = dataclasses.replace(
        probe, strategy="finetune", features=(Feature(backbone="own", depth="stage4", dim=D),)
    )
    return (data, drawn, (frozen, trained), target, (seen, of_target), network), probe


def test_a_trained_trunk_does_not_make_the_domains_look_apart(context):
    values, ctx = domains(context, 0.0, 120)
    values, probe = train_trunk(values)
    assert measure_shift(*values, ctx=ctx).verdict.answer == "yes"  # by its own features
    shift = measure_shift(*values, probe=probe, ctx=ctx)
    assert shift.verdict.answer == "no"
    assert "of the features before training" in shift.verdict.sentence
    assert {level.feature for level in shift.levels} == {f"{made_runs.TRUNK}@early", f"{made_runs.TRUNK}@stage4"}
    assert {(s.low, s.high, s.method) for s in shift.accuracy} == {(0.0, 1.0, unlabelled_accuracy.UNTESTED)}
    tested = measure_shift(*values[:-1], probe, ctx=ctx).accuracy  # the probe answers alike
    assert {s.subject: s.value for s in shift.accuracy} == {s.subject: s.value for s in tested}


def test_few_pictures_say_little_and_too_few_are_refused(context):
    values, ctx = domains(context, 0.0, 12)
    shift = measure_shift(*values, ctx=ctx)
    assert (shift.verdict.answer, shift.label_verdict.answer) == ("unclear", "unclear")
    assert shift.accuracy[0].high - shift.accuracy[0].low > 0.15
    values, ctx = domains(context, 0.0, 9)
    with pytest.raises(NoOpError, match="9 unlabelled pictures"):
        measure_shift(*values, ctx=ctx)
