"""Folders, patterns, archives and tables become pictures in a fixed order; what is wrong costs one row."""

import csv
import io
import json
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from headstart.cli.main import main
from headstart.core.errors import DataError
from headstart.core.storage import tables, unpacking
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs import archives
from headstart.runtime.inputs.image_sources import NamedSource, read_sources


def names(*words, **settings):
    return [str(one) for one in read_sources([NamedSource(text=str(word)) for word in words], **settings)]


def reason(source):
    with pytest.raises(PictureError) as told:
        source.read_bytes()
    return told.value.detail


# ---------------------------------------------------------------- patterns


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg", "a/b/4.png", ".h/5.jpg", "a/.6.jpg", "a-b/7.jpg", "odd[1].jpg"):
        path = Path("t") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return Path("t")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("t/**/*.jpg", ["a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg", "a-b/7.jpg", "odd[1].jpg"]),
        ("t/*/*.jpg", ["a/1.jpg", "a-b/7.jpg"]),
        ("t/a/**/b/*.jpg", ["a/b/2.jpg"]),
        ("t/**/b/**/*.jpg", ["a/b/2.jpg", "a/b/c/3.jpg"]),
        ("t/a/**", ["a/1.jpg", "a/b/2.jpg", "a/b/4.png", "a/b/c/3.jpg"]),
        ("t/a/b*", ["a/b/2.jpg", "a/b/4.png", "a/b/c/3.jpg"]),
        ("t/.h/*.jpg", [".h/5.jpg"]),
        ("t/a/[0-9].jpg", ["a/1.jpg"]),
        ("t/odd[1].jpg", ["odd[1].jpg"]),
    ],
)
def test_patterns(tree, pattern, found):
    assert sorted(names(pattern)) == sorted(f"t/{name}" for name in found)
    assert names(pattern) == names(pattern)


def test_a_pattern_that_matches_nothing_is_a_row_and_listed_names_are_no_patterns(tree):
    [one] = read_sources([NamedSource(text="t/*.gif")])
    assert "nothing matches" in reason(one)
    assert [str(p) for p in read_sources([NamedSource(text="t/a/*.jpg", pattern=False)])] == ["t/a/*.jpg"]


def test_links_that_lead_in_a_circle_match_nothing(tree):
    (tree / "loop").symlink_to("loop")
    assert names("t/*/1.jpg") == ["t/a/1.jpg"]


# ---------------------------------------------------------------- archives


@pytest.fixture
def picture(paint):
    return paint("a.png", "red").read_bytes()


