"""Several labels a picture, from a table to a served answer and a checked export: photographs with known edits."""

import csv

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
    assert all({label for label in row["truth"].split("|") if label} == labels[row["uri"]] for row in rows)
    present = [{name for name in EDITS if float(row[f"p {name}"]) >= 0.5} for row in rows]
    assert present == [{label for label in row["answer"].split("|") if label} for row in rows]
