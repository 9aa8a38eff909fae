"""Runs against each other: who is better on the same pictures, ties, other pictures, cost, settings, data."""

import dataclasses
import json
import re

import numpy as np
import pytest

import headstart
from headstart.cli.commands.compare import format_comparison
from headstart.cli.main import main
from headstart.core.errors import DataError, UsageError
from headstart.core.storage import serialization
from headstart.core.types import Evaluation, FitResult, Score
from headstart.evaluation.comparison import paired_runs
from headstart.evaluation.comparison.compare_runs import compare_runs
from made_runs import TARGETS, TEST, TRUTH, N, adaptation, dataset, write, wrong


@pytest.fixture
def two(tmp_path):
    """The second is wrong 20 times more often."""
    data = dataset(TARGETS)
    one = write(tmp_path / "one", data, wrong(0, 1, 2), seed=7)
    other = write(tmp_path / "other", data, wrong(0, *range(20, 42)), sure=0.7)
    return one, other


def test_the_better_of_two_is_told_with_its_interval_and_test(two):
    [pair] = compare_runs(two).pairs
    accuracy, balanced, loss = pair.scores
    assert (pair.common, pair.only_one, pair.only_other) == (90, 22, 2)
    assert accuracy.one == pytest.approx(87 / 90)
    assert accuracy.value == pytest.approx(20 / 90)
    assert 0.1 < accuracy.low < accuracy.value < accuracy.high < 0.35
    assert accuracy.p == pytest.approx(3.588e-05, rel=1e-3)  # 2 of 24, by the binomial distribution
    assert accuracy.test == "exact McNemar"
    assert not accuracy.tie
    assert balanced.value == pytest.approx(20 / 90, abs=0.02)
    assert loss.value < 0  # lower is better
    assert pair.sentence.startswith(f"`{two[0].as_posix()}` is better: accuracy +0.222 [")


def test_the_other_way_round_all_signs_turn(two):
    [here], [there] = compare_runs(two).pairs, compare_runs(two[::-1]).pairs
    for a, b in zip(here.scores + here.classes, there.scores + there.classes, strict=True):
        assert a.value == pytest.approx(-b.value)
        assert a.low == pytest.approx(-b.high, abs=0.02)
        assert a.p == b.p
    assert here.sentence.split(":")[0] == there.sentence.split(":")[0]


def test_scores_of_adapted_runs_are_said_to_be_of_the_labelled_domain(two):
    """Before adaptation; a run to which nothing was adapted is not named."""
    line = "scores are of the labelled domain, before the model was adapted to the new one"
    assert line not in format_comparison(headstart.compare(two))
    for path, method in zip(two, ("coral", "none"), strict=True):
        fit = serialization.load_value(FitResult, path / "adapt")
        serialization.save_value(adaptation(fit, method), path / "domains" / "adaptation")
    comparison = headstart.compare(two)
    assert [run["adapted"] for run in comparison["runs"]] == [True, False]
    assert f"\n{line}: {two[0].as_posix()}\n" in format_comparison(comparison)


def test_a_tie_is_called_a_tie(tmp_path):
    data = dataset(TARGETS)
    [pair] = compare_runs(
        [write(tmp_path / "a", data, wrong(0, 1, 2)), write(tmp_path / "b", data, wrong(2, 3, 4, 5))]
    ).pairs
    assert pair.scores[0].tie
    assert pair.sentence.startswith("a tie: accuracy +0.011 [")
    told = "the first alone is right on 3 of them, the second alone on 2 (p = 1 by exact McNemar)"
    assert told in pair.sentence


def test_no_difference_at_all_is_no_certainty(tmp_path):
    data = dataset(TARGETS)
    [pair] = compare_runs([write(tmp_path / "a", data, wrong(0)), write(tmp_path / "b", data, wrong(0))]).pairs
    accuracy = pair.scores[0]
    assert accuracy.method == "rule of three"
    assert accuracy.high == pytest.approx(3 / 90, abs=0.001)
    assert accuracy.low == -accuracy.high
    assert "the very same of 90 pictures" in pair.sentence
    loss = pair.scores[2]  # of equal probabilities
    assert (loss.value, loss.method, loss.tie) == (0.0, "the same answers", True)
    assert np.isnan([loss.low, loss.high]).all()
    runs = [str(tmp_path / name) for name in ("a", "b")]
    [line] = [row for row in format_comparison(headstart.compare(runs)).splitlines() if row.startswith("log loss")]
    assert re.split(" {2,}", line)[3:] == ["the same answers", "90", "tie"]


