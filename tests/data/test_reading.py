import csv
import dataclasses
import json
import os
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.serialization import load_value, save_value
from headstart.core.types import Dataset
from headstart.data.reading import file_inspection
from headstart.data.reading.folder_layout import find_judged_folder
from headstart.data.reading.read_dataset import _format_summary, compute_dataset_digest, read_dataset
from headstart.images import preprocessing
from headstart.testing.image_files import encode_picture, write_image_files
from headstart.testing.medical_files import make_dicom


@pytest.fixture
def read(context, store):
    """A function that reads a folder with an empty cache."""
    return lambda folder, **kw: read_dataset(folder, ctx=context(data=folder, store=store, **kw))


def picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path.write_bytes(encode_picture(Image.fromarray(values), "PNG"))
    return path


def tree(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name, number)
    return root


def on_disk(root: Path) -> set[str]:
    """Every file and link below a folder; links are not followed."""
    found = set()
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found |= {Path(folder, name).relative_to(root).as_posix() for name in files + links}
    return found


def test_every_file_of_the_zoo_is_used_or_excused_for_its_reason(read, tmp_path):
    expected = write_image_files(tmp_path / "zoo")
    data = read(tmp_path / "zoo")
    found = dict.fromkeys(data.uris, "") | {one.uri: one.reason for one in data.excused}
    assert found == expected
    assert set(found) == on_disk(tmp_path / "zoo")
    assert len(data.uris) + len(data.excused) == len(expected)
    assert all(one.detail for one in data.excused)
    assert data.class_names == ("broken", "other", "scans", "scene")
    assert Counter(data.class_names[t] for t in data.targets) == Counter(u.split("/")[0] for u in data.uris)


def test_the_run_folder_lists_every_file(read, tmp_path):
    expected = write_image_files(tmp_path / "zoo")
    data = read(tmp_path / "zoo")
    text = (tmp_path / "run" / "read" / "files.csv").read_text()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert len(rows) == len(expected)
    assert Counter(row["use"] for row in rows) == Counter(reason or "used" for reason in expected.values())
    assert {"scene/line\nbreak.png", "scene/not-utf8-\\udcff\\udce9.png"} <= {row["file"] for row in rows}
    back = load_value(Dataset, tmp_path / "run" / "read")
    assert back.uris == data.uris and back.digest == data.digest and back.excused == data.excused
    np.testing.assert_array_equal(back.facts.phash, data.facts.phash)
    assert back.root == "zoo" and all(Path(data.root, uri).exists() for uri in back.uris)


def test_the_list_of_files_holds_no_formula(read, tmp_path):
    read(tree(tmp_path / "set", "=2+5/-1.png", "@b/+2.png"))
    text = (tmp_path / "run" / "read" / "files.csv").read_text()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [(row["file"], row["class"]) for row in rows] == [("'=2+5/-1.png", "'=2+5"), ("'@b/+2.png", "'@b")]


def test_order_and_digest_do_not_depend_on_the_file_system(read, tmp_path):
    names = ["b/2.png", "a/1.png", "a-b/3.png", "a/sub/4.png"]
    one = read(tree(tmp_path / "one", *names))
    for number, name in reversed(list(enumerate(names))):
        picture(tmp_path / "two" / name, number)
    two = read(tmp_path / "two")
    assert one.uris == ("a-b/3.png", "a/1.png", "a/sub/4.png", "b/2.png")
    assert (one.uris, one.digest) == (two.uris, two.digest)
    picture(tmp_path / "two" / "b" / "2.png", 77)
    assert read(tmp_path / "two").digest != one.digest


def test_groups_times_and_weights_come_back_and_change_the_digest_only_where_they_are_set(read, tmp_path):
    data = read(tree(tmp_path / "set", "a/1.png", "b/2.png", "b/3.png"))
    parts = (data.uris, data.digests, data.targets, data.split, data.class_names)
    columns = {"groups": ("p1", "p2", ""), "times": np.array([3.0, 1.5, np.nan]), "weights": np.array([0.5, 1.0, 1.5])}
    plain = load_value(Dataset, tmp_path / "run" / "read")
    assert plain.groups == plain.unlabelled == () and plain.times is plain.weights is None
    assert data.digest == compute_dataset_digest(*parts) == compute_digest([*parts[:2], [0, 1, 1], *parts[3:]])
    assert len({data.digest, *(compute_dataset_digest(*parts, **{n: v}) for n, v in columns.items())}) == 4
    save_value(dataclasses.replace(data, **columns, unlabelled=("new/4.png",)), tmp_path / "again")
    back = load_value(Dataset, tmp_path / "again")
    assert back.groups == columns["groups"] and back.unlabelled == ("new/4.png",)
    assert (
        back.times[:2].tolist() == [3.0, 1.5] and np.isnan(back.times[2]) and back.weights.tolist() == [0.5, 1.0, 1.5]
    )


