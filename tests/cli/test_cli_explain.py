"""headstart explain: pictures, a page and rows; names that collide; what cannot be read."""

import json

import pytest
from PIL import Image

from headstart.cli.main import main


def test_each_picture_gets_an_overlay_a_page_and_its_lines(saved, paint, tmp_path, capsys):
    out = tmp_path / "why"
    files = [str(paint("a.png", "red")), str(paint("b.png", "blue"))]
    assert main(["explain", str(saved), *files, "--out", str(out)]) == 0
    said = capsys.readouterr()
    with Image.open(out / "a.png") as drawn:
        assert drawn.size == (40, 36)
    assert f"{files[0]}: red 1.000\n" in said.out
    assert "occlusion: not every feature is the mean of a map" in said.out
    assert "keeps no training pictures to compare with" in said.out
    page = (out / "index.html").read_text()
    assert page.count("<article>") == 2
    assert '<img src="a.png" alt="Heat map of red on a.png">' in page
    assert "<script" not in page
    assert said.err.splitlines()[-1] == "2 answered, 0 could not be read"


def test_json_tells_the_map_and_where_it_lies(saved, paint, tmp_path, capsysbinary):
    words = ["--json", "--out", str(tmp_path / "why"), "--class", "green", "--method", "scorecam", "--quiet"]
    assert main(["explain", str(saved), str(paint("a.png", "red")), str(tmp_path / "none.png"), *words]) == 0
    good, bad = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert (good["answer"], good["class"], good["method"]) == ("red", "green", "scorecam")
    assert good["box"] == [4.25, 2.25, 35.75, 33.75]
    assert len(good["evidence"]) == len(good["evidence"][0]) == 32
    assert good["score"] < 0
    assert bad["error"].startswith("missing")
    assert sorted(p.name for p in (tmp_path / "why").iterdir()) == ["a.png", "index.html"]


def test_pictures_of_one_name_do_not_overwrite_each_other(saved, paint, tmp_path, capsys):
    files = [str(paint(name, "red")) for name in ("one/a.png", "two/a.png", "A.png")]
    assert main(["explain", str(saved), *files, "--out", str(tmp_path / "why")]) == 0
    found = sorted(p.name for p in (tmp_path / "why").glob("*.png"))
    assert found == ["A-3.png", "a-2.png", "a.png"]
    assert capsys.readouterr().err.startswith(f"{(tmp_path / 'why' / 'index.html').as_posix()} shows")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--class", "rde"], "the model knows no class `rde`"),
        (["--method", "cam"], "`cam` is exact only where every feature is the mean of a map"),
        (["--method", "gradient"], "there is no method `gradient`"),
        (["--neighbours", "-1"], "--neighbours"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(saved, paint, tmp_path, capsys, words, told):
    assert main(["explain", str(saved), str(paint("a.png", "red")), "--out", str(tmp_path / "why"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "why").exists()


def test_no_picture_at_all_is_an_error(saved, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("words")
    assert main(["explain", str(saved), str(tmp_path / "text.jpg"), "--out", str(tmp_path / "why")]) == 3
    said = capsys.readouterr().err
    assert "none of 1 files could be read" in said
    assert "hint" not in said  # the line of the file tells why
    assert not (tmp_path / "why").exists()


def test_a_bare_model_folder_has_no_network_for_gradients(saved, paint, tmp_path, capsys):
    words = ["--method", "gradcam", "--out", str(tmp_path / "why")]
    assert main(["explain", str(saved), str(paint("a.png", "red")), *words]) == 3
    assert "is not a run folder" in capsys.readouterr().err


def test_its_own_folder_is_written_again_and_a_foreign_one_is_left_alone(saved, paint, tmp_path, capsys):
    words = ["explain", str(saved), str(paint("a.png", "red"))]
    assert main([*words, "--out", str(tmp_path / "why")]) == 0
    assert main([*words, "--out", str(tmp_path / "why")]) == 0
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>Mine</title>")
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "site")]) == 2
    assert "is not empty, and no explanation made it" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "site").iterdir()] == ["index.html"]
    assert (tmp_path / "site" / "index.html").read_text() == "<title>Mine</title>"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("why/a.png", "the picture `{}/why/a.png` lies in `{}/why`"),
        ("why/*.png", "the picture `{}/why/a.png` lies in `{}/why`"),
        ("why", "the folder `{}/why` lies among the pictures of `{}/why`"),
        ("", "the folder `{}/why` lies among the pictures of `{}`"),
        ("-", "the picture `{}/why/a.png` lies in `{}/why`"),
    ],
)
def test_no_picture_is_written_over(saved, paint, tmp_path, monkeypatch, capsys, named, told):
    place = paint("a.png", "red").parent
    assert main(["explain", str(saved), str(place / "a.png"), "--out", str(place / "why")]) == 0
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    monkeypatch.setattr(
        "headstart.cli.answer_output.read_stdin_names", lambda **_: iter([str(place / "why" / "a.png")])
    )
    words = [named if named == "-" else str(place / named), "--out", str(place / "why")]
    capsys.readouterr()
    assert main(["explain", str(saved), *words]) == 2
    assert told.replace("{}", str(place)) in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*.*")} == before
