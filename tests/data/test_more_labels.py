"""Pictures that `--more` adds are learnt from and never judge; `--test-of` lets what judged before judge again."""

import csv
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from headstart.cli.main import main
from headstart.core.errors import DataError, UsageError
from headstart.core.job import make_job
from headstart.core.storage import serialization
from headstart.core.types import Splits
from headstart.data.audit import audit_dataset
from headstart.data.reading.more_labels import require_more_labels
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.splits import draw_splits


def paint(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
    return path


def write_rows(path, *rows, header=("file", "answer", "uncertainty", "label")):
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    return path


def judge(run, data, test, val=()):
    """Note in a run which of its pictures judged."""
    rows = range(len(data.uris))
    split = Splits(
        train=np.setdiff1d(rows, [*test, *val]),
        val=np.array(val, np.int64),
        test=np.array(test, np.int64),
        folds=np.zeros((1, len(data.uris)), np.int16),
        clusters=np.arange(len(data.uris)),
        given=False,
        straddling=np.empty((0, 2), np.int64),
        seed=0,
        why="drawn",
    )
    serialization.save_value(split, run / "splits")


@pytest.fixture
def first(tmp_path, context, store):
    """Twelve pictures in two classes and two kept apart, as a run read them; the last of each class judged it."""
    for at in range(12):
        paint(tmp_path / "data" / "ab"[at % 2] / f"{at:02d}.png", at)
    for at in (20, 21):
        paint(tmp_path / "data" / "unlabeled" / f"{at}.png", at)
    data = read_dataset(str(tmp_path / "data"), ctx=context(tmp_path / "data", store=store, name="first"))
    judge(tmp_path / "first", data, [5, 11])
    return data


def read(tmp_path, context, store, more, **settings):
    ctx = context(tmp_path / "data", store=store, name="second", more=str(more), **settings)
    return read_dataset(str(tmp_path / "data"), ctx=ctx), ctx


def manifest(tmp_path):
    rows = csv.DictReader((tmp_path / "second" / "read" / "files.csv").read_text().splitlines())
    return {row["file"]: row["use"] for row in rows}


def test_every_row_is_learnt_from_or_has_its_reason(first, tmp_path, context, store):
    new = [paint(tmp_path / "new" / f"{at}.png", at) for at in range(30, 34)]
    apart, own = tmp_path / "data" / "unlabeled" / "20.png", tmp_path / "data" / "a"
    rows = [(new[0], "a"), ("new/31.png", "c"), (new[2], ""), (new[0], "a"), (apart, "b"), (own / "00.png", "a")]
    rows += [(own / "02.png", "b"), (tmp_path / "gone.png", "a")]
    more = write_rows(tmp_path / "next.csv", *((file, "b", 0.5, label) for file, label in rows))
    data, _ = read(tmp_path, context, store, more)
    labels = {uri: data.class_names[target] for uri, target in zip(data.uris, data.targets, strict=True)}
    assert len(data.uris) == 12 + 3 - 1 and data.class_names == ("a", "b", "c")
    assert (labels["../new/30.png"], labels["../new/31.png"], labels["unlabeled/20.png"]) == ("a", "c", "b")
    assert data.unlabelled == ("../new/32.png", "unlabeled/21.png")
    assert {file.uri: file.reason for file in data.excused} == {
        "../new/30.png": "duplicate_row",
        "../gone.png": "missing",
        "a/02.png": "two_labels",
    }
    assert manifest(tmp_path)["a/00.png"] == "used" and manifest(tmp_path)["a/02.png"] == "two_labels"


def test_what_judged_judges_again_and_nothing_else(first, tmp_path, context, store):
    judges = [tmp_path / "data" / first.uris[row] for row in (5, 11)]
    copy = shutil.copy(judges[0], tmp_path / "copy.png")
    near = tmp_path / "near.png"
    Image.open(judges[1]).resize((48, 48), Image.Resampling.NEAREST).save(near)
    new = paint(tmp_path / "new.png", 40)
    grown = paint(tmp_path / "data" / "a" / "99.png", 41)  # in the folder itself
    more = write_rows(tmp_path / "next.csv", *((file, "", "", "a") for file in (copy, new)), (near, "", "", "b"))
    data, ctx = read(tmp_path, context, store, more, test_of=str(tmp_path / "first"))
    splits = draw_splits(data, audit_dataset(data, ctx=ctx).clusters, ctx=ctx)
    names = {part: {data.uris[row] for row in getattr(splits, part)} for part in ("train", "val", "test")}
    assert names["test"] == {first.uris[5], first.uris[11]} and names["val"] == set()
    assert names["train"] == {*first.uris, "../new.png", "a/99.png"} - names["test"]
    assert "2 pictures more not learnt from: near pictures that judge" in splits.why
    assert len(splits.straddling) == 0 and not splits.given and grown.is_file()
    left_out = [data.uris.index(uri) for uri in ("../copy.png", "../near.png")]
    assert (splits.folds[:, left_out] == -1).all()


def test_pictures_of_a_run_that_held_none_out_are_drawn_anew(first, tmp_path, context, store):
    judge(tmp_path / "first", first, [])
    more = write_rows(tmp_path / "next.csv", (paint(tmp_path / "new.png", 40), "", "", "a"))
    data, _ = read(tmp_path, context, store, more, test_of=str(tmp_path / "first"))
    assert set(data.split) == {""} and len(data.uris) == 13


def test_more_pictures_of_an_archive_lie_beside_it(first, tmp_path, context, store):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted((tmp_path / "data").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path / "data"))
    new, inside = paint(tmp_path / "new" / "1.png", 50), tmp_path / "data.zip" / "unlabeled" / "20.png"
    more = write_rows(tmp_path / "next.csv", (new, "", "", "a"), (inside, "", "", "b"))
    data = read_dataset(
        str(tmp_path / "data.zip"), ctx=context(tmp_path / "data.zip", store=store, name="second", more=str(more))
    )
    assert {str(new), "unlabeled/20.png"} < set(data.uris) and len(data.uris) == 14