def test_a_rare_class_leaves_the_balanced_accuracy_less_certain(tmp_path):
    y = np.r_[TARGETS[:-TEST], np.where(np.arange(TEST) < 4, 2, np.arange(TEST) % 2)]  # four reds judge
    data = dataset(y)
    [pair] = compare_runs([write(tmp_path / "a", data, y[-TEST:]), write(tmp_path / "b", data, y[-TEST:])]).pairs
    accuracy, balanced, _ = pair.scores
    assert accuracy.high == pytest.approx(1 - 0.05 ** (1 / 90))
    assert balanced.high == -balanced.low == pytest.approx(1 - 0.05 ** (1 / 12))  # as if each class had four
    assert balanced.method == "rule of three" and balanced.tie


def test_what_is_not_known_is_a_tie():
    nothing = Score(split="test", name="accuracy", value=np.nan, low=np.nan, high=np.nan, n=0)
    assert paired_runs._unpaired_difference(nothing, nothing).tie


def test_look_alikes_are_no_more_evidence_than_one(tmp_path):
    data, clusters = dataset(TARGETS), np.arange(N)
    clusters[-30:] = N - 30
    places = range(60, 90)
    runs = [
        write(tmp_path / name, data, answers, clusters=clusters)
        for name, answers in (("a", wrong()), ("b", wrong(*places)))
    ]
    [pair] = compare_runs(runs).pairs
    assert pair.only_one == 30
    assert pair.scores[0].test == "sign flips by cluster"
    assert pair.scores[0].p == 1.0  # one cluster, one turn
    assert pair.scores[0].tie


def test_classes_are_told_apart_and_corrected(tmp_path):
    data = dataset(TARGETS)
    greens = np.flatnonzero(TRUTH == 1)[:15]
    [pair] = compare_runs([write(tmp_path / "a", data, wrong()), write(tmp_path / "b", data, wrong(*greens))]).pairs
    by_name = {each.subject: each for each in pair.classes}
    assert set(by_name) == {"blue", "green", "red"}
    assert by_name["green"].value == pytest.approx(0.5)
    assert by_name["green"].adjusted == pytest.approx(3 * by_name["green"].p)
    assert not by_name["green"].tie
    assert by_name["red"].tie
    assert by_name["red"].n == 30