def tarred(path, members):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, members):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name twice is what is wanted
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tgz"])
def test_members_in_their_order_and_nothing_is_unpacked(tmp_path, picture, name):
    members = [("b/2.png", picture), ("../../evil.png", picture), ("notes.txt", b"x"), ("a/1.png", b"no picture")]
    members += [(".hidden/3.png", picture), ("/root.png", picture), ("b/2.png", picture)]
    path = (zipped if name.endswith("zip") else tarred)(tmp_path / name, members)
    before = sorted(p.name for p in tmp_path.parent.rglob("*"))
    found = list(read_sources([NamedSource(text=str(path))]))
    inside = [str(one).removeprefix(f"{path}/") for one in found]
    assert inside == ["b/2.png", "../../evil.png", "a/1.png", "/root.png", "b/2.png"]
    assert [one.content == picture for one in found] == [True, True, False, True, True]
    assert "none of DICOM, NIfTI, NumPy, JPEG" in reason(found[2])
    assert sorted(p.name for p in tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tar.xz"])
def test_a_broken_archive_is_a_row(tmp_path, name):
    (tmp_path / name).write_bytes(b"no archive" * 100)
    [one] = read_sources([NamedSource(text=str(tmp_path / name))])
    assert str(one) == str(tmp_path / name)
    assert "the archive cannot be read" in reason(one)
    [one] = read_sources([NamedSource(text=str(tmp_path / f"none-{name}"))])
    assert "No such file" in reason(one)


def test_what_can_be_read_before_the_break_is_answered(tmp_path, picture):
    path = tarred(tmp_path / "p.tar.gz", [(f"{at}.png", os.urandom(50_000) + picture) for at in range(5)])
    path.write_bytes(path.read_bytes()[:150_000])
    *good, last = read_sources([NamedSource(text=str(path))])
    assert len(good) >= 2
    assert str(last) == str(path)
    assert "the archive cannot be read" in reason(last)


def test_members_that_are_damaged_or_locked(tmp_path, picture):
    path = zipped(tmp_path / "p.zip", [("1.png", picture * 20), ("2.png", picture)])
    content = bytearray(path.read_bytes())
    content[60:70] = b"\0" * 10
    path.write_bytes(content)
    first, second = read_sources([NamedSource(text=str(path))])
    assert "the archive does not give it" in reason(first)
    assert second.read_bytes() == picture


def test_bombs_are_not_unpacked(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_BYTES", 1_000_000)
    monkeypatch.setattr(unpacking, "GROWN_BYTES", 5_000_000)
    zeros = picture + bytes(3_000_000)
    for path in (
        zipped(tmp_path / "p.zip", [("big.png", zeros), ("good.png", picture)]),
        tarred(tmp_path / "p.tar.gz", [("big.png", zeros), ("good.png", picture)]),
    ):
        big, good = read_sources([NamedSource(text=str(path))])
        assert "more than 1,000,000" in reason(big)
        assert good.read_bytes() == picture
    path = tarred(tmp_path / "many.tar.gz", [(f"{at}.bin", bytes(3_000_000)) for at in range(5)])
    [one] = read_sources([NamedSource(text=str(path))])
    assert "200 times its size" in reason(one)
    path = zipped(tmp_path / "many.zip", [(f"{at}.png", picture + bytes(900_000)) for at in range(9)])
    *_, last = found = list(read_sources([NamedSource(text=str(path))]))
    assert len(found) == 7
    assert "200 times its size" in reason(last)


# ---------------------------------------------------------------- tables


@pytest.fixture
def listed(tmp_path, paint):
    """One red and one blue picture beside tables of every kind that name them."""
    red, blue = paint("red.png", "red"), paint("blue.png", "blue")
    rows = [red.name, blue.name, red.name]
    folder = red.parent
    (folder / "t.csv").write_text("\ufeffid,where\n" + "".join(f"{at},{name}\n" for at, name in enumerate(rows)))
    (folder / "t.tsv").write_text("id\twhere\n" + "".join(f"{at}\t{name}\n" for at, name in enumerate(rows)))
    (folder / "semi.csv").write_text("id;where\n" + "".join(f"{at};{name}\n" for at, name in enumerate(rows)))
    (folder / "t.jsonl").write_text("".join(json.dumps({"where": name}) + "\n" for name in rows))
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pydict({"id": [0, 1, 2], "where": rows}), folder / "t.parquet")
    return folder


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "semi.csv", "t.jsonl", "t.parquet"])
def test_every_kind_of_table(saved, listed, name, capsys, tmp_path):
    words = ["predict", str(saved), str(listed / name), "--column", "where", "--json"]
    assert main(words) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["answer"]) for row in found] == [
        ("red.png", "red"),
        ("blue.png", "blue"),
        ("red.png", "red"),
    ]
    (tmp_path / "other").mkdir()
    assert main([*words, "--root", str(tmp_path / "other")]) == 3  # none is there
    assert main([*words, "--root", str(tmp_path / "none")]) == 3
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_column_that_is_not_there_is_told_before_anything_is_answered(saved, listed, name, capsys):
    assert main(["predict", str(saved), str(listed / name), "--column", "wher"]) == 3
    said = capsys.readouterr()
    assert "has no column `wher`" in said.err
    assert "did you mean `where`?" in said.err
    assert said.out == ""
    assert main(["predict", str(saved), str(listed / name)]) == 3
    assert "name the column of paths with --column" in capsys.readouterr().err


