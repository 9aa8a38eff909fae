"""Curves in TensorBoard's and MLflow's own files, read back by TensorFlow and by MLflow themselves."""

import json
import math
import os
import subprocess
import sys

import pytest

from headstart.core import extras
from headstart.core.errors import SetupError
from headstart.core.recipe import Recipe
from headstart.core.types import ClassScores, EpochRow
from headstart.finetuning.tracking import epoch_tracking, epoch_values, mlflow_tracker

CLASSES = ("scratch", "stain 50 %")
# mlflow 3.17 uses a loader that SQLAlchemy 2.1 calls deprecated
FOREIGN = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
RECIPE = Recipe(backbone="b", depths=("stage4", "stage5"), rate=2e-3, seed=7)


def scores(right):
    return ClassScores(
        log_loss=1 - right,
        accuracy=right,
        balanced_accuracy=right - 0.01,
        precision=right - 0.02,
        recall=right - 0.03,
        class_precision=(right, math.nan),
        class_recall=(right - 0.1, right + 0.1),
    )


def row(epoch, *, held=True):
    right = 0.5 + 0.05 * epoch
    return EpochRow(
        epoch=epoch, rate=1e-3 / epoch, loss=0.9 / epoch, train=scores(right), val=scores(right - 0.2) if held else None
    )


def follow(kind, folder, epochs, names=("trial 3, fold 0",)):
    following = epoch_tracking.open_tracker(kind, folder, "2026-11-24-cloth", CLASSES)
    for name in names:
        following.params(name, RECIPE)
        for epoch in epochs:
            following.log(name, row(epoch))
    return following


def events(folder):
    """(step, tag, plugin, value) of all event files of a folder, in the order in which TensorBoard reads them."""
    import tensorflow as tf

    found = []
    for path in sorted(folder.iterdir()):
        read = list(tf.compat.v1.train.summary_iterator(str(path)))
        assert read[0].file_version == "brain.Event:2"
        for event in read[1:]:
            for value in event.summary.value:
                told = tf.make_ndarray(value.tensor)
                found.append((event.step, value.tag, value.metadata.plugin_data.plugin_name, told.item()))
    return found


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No server; what the tracker sets for MLflow is put back."""
    monkeypatch.delenv(mlflow_tracker.URI, raising=False)
    for name in mlflow_tracker.QUIET:
        monkeypatch.setenv(name, os.environ.get(name, mlflow_tracker.QUIET[name]))


def test_tensorboard_files_hold_every_score_by_epoch_and_side(tmp_path):
    follow("tensorboard", tmp_path, [1, 2]).close()
    place = tmp_path / "tensorboard" / "trial-3-fold-0"
    held = events(place / "val")
    assert [v for v in held if v[1] == "accuracy"] == [
        (1, "accuracy", "scalars", pytest.approx(0.35)),
        (2, "accuracy", "scalars", pytest.approx(0.4)),
    ]
    assert {tag for _, tag, _, _ in held} == {
        *scores(0.5).values(),
        "precision/scratch",
        "recall/scratch",
        "recall/stain 50 %",
    }, "a score that could not be computed is no number"
    learnt = {(step, tag): value for step, tag, _, value in events(place / "train")}
    assert learnt[2, "recall/scratch"] == pytest.approx(0.5)
    assert learnt[2, "loss"] == pytest.approx(0.45) and learnt[2, "rate"] == pytest.approx(5e-4)
    text = next(v for v in events(place / "train") if v[1] == "recipe")
    assert text[2] == "text" and b"| depths | stage4+stage5 |" in text[3]


def test_tensorboard_files_can_be_read_while_training_goes_on_and_a_resumed_run_adds_to_them(tmp_path):
    first = follow("tensorboard", tmp_path, [1])
    place = tmp_path / "tensorboard" / "trial-3-fold-0" / "val"
    assert [step for step, tag, _, _ in events(place) if tag == "recall"] == [1]
    again = epoch_tracking.open_tracker("tensorboard", tmp_path, "run", CLASSES)
    again.log("trial 3, fold 0", row(2))
    again.close()
    first.close()
    assert [step for step, tag, _, _ in events(place) if tag == "recall"] == [1, 2]
    assert len(list(place.iterdir())) == 2


def test_a_training_without_held_out_pictures_has_one_side(tmp_path):
    following = epoch_tracking.open_tracker("tensorboard", tmp_path, "run", CLASSES)
    following.log("final", row(1, held=False))
    following.close()
    assert [p.name for p in (tmp_path / "tensorboard" / "final").iterdir()] == ["train"]


def test_every_class_must_have_a_name():
    with pytest.raises(ValueError, match="longer|shorter"):
        epoch_values.epoch_numbers(row(1), ("one",))


def test_missing_mlflow_is_a_fact_with_the_command_that_mends_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SetupError, match="MLflow cannot be loaded") as caught:
        epoch_tracking.open_tracker("mlflow", tmp_path, "run", CLASSES)
    assert caught.value.hint == extras.format_install_command("mlflow")


# ---------------------------------------------------------------- MLflow itself


def stored(tmp_path):
    """Name -> run of what the file in the run folder holds."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'headstart'")
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@FOREIGN
@pytest.mark.medium
def test_mlflow_keeps_a_file_in_the_run_folder_with_every_epoch_and_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow("mlflow", tmp_path / "run", [1, 2], names=("trial 3, fold 0", "final")).close()
    client, runs = stored(tmp_path / "run")
    assert set(runs) == {"2026-11-24-cloth", "trial 3, fold 0", "final"}
    one = runs["trial 3, fold 0"]
    assert one.data.tags["mlflow.parentRunId"] == runs["2026-11-24-cloth"].info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert one.data.params["depths"] == "stage4+stage5" and one.data.params["rate"] == "0.002"
    history = client.get_metric_history(one.info.run_id, "val/accuracy")
    assert [(m.step, m.value) for m in history] == [(1, pytest.approx(0.35)), (2, pytest.approx(0.4))]
    assert one.data.metrics["train/recall/stain 50 _"] == pytest.approx(0.7)
    assert "train/precision/stain 50 _" not in one.data.metrics
    assert [p.name for p in tmp_path.iterdir()] == ["run"], "nothing is left in the folder that the command ran in"