def test_pictures_without_a_label_are_counted_and_kept_apart(read, context, tmp_path):
    folder = tree(tmp_path / "set", "train/a/1.png", "train/b/2.png", "train/Unlabeled/3.png", "test/un_labelled/4.png")
    picture(folder / "test" / "a" / "5.png", 5)
    (folder / "train" / "Unlabeled" / "note.txt").write_text("who knows")
    data = read(folder)
    assert data.class_names == ("a", "b") and len(data.uris) == 3
    assert data.unlabelled == ("test/un_labelled/4.png", "train/Unlabeled/3.png")
    rows = list(csv.DictReader((tmp_path / "run" / "read" / "files.csv").read_text().splitlines()))
    assert Counter(row["use"] for row in rows) == {"used": 3, "unlabelled": 2, "not_a_picture": 1}
    assert "2 without a label kept apart" in _format_summary(data, {})


def test_a_run_from_before_groups_still_opens(read, tmp_path):
    data = read(tree(tmp_path / "set", "a/1.png", "b/2.png"))
    path = tmp_path / "run" / "read" / "value.json"
    later = ("groups", "times", "weights", "unlabelled")
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in later}))
    assert load_value(Dataset, path.parent).digest == data.digest


def test_a_second_look_takes_facts_from_the_cache(read, tmp_path, monkeypatch):
    folder = tree(tmp_path / "data", "a/1.png", "b/2.png", "b/3.png")
    first = read(folder)
    picture(folder / "b" / "4.png", 4)
    seen = []
    whole = file_inspection.describe_picture
    monkeypatch.setattr(file_inspection, "describe_picture", lambda *args: seen.append(1) or whole(*args))
    second = read(folder, name="again")
    assert len(seen) == 1
    np.testing.assert_array_equal(first.facts.histogram, second.facts.histogram[:3])
    assert second.facts.grey_std.tolist()[:3] == first.facts.grey_std.tolist()


def test_what_was_seen_before_an_interruption_is_kept(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "1")  # in order: of several threads the last may be done before the first
    folder = tree(tmp_path / "data", *(f"{c}/{n}.png" for c in "ab" for n in range(40)))
    whole, seen = file_inspection.describe_picture, []

    def interrupted(content, ranges):
        seen.append(1)
        if len(seen) == 60:
            raise KeyboardInterrupt
        return whole(content, ranges)

    monkeypatch.setattr(file_inspection, "describe_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(folder)
    seen[:] = [0] * 1000
    read(folder, name="again")
    assert 0 < len(seen) - 1000 < 80


@pytest.mark.parametrize(
    "words",
    [
        ("train", "val", "test"),
        ("train", "valid"),
        ("Train", "validation", "TEST"),
        ("Training", "Testing"),
        ("TRAIN_SET", "test set"),
        ("training-data", "dev", "holdout"),
        ("train", "eval"),
    ],
)
def test_given_splits_in_any_usual_spelling(context, store, tmp_path, words, capsys):
    root = tree(tmp_path / "data", *(f"{word}/{name}/{i}.png" for word in words for name in "ab" for i in (1, 2)))
    ctx = dataclasses.replace(context(data=root, store=store), console=Console())
    data = read_dataset(root, ctx=ctx)
    assert data.class_names == ("a", "b")
    expected = ("train", "val") if words[-1] in ("valid", "eval") else ("train", "test")
    expected = ("train", "val", "test") if len(words) == 3 else expected
    split_of = dict(zip(words, expected, strict=True))
    assert data.split == tuple(split_of[uri.split("/")[0]] for uri in data.uris)
    line = capsys.readouterr().err
    assert all(f"{split} 4" + ("" if word == split else f" (`{word}`)") in line for word, split in split_of.items())


def test_folders_named_like_splits_may_be_classes(read, tmp_path):
    vehicles = read(tree(tmp_path / "vehicles", "train/1.png", "car/2.png", "test/3.png"))
    assert vehicles.class_names == ("car", "test", "train") and set(vehicles.split) == {""}
    latest = read(tree(tmp_path / "latest", "latest/1.png", "settled/2.png", "validity/3.png"), name="latest")
    assert latest.class_names == ("latest", "settled", "validity")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("Training/1.png", "Testing/2.png"), "`Testing`, `Training` named for splits, and hold pictures but no class"),
        (("train/a/1.png", "train/b/2.png", "test/3.png"), "`test` named for a split, but hold no class folders"),
        (("train/a/1.png", "train/b/2.png", "extra/c/3.png"), "`train` named for a split and hold class folders, `ex"),
        (("test/a/1.png", "val/b/2.png"), "`test`, `val` named for splits, and there is no `train` to learn from"),
        (("train/a/1.png", "Val/b/2.png", "valid/a/3.png"), "`Val`, `valid` both named for the split `val`"),
    ],
)
def test_splits_or_classes_is_never_guessed(read, tmp_path, names, what):
    with pytest.raises(DataError) as caught:
        read(tree(tmp_path / "data", *names))
    assert what in caught.value.what and caught.value.hint


