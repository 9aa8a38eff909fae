"""A saved model is judged on another labelled folder, every file accounted for."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import headstart
import made_runs
from headstart.core import job, model_manifest
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.model_manifest import Decision, UncertaintyEntry
from headstart.core.run.reader import RunReader
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.serialization import save_value
from headstart.domain_adaptation.target_domain import read_target_pictures
from headstart.evaluation.external_validation import validate_externally
from headstart.images import preprocessing
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


def test_a_folder_of_pictures_without_a_label_is_set_aside(model, folder):
    paint(folder, "Unlabeled", "red", 2)
    found = validate_externally(model, folder, console=QUIET)
    assert found.confusion.sum() == 9 and [name for name, _ in found.excused] == ["Unlabeled/0.png", "Unlabeled/1.png"]


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


def write_run(run, data, context):
    """A run that read the pictures below `data/train` and `data/test` and learnt from those of `train`."""
    from headstart.core.run.folder import FORMAT
    from headstart.core.storage.files import write_json
    from headstart.core.types import Splits
    from headstart.data.reading.read_dataset import read_pictures

    write_tiny_model(run / "model")
    values = read_pictures(data, ctx=context(data))
    train = np.flatnonzero(np.array(values.split) == "train")
    save_value(values, run / "read")
    n, nobody = len(values.uris), np.zeros(0, np.int64)
    folds, pairs = np.zeros((1, n), np.int16), np.zeros((0, 2), np.int64)
    parts = {"train": train, "val": nobody, "test": nobody, "folds": folds, "clusters": np.arange(n)}
    save_value(Splits(**parts, straddling=pairs, given=True, seed=0, why=""), run / "splits")
    write_json(run / "format.json", {"format": FORMAT})
    job.write_job(job.make_job(data=str(data)), run / "job.toml")
    return run


def draw_scene(seed, size=(160, 120)):
    """Smooth blobs of colour, like a photograph out of focus; another seed gives quite another one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def test_judged_pictures_that_were_learnt_from_are_counted_copies_and_look_alikes_apart(
    tmp_path, context, capsys, monkeypatch
):
    """`train/` was learnt, `test/` is judged: a copy, three saved again or smaller, and two that are new."""
    data = tmp_path / "data"
    for at in range(30):
        folder = data / "train" / ("red", "blue", "green")[at % 3]
        folder.mkdir(parents=True, exist_ok=True)
        draw_scene(at).save(folder / f"{at}.jpg", quality=95)
    judged = data / "test" / "red"
    judged.mkdir(parents=True)
    (data / "test" / "blue").mkdir()
    draw_scene(100).save(judged / "new.jpg")
    draw_scene(101).save(data / "test" / "blue" / "new.jpg")
    run = write_run(tmp_path / "run", data, context)
    (judged / "same.jpg").write_bytes((data / "train" / "red" / "0.jpg").read_bytes())
    for at in (3, 6):
        Image.open(data / "train" / "red" / f"{at}.jpg").save(judged / f"again_{at}.jpg", quality=60)
    draw_scene(9).resize((120, 90)).save(judged / "smaller.png")
    opened, open_file = Counter(), preprocessing._open_without_waiting
    monkeypatch.setattr(
        preprocessing,
        "_open_without_waiting",
        lambda path, flags: (opened.update([path]), open_file(path, flags))[1],
    )
    result = headstart.evaluate(run, data)
    assert len(opened) == 6 and set(opened.values()) == {1}  # each picture is read once
    assert (result["learnt_from"], result["look_alikes"]) == (1, 3)
    majority = {s["name"]: s["value"] for s in result["baselines"] if s["subject"] == "majority class"}
    assert majority["accuracy"] == 1 / 6  # of equally many, the first: `blue`
    stderr = capsys.readouterr().err
    assert "learnt from 1 of these pictures, and 3 others look like one that it learnt from" in stderr
    assert "none of these shows `green`: balanced accuracy and macro scores are of the other classes" in stderr
    assert list(result["absent"]) == ["green"]


def test_pictures_unlike_those_learnt_from_raise_no_warning(tmp_path, context, capsys):
    data = tmp_path / "data"
    for at in range(40):
        folder = data / ("train" if at < 30 else "test") / ("red", "blue", "green")[at % 3]
        folder.mkdir(parents=True, exist_ok=True)
        draw_scene(at).save(folder / f"{at}.jpg")
    result = headstart.evaluate(write_run(tmp_path / "run", data, context), data)
    assert (result["learnt_from"], result["look_alikes"], list(result["absent"])) == (0, 0, [])
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("use", "method", "counts"),
    [("learn", "coral", (1, 1)), ("judge", "coral", (0, 0)), ("learn", "none", (0, 0))],
)
def test_labels_of_a_new_domain_that_were_learnt_count_too(tmp_path, context, use, method, counts):
    data, new = tmp_path / "data", tmp_path / "new"
    for at in range(32):
        folder = data / ("train" if at < 30 else "test") / ("red", "blue", "green")[at % 3]
        folder.mkdir(parents=True, exist_ok=True)
        draw_scene(at).save(folder / f"{at}.jpg")
    (new / "labelled" / "red").mkdir(parents=True)
    for at in range(100, 131):
        draw_scene(at).save(new / ("labelled/red" if at < 102 else ".") / f"{at}.jpg", quality=95)
    run = write_run(tmp_path / "run", data, context)
    reader, fit = RunReader(run), made_runs.adapted(made_runs.dataset(np.zeros(3)), made_runs.splits(3, 0))
    target = read_target_pictures(str(new), reader.dataset, ctx=context(data))
    save_value(target, run / "domains/target")
    save_value(made_runs.adaptation(fit, method), run / "domains/adaptation")
    job.write_job(job.make_job(data=str(data), unlabeled=str(new), target_labels=use), run / "job.toml")
    (data / "test" / "red" / "same.jpg").write_bytes((new / "labelled" / "red" / "100.jpg").read_bytes())
    Image.open(new / "labelled" / "red" / "101.jpg").save(data / "test" / "red" / "again.jpg", quality=60)
    draw_scene(102).save(data / "test" / "red" / "not_learnt.jpg", quality=95)  # it had no label
    result = headstart.evaluate(run, data)
    assert (result["learnt_from"], result["look_alikes"]) == counts


def test_a_table_is_judged_as_its_folder_is(model, folder, tmp_path):
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label", *rows, "gone.png,red", "data/red/0.png,red"]) + "\n")
    one, other = (headstart.evaluate(model, place, console=QUIET) for place in (folder, table))
    assert one["scores"] == other["scores"] and one["confusion"] == other["confusion"]
    assert {name for name, _ in other["excused"]} == {"data/red/0.png", "gone.png"}
    columns = {"path": [row.split(",")[0] for row in rows], "label": [row.split(",")[1] for row in rows]}
    columns["label"][0] = ""
    unlabelled = headstart.evaluate(model, columns, images=tmp_path, console=QUIET)
    assert np.sum(unlabelled["confusion"]) == 8 and unlabelled["excused"] == [[columns["path"][0], "it has no label"]]
    table.write_text(
        "\n".join(["path,label,split", *(f"{row},{'test' if 'blue' in row else 'train'}" for row in rows)])
    )
    judged = headstart.evaluate(model, table, console=QUIET)
    assert {score["n"] for score in judged["scores"] if score["name"] == "accuracy"} == {3}
    with pytest.raises(DataError, match="no column `lable`.*") as caught:
        headstart.evaluate(model, table, target="lable", console=QUIET)
    assert "`label`" in caught.value.hint