def test_malformed_rows_keep_their_place(listed):
    path = listed / "bad.csv"
    path.write_text('path,n\nred.png,1\n,2\nblue.png\n"red.png\n",3\n')
    found = list(read_sources([NamedSource(text=str(path))]))
    assert [str(one) for one in found] == ["red.png", f"{path}:3", "blue.png", "red.png\n"]
    assert "holds no path" in reason(found[1])
    path = listed / "bad.jsonl"
    path.write_text('{"file": "red.png"}\n{\n[]\n\n{"file": 3}\n{"file": "blue.png"}\n')
    found = list(read_sources([NamedSource(text=str(path))]))
    assert [str(one) for one in found] == ["red.png", f"{path}:2", f"{path}:3", f"{path}:5", "blue.png"]
    assert "no JSON object" in reason(found[1])


def test_names_of_any_bytes_in_tables_and_on_standard_input(saved, paint, monkeypatch, capsys):
    import sys

    odd = paint(os.fsdecode(b"caf\xe9\nx.png"), "red")
    path = odd.parent / "t.csv"
    path.write_bytes(b'file\n"caf\xe9\nx.png"\n')
    assert main(["predict", str(saved), str(path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["file"], row["answer"]) == (odd.name, "red")
    listed = os.fsencode(odd) + b"\0" + os.fsencode(odd)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert main(["predict", str(saved), "-", "--null", "--json"]) == 0
    assert [json.loads(line)["answer"] for line in capsys.readouterr().out.splitlines()] == ["red", "red"]


@pytest.mark.parametrize("words", [["--column", "where"], ["--root", "."]])
def test_a_column_without_a_table_is_refused(saved, paint, words, capsys):
    assert main(["predict", str(saved), str(paint("a.png", "red")), *words]) == 2
    assert "no FILE is one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_table_that_cannot_be_read(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        names(tmp_path / name)
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        names(tmp_path / "t.parquet")


def test_a_table_with_a_long_line(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("file," + "x" * 200_000 + "\na.png,1\n")
    assert names(tmp_path / "t.csv") == ["a.png"]
    monkeypatch.setattr(tables, "_CELL", 300_000)
    (tmp_path / "t.csv").write_text("file," + "x" * 400_000 + "\na.png,1\n")
    before = csv.field_size_limit(300_000)
    with pytest.raises(DataError, match="cannot be read: field larger than field limit"):
        names(tmp_path / "t.csv")
    csv.field_size_limit(before)


def test_rows_of_all_sources_together_in_order(saved, listed, picture, capsys):
    archive = zipped(listed / "p.zip", [("x.png", picture)])
    words = [str(listed / "t.csv"), str(archive), str(listed / "blue.png"), str(listed / "r*.png")]
    assert main(["predict", str(saved), *words, "--column", "where", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["answer"] for row in found] == ["red", "blue", "red", "red", "blue", "red"]


def test_a_model_that_was_changed_is_refused(saved, paint, capsys):
    manifest = saved / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"temperature": 1.0', '"temperature": 2.0'))
    assert main(["predict", str(saved), str(paint("a.png", "red"))]) == 3
    assert "was changed after it was written" in capsys.readouterr().err


def test_a_member_and_a_folder_of_an_archive_are_named_like_files(tmp_path, paint):
    content, path = paint("1.png", "red").read_bytes(), tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a[1]/1.png", "a[1]/2.png", "b/3.png", "a[1]/notes.txt"):
            archive.writestr(name, content)
    names = [NamedSource(text=f"{path}/a[1]/2.png"), NamedSource(text=f"{path}/a[1]")]
    found = list(read_sources(names))
    assert [one.name for one in found] == [f"{path}/a[1]/{name}" for name in ("2.png", "1.png", "2.png")]
    assert all(one.read_bytes() == content for one in found)
