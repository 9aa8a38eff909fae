"""Several labels a picture, from a table to a served answer and a checked export: photographs with known edits."""

import csv
import re

import pytest

import headstart
from command_line import LITE0
from headstart.core.console import Console
from labelled_pictures import EDITS, write_labelled_pictures

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def table(shared_store, textile, tmp_path_factory):
    """140 pictures and their labels."""
    return write_labelled_pictures(textile, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """The finished run."""
    out = tmp_path_factory.mktemp("multilabel") / "run"
    return headstart.fit(table, out=out, strategy="probe", backbones=LITE0, console=Console(quiet=True))


@pytest.fixture(scope="module")
def labels(table):
    """File -> labels."""
    with table.open() as handle:
        return {row["file"]: {label for label in row["labels"].split("|") if label} for row in csv.DictReader(handle)}


def test_the_run_measures_labels_against_their_shares_and_mere_colours(run, labels):
    data = run.dataset
    assert data.task == "multilabel" and data.class_names == tuple(EDITS)
    for uri, row in zip(data.uris, data.targets, strict=True):
        assert {name for name, present in zip(data.class_names, row, strict=True) if present} == labels[uri]
    scores = {score.name: score for score in run.headline()}
    assert list(scores) == ["mean_average_precision", "macro_f1", "micro_f1", "exact_match"]
    shares, colours = (
        next(s for s in run.evaluation.baselines if (s.name, s.subject) == ("mean_average_precision", subject))
        for subject in ("share of each label", "colour histogram")
    )
    assert scores["mean_average_precision"].low > shares.high and scores["mean_average_precision"].value > colours.value
    assert shares.n == scores["mean_average_precision"].n == 29
    assert {verdict.code: verdict.answer for verdict in run.verdicts}["headline"] == "yes"
    lines = (run.path / "evaluate" / "predictions.csv").read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.DictReader(lines))
    assert all(set(row["truth"].split("|")) == (labels[row["uri"]] or {"(none)"}) for row in rows)
    present = [{name for name in EDITS if float(row[f"p {name}"]) >= 0.5} for row in rows]
    assert [each or {"(none)"} for each in present] == [set(row["answer"].split("|")) for row in rows]


def test_labels_that_held_out_answers_contradict_are_suspect_with_how_many_to_expect(run):
    evaluation, targets = run.evaluation, run.dataset.targets
    rows = [
        dict(zip(("row", "label", "p"), each, strict=True))
        for each in zip(
            evaluation.suspects.tolist(), evaluation.rival_classes, evaluation.rival_probabilities, strict=True
        )
    ]
    assert rows and all(bool(targets[row["row"]][row["label"]]) == (row["p"] < 0.5) for row in rows)
    expected, low, high = evaluation.wrong_labels
    assert 0 <= low <= expected <= high <= len(rows)


def test_report_and_card_speak_of_labels(run):
    page, card = (run.path / "report.html").read_text(), (run.path / "README.md").read_text()
    assert "Label by label" in page and "got a label too many or too few" in page and "Suspect labels" in page
    assert "with any of 4 labels" in page and "labels that stay open" in page and "certainty can be believed" in page
    assert "Confusion matrix" not in page and "class by class" not in page.lower()
    suspect, c, p = (
        values[0]
        for values in (run.evaluation.suspects, run.evaluation.rival_classes, run.evaluation.rival_probabilities)
    )
    word = "without" if run.dataset.targets[suspect][c] else "with"
    assert f"<span>seems <b>{word} {run.dataset.class_names[c]}</b> {p:.2f}</span>" in page
    assert "It says which of 4 labels a picture has, several or none: `blurred`" in card
    assert "| label | recall | precision | f1 | n |" in card and "| `(none)` |" in card
    assert "pipeline_tag: image-classification" in card and "- multi-label" in card
    assert "- mean_average_precision" in card and "labels right" in card
    links = set(re.findall(r'href="#([^"]+)"', page)) - set(re.findall(r' id="([^"]+)"', page))
    assert not links