def test_three_runs_are_corrected_for_three_pairs(tmp_path):
    data = dataset(TARGETS)
    runs = [write(tmp_path / name, data, wrong(*range(count))) for name, count in (("a", 0), ("b", 6), ("c", 7))]
    found = compare_runs(runs)
    assert [(pair.one[-1], pair.other[-1]) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    first = found.pairs[0].scores[0]
    assert first.p == pytest.approx(0.03125)
    assert first.adjusted == pytest.approx(0.0625)  # two left when its turn comes
    assert first.tie
    assert "corrected for 3 pairs" in found.pairs[0].sentence
    assert not found.pairs[1].scores[0].tie


def test_only_pictures_that_judged_both_are_compared(tmp_path):
    here = dataset(TARGETS)
    shifted = dataset(TARGETS, content=np.arange(N) + 60)  # its test pictures are 120 to 209, the other's 60 to 149
    [pair] = compare_runs([write(tmp_path / "a", here, wrong()), write(tmp_path / "b", shifted, wrong(0, 1, 2))]).pairs
    assert pair.common == 30
    assert pair.only_one == 3
    change = compare_runs([tmp_path / "a", tmp_path / "b"]).data[0]
    assert (change.both, change.only_first, change.only_other, change.same) == (90, 60, 60, False)
    assert len(change.examples) == 5


def test_without_common_pictures_it_says_so_and_is_wider(tmp_path):
    runs = [
        write(tmp_path / "a", dataset(TARGETS), wrong(0, 1, 2)),
        write(tmp_path / "b", dataset(TARGETS, content=np.arange(N) + 1000), wrong(*range(20))),
    ]
    [pair] = compare_runs(runs).pairs
    accuracy = pair.scores[0]
    assert pair.common == 0
    assert accuracy.method == "unpaired"
    assert accuracy.p is None
    assert accuracy.value == pytest.approx(17 / 90)
    assert "no picture judged both, so they are compared unpaired" in pair.sentence
    assert "other pictures may be the reason, not the model" in pair.sentence


def test_relabelled_pictures_are_left_out_and_counted(tmp_path):
    other = TARGETS.copy()
    other[-4:] = (other[-4:] + 1) % 3
    runs = [write(tmp_path / "a", dataset(TARGETS), wrong()), write(tmp_path / "b", dataset(other), other[-TEST:])]
    found = compare_runs(runs)
    assert found.pairs[0].common == 86
    assert found.pairs[0].relabelled == 4
    assert found.data[0].relabelled == 4


def test_classes_of_other_names_are_told(tmp_path):
    runs = [
        write(tmp_path / "a", dataset(TARGETS), wrong()),
        write(tmp_path / "b", dataset(TARGETS, names=("blue", "green", "scarlet")), wrong()),
    ]
    found = compare_runs(runs)
    assert found.data[0].classes == ("red", "scarlet")
    assert found.pairs[0].relabelled == 30


def test_settings_that_differ_are_told_and_paths_are_not(two):
    assert [(s.name, s.values) for s in compare_runs(two).settings] == [("seed", (7, 0))]


def test_cost_is_told_where_it_is_known(tmp_path):
    timings = {"read": {"wall_s": 2.0}, "embed bundled:efficientnet_lite0 150": {"wall_s": 3.0, "latency_ms": 4.5}}
    data = dataset(TARGETS)
    runs = [write(tmp_path / "a", data, wrong(), timings=timings), write(tmp_path / "b", data, wrong())]
    first, second = (one.cost for one in compare_runs(runs).runs)
    assert (first.seconds, first.latency_ms, first.bytes) == (5.0, 4.5, 1_500_000)
    assert (first.params, first.trained) == (3_413_024, 12)
    assert second.latency_ms is None


def test_what_cannot_be_compared(tmp_path, two):
    with pytest.raises(UsageError, match="two runs or more"):
        compare_runs(two[:1])
    with pytest.raises(UsageError, match="`one` is named twice"):
        compare_runs([two[0], two[0]])
    with pytest.raises(DataError, match="there is no run folder"):
        compare_runs([two[0], tmp_path / "none"])
    (two[1] / "export" / "value.json").unlink()
    with pytest.raises(DataError, match="has not come to `export` yet"):
        compare_runs(two)


def test_the_command_prints_tables_and_json(two, capsys):
    assert main(["compare", *map(str, two)]) == 0
    told = capsys.readouterr().out
    assert "is better: accuracy +0.222" in told
    assert "recall of green" in told
    assert "seed       7" in told
    assert "learnt from the same data set" in told
    assert main(["compare", *map(str, two), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == headstart.compare(two)
    assert found == headstart.compare(list(map(headstart.load, two)))
    assert found["pairs"][0]["only_one"] == 22


def test_of_many_classes_those_that_differ_are_printed(tmp_path, capsys):
    names, y = tuple(f"kind {at:02d}" for at in range(40)), np.arange(40 * 30) % 40
    data, answers = dataset(y, names=names), y[-800:].copy()
    worse = np.where(answers == 7, 8, answers)
    runs = [write(tmp_path / name, data, given) for name, given in (("a", answers), ("b", worse))]
    [pair] = compare_runs(runs).pairs
    assert [each.subject for each in pair.classes if not each.tie] == ["kind 07"]
    assert main(["compare", *map(str, runs)]) == 0
    told = capsys.readouterr().out
    assert told.count("recall of kind") == told.count("recall of kind 07") == 1
    assert "39 more classes are ties; --json has them" in told


def test_the_command_tells_what_is_wrong(two, capsys):
    assert main(["compare", str(two[0])]) == 2
    told = capsys.readouterr().err
    assert "error: to compare takes two runs or more" in told
    assert "headstart compare RUN RUN" in told


def test_a_run_that_is_judged_by_the_folds_that_chose_it_is_said_to_be_flattered(two):
    """Of two cross-validated runs one is nested: table and sentence name the other."""
    for path, nested in zip(two, (True, False), strict=True):
        folder = path / "evaluate"
        value = serialization.load_value(Evaluation, folder)
        scores = tuple(dataclasses.replace(score, split="cv") for score in value.scores)
        serialization.save_value(dataclasses.replace(value, split="cv", scores=scores, nested=nested), folder)
    compared = compare_runs(two)
    assert [(run.split, run.optimistic) for run in compared.runs] == [("nested cv", False), ("cv", True)]
    flattery = f"the folds that judge `{two[1].as_posix()}` also chose its model: its scores are optimistic"
    assert compared.pairs[0].sentence.endswith(flattery)
    assert "cv, optimistic" in format_comparison(serialization.as_json(compared))


def test_runs_of_two_tasks_are_refused(two):
    one, other = two
    numbers = dataclasses.replace(dataset(TARGETS), task="regression", class_names=())
    serialization.save_value(numbers, other / "read")
    with pytest.raises(
        UsageError, match="is of classification and .* is of regression: their answers are not compared"
    ):
        compare_runs([one, other])


def test_runs_that_do_not_know_the_same_labels_are_refused(two):
    for run, names in zip(two, (("a", "b"), ("a", "c")), strict=True):
        data = dataset(TARGETS)
        marks = np.zeros((len(data.uris), 2), bool)
        labelled = dataclasses.replace(data, task="multilabel", class_names=names, targets=marks)
        serialization.save_value(labelled, run / "read")
    with pytest.raises(UsageError, match="do not know the same labels: `b` is not in all of them"):
        compare_runs(list(two))