@pytest.mark.parametrize(
    ("labels", "target", "task", "more", "told"),
    [
        (["1.5", "2.5"], "depth", "auto", "9.25", None),
        (["1.5", "2.5"], "depth", "auto", "deep", "1 of 13 labels are no numbers"),
        (["x|y", "x"], "labels", "auto", "y|z", None),
        (["1", "2", "3"], "grade", "ordinal", "4", None),
        (["a", "b"], "label", "auto", "a|b", "where one is needed for classification"),
    ],
)
def test_numbers_labels_and_grades(tmp_path, context, store, labels, target, task, more, told):
    rows = [(f"{at}.png", labels[at % len(labels)]) for at in range(12)]
    for name, _ in rows:
        paint(tmp_path / "set" / name, int(name[:-4]))
    table = write_rows(tmp_path / "set" / "t.csv", *rows, header=("file", target))
    added = write_rows(tmp_path / "next.csv", (paint(tmp_path / "new.png", 60), more), header=("file", "label"))
    ctx = context(table, store=store, target=target, task=task, more=str(added))
    if told:
        with pytest.raises(DataError, match=told):
            read_dataset(str(table), ctx=ctx)
        return
    data = read_dataset(str(table), ctx=ctx)
    value = data.targets[data.uris.index("../new.png")]
    if data.learning_task.has_labels:
        assert [name for name, there in zip(data.class_names, value, strict=True) if there] == more.split("|")
    else:
        assert (data.class_names[value] if data.class_names else str(value)) == more


def test_what_does_not_fit_is_refused(first, tmp_path, context, store, capsys):
    more = write_rows(tmp_path / "next.csv", (paint(tmp_path / "new.png", 40), "", "", "a"))
    for path, told in ((tmp_path / "no.csv", "is no table that is there"), (tmp_path / "data", "is no table")):
        with pytest.raises(DataError, match=told):
            require_more_labels(make_job(data="x", more=str(path)))
    with pytest.raises(DataError, match="no column of the table"):
        require_more_labels(
            make_job(data="x", more=str(write_rows(tmp_path / "t.csv", header=("one", "two", "three"))))
        )
    with pytest.raises(DataError, match="`.*data` is no run folder"):
        require_more_labels(make_job(data="x", test_of=str(tmp_path / "data")))
    empty = write_rows(tmp_path / "empty.csv", (tmp_path / "new.png", "", "", ""))
    with pytest.raises(DataError, match=r"no row of `empty.csv` has a label"):
        read_dataset(str(tmp_path / "data"), ctx=context(tmp_path / "data", store=store, more=str(empty)))
    for uri in (first.uris[5], first.uris[11]):
        (tmp_path / "data" / uri).unlink()
    with pytest.raises(DataError, match="none of the 2 pictures that judged `first` is among these"):
        read(tmp_path, context, store, more, test_of=str(tmp_path / "first"))
    words = ["fit", str(tmp_path / "data"), "--backbones", "bundled:efficientnet_lite0", "--more", str(more)]
    assert main([*words, "--out", str(tmp_path / "third")]) == UsageError.exit_code
    assert "nothing says which pictures judge" in capsys.readouterr().err
