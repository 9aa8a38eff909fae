"""Grades as target, from a table in memory to a served answer and a checked export: cloth in five grades of wear."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headstart
from command_line import LITE0, call
from headstart.core.console import Console
from headstart.core.storage import serialization
from headstart.core.types import UncertaintyReport
from serving_bench import Service
from worn_pictures import GRADES, write_worn_pictures

pytestmark = pytest.mark.medium
PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tasks.md").read_text()


@pytest.fixture(scope="module")
def table(shared_store, textile, tmp_path_factory):
    """100 pictures and their grades."""
    return write_worn_pictures(textile, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """The finished run of an ordered column of pandas, which is what the command on the page of tasks asks for."""
    import pandas

    command = next(line for line in PAGE.splitlines() if "--order" in line and line.startswith("headstart fit "))
    words = command.split()
    settings = {flag.removeprefix("--"): value for flag, value in zip(words[3::2], words[4::2], strict=True)}
    assert settings.pop("order").split(",") == list(GRADES)
    frame = pandas.read_csv(table)
    frame["wear"] = pandas.Categorical(frame["wear"], GRADES, ordered=True)
    out = tmp_path_factory.mktemp("ordinal") / "run"
    shared = {"images": table.parent, "backbones": LITE0, "budget": "10s", "console": Console(quiet=True)}
    return headstart.fit(frame, out=out, **settings, **shared)


@pytest.fixture(scope="module")
def answers(run, table):
    """Of all pictures, in their order."""
    return list(run.predict(sorted(table.parent.glob("*.png"))))


def test_the_run_measures_ranks_against_the_median_grade(run, table):
    assert run.dataset.task == "ordinal" and run.dataset.class_names == GRADES and run.job.order == GRADES
    with table.open() as handle:
        grades = {row["file"]: row["wear"] for row in csv.DictReader(handle)}
    for row in range(9):
        assert GRADES[run.dataset.targets[row]] == grades[run.dataset.uris[row]]
    assert run.ranking.metric == "ranked_probability_score"
    scores = {score.name: score for score in run.headline()}
    assert list(scores) == ["quadratic_weighted_kappa", "mean_rank_error", "accuracy"]
    assert scores["quadratic_weighted_kappa"].low > 0.6
    by_subject = {s.subject: s for s in run.evaluation.baselines if s.name == "mean_rank_error"}
    assert scores["mean_rank_error"].high < by_subject["median grade"].low
    confusion = np.asarray(run.evaluation.confusion)
    off = np.abs(np.arange(5)[:, None] - np.arange(5))
    assert scores["mean_rank_error"].value == pytest.approx((confusion * off).sum() / confusion.sum())
    headline = next(verdict for verdict in run.verdicts if verdict.code == "headline")
    assert (
        headline.answer == "yes"
        and "always answering `used`, the median grade, is 1.200 ranks off" in headline.sentence
    )
    assert "adjacent_category" in {row.head for row in run.adapted.tried}
    assert not any(score.name == "mean_cost" for score in run.evaluation.scores)


def test_answers_are_the_median_and_sets_have_no_gap(run, answers):
    assert run.find(UncertaintyReport).ordered
    for row in answers:
        assert list(row.probabilities) == list(GRADES)
        cumulated = np.cumsum(list(row.probabilities.values()))
        if not row.unknown:
            assert row.answer == GRADES[int(np.searchsorted(cumulated, 0.5))]
            assert row.reasons == () or row.answer != row.likeliest
        ranks = sorted(GRADES.index(name) for name in row.plausible)
        assert not ranks or ranks == list(range(ranks[0], ranks[-1] + 1))
    assert any(len(row.plausible) > 1 for row in answers)


def test_it_is_served_judged_elsewhere_and_on_the_command_line(run, table, answers):
    picture = table.parent / "000.png"
    with Service(f"wear={run.path}") as service:
        [row] = service.predict(("000.png", picture.read_bytes())).json()["answers"]
    assert row["answer"] == answers[0].answer and tuple(row["plausible"]) == answers[0].plausible
    lines = call("predict", run.path, picture)[0].splitlines()
    assert lines[0] in PAGE.splitlines() and lines[1].split(",")[1] == answers[0].answer
    told = headstart.evaluate(run, table, target="wear", console=Console(quiet=True))
    by_name = {score["name"]: score["value"] for score in told["scores"] if not score["subject"]}
    assert by_name["mean_rank_error"] < 0.5 and "quadratic_weighted_kappa" in by_name


def test_an_export_answers_alike_without_headstart(run, table, answers, tmp_path):
    [export] = headstart.export(run, to="openvino", out=tmp_path / "export", console=Console(quiet=True))
    assert export["parity_max_abs"] < 1e-4 and export["label_agreement"] == 1.0
    pictures = sorted(table.parent.glob("*.png"))
    script = [sys.executable, str(next((tmp_path / "export").rglob("predict.py"))), *map(str, pictures)]
    rows = [json.loads(line) for line in subprocess.run(script, capture_output=True, check=True).stdout.splitlines()]
    for row, answer in zip(rows, answers, strict=True):
        assert (row["answer"], tuple(row["plausible"])) == (answer.answer, answer.plausible)
        assert answer.unknown or tuple(row["reasons"]) == answer.reasons


def test_report_and_card_speak_of_grades(run):
    page, card = (run.path / "report.html").read_text(), (run.path / "README.md").read_text()
    assert "ranks off on average" in page and "quadratic weighted kappa" in page and "the grade in the middle" in page
    order = page.index("Confusion matrix")
    places = [page.index(name, order) for name in GRADES]
    assert places == sorted(places)
    assert "It tells 5 grades apart, from the lowest: `new`, `good`" in card and "Quadratic weighted kappa" in card
    assert "| mean_rank_error |" in card or "| mean rank error |" in card


def test_runs_of_grades_are_compared_by_accuracy_and_by_ranks(run, tmp_path):
    other, evaluation = shutil.copytree(run.path, tmp_path / "other"), run.evaluation
    flipped = np.asarray(evaluation.probabilities)[:, ::-1]
    serialization.save_value(dataclasses.replace(evaluation, probabilities=flipped), other / "evaluate")
    [pair] = headstart.compare([run.path, other])["pairs"]
    by_name = {score["name"]: score for score in pair["scores"]}
    assert pair["scores"][0]["name"] == "accuracy" and by_name["accuracy"]["low"] > 0
    assert by_name["ranked_probability_score"]["high"] < 0
    assert "quadratic weighted kappa" in call("compare", run.path, other)[0].splitlines()[0]
