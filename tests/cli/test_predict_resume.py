"""A killed predict goes on to the same bytes; what was begun otherwise, or is there already, is refused."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from headstart.cli.main import main
from headstart.core import extras

COUNT = 60
FORMS = ("csv", "jsonl", "parquet")


@pytest.fixture
def many(tmp_path):
    """Pictures with noise, one that is none, and one twice: 62 names in a list."""
    folder, rng = tmp_path / "many", np.random.default_rng(0)
    folder.mkdir()
    for number in range(COUNT):
        noise = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:03d}.png")
    (folder / "017.png").write_bytes(b"no picture")
    (folder / 'line\nbreak, "quoted".png').write_bytes((folder / "003.png").read_bytes())
    (folder / "zz\r.png").write_bytes((folder / "004.png").read_bytes())
    (folder / "059.png").rename(folder / "=1+2.png")
    return folder


def predict(saved, *words):
    return main(["predict", str(saved), *map(str, words), "--quiet"])


def notes(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("form", FORMS[:2])
def test_a_table_cut_anywhere_ends_with_the_same_bytes(saved, many, tmp_path, form):
    whole, part = tmp_path / f"whole.{form}", tmp_path / f"part.{form}"
    assert predict(saved, many, "--out", whole) == 0
    assert not notes(tmp_path)
    content = whole.read_bytes()
    assert predict(saved, many, "--out", part) == 0
    made_by = made(saved, many, tmp_path, form)
    for cut in (0, 5, 100, len(content) // 3, len(content) // 2, len(content) - 3, len(content)):
        part.write_bytes(content[:cut])
        (tmp_path / f".part.{form}.unfinished").write_text(json.dumps(made_by))
        assert predict(saved, many, "--out", part, "--resume") == 0
        assert part.read_bytes() == content
        assert not notes(tmp_path)


def made(saved, many, tmp_path, form):
    """What a call notes of itself while it works: seen at a call that is cut short."""
    out = tmp_path / f"noted.{form}"
    words = [sys.executable, "-m", "headstart", "predict", saved, "-", "--out", out]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in sorted(many.glob("0*.png"))) * 3)
        process.stdin.flush()
        while not (out.is_file() and len(out.read_bytes().splitlines()) > 20):
            assert process.poll() is None
        process.kill()
        process.stdin.close()
    note = json.loads((tmp_path / f".noted.{form}.unfinished").read_text())
    (tmp_path / f".noted.{form}.unfinished").unlink()
    assert set(note) == {"headstart", "model", "form", "unknown", "batch"}
    return note


@pytest.mark.medium
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_killed_process_goes_on_to_the_same_bytes(saved, many, tmp_path, form, capsys):
    names = b"".join(os.fsencode(path) + b"\n" for path in sorted(many.glob("0*.png")))
    names *= 10 if form == "csv" else 25  # a part of Parquet has 1,024 rows
    (tmp_path / "names").write_bytes(names)
    whole, part = tmp_path / f"whole.{form}", tmp_path / f"part.{form}"
    words = [sys.executable, "-m", "headstart", "predict", saved, "-", "--quiet", "--out"]
    done = subprocess.run([*words, whole], input=names)
    assert done.returncode == 0
    with subprocess.Popen([*words, part], stdin=subprocess.PIPE) as process:
        process.stdin.write(names[: len(names) * 4 // 5])
        process.stdin.flush()
        first = tmp_path / f".part.{form}.parts" / "part-00000000.parquet" if form == "parquet" else part
        while not (first.is_file() and first.stat().st_size > 1000):
            assert process.poll() is None
        assert main(["predict", str(saved), str(many), "--out", str(part), "--resume"]) == 3
        assert "another process is writing" in capsys.readouterr().err
        process.kill()
        process.stdin.close()
    assert notes(tmp_path)
    if form != "parquet":
        assert part.read_bytes() != whole.read_bytes()
    again = subprocess.run([*words, part, "--resume"], input=names)
    assert again.returncode == 0
    assert part.read_bytes() == whole.read_bytes()
    assert not notes(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_refused_replaced_or_compared(saved, many, tmp_path, form, capsys):
    out = tmp_path / f"rows.{form}"
    assert predict(saved, many, "--out", out) == 0
    content = out.read_bytes()
    assert predict(saved, many, "--out", out) == 2
    assert "is there already" in (said := capsys.readouterr().err)
    assert "--overwrite" in said
    assert out.read_bytes() == content
    assert main(["predict", str(saved), str(many), "--out", str(out), "--resume"]) == 0  # finished: compared
    assert "0 answered, 0 could not be read, 62 rows were there already" in capsys.readouterr().err
    assert out.read_bytes() == content
    assert predict(saved, many / "001.png", "--out", out, "--resume") == 3
    assert "row 1 is of" in capsys.readouterr().err
    assert predict(saved, many, many / "001.png", "--out", out, "--resume") == 3
    assert "the input has more" in capsys.readouterr().err
    assert out.read_bytes() == content
    assert predict(saved, many / "001.png", "--out", out, "--overwrite") == 0
    assert out.read_bytes() != content


@pytest.mark.parametrize(
    ("words", "told"), [(["--no-unknown"], "unknown `True`"), (["--format", "jsonl"], "form `csv`")]
)
def test_gone_on_with_otherwise_is_refused(saved, many, tmp_path, words, told, capsys):
    out = tmp_path / "rows"  # no ending says the form
    assert predict(saved, many, "--out", out) == 0
    note = made(saved, many, tmp_path, "csv")
    (tmp_path / ".rows.unfinished").write_text(json.dumps(note))
    assert predict(saved, many, "--out", out) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert predict(saved, many, "--out", out, "--resume", *words) == 3
    assert told in capsys.readouterr().err
    (tmp_path / ".rows.unfinished").write_text("{")
    assert predict(saved, many, "--out", out, "--resume") == 3
    assert "cannot be read" in capsys.readouterr().err


def test_another_model_is_refused(saved, many, tmp_path, capsys):
    from headstart.testing.tiny_model import write_tiny_model

    out = tmp_path / "rows.csv"
    assert predict(saved, many, "--out", out) == 0
    (tmp_path / ".rows.csv.unfinished").write_text(json.dumps(made(saved, many, tmp_path, "csv")))
    other = write_tiny_model(tmp_path / "other", headstart="1")
    assert predict(other, many, "--out", out, "--resume") == 3
    assert "model `" in capsys.readouterr().err


def test_another_table_is_not_taken_for_one_of_answers(saved, many, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    out.write_text("a,b\n1,2\n")
    assert predict(saved, many, "--out", out, "--resume") == 3
    assert "other columns" in capsys.readouterr().err
    assert out.read_text() == "a,b\n1,2\n"
    parquet = tmp_path / "rows.parquet"
    parquet.write_bytes(b"no parquet")
    assert predict(saved, many, "--out", parquet, "--resume") == 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume"], "name it with --out"),
        (["--overwrite"], "name it with --out"),
        (["--out", "x.csv", "--resume", "--overwrite"], "only one"),
        (["--format", "parquet"], "standard output"),
    ],
)
def test_options_that_do_not_fit_together(saved, paint, words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(saved), str(paint("a.png", "red")), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_table_that_cannot_be_read_or_written(saved, paint, tmp_path, capsys):
    picture = paint("a.png", "red")
    assert predict(saved, picture, "--out", "/dev/null") == 0  # a device is nothing that is there already
    (tmp_path / "folder.csv").mkdir()
    assert predict(saved, picture, "--out", tmp_path / "folder.csv") == 3
    assert "folder.csv" in capsys.readouterr().err
    (tmp_path / "folder.parquet").mkdir()
    assert predict(saved, picture, "--out", tmp_path / "folder.parquet") == 3
    assert "folder.parquet" in capsys.readouterr().err


def test_parquet_holds_what_csv_holds(saved, many, tmp_path):
    from pyarrow import parquet

    assert predict(saved, many, "--out", tmp_path / "rows.parquet") == 0
    assert predict(saved, many, "--out", tmp_path / "rows.jsonl") == 0
    table = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["file"] for row in table] == [row["file"] for row in lines]
    assert [row["p_red"] for row in table] == [row["probabilities"].get("red") for row in lines]
    assert [row["error"] for row in table] == [row["error"] for row in lines]
    assert sum(row["error"] is not None for row in table) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_class_whose_name_is_no_text(tmp_path, paint, form):
    from headstart.testing.tiny_model import write_tiny_model

    saved = write_tiny_model(tmp_path / "model", class_names=("caf\udce9", 'a\n"b"', "red"))
    out = tmp_path / f"rows.{form}"
    assert predict(saved, paint("a.png", "blue"), "--out", out) == 0
    if form == "parquet":
        from pyarrow import parquet

        [row] = parquet.read_table(out).to_pylist()
    elif form == "csv":
        with out.open(newline="") as handle:
            [row] = csv.DictReader(handle)
    else:
        row = json.loads(out.read_text())
    assert row["answer"] == ("caf\udce9" if form == "jsonl" else "caf\\udce9")
    assert form == "jsonl" or {"p_caf\\udce9", 'p_a\n"b"'} < set(row)


def test_parquet_without_pyarrow_says_what_to_install(saved, paint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert predict(saved, paint("a.png", "red"), "--out", tmp_path / "rows.parquet") == 3
    assert extras.format_install_command("parquet") in capsys.readouterr().err
