"""Rows of answers: in order, whole, and quoted, whatever the files are called."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.cli.main import main


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_csv_has_one_column_a_class(saved, paint, capsysbinary):
    assert main(["predict", str(saved), str(paint("a.png", "red")), str(paint("b.png", "blue"))]) == 0
    said = capsysbinary.readouterr()
    first, second = rows(said.out.decode())
    doubt = ["likeliest", "plausible", "novelty", "reasons"]
    assert list(first) == ["file", "answer", "confidence", *doubt, "p_blue", "p_green", "p_red", "error"]
    assert (first["answer"], second["answer"]) == ("red", "blue")
    assert first["confidence"] == first["p_red"]
    assert sum(float(first[f"p_{name}"]) for name in ("blue", "green", "red")) == pytest.approx(1, abs=1e-5)
    assert said.err.decode().strip() == "2 answered, 0 could not be read"


@pytest.mark.parametrize("words", [["--json"], ["--format", "jsonl"]])
def test_json_lines(saved, paint, words, tmp_path, capsysbinary):
    assert main(["predict", str(saved), str(paint("a.png", "red")), str(tmp_path / "none.png"), *words]) == 0
    good, bad = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert good["answer"] == "red"
    assert good["confidence"] == good["probabilities"]["red"]
    assert good["error"] is None
    assert bad["answer"] is None
    assert bad["confidence"] is None
    assert bad["error"].startswith("missing")


def test_a_file_that_cannot_be_read_is_a_row_and_a_count(saved, paint, tmp_path, capsysbinary):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    files = [paint("a.png", "red"), bad, paint("b.png", "blue")]
    assert main(["predict", str(saved), *map(str, files)]) == 0
    said = capsysbinary.readouterr()
    found = rows(said.out.decode())
    assert [row["file"] for row in found] == [str(file) for file in files]
    assert [bool(row["error"]) for row in found] == [False, True, False]
    assert found[1]["answer"] == found[1]["p_red"] == ""
    assert "2 answered, 1 could not be read" in said.err.decode()


def test_nothing_readable_ends_with_3_and_still_has_its_rows(saved, tmp_path, capsysbinary):
    assert main(["predict", str(saved), str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]) == 3
    said = capsysbinary.readouterr()
    assert len(rows(said.out.decode())) == 2
    assert "none of 2 files" in said.err.decode()


def test_a_folder_without_pictures_ends_with_3(saved, tmp_path, capsysbinary):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(saved), str(tmp_path / "empty")]) == 3
    assert f"there is no picture in `{tmp_path / 'empty'}`" in capsysbinary.readouterr().err.decode()


def test_commas_quotes_newlines_and_bytes_in_names(saved, paint, capsysbinary):
    names = ['comma, "quote".png', "line\nbreak.png", os.fsdecode(b"caf\xe9.png"), "=1+1.png"]
    files = [paint(name, "red") for name in names]
    assert main(["predict", str(saved), *map(str, files)]) == 0
    text = capsysbinary.readouterr().out.decode("utf-8")
    found = [row["file"].rpartition("/")[2] for row in csv.DictReader(text.splitlines(keepends=True))]
    assert found == [names[0], names[1], "caf\\udce9.png", names[3]]
    assert main(["predict", str(saved), str(files[2]), "--json"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["file"] == str(files[2])  # every byte survives


def test_a_folder_and_names_from_standard_input(saved, paint, capsysbinary):
    first = paint("b/1.png", "red")
    paint("a/2.png", "blue")
    assert main(["predict", str(saved), str(first.parents[1])]) == 0
    assert [row["answer"] for row in rows(capsysbinary.readouterr().out.decode())] == ["blue", "red"]
    words = [sys.executable, "-m", "headstart", "predict", saved, "-"]
    done = subprocess.run(words, input=os.fsencode(first) + b"\n", capture_output=True)
    assert done.returncode == 0
    assert [row["answer"] for row in rows(done.stdout.decode())] == ["red"]


def test_out_writes_the_same_rows_to_a_file(saved, paint, tmp_path, capsysbinary):
    file = str(paint("a.png", "red"))
    assert main(["predict", str(saved), file]) == 0
    shown = capsysbinary.readouterr().out
    assert main(["predict", str(saved), file, "--out", str(tmp_path / "rows.csv"), "--quiet"]) == 0
    assert (tmp_path / "rows.csv").read_bytes() == shown
    said = capsysbinary.readouterr()
    assert said.out == said.err == b""


def test_an_unwritable_out_is_told(saved, paint, tmp_path, capsysbinary):
    (tmp_path / "file").write_text("")
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--out", str(tmp_path / "file" / "rows.csv")]) == 3
    assert b"rows.csv" in capsysbinary.readouterr().err


def test_an_unknown_format_names_the_nearest(saved, paint, capsysbinary):
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--format", "json"]) == 2
    assert b"`jsonl`" in capsysbinary.readouterr().err


def test_a_damaged_model_is_one_json_object(saved, paint, capsysbinary):
    (saved / "head.safetensors").write_bytes(b"")
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--json"]) == 3
    [line] = capsysbinary.readouterr().out.splitlines()
    assert "head.safetensors" in json.loads(line)["error"]["what"]


@pytest.mark.medium
def test_rows_appear_before_the_last_name_is_known(saved, paint):
    file = os.fsencode(paint("a.png", "red"))
    words = [sys.executable, "-m", "headstart", "predict", saved, "-", "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write((file + b"\n") * 200)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["answer"] == "red"  # the input is still open
        process.stdin.close()
        rest = process.stdout.read()
    assert len(rest.splitlines()) == 199
    assert process.returncode == 0


@pytest.mark.medium
def test_a_reader_that_leaves_ends_it_quietly(saved, paint, tmp_path):
    file = os.fsencode(paint("a.png", "red"))
    words = [sys.executable, "-m", "headstart", "predict", saved, "-"]
    (tmp_path / "names").write_bytes((file + b"\n") * 5000)
    with (tmp_path / "names").open("rb") as names:
        process = subprocess.Popen(words, stdin=names, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=60) == 141
    process.stderr.close()
    assert said == b""


def test_names_that_no_file_can_have_and_a_pipe_are_rows(saved, paint, tmp_path, capsysbinary, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    names = b"a\0b\n" + os.fsencode(tmp_path / "pipe.png") + b"\n" + os.fsencode(paint("a.png", "red")) + b"\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    assert main(["predict", str(saved), "-", "--json"]) == 0
    null, pipe, good = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert "null byte" in null["error"]
    assert "not a regular file" in pipe["error"]
    assert good["answer"] == "red"


@pytest.mark.parametrize("name", ["a.png", "b.JPG"])
def test_rows_never_overwrite_a_picture(saved, paint, name, capsysbinary):
    file = paint(name, "red")
    before = file.read_bytes()
    assert main(["predict", str(saved), "--out", str(file), str(file)]) == 2
    assert b"name of a picture" in capsysbinary.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize("out", ["none/rows.csv", "."])
def test_a_place_where_no_rows_can_lie(saved, paint, tmp_path, out, capsysbinary):
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--out", str(tmp_path / out)]) == 3
    assert b"cannot write" in capsysbinary.readouterr().err


def test_an_empty_name_is_refused(saved, paint, capsysbinary):
    assert main(["predict", str(saved), ""]) == 2
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--out", ""]) == 2
    assert b"the name is empty" in capsysbinary.readouterr().err


def test_a_folder_that_is_not_there_is_told_also_when_a_source_has_its_name(paint, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "run", str(paint("a.png", "red"))]) == 3
    assert "backbone" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "rows.xlsx"], "ends as no table that can be written"),
        (["--out", "rows.txt"], "ends as no table that can be written"),
        (["--out", "rows.json"], "ends as no table that can be written"),
        (["--out", "rows.parquet", "--format", "csv"], "ends as parquet, but --format is csv"),
        (["--out", "rows.csv", "--json"], "ends as csv, but --format is jsonl"),
    ],
)
def test_a_table_is_never_written_under_the_name_of_another_form(
    words, said, saved, paint, tmp_path, capsys, monkeypatch
):
    picture = str(paint("a.png", "red"))
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(saved), picture, *words]) == 2
    assert said in capsys.readouterr().err and not Path(words[1]).exists()


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.csv"])
def test_a_form_that_is_named_may_have_any_ending(name, saved, paint, tmp_path):
    picture = str(paint("a.png", "red"))
    assert main(["predict", str(saved), picture, "--out", str(tmp_path / name), "--format", "csv", "--quiet"]) == 0
    assert (tmp_path / name).read_text().startswith("file,")


@pytest.mark.parametrize(
    "words", [["fit", "data"], ["export", "run", "--to", "onnx"], ["explain", "run", "a.png"], ["rank", "data"]]
)
def test_a_folder_is_not_written_under_the_name_of_a_file(words, tmp_path, capsys):
    assert main([*words, "--out", str(tmp_path / "model.onnx")]) == 2
    said = capsys.readouterr().err
    assert "is the name of a file, and a folder is written" in said and not (tmp_path / "model.onnx").exists()