@FOREIGN
@pytest.mark.medium
def test_a_resumed_run_goes_on_in_the_same_mlflow_run(tmp_path):
    follow("mlflow", tmp_path, [1])  # killed: never closed
    follow("mlflow", tmp_path, [2]).close()
    client, runs = stored(tmp_path)
    assert len(runs) == 2
    history = client.get_metric_history(runs["trial 3, fold 0"].info.run_id, "train/loss")
    assert [m.step for m in history] == [1, 2]
    noted = tmp_path / "mlflow" / "runs.json"
    known = json.loads(noted.read_text())
    noted.write_text(json.dumps(dict.fromkeys(known, "0" * 32)))
    follow("mlflow", tmp_path, [1]).close()
    again = json.loads(noted.read_text())
    assert again.keys() == known.keys() and not set(again.values()) & {*known.values(), "0" * 32}, "unknown: begun anew"


@pytest.mark.medium
def test_a_server_that_does_not_answer_is_a_fact_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv(mlflow_tracker.URI, "http://someone:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SetupError, match="MLflow at `http://127.0.0.1:9` fails") as caught:
        epoch_tracking.open_tracker("mlflow", tmp_path, "run", CLASSES)
    assert "secret" not in caught.value.format_text() and mlflow_tracker.URI in caught.value.hint


@pytest.mark.medium
def test_mlflow_is_told_to_ask_nobody_before_it_is_loaded(tmp_path):
    script = (
        "import socket, sys, time\n"
        "asked = []\n"
        "socket.getaddrinfo = lambda *a, **k: asked.append(a) or (_ for _ in ()).throw(OSError('no network'))\n"
        "from headstart.finetuning.tracking import epoch_tracking as track\n"
        f"track.open_tracker('mlflow', __import__('pathlib').Path({str(tmp_path)!r}), 'run', ()).close()\n"
        "time.sleep(1)\n"
        "sys.exit(str(asked) if asked else 0)\n"
    )
    clean = {k: v for k, v in os.environ.items() if k not in (*mlflow_tracker.QUIET, "CI", "PYTEST_CURRENT_TEST")}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout == "", "no line that is not headstart's own"


def test_names_of_metrics_are_such_as_mlflow_takes():
    assert mlflow_tracker._metric_name("val/recall/stain 50 %") == "val/recall/stain 50 _"
    long = [f"test/recall/{'x' * 240}{end}.low" for end in "ab"]
    told = [mlflow_tracker._metric_name(name) for name in long]
    assert told[0] != told[1] and {len(name) for name in told} == {250}
