"""Fixes are offered as a table; what a person leaves in it is left out of the data set, every file accounted for."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.api import commands
from headstart.cli.commands.audit import PLUGIN
from headstart.cli.main import main
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.types import Finding, Outcome
from headstart.data.audit import audit_dataset, list_failed
from headstart.data.fix_list import COLUMNS, require_new_file, write_fix_list
from headstart.data.reading.read_dataset import read_dataset

LITE0 = "bundled:efficientnet_lite0"
NAMES = [f"{'ab'[number % 2]}/{number:02d}.png" for number in range(12)]


@pytest.fixture
def pictures(tmp_path):
    """Two classes of six pictures, a copy in the same class, one under the other label, and a blank picture."""
    root = tmp_path / "data"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(values).resize((96, 96)).save(root / name)
    shutil.copy(root / "a/02.png", root / "a/again.png")
    shutil.copy(root / "a/04.png", root / "b/other.png")
    Image.new("RGB", (96, 96), (9, 9, 9)).save(root / "b" / "blank.png")
    return root


@pytest.fixture
def read(context, store):
    """A function that reads a data set with an empty cache."""
    return lambda data, **settings: read_dataset(str(data), ctx=context(data=data, store=store, **settings))


@pytest.fixture
def audit(context, store):
    """A function that reads a set and audits its files: both."""

    def audit_files(data, **settings):
        ctx = context(data=data, store=store, **settings)
        pictures = read_dataset(str(data), ctx=ctx)
        return pictures, audit_dataset(pictures, ctx=ctx)

    return audit_files


def write_list(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def read_list(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_a_row_for_each_picture_with_what_is_offered_first(pictures, audit, tmp_path):
    data, checks = audit(pictures)
    sentence = write_fix_list(tmp_path / "fixes.csv", data, checks.outcomes)
    rows = read_list(tmp_path / "fixes.csv")
    assert {name: row["action"] for name, row in rows.items()} == {
        "a/again.png": "exclude",
        "b/blank.png": "exclude",
        "a/02.png": "look",  # of the copies the first stays
        "a/04.png": "look",  # which of two labels is right is not known
        "b/other.png": "look",
    }
    assert list(rows)[:2] == ["b/blank.png", "a/again.png"] and sentence.startswith("2 `exclude`, 3 `look` in ")
    assert rows["a/again.png"]["code"] == "D101" and rows["a/again.png"]["why"] == "exact duplicates: with `a/02.png`"
    assert rows["b/blank.png"]["code"].split()[0] == "D007" and "D102" in rows["b/other.png"]["code"]


def test_a_likelier_label_is_offered_and_the_strongest_action_of_two_findings_stays(pictures, read, tmp_path):
    data = read(pictures)
    about = {"severity": "warning", "fix": ""}
    labels = Finding(code="D203", sentence="doubt", rows=(1, 2), likelier_classes=("b", "b"), **about)
    copies = Finding(code="D101", sentence="copies", rows=(2, 3), remove_rows=(2,), **about)
    whole_set = Finding(code="D106", sentence="groups", severity="warning", rows=tuple(range(len(data.uris))))
    found = [Outcome(code=f.code, name="", status="issue", why="", findings=(f,)) for f in (whole_set, labels, copies)]
    write_fix_list(tmp_path / "fixes.csv", data, found)
    rows = read_list(tmp_path / "fixes.csv")
    assert [(rows[data.uris[row]]["action"], rows[data.uris[row]]["label"]) for row in (1, 2, 3)] == [
        ("relabel", "b"), ("exclude", ""), ("look", "")
    ]  # fmt: skip
    assert rows[data.uris[2]]["code"] == "D203 D101" and len(rows) == 3


def test_no_finding_offers_to_leave_out_a_class(pictures, read, tmp_path):
    data = read(pictures)
    of_a = tuple(row for row, uri in enumerate(data.uris) if uri.startswith("a/"))
    blurred = Finding(code="D011", severity="warning", sentence="blurred", rows=(*of_a, 9), remove_rows=(*of_a, 9))
    write_fix_list(
        tmp_path / "f.csv", data, [Outcome(code="D011", name="", status="issue", why="", findings=(blurred,))]
    )
    actions = {uri: row["action"] for uri, row in read_list(tmp_path / "f.csv").items()}
    assert actions == {data.uris[9]: "exclude", **{data.uris[row]: "look" for row in of_a}}


def test_excluded_pictures_are_accounted_for_and_other_rows_change_nothing(pictures, read, tmp_path, capsys):
    rows = (
        "a/00.png,exclude,,D101,x",
        "a/02.png,Relabel,b,D203,x",
        "b/01.png,look,,,",
        "b/03.png,,,,",
        "hidden,look,,,",
    )
    fixes = write_list(tmp_path / "fixes.csv", ",".join(COLUMNS), *rows)
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    whole, left = read(pictures), read(pictures, exclude=fixes)
    assert set(whole.uris) - set(left.uris) == {"a/00.png"} and left.digest != whole.digest
    assert len(left.uris) + len(left.excused) == len(whole.uris) + len(whole.excused) == 16
    [excluded] = [file for file in left.excused if file.reason == "excluded"]
    assert (excluded.uri, excluded.detail) == ("a/00.png", "row 2 of `fixes.csv`")
    assert dict(zip(left.uris, left.targets.tolist(), strict=True))["a/02.png"] == 0  # not relabelled
    with (tmp_path / "run" / "read" / "files.csv").open(newline="") as file:
        assert {row["file"]: row["use"] for row in csv.DictReader(file)}["a/00.png"] == "excluded"


def test_what_was_not_applied_is_told(pictures, context, store, tmp_path, capsys):
    from headstart.core.console import Console

    ctx = context(data=pictures, store=store, exclude=write_list(
        tmp_path / "f.csv", "file,action", "a/00.png,exclude", "a/02.png,relabel", "b/01.png,look", "b/03.png,look"
    ))  # fmt: skip
    ctx.console = Console()
    read_dataset(str(pictures), ctx=ctx)
    assert "1 file left out, as `f.csv` says; 1 `relabel` and 2 `look` there are not applied" in capsys.readouterr().err


def test_a_list_of_files_alone_excludes_them_and_a_class_with_none_left_is_gone(pictures, read, tmp_path):
    everything = [f"b/{name.name}" for name in (pictures / "b").iterdir()]
    (pictures / "c").mkdir()
    shutil.copy(pictures / "a/00.png", pictures / "c")
    fixes = write_list(tmp_path / "list.csv", "file", *everything)
    assert read(pictures, exclude=fixes).class_names == ("a", "c")


def test_the_table_may_lie_in_the_folder(pictures, read):
    data = read(pictures, exclude=write_list(pictures / "fixes.csv", "file", "a/00.png"))
    assert [(file.uri, file.reason) for file in data.excused] == [("a/00.png", "excluded"), ("fixes.csv", "hidden")]


def test_tables_and_archives_are_excluded_from_alike(pictures, read, tmp_path):
    table = write_list(tmp_path / "t.csv", "path,label", *(f"data/{name},{name[0]}" for name in NAMES))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for name in NAMES:
            packed.write(pictures / name, name)
    for place, name in ((table, "data/a/00.png"), (tmp_path / "set.zip", "a/00.png")):
        data = read(place, exclude=write_list(tmp_path / "list.csv", "file", name))
        assert len(data.uris) == 11 and name not in data.uris
        assert [(file.uri, file.reason) for file in data.excused] == [(name, "excluded")]


def test_names_of_any_bytes_come_back_as_they_were(pictures, read, tmp_path):
    names = ["a/=1+1.png", "a/line\nbreak.png", os.fsdecode(b"a/\xff\xe9.png"), "a/'-quoted.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 40), (50 * number, 9, 200)).save(pictures / name)
    (pictures / "=class").mkdir()
    Image.new("RGB", (40, 40), (1, 99, 200)).save(pictures / "=class" / "x.png")
    shutil.copy(pictures / "a/00.png", pictures / "=class")
    data = read(pictures)
    odd = [row for row, uri in enumerate(data.uris) if uri in {*names, "=class/x.png"}]
    finding = Finding(code="D007", severity="warning", sentence="blank", rows=tuple(odd), remove_rows=tuple(odd))
    outcome = Outcome(code="D007", name="", status="issue", why="", findings=(finding,))
    assert write_fix_list(tmp_path / "fixes.csv", data, [outcome]).startswith("5 `exclude` in ")
    assert b"\n'=class/x.png," in (tmp_path / "fixes.csv").read_bytes()  # no spreadsheet takes it for a formula
    left = read(pictures, exclude=str(tmp_path / "fixes.csv"))
    assert {file.uri for file in left.excused} == {*names, "=class/x.png"}


def test_from_audit_to_audit_the_last_list_is_enough(pictures, audit, tmp_path):
    data, checks = audit(pictures)
    write_fix_list(tmp_path / "one.csv", data, checks.outcomes)
    data, checks = audit(pictures, exclude=str(tmp_path / "one.csv"))
    status = {outcome.code: outcome.status for outcome in checks.outcomes}
    assert (status["D101"], status["D007"], status["D001"]) == ("passed", "passed", "tip")
    write_fix_list(tmp_path / "two.csv", data, checks.outcomes)
    again, _ = audit(pictures, exclude=str(tmp_path / "two.csv"))
    assert again.digest == data.digest


WRONG = {
    b"": "has no column `file`",
    b"path,action\na/00.png,exclude\n": "has no column `file`; its columns: `path`, `action`",
    b"file,code,why\na/00.png,D101,x\n": "has no column `action`",
    b"file,action\na/00.png,exlude\na/02.png,drop\n": "2 rows .* row 2 has the action `exlude`.*did you mean `exclude`",
    b"a/00.png\na/02.png\n": "has no column `file`",
    b'file,action\n"a/00.png,exclude\n' + b"x" * 11_000_000: "malformed",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_table_that_is_none_of_fixes_is_refused(content, read, pictures, tmp_path):
    (tmp_path / "fixes.csv").write_bytes(content)
    with pytest.raises(DataError, match=WRONG[content]):
        read(pictures, exclude=str(tmp_path / "fixes.csv"))


def test_a_table_that_cannot_be_read_is_refused_before_anything_starts(pictures, tmp_path, store):
    from headstart.api.preflight import preflight
    from headstart.core.console import Console
    from headstart.core.job import Job

    for name in ("missing.csv", "data"):
        job = Job(data=str(pictures), exclude=str(tmp_path / name), backbones=(LITE0,))
        [problem] = preflight(job, tmp_path / "new", Console(quiet=True))
        assert "cannot be read" in problem.what and name in problem.where


def test_names_that_are_not_there_are_an_error_with_the_nearest(pictures, read, tmp_path):
    other = write_list(tmp_path / "other.csv", "file,action", "x/cat.png,exclude", "x/dog.png,exclude", "z,look")
    with pytest.raises(DataError, match="none of the 2 files that `other.csv` excludes is in the data set") as err:
        read(pictures, exclude=other)
    assert str(pictures) in err.value.hint and "`a/00.png`" in err.value.hint
    typo = write_list(tmp_path / "typo.csv", "file", "a/00.png", "c/02.png")
    with pytest.raises(
        DataError, match="1 of 2 files that `typo.csv` excludes are not in the data set: `c/02.png`"
    ) as err:
        read(pictures, exclude=typo)
    assert "did you mean `a/02.png`?" in err.value.hint


def test_another_list_changes_the_pictures_of_a_run_that_has_learnt(pictures, context, store, tmp_path):
    fixes = tmp_path / "fixes.csv"
    write_list(fixes, "file", "a/00.png")
    ctx = context(data=pictures, store=store, exclude=str(fixes))
    data = read_dataset(str(pictures), ctx=ctx)
    ctx.record_decision("data", lambda: data.digest)
    ctx.record_decision("candidates", lambda: ["x"])
    (ctx.make_step_folder("audit") / "vectors.json").write_text("{}")
    write_list(fixes, "file", "a/02.png")
    assert "a/02.png" not in read_dataset(str(pictures), ctx=ctx).uris  # it was looked at, no more: begun anew
    assert ctx.run.find_decision("candidates") is None and not (ctx.run.path / "audit").exists()
    ctx.record_decision("data", lambda: data.digest)
    ctx.make_step_folder("splits")
    with pytest.raises(DataError, match="changed since the run"):
        read_dataset(str(pictures), ctx=ctx)


@pytest.mark.parametrize(
    ("name", "what"), [("t.csv", "is there already"), ("t.txt", ".csv"), ("no/t.csv", "no folder")]
)
def test_a_table_of_fixes_replaces_nothing(name, what, tmp_path):
    (tmp_path / "t.csv").write_text("edited")
    with pytest.raises(UsageError, match=what):
        require_new_file(tmp_path / name)


def test_a_folder_that_may_not_be_written_is_told():
    """In a process of its own, which is nobody where this one is root."""
    program = (
        "import os, sys, pathlib\n"
        "from types import SimpleNamespace\n"
        "from headstart.core.errors import HeadstartError\n"
        "from headstart.data.fix_list import read_fix_list, require_new_file, write_fix_list\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "for use in (lambda p: require_new_file(p / 'new.csv'),\n"
        "            lambda p: write_fix_list(p / 'new.csv', SimpleNamespace(excused=()), ()),\n"
        "            lambda p: read_fix_list(p / 'closed.csv')):\n"
        "    try: use(pathlib.Path(sys.argv[1]))\n"
        "    except HeadstartError as err: print(type(err).__name__, err.what)\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # below it others may pass, and not write
        write_list(Path(folder) / "closed.csv", "file")
        (Path(folder) / "closed.csv").chmod(0)
        Path(folder).chmod(0o555)
        out = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
        Path(folder).chmod(0o755)
    assert [line.split()[0] for line in out.stdout.splitlines()] == [*2 * [SetupError.__name__], DataError.__name__], (
        out
    )
    assert "may not be written" in out.stdout and "Permission denied" in out.stdout


@pytest.mark.medium
def test_the_command_offers_fixes_fails_as_asked_and_passes_with_them(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["audit", str(pictures), "--backbones", LITE0]
    assert main([*words, "--fix-list", "fixes.csv", "--fail-on", "warning"]) == 1
    out, err = capsys.readouterr()
    assert "D101 issue" in out and "D202" in out  # all of it comes before the gate
    assert "2 `exclude`, 3 `look` in `fixes.csv`: nothing was changed" in err and "warning or worse" in err
    assert "--fix-list" not in out and "D101" in err.splitlines()[-2] and (pictures / "a/again.png").is_file()
    (tmp_path / "fixes.csv").write_text(
        (tmp_path / "fixes.csv").read_text().replace("b/other.png,look", "b/other.png,exclude")
    )
    assert main([*words, "--exclude", "fixes.csv", "--fail-on", "warning", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["pictures"], result["failed"], result["fail_on"]) == (12, [], "warning")
    assert main([*words, "--json", "--quiet"]) == 0  # only errors fail it by default
    assert "D101" in [check["code"] for check in json.loads(capsys.readouterr().out)["outcomes"]]


def test_an_error_ends_the_audit_after_the_files_with_all_findings(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        for number, picture in enumerate(sorted((pictures / folder).iterdir())):
            (pictures / folder / ("one", "two")[number % 2]).mkdir(exist_ok=True)
            picture.rename(pictures / folder / ("one", "two")[number % 2] / picture.name)
    assert main(["audit", str(pictures), "--backbones", LITE0, "--json", "--quiet", "--fix-list", "f.csv"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["failed"] == ["D009"] and {"D001", "D101"} <= {check["code"] for check in result["outcomes"]}
    assert "D202" not in {check["code"] for check in result["outcomes"]} and (tmp_path / "f.csv").is_file()
    with pytest.raises(UsageError, match="`info` is none of error, warning"):
        commands.audit(tmp_path / "nowhere", fail_on="info")  # before anything is looked at
    assert main(["audit", str(pictures), "--fail-on", "info"]) == 2


def test_what_findings_share_is_said_once_and_the_list_is_named_where_none_was_written():
    findings = [
        {"severity": "info", "sentence": sentence, "fix": fix, "remove_rows": [0]}
        for sentence, fix in (("one", "look"), ("two", "look"), ("three", "mend"), ("four", ""))
    ]
    check = {"code": "D107", "status": "tip", "name": "shortcuts", "why": "", "findings": findings}
    result = {"pictures": 1, "excused": [], "outcomes": [check], "fix_list": None}
    lines = PLUGIN.format_result(result).splitlines()
    assert lines[2:6] == ["  info: one", "  info: two; look", "  info: three; mend", "  info: four"]
    assert lines[-1].startswith("--fix-list fixes.csv writes")
    assert "--fix-list" not in PLUGIN.format_result(result | {"fix_list": "fixes.csv"})


def test_the_severity_says_what_fails():
    def outcome(code, *severities):
        findings = tuple(Finding(code=code, severity=severity, sentence="") for severity in severities)
        return Outcome(code=code, name="", status="issue", why="", findings=findings)

    outcomes = [outcome("D1", "info"), outcome("D2", "info", "warning"), outcome("D3", "error"), outcome("D4")]
    assert (list_failed(outcomes, "error"), list_failed(outcomes, "warning")) == (["D3"], ["D2", "D3"])