def test_a_folder_around_the_data_set_is_named(read, tmp_path):
    with pytest.raises(DataError, match="only one class") as caught:
        read(tree(tmp_path / "data", "set/train/a/1.png", "set/test/b/2.png"))
    assert f"give `{tmp_path}/data/set`" in caught.value.hint


def test_what_is_judged_is_found_in_any_usual_spelling(tmp_path):
    root = tree(tmp_path / "data", "Training/a/1.png", "Testing/a/2.png", "Val/a/3.png")
    assert find_judged_folder(root, ("a", "b")) == root / "Testing"
    assert find_judged_folder(root, ("Testing", "Training", "Val")) == root
    assert find_judged_folder(root / "Testing", ("a", "b")) == root / "Testing"


def test_pictures_above_the_class_folders_are_excused(read, tmp_path):
    data = read(tree(tmp_path / "data", "train/a/1.png", "train/b/2.png", "train/loose.png", "test/a/3.png", "top.png"))
    assert [(one.uri, one.reason) for one in data.excused] == [
        ("top.png", "outside_a_class"),
        ("train/loose.png", "outside_a_class"),
    ]
    assert "train/" in data.excused[0].detail


def test_empty_classes_stay_and_folders_of_other_things_are_none(read, tmp_path):
    folder = tree(tmp_path / "data", "a/1.png", "b/2.png")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "x.jpg").write_bytes(b"")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "a.xml").write_text("<a/>")
    (folder / ".git").mkdir()
    data = read(folder)
    assert data.class_names == ("a", "b", "broken", "empty")


def test_two_links_to_one_folder_are_two_folders(read, tmp_path):
    folder = tree(tmp_path / "data", "a/1.png")
    (folder / "b").symlink_to("a", target_is_directory=True)
    assert read(folder).uris == ("a/1.png", "b/1.png")


def test_the_runs_own_folder_is_not_read(context, store, tmp_path):
    folder = tree(tmp_path / "data", "a/1.png", "b/2.png")
    inside = context(data=folder, store=store, name="data/runs/first")
    picture(inside.run.path / "thumbnails" / "1.png")
    data = read_dataset(folder, ctx=inside)
    assert data.class_names == ("a", "b")
    assert [(one.uri, one.reason) for one in data.excused] == [("runs/first", "hidden")]


def test_what_may_not_be_read_is_excused(read, tmp_path, monkeypatch):
    """Tests may run as root, whom no permission stops: the system's answer is injected."""
    folder = tree(tmp_path / "data", "a/1.png", "b/2.png", "b/locked.png", "closed/3.png")
    scandir = os.scandir

    def guarded_open(path, *args, **named):
        if str(path).endswith("locked.png"):
            raise PermissionError(13, "Permission denied", path)
        return open(path, *args, **named)  # noqa: PTH123 - it stands in for the builtin

    def guarded_scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(preprocessing, "open", guarded_open, raising=False)
    monkeypatch.setattr(os, "scandir", guarded_scandir)
    data = read(folder)
    assert [(one.uri, one.reason) for one in data.excused] == [("b/locked.png", "permission"), ("closed", "permission")]
    assert data.class_names == ("a", "b", "closed")


# ---------------------------------------------------------------- errors


def test_no_such_folder_names_the_nearest(read, tmp_path):
    tree(tmp_path / "textile", "a/1.png")
    with pytest.raises(DataError, match="no folder") as caught:
        read(tmp_path / "textiles")
    assert "`textile`" in caught.value.hint


