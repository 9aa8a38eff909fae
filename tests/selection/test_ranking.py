"""Ranking finds what carries signal, calls ties ties, never lets a control win, and never sees the test split."""

import dataclasses
import io
import itertools

import numpy as np
import pytest

from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.types import Ranking
from headstart.data.groups import find_learnable
from headstart.selection.ranking import screening
from headstart.selection.ranking.controls import judge_controls
from headstart.selection.ranking.rank_backbones import rank_backbones
from judged_sets import dataset, embeddings, splits


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture(scope="module")
def backbones(data):
    good = embeddings(data, "made:good", {"inner": 2.0, "last": 1.0}, flops=4 * 10**9)
    noise = embeddings(data, "made:noise", {"last": 0.0}, flops=10**9, prior=0.5)
    return good, noise


def control(data, split, signal=3.0):
    return embeddings(data, "random:made:good", {"inner": signal}, rows=split.train[:100], seed=9)


def ranked(data, split, backbones, *, ctx, controls=()):
    """The ranking with its controls, as a fit makes it."""
    ranking = rank_backbones(data, split, backbones, ctx=ctx)
    return judge_controls(ranking, data, split, backbones, controls, ctx=ctx)


def test_the_most_informative_depth_is_chosen(data, backbones, context):
    found = ranked(data, splits(data), backbones, ctx=context())
    assert found.chosen == "made:good@inner"
    assert [row.status for row in found.rows if row.candidate == found.chosen] == ["chosen"]
    assert found.rows[0].candidate == found.chosen
    assert found.rows[-2].candidate == "made:noise@last"
    noise = found.rows[-2]
    assert noise.status == "beaten"
    assert noise.paired.low > 0
    assert noise.logme < found.rows[0].logme
    assert "log loss" in found.why
    assert "180 pictures" in found.why
    assert found.survivors == ("made:good",)


def test_scores_have_interval_and_n_on_the_same_pictures(data, backbones, context):
    found = ranked(data, splits(data), backbones, ctx=context())
    for row in found.rows[:3]:
        names = [score.name for score in row.scores]
        assert names[:3] == ["log_loss", "balanced_accuracy", "accuracy"]
        assert set(names[3:]) == {"knn_log_loss", "ridge_log_loss", "logistic_log_loss"}
        assert {score.n for score in row.scores} == {180}
        assert all(score.low <= score.value <= score.high for score in row.scores)
        assert row.rows_seen == 180


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_by_an_accuracy_more_is_better(data, backbones, context, metric):
    found = ranked(data, splits(data), backbones, ctx=context(metric=metric))
    assert found.chosen == "made:good@inner"
    assert found.rows[0].scores[0].name == metric
    assert next(row for row in found.rows if row.backbone == "made:noise").paired.high < 0


def test_a_cheap_tie_is_taken_and_called_a_tie(data, context):
    dear = embeddings(data, "made:dear", {"last": 2.0}, flops=9 * 10**9, prior=0.9)
    cheap = embeddings(data, "made:dear", {"last": 2.0}, flops=10**9)  # the same vectors
    cheap = dataclasses.replace(cheap, spec=dataclasses.replace(cheap.spec, name="made:cheap"))
    found = ranked(data, splits(data), (dear, cheap), ctx=context())
    assert found.chosen == "made:cheap@last"
    assert found.ties == ("made:dear@last",)
    assert {row.candidate: row.status for row in found.rows[:2]} == {
        "made:cheap@last": "chosen",
        "made:dear@last": "tied",
    }
    assert found.survivors == ("made:dear", "made:cheap")


def test_controls_never_win_and_are_paired_on_their_own_pictures(data, backbones, context):
    split = splits(data)
    found = ranked(data, split, backbones, ctx=context(), controls=(control(data, split, signal=9.0),))
    controls = {row.candidate: row for row in found.rows if row.status == "control"}
    assert set(controls) == {"random:made:good@inner", "colour histogram"}
    assert found.chosen == "made:good@inner"
    strong = controls["random:made:good@inner"]
    assert strong.rows_seen == 100
    assert strong.paired.high < 0  # better than the winner on the same 100 pictures, and said so
    assert {score.split for row in controls.values() for score in row.scores} == {"screen"}
    assert controls["colour histogram"].paired.low > 0


