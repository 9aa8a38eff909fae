"""The pictures to label next: unsure ones, no two alike, copies once; rows, a page, and what is refused."""

import csv
import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest

import headstart
import made_runs
from headstart.cli.main import main
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Prediction
from headstart.labelling.suggestions import choose_diverse, measure_uncertainty


def test_the_uncertainty_is_the_lead_of_the_answer_the_least_sure_label_or_the_novelty():
    of_classes = Prediction(uri="", answer="a", probabilities={"a": 0.6, "b": 0.1, "c": 0.3})
    assert measure_uncertainty(of_classes) == pytest.approx(0.7)
    of_labels = Prediction(uri="", answer="a", labels=("a",), probabilities={"a": 0.9, "b": 0.4})
    assert measure_uncertainty(of_labels) == pytest.approx(0.8)
    of_number = Prediction(uri="", answer="3", number=3.0, probabilities={"age": 3.0})
    assert measure_uncertainty(of_number) == 0.0
    assert measure_uncertainty(dataclasses.replace(of_number, novelty=0.7)) == 0.7


def test_one_of_each_kind_is_chosen_where_the_most_uncertain_are_all_alike():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [20, 5, 5])  # the most uncertain twenty are of one kind
    x = (10 * np.eye(3)[kinds] + rng.normal(size=(30, 3))).astype(np.float32)
    chosen = choose_diverse(x, 3, seed=0)
    assert chosen == [0, 20, 25]
    assert choose_diverse(x[:3], 5, seed=0) == [0, 1, 2]


def test_unsure_pictures_come_first_and_copies_once(saved, paint, tmp_path):
    sure = [paint(f"sure{n}.png", colour) for n, colour in enumerate(("red", "blue"))]
    unsure = [paint("half.png", (130, 126, 0)), paint("dim.png", (0, 120, 128))]
    copy = shutil.copy(unsure[0], tmp_path / "pictures" / "copy.png")
    (tmp_path / "pictures" / "text.png").write_text("no picture")
    found = headstart.suggest(saved, [*sure, *unsure, copy, tmp_path / "pictures" / "text.png"], count=2)
    names = {suggestion.prediction.uri.rpartition("/")[2] for suggestion in found.chosen}
    assert names == {"half.png", "dim.png"} and (found.looked_at, found.unread) == (5, 1)
    values = [suggestion.uncertainty for suggestion in found.chosen]
    assert values == sorted(values, reverse=True)


def test_the_command_writes_rows_to_fill_in_and_a_page(saved, paint, tmp_path, capsys):
    files = [str(paint(f"{n}.png", colour)) for n, colour in enumerate(((130, 126, 0), "red", (0, 120, 128)))]
    table, page = tmp_path / "next.csv", tmp_path / "next.html"
    words = ["suggest", str(saved), *files, "-n", "2", "--out", str(table), "--sheet", str(page)]
    assert main(words) == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    assert {row["file"] for row in rows} == {files[0], files[2]} and {row["label"] for row in rows} == {""}
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 2 and "Label these 2 next" in html and "<script" not in html
    assert capsys.readouterr().err.splitlines()[-1] == "2 named of 3, 0 not read"
    assert main(words) == 2 and "--overwrite replaces it" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*words[:6], "2", "--json", "--quiet"]) == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["", ""]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-n", "0"], "0 pictures cannot be suggested"),
        (["--sheet", "next.png"], "does not end as a page does"),
        (["--out", "next.parquet"], "ends as no table that can be written"),
        (["--sheet", "absent/next.html"], "there is no folder `absent`"),
    ],
)
def test_what_does_not_fit_is_refused(saved, paint, capsys, words, told):
    assert main(["suggest", str(saved), str(paint("a.png", "red")), *words]) == 2
    assert told in capsys.readouterr().err


def test_without_files_the_pictures_that_the_run_kept_apart_are_looked_at(paint, tmp_path):
    run, first, data = tmp_path / "run", paint("a.png", (130, 126, 0)), made_runs.dataset(made_runs.TARGETS)
    made_runs.write(run, data, made_runs.wrong(1))
    with pytest.raises(DataError, match="kept no picture without a label apart"):
        headstart.suggest(run)
    data = dataclasses.replace(data, root=str(first.parent), unlabelled=("a.png",))
    serialization.save_value(data, run / "read")
    [suggestion] = headstart.suggest(run).chosen
    assert suggestion.prediction.uri == str(first)


def test_pictures_that_the_run_has_with_a_label_are_left_out(paint, tmp_path, capsys):
    run, known, new = tmp_path / "run", paint("known.png", "red"), paint("new.png", (130, 126, 0))
    data = made_runs.dataset(made_runs.TARGETS)
    digests = (hashlib.sha256(known.read_bytes()).hexdigest(), *data.digests[1:])
    made_runs.write(run, dataclasses.replace(data, digests=digests), made_runs.wrong(1))
    found = headstart.suggest(run, known.parent)
    assert [suggestion.prediction.uri for suggestion in found.chosen] == [str(new)]
    assert (found.looked_at, found.known) == (1, 1)
    assert main(["suggest", str(run), str(known)]) == 3
    assert "the run has a label of all 1 pictures" in capsys.readouterr().err


def test_why_a_file_could_not_be_read_is_told(saved, paint, tmp_path, capsys):
    text, empty = tmp_path / "text.png", tmp_path / "empty"
    text.write_text("no picture")
    empty.mkdir()
    assert main(["suggest", str(saved), str(paint("a.png", "red")), str(text)]) == 0
    assert f"1 named of 1, 1 not read, such as {text}: not a picture" in capsys.readouterr().err
    assert main(["suggest", str(saved), str(empty)]) == 3
    assert "there is no picture in it" in capsys.readouterr().err
