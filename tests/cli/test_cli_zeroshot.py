"""`headstart zeroshot` as it is called: rows, warnings, exit codes; and `predict` with a bare backbone."""

import csv
import io
import json

import pytest

from command_line import call
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.testing.sample_photos import fetch_labelled_photos

CLASSES = ("--classes", "cat,espresso, palace")


@pytest.fixture(scope="module")
def photos(shared_store):
    """Label -> file."""
    return {label: path for path, label in fetch_labelled_photos(shared_store, Console(quiet=True)).items()}


@pytest.mark.medium
def test_csv_rows_say_that_nothing_is_measured(photos, tmp_path, capsysbinary):
    out = tmp_path / "rows.csv"
    files = [str(photos["cat"]), str(tmp_path / "none.png"), str(photos["espresso"])]
    assert main(["zeroshot", *files, *CLASSES, "--out", str(out)]) == 0
    said = capsysbinary.readouterr().err.decode()
    found = list(csv.DictReader(out.read_text().splitlines()))
    columns = ["file", "answer", "cosine", "cosine_cat", "cosine_espresso", "cosine_palace", "seen", "p_seen"]
    assert list(found[0]) == [*columns, "measured", "error"]
    assert [row["file"] for row in found] == files
    assert [row["answer"] for row in found] == ["cat", "", "espresso"]
    assert [row["measured"] for row in found] == ["no"] * 3
    assert found[0]["cosine"] == found[0]["cosine_cat"]
    assert found[1]["error"].startswith("missing")
    assert found[2]["seen"] == "espresso"
    assert "warning: unmeasured" in said
    assert "2 answered, 1 could not be read" in said


def test_any_name_stays_one_cell():
    from headstart.cli.answer_output import write_csv_row

    cells = ["a\rb.png", "c\nd.png", 'e "f", g.png', "\udce9.png", "plain"]
    out = io.BytesIO()
    write_csv_row(out, cells)
    write_csv_row(out, cells)
    found = list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))
    assert found == [[*cells[:3], "\\udce9.png", "plain"]] * 2
    assert out.getvalue().endswith(b",plain\n")


@pytest.mark.medium
def test_json_rows_are_ranked_and_quiet_keeps_the_warning(photos, capsysbinary):
    assert main(["zeroshot", str(photos["palace"]), *CLASSES, "--json", "--quiet"]) == 0
    said = capsysbinary.readouterr()
    row = json.loads(said.out)
    assert row["answer"] == next(iter(row["cosines"])) == "palace"
    assert list(row["cosines"].values()) == sorted(row["cosines"].values(), reverse=True)
    assert row["seen"]["palace"] > 0.2
    assert row["measured"] is False
    assert row["error"] is None
    assert said.err.decode().splitlines() == [f"warning: {_unmeasured()}"]


def _unmeasured():
    from headstart.zero_shot.prediction import UNMEASURED

    return UNMEASURED


@pytest.mark.medium
def test_no_training_framework_is_loaded_and_no_connection_made(photos, shared_store):
    main(["zeroshot", str(photos["cat"]), *CLASSES, "--quiet", "--out", "/dev/null"])  # whatever is missing is made
    stdout, _ = call("zeroshot", photos["cat"], *CLASSES, "--json")
    assert json.loads(stdout)["answer"] == "cat"
    stdout, _ = call("predict", "bundled:efficientnet_lite2", photos["espresso"], "--json")
    assert json.loads(stdout)["answer"] == "espresso"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.png"], "--classes"),
        (["a.png", "--classes", ""], "no class is named"),
        (["a.png", "--classes", "cat"], "with one class, `cat`, there is nothing to choose"),
        (["a.png", "--classes", "cat,dog,cat"], "the class `cat` is named twice"),
        (["a.png", "--classes", "cat,,dog"], "the class name `` has no letter"),
        (["a.png", "--classes", "cat,---"], "the class name `---` has no letter"),
        (["--classes", "cat,dog"], "FILE"),
        (["a.png", "--classes", "cat,dog", "--format", "xml"], "there is no format `xml`"),
        (["a.png", "--classes", "cat,dog", "--out", "b.png"], "is the name of a picture"),
        (["a.png", "--classes", "cat,dog", "--backbone", "bundled:efficientnet_lite9"], "efficientnet_lite0"),
        (["a.png", "--classes", "cat,dog", "--backbone", "bundled:vgg16_hed"], "has no ImageNet classifier"),
    ],
)
def test_a_wrong_request_is_told_with_code_2(words, said, capsysbinary):
    assert main(["zeroshot", *words]) == 2
    err = capsysbinary.readouterr().err.decode()
    assert said in err
    assert "Traceback" not in err
    assert "fetch" not in err


@pytest.mark.medium
def test_nothing_to_answer_ends_with_3(tmp_path, capsysbinary):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["zeroshot", str(empty), *CLASSES]) == 3
    assert f"there is no picture in `{empty}`" in capsysbinary.readouterr().err.decode()
    assert main(["zeroshot", str(tmp_path / "none.png"), *CLASSES]) == 3
    said = capsysbinary.readouterr()
    assert b"none of 1 files could be read" in said.err
    assert len(said.out.splitlines()) == 2


@pytest.mark.medium
def test_predict_with_a_bare_backbone_gives_imagenet_classes(photos, capsysbinary):
    words = ["predict", "bundled:efficientnet_lite0", str(photos["espresso"]), str(photos["palace"])]
    assert main(words) == 0
    found = list(csv.DictReader(capsysbinary.readouterr().out.decode().splitlines()))
    assert list(found[0]) == ["file", "answer", "confidence", "error"]
    assert [row["answer"] for row in found] == ["espresso", "palace"]
    assert main([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert all(len(row["probabilities"]) == 5 for row in rows)
    assert rows[0]["confidence"] == max(rows[0]["probabilities"].values())


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("bundled:vgg16_hed", "has no ImageNet classifier"),
        ("bundled:nothing", "no backbone is named `bundled:nothing`"),
    ],
)
def test_predict_with_a_backbone_that_cannot_answer(backbone, said, capsysbinary):
    assert main(["predict", backbone, "a.png"]) == 2
    assert said in capsysbinary.readouterr().err.decode()