def test_a_backbone_that_does_not_beat_its_random_twin_is_marked(data, backbones, context):
    split, (good, noise) = splits(data), backbones
    weak, strong = (
        embeddings(data, f"random:made:{name}", {"inner": signal}, rows=split.train[:100], seed=9)
        for name, signal in (("good", 0.0), ("noise", 2.0))
    )
    ctx = context()
    ctx.console = Console(err=io.StringIO())
    found = ranked(data, split, (good, noise), ctx=ctx, controls=(weak, strong))
    marks = {row.candidate: (row.beats_random, row.over_random) for row in found.rows if row.status != "control"}
    assert [marks[name][0] for name in ("made:good@inner", "made:good@last", "made:noise@last")] == [True, True, False]
    assert marks["made:good@inner"] == marks["made:good@last"]  # of the backbone at its best depth
    assert marks["made:good@inner"][1].high < 0 < marks["made:noise@last"][1].value
    assert marks["made:noise@last"][1].n == 100
    assert {row.beats_random for row in found.rows if row.status == "control"} == {None}
    lines = ctx.console.err.getvalue().splitlines()
    assert [line.split()[1] for line in lines if "no better than random weights" in line] == ["made:noise"]


def test_a_twin_that_was_also_named_is_compared_on_the_few_pictures(data, backbones, context):
    split, (good, _) = splits(data), backbones
    named = embeddings(data, "random:made:good", {"inner": 9.0})
    found = ranked(data, split, (good, named), ctx=context(), controls=(control(data, split, signal=0.0),))
    (gain,) = {row.over_random for row in found.rows if row.backbone == "made:good" and row.status != "control"}
    assert gain.high < 0


def test_without_a_twin_nothing_is_marked(data, backbones, context):
    found = ranked(data, splits(data), backbones, ctx=context(), controls=(control(data, splits(data)),))
    assert {row.beats_random for row in found.rows if row.backbone == "made:noise"} == {None}


def test_test_labels_change_nothing(data, backbones, context):
    split = splits(data)
    targets = data.targets.copy()
    targets[split.test] = np.random.default_rng(1).integers(0, 3, len(split.test))
    other = dataclasses.replace(data, targets=targets)
    a = ranked(data, split, backbones, ctx=context(name="a"), controls=(control(data, split),))
    b = ranked(other, split, backbones, ctx=context(name="b"), controls=(control(data, split),))
    still = [dataclasses.replace(r, rows=tuple(dataclasses.replace(x, seconds=0) for x in r.rows)) for r in (a, b)]
    assert serialization.as_json(still[0]) == serialization.as_json(still[1])


def test_what_is_saved_is_equal_byte_for_byte_and_loads(data, backbones, context):
    contents = []
    for name in ("a", "b"):
        ctx = context(name=name)
        ranked(data, splits(data), backbones, ctx=ctx)
        contents.append((ctx.make_step_folder("rank") / "value.json").read_bytes())
    assert contents[0] == contents[1]
    loaded = serialization.load_value(Ranking, ctx.make_step_folder("rank"))
    assert loaded.chosen == "made:good@inner"
    assert {row.seconds for row in loaded.rows} == {0}


def test_a_recorded_choice_is_kept(data, backbones, context):
    ctx = context()
    ctx.record_decision("rank/chosen", lambda: "made:good@last")
    assert ranked(data, splits(data), backbones, ctx=ctx).chosen == "made:good@last"


def test_a_part_is_used_above_the_limit_and_said(data, backbones, context, monkeypatch):
    monkeypatch.setattr("headstart.selection.ranking.rank_backbones.MAX_PICTURES", 90)
    ctx = context()
    ctx.console = Console(err=io.StringIO())
    found = ranked(data, splits(data), backbones, ctx=ctx)
    assert found.rows[0].rows_seen == 90
    assert "on 90 of 180 pictures" in ctx.console.err.getvalue()


