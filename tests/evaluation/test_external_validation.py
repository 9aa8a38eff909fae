"""A saved model is judged on another labelled folder, every file accounted for."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import headstart
from headstart.core import model_manifest
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.model_manifest import Decision, UncertaintyEntry
from headstart.core.storage.hashing import file_digest
from headstart.evaluation.external_validation import validate_externally
from headstart.testing.tiny_model import write_tiny_model
from headstart.uncertainty.ood_detection import fit_references

QUIET = Console(quiet=True)


@pytest.fixture
def model(tmp_path):
    """A model that names the strongest of red, green and blue."""
    return write_tiny_model(tmp_path / "model")


def paint(folder, name, colour, count):
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (40, 36), colour).save(folder / name / f"{i}.png")


@pytest.fixture
def folder(tmp_path):
    """Four red, three blue, and two green pictures, one of which lies under `red`."""
    root = tmp_path / "data"
    paint(root, "red", "red", 4)
    paint(root, "blue", "blue", 3)
    paint(root, "green", "lime", 1)
    Image.new("RGB", (40, 36), "lime").save(root / "red" / "wrong.png")
    return root


def test_scores_confusion_and_excused_files(model, folder):
    (folder / "red" / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("hello")
    found = validate_externally(model, folder, console=QUIET)
    scores = {(s.name, s.subject): s for s in found.scores}
    assert scores["accuracy", ""].value == pytest.approx(8 / 9)
    assert scores["accuracy", ""].n == 9
    assert scores["recall", "red"].value == pytest.approx(4 / 5)
    assert {s.split for s in found.scores} == {"test"}
    assert found.class_names == ("blue", "green", "red")
    np.testing.assert_array_equal(found.confusion, [[3, 0, 0], [0, 1, 0], [0, 1, 4]])
    excused = dict(found.excused)
    assert set(excused) == {"red/broken.jpg", "notes.txt"}
    assert "picture" in excused["notes.txt"]


def test_a_class_may_have_no_picture_and_test_is_judged_where_it_is_given(model, tmp_path):
    paint(tmp_path / "data" / "train", "red", "blue", 3)
    paint(tmp_path / "data" / "test", "red", "red", 2)
    (tmp_path / "data" / "test" / "green").mkdir()
    found = validate_externally(model, tmp_path / "data", console=QUIET)
    scores = {(s.name, s.subject): s for s in found.scores}
    assert scores["accuracy", ""].value == 1
    assert scores["accuracy", ""].n == 2
    assert np.isnan(scores["recall", "green"].value)


def test_the_models_own_threshold_decides(tmp_path, folder):
    model = write_tiny_model(tmp_path / "strict", decision=Decision(positive="green", threshold=0.0, costs=None))
    assert validate_externally(model, folder, console=QUIET).confusion[:, 1].sum() == 9


def test_an_unknown_class_names_the_nearest(model, folder):
    (folder / "blue").rename(folder / "bleu")
    with pytest.raises(DataError, match="no class `bleu`") as caught:
        validate_externally(model, folder, console=QUIET)
    assert "`blue`" in caught.value.hint


def test_an_unknown_class_without_pictures_is_told_when_there_is_nothing_to_judge(model, tmp_path):
    for name in ("bleu", "red"):
        (tmp_path / "data" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="no class `bleu`") as caught:
        validate_externally(model, tmp_path / "data", console=QUIET)
    assert "`blue`" in caught.value.hint


def test_an_unknown_class_without_pictures_beside_filled_ones_does_no_harm(model, folder):
    (folder / "bleu").mkdir()
    assert validate_externally(model, folder, console=QUIET).confusion.sum() == 9


def test_nothing_to_judge_is_an_error(model, folder, tmp_path):
    with pytest.raises(DataError, match="no folder"):
        validate_externally(model, tmp_path / "none", console=QUIET)
    (tmp_path / "empty" / "red").mkdir(parents=True)
    with pytest.raises(DataError, match="no picture in a sub-folder"):
        validate_externally(model, tmp_path / "empty", console=QUIET)
    (tmp_path / "empty" / "red" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 pictures"):
        validate_externally(model, tmp_path / "empty", console=QUIET)


def test_a_model_that_knows_doubt_is_judged_by_its_sets_too(folder, tmp_path):
    found = validate_externally(doubting(tmp_path / "doubting"), folder, console=QUIET)
    scores = {(s.name, s.subject): s for s in found.scores}
    assert scores["coverage", ""].value == pytest.approx(8 / 9)  # the picture under a wrong name is not covered
    assert (scores["coverage", ""].n, scores["coverage", "red"].n) == (9, 5)
    assert scores["set_size", ""].value == scores["singletons", ""].value == 1
    assert scores["unknown", ""].value == pytest.approx(3 / 9)  # blue is strange to this model
    assert scores["unknown", "blue"].value == 1
    assert not [
        s
        for s in validate_externally(write_tiny_model(tmp_path / "plain"), folder, console=QUIET).scores
        if s.name == "unknown"
    ]


def doubting(folder):
    """The tiny model, which has seen reds and greens alone."""
    write_tiny_model(folder)
    known = np.array([[255, g, 0] for g in range(0, 256, 5)] + [[r, 255, 0] for r in range(0, 256, 5)], np.float32)
    arrays, k = fit_references(np.hstack([known, known]), np.arange(len(known)) % 2, "nearest")
    limits = {"thresholds": np.full(3, 0.1), "floors": np.full(3, np.inf), "known": np.array([0.5, 1], np.float32)}
    save_file(arrays | limits, folder / "doubt.safetensors")
    entry = UncertaintyEntry(
        coverage=0.9,
        promise=0.9,
        score="least_ambiguous",
        kept=0.99,
        novelty="nearest",
        neighbour=k,
        limit=1.0,
        familiar=0.99,
        arrays="doubt.safetensors",
        sha256=file_digest(folder / "doubt.safetensors"),
    )
    model_manifest.write_manifest(dataclasses.replace(model_manifest.read_manifest(folder), doubt=entry), folder)
    return folder


def test_only_what_is_judged_is_counted_as_learnt_from(tmp_path, capsys):
    """The data folder of a run: `train/` was learnt, `test/` is judged, and one of it lies in both."""
    from headstart.core import job
    from headstart.core.run.folder import FORMAT
    from headstart.core.storage.files import write_json
    from headstart.core.storage.serialization import save_value
    from headstart.core.types import Splits
    from made_runs import dataset

    run, data = tmp_path / "run", tmp_path / "data"
    for number, colour in enumerate(("red", "blue", "green")):
        shade = ["red", "blue", "lime"][number]
        paint(data / "train", colour, shade, 2)
        (data / "test" / colour).mkdir(parents=True)
        Image.new("RGB", (50 + number, 36), shade).save(data / "test" / colour / "new.png")
    (data / "test" / "red" / "known.png").write_bytes((data / "train" / "red" / "0.png").read_bytes())
    write_tiny_model(run / "model")
    learnt = sorted((data / "train").rglob("*.png"))
    values = dataclasses.replace(dataset([0] * len(learnt)), digests=tuple(map(file_digest, learnt)))
    rows, nobody = np.arange(len(learnt)), np.zeros(0, np.int64)
    save_value(values, run / "read")
    folds, pairs = np.zeros((1, len(rows)), np.int16), np.zeros((0, 2), np.int64)
    parts = {"train": rows, "val": nobody, "test": nobody, "folds": folds, "clusters": rows, "straddling": pairs}
    save_value(Splits(**parts, given=True, seed=0, why=""), run / "splits")
    write_json(run / "format.json", {"format": FORMAT})
    job.write_job(job.make_job(data=str(data)), run / "job.toml")
    result = headstart.evaluate(run, data)
    assert result["learnt_from"] == 1
    assert "learnt from 1 of these pictures" in capsys.readouterr().err
