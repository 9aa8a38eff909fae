"""A number as target, from a table to a served answer and a checked export: photographs turned by a known angle."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import headstart
from command_line import LITE0, call
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage import serialization
from headstart.core.types import Embeddings
from headstart.evaluation.drift import drift_reference
from headstart.runtime import usage_log
from headstart.runtime.model import load
from serving_bench import Service
from turned_pictures import write_turned_pictures

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def table(shared_store, textile, tmp_path_factory):
    """100 pictures and their angles."""
    return write_turned_pictures(textile, tmp_path_factory.mktemp("pictures"))


PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tasks.md").read_text()


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """The finished run of the command on the page of tasks."""
    command = next(line for line in PAGE.splitlines() if line.endswith("--target angle") and "fit" in line).split()
    assert command[2] == table.name
    settings = {flag.removeprefix("--"): value for flag, value in zip(command[3::2], command[4::2], strict=True)}
    out = tmp_path_factory.mktemp("regression") / "run"
    return headstart.fit(table, out=out, backbones=LITE0, console=Console(quiet=True), **settings)


@pytest.fixture(scope="module")
def angles(table):
    """File -> angle."""
    with table.open() as handle:
        return {row["file"]: float(row["angle"]) for row in csv.DictReader(handle)}


def test_the_run_measures_numbers_against_their_mean_and_mere_colours(run, angles):
    assert run.dataset.task == "regression" and run.dataset.target_name == "angle"
    assert [run.dataset.targets[row] for row in range(3)] == [angles[uri] for uri in run.dataset.uris[:3]]
    scores = {score.name: score for score in run.headline()}
    assert set(scores) == {"r2", "mae", "rmse", "spearman"} and scores["r2"].low > 0.8
    mean, colours = (
        next(s for s in run.evaluation.baselines if (s.name, s.subject) == ("mae", subject))
        for subject in ("mean of the training pictures", "colour histogram")
    )
    assert scores["mae"].high < min(mean.low, colours.low) and mean.n == scores["mae"].n == 20
    answers = {verdict.code: verdict.answer for verdict in run.verdicts}
    assert (answers["headline"], answers["transfer"], answers["overfitting"]) == ("yes", "yes", "no")
    lines = (run.path / "evaluate" / "predictions.csv").read_text(encoding="utf-8-sig").splitlines()
    test = [row for row in csv.DictReader(lines) if row["split"] == "test"]
    errors = [abs(float(row["answer"]) - angles[row["uri"]]) for row in test]
    assert np.mean(errors) == pytest.approx(scores["mae"].value, rel=1e-5)


def test_intervals_hold_the_number_and_strangers_are_declined(run, table, angles, tmp_path):
    rows = list(run.predict(sorted(table.parent.glob("*.png"))))
    width = 2 * float(run.find(headstart.core.types.UncertaintyReport).thresholds[0])
    assert all(row.high - row.low == pytest.approx(width) and row.low < row.number < row.high for row in rows)
    inside = [row.low <= angles[row.uri.rpartition("/")[2]] <= row.high for row in rows]
    assert np.mean(inside) > 0.85
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    [strange] = run.predict([noise])
    assert strange.unknown and strange.answer == "unknown" and strange.reasons


def test_another_table_of_numbers_is_judged_with_its_baseline_and_its_overlap(run, table, angles, textile, tmp_path):
    other = write_turned_pictures(textile, tmp_path, count=40, seed=3)
    lines = other.read_text().splitlines()
    learnt = [run.dataset.uris[row] for row in run.splits.train[:2]]
    lines += [f"{table.parent / uri},{angles[uri]}" for uri in learnt] + ["gone.png,3", "000.jpg,many"]
    (other.parent / "000.png").rename(other.parent / "000.jpg")
    del lines[1]
    other.write_text("\n".join(["picture,turned by", *lines[1:]]) + "\n")
    with pytest.raises(DataError, match="`many` is no number, and the model answers with one, `angle`"):
        headstart.evaluate(run, other, target="turned by", console=Console(quiet=True))
    other.write_text(other.read_text().replace("many", "9"))
    stdout, stderr = call("evaluate", run.path, other, "--target", "turned by", "--json")
    judged = json.loads(stdout)
    scores = {score["name"]: score for score in judged["scores"]}
    assert set(scores) == {"r2", "mae", "rmse", "spearman", "coverage", "unknown", "interval_width"}
    rows = [row for row in csv.DictReader(other.read_text().splitlines()) if row["picture"] != "gone.png"]
    answers = list(run.predict([other.parent / row["picture"] for row in rows]))
    errors = [abs(answer.number - float(row["turned by"])) for answer, row in zip(answers, rows, strict=True)]
    assert scores["mae"]["value"] == pytest.approx(np.mean(errors), rel=1e-5) and scores["mae"]["n"] == len(rows) == 42
    inside = [one.low <= float(row["turned by"]) <= one.high for one, row in zip(answers, rows, strict=True)]
    assert scores["coverage"]["value"] == np.mean(inside)
    mean = np.mean(run.dataset.targets[run.splits.train])
    plain = next(score for score in judged["baselines"] if score["name"] == "mae")
    off = np.mean([abs(float(row["turned by"]) - mean) for row in rows])
    assert plain["value"] == pytest.approx(off, rel=1e-5) and scores["mae"]["high"] < plain["low"]
    assert judged["learnt_from"] == 2 and [name for name, _ in judged["excused"]] == ["gone.png"]
    assert "true number in the interval" in stderr and "mean of the training pictures" in stderr


def test_the_command_line_answers_with_numbers(run, table, tmp_path):
    picture = table.parent / "000.png"
    [row] = [json.loads(line) for line in call("predict", run.path, picture, "--json")[0].splitlines()]
    assert list(row) == ["file", "answer", "low", "high", "novelty", "reasons", "error"]
    call("predict", run.path, picture, "--out", tmp_path / "rows.parquet")
    from pyarrow import parquet

    found = parquet.read_table(tmp_path / "rows.parquet")
    assert found.schema.field("answer").type == "double" and found["answer"].to_pylist() == [row["answer"]]
    stdout, _ = call("predict", run.path, picture, tmp_path / "absent.png")
    assert stdout.splitlines()[0] == "file,answer,low,high,novelty,reasons,error" in PAGE.splitlines()
    assert stdout.splitlines()[2].split(",")[1:4] == ["", "", ""]


def test_it_is_served_and_explained(run, table):
    picture = (table.parent / "000.png").read_bytes()
    [answer] = run.predict([table.parent / "000.png"])
    with Service(f"angle={run.path}") as service:
        [row] = service.predict(("000.png", picture)).json()["answers"]
        explained = service.client.post("/v1/explain", files={"files": ("000.png", picture)}).json()
        counted = service.client.get("/metrics").text
    assert row["answer"] == pytest.approx(answer.number, rel=1e-5) and row["low"] < row["answer"] < row["high"]
    assert explained["answer"]["answer"] == row["answer"] and explained["class_name"] == "angle"
    assert 'headstart_answers_total{answer="angle",model="angle"}' in counted


def embed(run, files):
    """The features of all pictures, as a fit hands them on."""
    model = load(run.path)
    chunks, [trunk] = list(model.extract_features(iter(files), batch=16)), model.manifest.trunks
    vectors = {
        depth.name: np.concatenate([chunk.features[trunk.name, depth.name] for chunk in chunks])
        for depth in trunk.depths
    }
    rows, spec = np.arange(len(files)), SimpleNamespace(name=trunk.name)
    return (Embeddings(key=None, spec=spec, rows=rows, vectors=vectors, seconds=0.0, cached=0, latency_ms=1.0),)


def test_numbers_in_use_are_compared_with_held_out_ones(run, table, context, tmp_path):
    written = usage_log.read_reference(run.path / "model")
    assert written.counts.numbers.tolist() == [2] * 10 and written.counts.answered == 20  # each tenth of 20 pictures
    ctx, fitted = context(name="drift"), run.find(headstart.core.types.FitResult)
    shutil.copytree(run.path / "model", ctx.run.path / "model")  # its reference are the 80 cross-validated answers
    judged = dataclasses.replace(run.evaluation, split="cv", rows=fitted.cv_rows, probabilities=fitted.cv_probabilities)
    every = [table.parent / uri for uri in run.dataset.uris]
    drift_reference.write_drift_reference(run.dataset, embed(run, every), fitted, judged, ctx=ctx)
    steep = [every[row] for row in np.argsort(run.dataset.targets)[50:]]
    for name, files in (("known", every), ("moved", steep)):
        words = (ctx.run.path / "model", *files, "--usage", tmp_path / name, "--out", tmp_path / f"{name}.csv")
        assert main(["predict", *map(str, words)]) == 0
    still, moved = (headstart.drift(ctx.run.path / "model", tmp_path / name) for name in ("known", "moved"))
    assert {test.name for test in still.tests} == {"features", "numbers"} and not still.drifted
    assert "novelty and `unknown` are not compared" in " ".join(still.advice)
    [numbers] = [test for test in moved.tests if test.name == "numbers"]
    assert numbers.moved and " of the answers are below " in numbers.sentence


def test_an_export_answers_alike(run, table, tmp_path):
    [export] = headstart.export(run, to="openvino", out=tmp_path / "export", console=Console(quiet=True))
    assert export["parity_max_abs"] < 1e-4 and export["label_agreement"] == 1.0
    [half] = headstart.export(run, to="openvino", out=tmp_path / "f16", precision="f16", console=Console(quiet=True))
    assert 0 < half["parity_max_abs"] < 0.05 and half["score"]["metric"] == "r2" and half["score"]["change"] > -0.01


def test_report_and_card_speak_of_numbers(run):
    page, card = (run.path / "report.html").read_text(), (run.path / "README.md").read_text()
    assert "How far off" in page and "Suspect numbers" in page and "How wide are the intervals" in page
    assert "Confusion matrix" not in page and "Class by class" not in page
    assert "It answers with a number, `angle`" in card and "| mae |" in card and "image-regression" in card
    assert len(run.read_heat_maps()) == len(run.find(headstart.core.types.Explained).maps) > 0


def test_runs_of_numbers_are_compared_by_squared_errors_on_the_same_pictures(run, tmp_path):
    other, evaluation = shutil.copytree(run.path, tmp_path / "other"), run.evaluation
    [pair] = headstart.compare([run.path, other])["pairs"]
    assert pair["sentence"] == "a tie: both give the same answers for 20 pictures"
    off = np.asarray(evaluation.probabilities) + np.random.default_rng(0).normal(0, 20, (20, 1))
    serialization.save_value(dataclasses.replace(evaluation, probabilities=off), other / "evaluate")
    stdout, _ = call("compare", run.path, other)
    [pair] = headstart.compare([run.path, other])["pairs"]
    truth = np.asarray(run.dataset.targets)[evaluation.rows]
    gains = np.square(evaluation.probabilities[:, 0] - truth) - np.square(off[:, 0] - truth)
    assert pair["scores"][0]["name"] == "mse" and pair["scores"][0]["value"] == pytest.approx(gains.mean(), rel=1e-5)
    assert pair["scores"][0]["high"] < 0 and not pair["scores"][0]["tie"] and pair["only_one"] == (gains < 0).sum()
    better = f"`{run.path.as_posix()}` is better: mean squared error -"
    assert better in stdout and f"the first alone is nearer on {pair['only_one']} of them" in stdout
    assert stdout.splitlines()[0].split()[:5] == ["run", "split", "mae", "rmse", "r2"]


def test_settings_of_classes_are_refused_together(table, tmp_path):
    with pytest.raises(UsageError) as refused:
        headstart.fit(
            table,
            out=tmp_path / "run",
            target="angle",
            positive="x",
            metric="accuracy",
            console=Console(quiet=True),
        )
    assert refused.value.where == "--metric, --positive"