def test_the_table_is_told_in_a_few_lines(data, backbones, context):
    split, ctx = splits(data, repeats=10), context()
    ctx.console = Console(err=io.StringIO())
    found = ranked(data, split, backbones, ctx=ctx, controls=(control(data, split),))
    lines = ctx.console.err.getvalue().splitlines()
    assert all(line.startswith("rank ") for line in lines)
    assert (
        "3 candidates on 180 pictures, 4 folds x 5 (of 10 repeats: more hardly narrow the intervals), by log loss"
        in lines[0]
    )
    assert lines[4].endswith(found.why)
    assert lines[5].endswith("best by probe: made:good@inner; best by prior: made:good (published top-1 0.700)")
    assert lines[6].endswith("made:good is no better than random weights")
    assert [line.split()[1] for line in lines[7:]] == ["random:made:good@inner", "colour"]
    kept = serialization.load_value(Ranking, ctx.make_step_folder("rank"))
    best = (kept.best_by_probe, kept.best_by_prior, kept.prior_why)
    assert best == ("made:good@inner", "made:good", "published top-1 0.700")


# ---------------------------------------------------------------- screening


def draw(data, count, seed):
    return screening.draw_rows(data, count, seed, find_learnable(data, 0))


def test_a_sample_is_stratified_and_reproducible(data):
    rows = draw(data, 60, 3)
    assert len(rows) == len(set(rows.tolist())) == 60
    assert (np.diff(rows) > 0).all()
    part = np.bincount(data.targets[rows]) / np.bincount(data.targets)
    assert part.max() - part.min() < 0.03
    np.testing.assert_array_equal(rows, draw(data, 60, 3))
    assert not np.array_equal(rows, draw(data, 60, 4))
    assert len(draw(data, 999, 0)) == 240


def test_a_rare_class_keeps_two_pictures():
    data = dataset(1000, shares=(0.6, 0.395, 0.005))
    rows = draw(data, 50, 0)
    assert np.bincount(data.targets[rows])[2] == 2


def test_given_test_pictures_are_never_screened():
    data = dataset(90, split=("train", "val", "test") * 30)
    assert set(draw(data, 20, 0) % 3) == {0}
    assert set(draw(data, 200, 0) % 3) == {0}


GIVEN = [("made:good", 2.5, 0.7), ("made:twin", 2.5, 0.6), ("made:noise", 0.0, 0.5), ("made:famous", 0.0, 0.9)]


