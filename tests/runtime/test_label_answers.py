"""A model that answers with labels: what Python, the command line, the service, MLflow and the usage log say of it."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import headstart
from headstart.cli.main import main
from headstart.core import model_manifest
from headstart.core.storage.hashing import file_digest
from headstart.evaluation.drift import drift_tests
from headstart.runtime import pyfunc, usage_counts, usage_log
from headstart.runtime.model import load
from headstart.testing.tiny_model import write_tiny_model
from serving_bench import Service

NAMES = ("blue", "green", "red")
YELLOW, BLACK, OLIVE, BLUE = "rgb(255,255,0)", "black", "rgb(125,115,0)", "blue"


@pytest.fixture(scope="module")
def labels_model(tmp_path_factory):
    """The tiny model with a set for each label: blue is never ruled out, green and red are open near a half."""
    folder = write_tiny_model(tmp_path_factory.mktemp("labels") / "model", task="multilabel")
    arrays = {"thresholds": np.array([[0.1, np.inf], [0.7, 0.7], [0.7, 0.7]]), "floors": np.full(3, np.inf)}
    save_file(arrays, folder / "doubt.safetensors")
    entry = model_manifest.UncertaintyEntry(
        coverage=0.9, promise=0.8, score="least_ambiguous", kept=0.99, novelty="", neighbour=1, limit=0.0, familiar=1.0,
        arrays="doubt.safetensors", sha256=file_digest(folder / "doubt.safetensors"),
    )  # fmt: skip
    manifest = dataclasses.replace(model_manifest.read_manifest(folder), doubt=entry)
    model_manifest.write_manifest(manifest, folder)
    return folder


@pytest.fixture
def files(paint):
    return [paint(f"{n}.png", colour) for n, colour in enumerate((YELLOW, BLACK, OLIVE, BLUE))]


def test_labels_are_those_of_a_half_and_the_plausible_those_that_cannot_be_ruled_out(labels_model, files):
    rows = list(load(labels_model).predict(files))
    assert [row.answer for row in rows] == ["green|red", "(none)", "red", "blue"]
    assert [row.labels for row in rows] == [("green", "red"), (), ("red",), ("blue",)]
    assert [row.plausible for row in rows] == [("green", "red", "blue"), ("blue",), ("red", "green", "blue"), ("blue",)]
    assert [row.open for row in rows] == [("blue",), ("blue",), ("red", "green", "blue"), ()]
    assert 0.6 < rows[2].probabilities["red"] < 0.7 and rows[2].likeliest == "red"
    assert sum(rows[0].probabilities.values()) == pytest.approx(2, abs=1e-3)
    assert not any(row.unknown or row.reasons for row in rows) and rows[0].number is None


def test_one_temperature_divides_the_log_odds(labels_model, files, tmp_path):
    calibration = model_manifest.Calibration(temperature=2.0)
    tempered = load(write_tiny_model(tmp_path / "tempered", task="multilabel", calibration=calibration))
    [before], [after] = (list(model.predict(files[2:3])) for model in (load(labels_model), tempered))
    log_odds = [np.log(row.probabilities["red"] / (1 - row.probabilities["red"])) for row in (before, after)]
    assert log_odds[0] == pytest.approx(2 * log_odds[1], abs=1e-5) and after.plausible == after.open == ()


def test_a_declined_picture_keeps_its_labels(labels_model, files):
    model = load(labels_model)
    [chunk] = model.extract_features(files[:1])
    p = model.predict_probabilities(chunk)
    uncertainty = model.assess_uncertainty(chunk, p)._replace(strange=np.ones(1, bool), novelty=np.ones(1))
    declined = model.make_prediction("a.png", p[0], 0, uncertainty)
    assert (declined.answer, declined.unknown, declined.labels) == ("unknown", True, ("green", "red"))
    assert "than all known pictures do" in declined.reasons[0]
    assert model.answer_declined(declined).answer == "green|red"


@pytest.fixture
def call(capsysbinary):
    """A function that runs the command line and gives what it printed."""

    def run(*words):
        assert main(["predict", *map(str, words), "--quiet"]) == 0
        return capsysbinary.readouterr().out.decode()

    return run


def test_rows_of_csv_json_and_parquet(labels_model, files, call, tmp_path):
    header = "file,answer,confidence,likeliest,plausible,novelty,reasons,p_blue,p_green,p_red,error"
    rows = list(load(labels_model).predict(files))
    stdout = call(labels_model, *files, tmp_path / "absent.png")
    assert stdout.splitlines()[0] == header
    table = list(csv.DictReader(stdout.splitlines()))
    assert [row["answer"] for row in table] == [*(row.answer for row in rows), ""]
    assert [row["plausible"] for row in table[:4]] == ["|".join(row.plausible) for row in rows]
    objects = [json.loads(line) for line in call(labels_model, *files, "--json").splitlines()]
    assert [row["labels"] for row in objects] == [list(row.labels) for row in rows]
    assert [row["open"] for row in objects] == [list(row.open) for row in rows]
    call(labels_model, *files, "--out", tmp_path / "rows.parquet")
    from pyarrow import parquet

    columns = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert list(columns) == header.split(",") and columns["answer"] == [row.answer for row in rows]


def test_mlflow_answers_alike(labels_model, files):
    rows = list(load(labels_model).predict(files))
    answers = pyfunc.PyfuncModel(load(labels_model)).predict([file.read_bytes() for file in files])
    assert [answer["answer"] for answer in answers] == [row.answer for row in rows]
    assert [answer["p red"] for answer in answers] == [row.probabilities["red"] for row in rows]


@pytest.mark.medium
def test_a_service_answers_as_python_does_and_counts_each_label(labels_model, files):
    rows = list(headstart.predict(labels_model, files))
    with Service(f"tiny={labels_model}") as service:
        assert '{answer="(none)",model="tiny"} 0.0' in service.client.get("/metrics").text
        answers = service.predict(*((file.name, file.read_bytes()) for file in files)).json()["answers"]
        [model] = service.client.get("/v1/models").json()["models"]
        counted = {name: service.metric(f'headstart_answers_total{{answer="{name}",model="tiny"}}') for name in NAMES}
        nothing = service.metric('headstart_answers_total{answer="(none)",model="tiny"}')
        schema = service.client.get("/openapi.json").json()
    for row, answer in zip(rows, answers, strict=True):
        assert answer["answer"] == row.answer and answer["unknown"] is False
        assert all(answer[name] == list(getattr(row, name)) for name in ("labels", "plausible", "open", "reasons"))
        assert answer["probabilities"] == {name: round(p, 6) for name, p in row.probabilities.items()}
    assert model["task"] == "multilabel" and counted == {"blue": 1, "green": 1, "red": 2} and nothing == 1
    assert '"open"' in json.dumps(schema)


def test_shares_of_labels_are_counted_and_compared(labels_model, files, call, tmp_path):
    log = tmp_path / "log.jsonl"
    call(labels_model, *files, "--usage", log, "--out", tmp_path / "rows.csv")
    [line] = map(json.loads, log.read_text().splitlines())
    assert line["present"] == {"blue": 1, "green": 1, "red": 2} and line["labels"] == {} and line["answered"] == 4
    assert line["sizes"][1:4] == [2, 0, 2]
    [yellow, black, olive, blue] = load(labels_model).predict(files)
    before = usage_counts.count_predictions([yellow, black, blue, olive] * 50)
    edges = np.zeros((usage_counts.DIRECTIONS, usage_counts.TENTHS - 1))
    reference = usage_log.UsageReference(model="m", split="test", counts=before, edges=edges)
    results = [
        drift_tests.test_drift(
            reference,
            usage_log.UsageLog(days={"2026-01-31": usage_counts.count_predictions(rows)}, foreign=0, damaged=0),
        )
        for rows in ([yellow, black, blue, olive] * 40, [yellow, olive, olive, black] * 40)
    ]
    assert {test.name for test in results[0].tests} >= {"labels", "plausible"} and not results[0].drifted
    [labels] = [test for test in results[1].tests if test.name == "labels"]
    assert labels.moved and labels.sentence == "`blue` is there in 0.0% instead of 25.0%"
