"""Pictures without labels: an audit checks what needs none, and nothing is learnt from them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.api import commands
from headstart.api.preflight import preflight
from headstart.cli.main import main
from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.reading.records import NoLabelsError

LITE0 = "bundled:efficientnet_lite0"
OF_LABELS = {"D002", "D003", "D004", "D009", "D102"}


def draw_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(values).resize((96, 96)).save(path)


@pytest.fixture
def flat(tmp_path):
    """A folder of twelve pictures and a copy of one of them."""
    for number in range(12):
        draw_picture(tmp_path / "flat" / f"{number:02d}.png", number)
    shutil.copy(tmp_path / "flat" / "03.png", tmp_path / "flat" / "copy.png")
    return tmp_path / "flat"


@pytest.fixture
def audit_files(context, store):
    """A function that reads and audits the files of a set that needs no labels: the set, and status by code."""

    def audit(data):
        ctx = context(data=data, store=store)
        ctx.only_audits = True
        pictures = read_dataset(str(data), ctx=ctx)
        return pictures, {outcome.code: outcome.status for outcome in audit_dataset(pictures, ctx=ctx).outcomes}

    return audit


def write_table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_checks_of_labels_are_not_applicable_and_the_others_run(flat, audit_files, tmp_path):
    data, statuses = audit_files(flat)
    assert len(data.uris) == 13 and data.class_names == () and not data.learning_task.is_number
    assert {code for code in OF_LABELS if statuses[code] == "not_applicable"} == OF_LABELS
    assert statuses["D101"] == "issue" and statuses["D007"] == "passed" and statuses["D001"] == "passed"
    with (tmp_path / "run" / "read" / "files.csv").open() as file:
        assert {(row["use"], row["class"]) for row in csv.DictReader(file)} == {("used", "")}


def test_what_learns_refuses_them_as_before(flat, context, store):
    with pytest.raises(DataError, match="all 13 pictures lie directly in"):
        read_dataset(str(flat), ctx=context(data=flat, store=store))


@pytest.mark.parametrize(("header", "end"), [("path,patient,note", "p1,"), ("path,label,patient", ",p1")])
def test_a_table_without_labels_keeps_its_groups(flat, audit_files, context, store, tmp_path, header, end):
    table = write_table(tmp_path / "t.csv", header, *(f"flat/{n:02d}.png,{end}" for n in range(12)), f"no.png,{end}")
    with pytest.raises(NoLabelsError):
        read_dataset(str(table), ctx=context(data=table, store=store))
    data, statuses = audit_files(table)
    assert data.groups == ("p1",) * 12
    assert [file.reason for file in data.excused] == ["missing"]
    assert statuses["D102"] == "not_applicable" and statuses["D105"] == "passed"


def test_a_table_without_a_column_of_labels_is_refused_before_anything_starts(flat, tmp_path, store):
    from headstart.core.console import Console

    table = write_table(tmp_path / "t.csv", "path,patient,site", *(f"flat/{n:02d}.png,p,s" for n in range(12)))
    job = Job(data=str(table), backbones=(LITE0,))
    [problem] = preflight(job, tmp_path / "new", Console(quiet=True))
    assert problem.where == "--target" and not preflight(job, tmp_path / "new", Console(quiet=True), needs_labels=False)


def test_flat_split_folders_are_splits_and_copies_across_them_are_seen(tmp_path, audit_files):
    for number in range(10):
        draw_picture(tmp_path / "data" / ("train" if number < 6 else "test") / f"{number}.png", number)
    shutil.copy(tmp_path / "data" / "train" / "1.png", tmp_path / "data" / "test" / "again.png")
    data, statuses = audit_files(tmp_path / "data")
    assert sorted(data.split) == ["test"] * 5 + ["train"] * 6
    assert statuses["D104"] == "issue"


def test_one_class_or_no_picture_is_still_refused(tmp_path, audit_files):
    for number in range(3):
        draw_picture(tmp_path / "one" / "cat" / f"{number}.png", number)
    (tmp_path / "none").mkdir()
    for name, message in (("one", "only one class"), ("none", "no usable picture")):
        with pytest.raises(DataError, match=message):
            audit_files(tmp_path / name)


@pytest.mark.medium
def test_the_command_audits_a_flat_folder_and_fit_refuses_it(flat, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", str(flat), "--backbones", LITE0, "--out", "run", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "D102 not applicable: exact duplicates under two labels; there are no labels" in out
    assert "D101 issue" in out and "D202" in out
    assert main(["fit", str(flat), "--backbones", LITE0, "--out", "other", "--quiet"]) == 3
    assert "lie directly in" in capsys.readouterr().err and not (tmp_path / "other").exists()
    with pytest.raises(DataError, match="lie directly in"):
        commands.rank(flat, backbones=LITE0, out=tmp_path / "third")