def looked_at(data, rows, given=GIVEN):
    """What backbones of known worth and fame see of some pictures."""
    return tuple(
        embeddings(data, name, {"inner": signal / 2, "last": signal}, prior=prior, rows=rows, seed=number // 2)
        for number, (name, signal, prior) in enumerate(given)
    )


def test_screening_keeps_the_best_by_probe_and_the_best_by_prior(data, context):
    rows, ctx = draw(data, 120, 0), context()
    ctx.console = Console(err=io.StringIO())
    found = screening.screen_backbones(data, looked_at(data, rows), ctx=ctx)
    best, famous = found.survivors
    assert best in ("made:good", "made:twin") and famous == "made:famous"
    np.testing.assert_array_equal(found.pictures, rows)
    assert len(found.rows) == 4 and {row.backbone for row in found.rows} | set(found.survivors) == {
        n for n, *_ in GIVEN
    }
    for out in found.rows:
        assert out.status == "screened_out" and out.paired.n == 120
        assert out.backbone != "made:noise" or out.paired.low > 0
    assert ctx.run.find_decision("rank/survivors/120/4") == list(found.survivors)
    assert ctx.console.err.getvalue().split(None, 1)[1] == (
        f"2 of 4 backbones go on after 120 pictures: {best} (best by probe), {famous} (best by prior)\n"
    )


def test_a_second_round_adds_to_what_the_first_one_left_behind(data, context):
    rows = draw(data, 120, 0)
    first, ctx = screening.draw_rows(data, 60, 0, among=rows), context()
    one = screening.screen_backbones(data, looked_at(data, first), ctx=ctx)
    again = [e for e in looked_at(data, rows) if e.spec.name in one.survivors]
    two = screening.screen_backbones(data, tuple(again), ctx=ctx, previous=one)
    assert two.survivors == one.survivors[:1], "the famous one is worse beyond chance, and adds nothing"
    gone = [row.backbone for row in two.rows]
    assert gone[:2] == ["made:famous"] * 2 and set(gone) | set(two.survivors) == {name for name, *_ in GIVEN}
    assert {row.rows_seen for row in two.rows if row.backbone == "made:noise"} == {60}
    np.testing.assert_array_equal(two.pictures, rows)


def test_of_the_last_two_the_second_stays_where_it_adds_and_the_prior_breaks_ties(context):
    data = dataset(600)
    rows = draw(data, 240, 0)

    def hand_over(first, second, name, **settings):
        signal, prior, seed = zip(first, second, strict=True)
        pair = tuple(
            embeddings(data, f"made:{n}", {"inner": x, "last": x}, prior=p, rows=rows, seed=s)
            for n, x, p, s in zip("ab", signal, prior, seed, strict=True)
        )
        return screening.screen_backbones(data, pair, ctx=context(name=name, **settings)).survivors

    assert hand_over((1.0, 0.7, 0), (1.0, 0.8, 1), "both") == ("made:b", "made:a")  # other views of the same classes
    assert hand_over((1.0, 0.7, 0), (1.0, 0.8, 0), "fast", prefer="fast") == ("made:b",)  # the same view twice
    assert hand_over((2.0, 0.7, 0), (0.0, 0.8, 1), "worse") == ("made:a",)
    data = dataclasses.replace(data, split=tuple("train" if row in rows[:30] else "test" for row in range(600)))
    assert hand_over((1.0, 0.7, 0), (1.0, 0.8, 1), "few") == ("made:b",)


def test_a_killed_run_keeps_the_survivors_of_every_round(data, context):
    """Whatever the second process would measure: here all vectors are noise."""
    rows = draw(data, 120, 0)
    whole = screening.screen_backbones(data, looked_at(data, rows), ctx=context())
    noise = looked_at(data, rows, [(name, 0.0, prior) for name, _, prior in GIVEN])
    assert screening.screen_backbones(data, noise, ctx=context()).survivors == whole.survivors
    assert screening.screen_backbones(data, noise, ctx=context(name="other")).survivors != whole.survivors


def test_the_pictures_of_a_round_are_among_those_of_the_next(context):
    data = dataset(3000)
    rounds = screening.draw_rounds(data, ctx=context())
    assert list(rounds) == [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024] == [*map(len, rounds.values())]
    assert all(set(few.tolist()) < set(many.tolist()) for few, many in itertools.pairwise(rounds.values()))
    assert list(screening.draw_rounds(data, ctx=context(name="int8", precision="int8"))) == [256]
    assert list(screening.draw_rounds(dataset(600), ctx=context())) == [32, 48, 64, 96, 128, 192]
    assert screening.draw_rounds(dataset(79), ctx=context()) == {}


def test_rounds_draw_from_pictures_that_no_given_split_keeps_for_judging(context):
    data = dataset(3000, split=("train", "val", "test", "test", "test") * 600)
    rounds = screening.draw_rounds(data, ctx=context())
    assert list(rounds)[-1] == 512
    assert all(data.split[row] == "train" for row in rounds[512])


def test_copies_share_a_fold_in_screening(data, context):
    rows = draw(data, 120, 0)
    phash = data.facts.phash.copy()
    phash[rows[:40]] = np.repeat(phash[rows[:20]], 2)
    data = dataclasses.replace(data, facts=dataclasses.replace(data.facts, phash=phash))
    on = screening.make_screening_problem(data, rows, context())
    folds = on.folds[0]
    assert folds.min() == 0
    assert (folds[:40:2] == folds[1:40:2]).all()
    assert np.bincount(folds).min() > 10


def test_pictures_that_all_have_one_fingerprint_can_be_screened(data, context):
    data = dataclasses.replace(data, facts=dataclasses.replace(data.facts, phash=np.zeros(240, np.uint64)))
    on = screening.make_screening_problem(data, draw(data, 120, 0), context())
    assert len(np.unique(on.folds)) == 5
    assert len(np.unique(on.clusters[on.rows])) == 120


def test_knn_sees_a_part_of_many_pictures_and_says_so(data, backbones, context, monkeypatch):
    monkeypatch.setattr("headstart.selection.ranking.probe_scores.KNN_MAX_PICTURES", 60)
    found = rank_backbones(data, splits(data), backbones, ctx=context())
    n = {score.name: score.n for score in found.rows[0].scores}
    assert n["knn_log_loss"] == 60
    assert n["ridge_log_loss"] == n["log_loss"] == 180