def test_no_such_folder_and_none_near_tells_how_one_looks(read, tmp_path):
    (tmp_path / "textile.txt").write_text("")
    with pytest.raises(DataError, match="no folder") as caught:
        read(tmp_path / "textile")
    assert "one sub-folder a class" in caught.value.hint


def test_a_file_is_no_folder(read, tmp_path):
    with pytest.raises(DataError, match="is a file"):
        read(picture(tmp_path / "a.png"))


def test_a_folder_without_pictures_says_what_is_there(read, tmp_path):
    for name in ("a/x.csv", "a/y.csv", "b/z.txt", "b/cut.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("text")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "data")
    for part in ("no usable picture", "2 .csv", "1 .txt", "1 .png", "2 sub-folders (a, b)", "4 not a picture"):
        assert part in caught.value.what


def test_an_empty_folder(read, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"no files; no sub-folders"):
        read(tmp_path / "data")


def test_pictures_without_class_folders(read, tmp_path):
    with pytest.raises(DataError, match="all 2 pictures lie directly"):
        read(tree(tmp_path / "data", "1.png", "2.png"))


def test_one_class_is_too_few_and_one_picture_is_not(read, tmp_path):
    folder = tree(tmp_path / "data", "a/1.png", "a/2.png")
    with pytest.raises(DataError, match="only one class"):
        read(folder)
    assert read(tree(folder, "b/1.png"), name="two").targets.tolist() == [0, 0, 1]


# ---------------------------------------------------------------- words


def test_the_closing_line_counts(context, store, tmp_path, capsys):
    write_image_files(tmp_path / "zoo")
    ctx = context(data=tmp_path / "zoo", store=store)
    ctx.console = Console()
    read_dataset(tmp_path / "zoo", ctx=ctx)
    line = capsys.readouterr().err
    assert line.startswith(
        "read        56 pictures in 3 classes (1 more without any), 42 files skipped (12 truncated, "
    )


def test_two_reads_write_the_same_bytes(read, tmp_path):
    write_image_files(tmp_path / "zoo")
    read(tmp_path / "zoo", name="one")
    read(tmp_path / "zoo", name="two")
    one, two = tmp_path / "one" / "read", tmp_path / "two" / "read"
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    assert json.loads((one / "value.json").read_text())["name"] == "zoo"


@pytest.mark.medium
def test_the_textile_pictures(context, textile, shared_store):
    data = read_dataset(textile, ctx=context(data=textile, store=shared_store))
    assert data.class_names == ("global", "local", "nominal")
    assert np.bincount(data.targets).tolist() == [500, 500, 1000]
    assert not data.excused and set(data.facts.width_px.tolist()) == {250}
    np.testing.assert_allclose(data.facts.histogram.sum(axis=1), 1, atol=1e-6)


def test_copies_are_both_used(read, tmp_path):
    folder = tree(tmp_path / "data", "a/1.png", "b/2.png")
    shutil.copy(folder / "a" / "1.png", folder / "b" / "copy.png")
    data = read(folder)
    assert data.digests[0] == data.digests[2] and len(data.uris) == 3


@pytest.mark.parametrize("settings", [{"window": "lung"}, {"slice": "first"}])
def test_settings_of_medical_pictures_are_refused_where_there_are_none(read, tmp_path, settings):
    tree(tmp_path / "set", "a/0.png", "b/0.png")
    (flag,) = (f"--{name}" for name in settings)
    with pytest.raises(UsageError, match=f"{flag} would do nothing: no picture is DICOM or NIfTI") as refusal:
        read(tmp_path / "set", **settings)
    assert refusal.value.where == flag
    grey = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    (tmp_path / "set" / "a" / "IM0001").write_bytes(make_dicom(grey, NumberOfFrames=1))
    assert len(read(tmp_path / "set", **settings).uris) == 3


def test_reading_takes_few_bytes_a_picture(store, tmp_path):
    """The facts of one are 1,128 bytes, and its digest 113; an object for each of a million would be gigabytes."""
    picture(tmp_path / "one.png")
    inspector, console, peaks = file_inspection.FileInspector(str(tmp_path), store), Console(quiet=True), []
    for count in (1, 1, 600):
        tracemalloc.start()
        inspected = inspector.inspect_all(["one.png"] * count, console)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(inspected.digests) == len(inspected.rows) == 600
    assert (peaks[2] - peaks[1]) / 600 < 1800  # what waits for its turn counts, too
