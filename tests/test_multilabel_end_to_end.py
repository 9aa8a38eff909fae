"""Several labels a picture, from a table to a served answer and a checked export: photographs with known edits."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import headstart
from command_line import LITE0, call
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage import serialization
from headstart.core.types import Explained, UncertaintyReport
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.sections import errors
from headstart.runtime import usage_log
from labelled_pictures import EDITS, write_labelled_pictures
from serving_bench import Service

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def table(shared_store, textile, tmp_path_factory):
    """140 pictures and their labels."""
    return write_labelled_pictures(textile, tmp_path_factory.mktemp("pictures"))


PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tasks.md").read_text()


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """The finished run of the command on the page of tasks."""
    assert f"headstart fit {table.name} --target labels\n" in PAGE
    out = tmp_path_factory.mktemp("multilabel") / "run"
    return headstart.fit(table, out=out, target="labels", backbones=LITE0, console=Console(quiet=True))


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
    answers = {verdict.code: verdict.answer for verdict in run.verdicts}
    assert answers["headline"] == "yes" and answers["uneven_labels"] == "yes"  # a frame is hard to see
    lines = (run.path / "evaluate" / "predictions.csv").read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.DictReader(lines))
    assert all(set(row["truth"].split("|")) == (labels[row["uri"]] or {"(none)"}) for row in rows)
    present = [{name for name in EDITS if float(row[f"p {name}"]) >= 0.5} for row in rows]
    assert [each or {"(none)"} for each in present] == [set(row["answer"].split("|")) for row in rows]


def test_right_labels_are_not_suspect(run):
    assert not len(run.evaluation.suspects) and run.evaluation.wrong_labels == ()
    page = (run.path / "report.html").read_text()
    assert "No label is contradicted beyond what the model's own mistakes explain." in page


def test_a_suspect_says_which_label_seems_to_be_there_or_not(run):
    row = int(run.evaluation.rows[0])
    doubtful = dataclasses.replace(
        run.evaluation, suspects=np.array([row, row]), rival_classes=(0, 1), rival_probabilities=(0.9, 0.1)
    )
    report = SimpleNamespace(evaluation=doubtful, dataset=run.dataset)
    with Thumbnails(run.dataset, left_out=True) as thumbs:
        view = errors.make_errors_view(report, thumbs)
    words = ["without" if run.dataset.targets[row][c] else "with" for c in (0, 1)]
    expected = [f"{word} {name}" for word, name in zip(words, run.dataset.class_names, strict=False)]
    assert [suspect["answer"] for suspect in view["suspects"]] == expected and view["suspected"] == 2


def test_report_and_card_speak_of_labels(run):
    page, card = (run.path / "report.html").read_text(), (run.path / "README.md").read_text()
    assert "Label by label" in page and "got a label too many or too few" in page and "Suspect labels" in page
    assert "with any of 4 labels" in page and "Which labels stay open?" in page and "covered where it is there" in page
    assert "certainty can be believed" in page and "What stands for each label" in page
    assert "Confusion matrix" not in page and "class by class" not in page.lower()
    assert "It says which of 4 labels a picture has, several or none: `blurred`" in card
    assert "| label | recall | precision | f1 | n |" in card and "| `(none)` |" in card
    assert "pipeline_tag: image-classification" in card and "- multi-label" in card
    assert "- mean_average_precision" in card and "labels right" in card
    links = set(re.findall(r'href="#([^"]+)"', page)) - set(re.findall(r' id="([^"]+)"', page))
    assert not links


def test_sets_hold_each_label_as_often_as_measured_and_strangers_are_declined(run, table, labels):
    report, uris = run.find(UncertaintyReport), [run.dataset.uris[row] for row in run.evaluation.rows]
    rows = list(run.predict([table.parent / uri for uri in uris]))
    p = np.array([[row.probabilities[name] for name in EDITS] for row in rows])
    np.testing.assert_allclose(p, run.evaluation.probabilities, atol=1e-5)
    scores = {(s.name, s.subject): s.value for s in report.scores}
    for name in EDITS:
        truth = [name in labels[uri] for uri in uris]
        kept = [
            name in row.plausible if present else name not in row.plausible or name in row.open
            for row, present in zip(rows, truth, strict=True)
        ]
        assert np.mean(kept) == pytest.approx(scores["coverage", name])
        assert np.mean([name in row.open for row in rows]) == pytest.approx(scores["open_labels", name])
        assert all((name in row.labels) <= (name in row.plausible) for row in rows)
    assert scores["coverage", ""] > 0.85 and report.thresholds.shape == (4, 2)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    [strange] = run.predict([noise])
    assert strange.unknown and strange.answer == "unknown" and strange.reasons


def test_a_served_answer_is_that_of_python_and_its_labels_are_compared_later(run, table, tmp_path):
    uris = [run.dataset.uris[row] for row in run.evaluation.rows]
    rows, log = list(run.predict([table.parent / uri for uri in uris])), tmp_path / "usage.jsonl"
    with Service(f"edits={run.path}", words=["--usage", log]) as service:
        answers = service.predict(*((uri, (table.parent / uri).read_bytes()) for uri in uris)).json()["answers"]
        counted = {name: service.metric(f'headstart_answers_total{{answer="{name}",model="edits"}}') for name in EDITS}
        assert service.stop() == 0
    for row, answer in zip(rows, answers, strict=True):
        assert (answer["answer"], answer["unknown"]) == (row.answer, row.unknown)
        assert all(answer[name] == list(getattr(row, name)) for name in ("labels", "plausible", "open", "reasons"))
        assert answer["probabilities"] == pytest.approx(row.probabilities, abs=1e-5)
    known = [row for row in rows if not row.unknown]
    assert counted == {name: sum(name in row.labels for row in known) for name in EDITS}
    reference = usage_log.read_reference(run.path / "model")
    used = usage_log.read_logs([log], reference.model).days.popitem()[1]
    assert used.present == reference.counts.present and used.answered == reference.counts.answered == 29
    assert used.sizes.tolist() == reference.counts.sizes.tolist() and sum(used.labels.values()) == 0


def test_an_export_answers_alike(run, tmp_path):
    for precision, most in (("f32", 1e-4), ("f16", 0.05)):
        out = tmp_path / precision
        [export] = headstart.export(run, to="openvino", out=out, precision=precision, console=Console(quiet=True))
        assert 0 < export["parity_max_abs"] < most and export["label_agreement"] >= 28 / 29
    assert export["score"]["metric"] == "exact_match" and export["score"]["n"] == 29


def test_each_label_that_is_answered_has_a_map_by_its_own_weights(run, table, tmp_path):
    paths = [str(table.parent / uri) for uri in run.dataset.uris[:12]]
    [*rows] = run.predict(paths)
    explanations = list(headstart.explain(run, paths))
    expected = [
        (row.uri, name)
        for row in rows
        for name in (
            sorted(row.labels, key=row.probabilities.get, reverse=True)
            if row.labels and not row.unknown
            else [row.likeliest]
        )
    ]
    assert [(each.uri, each.class_name) for each in explanations] == expected and len(expected) > len(rows)
    for each in explanations:
        p = each.prediction.probabilities[each.class_name]
        assert each.method == "cam" and each.evidence.mean() + each.elsewhere == pytest.approx(each.score, abs=1e-4)
        temperature = run.adapted.temperature
        assert each.score / temperature == pytest.approx(np.log(p / (1 - p)), abs=1e-3 * max(1, abs(each.score)))
    [covered] = headstart.explain(run, paths[:1], method="occlusion", class_name=explanations[0].class_name)
    assert covered.method == "occlusion" and covered.score == pytest.approx(explanations[0].score, abs=1e-3)
    data = run.dataset
    for near in explanations[0].neighbours:
        states = data.targets[data.uris.index(near.uri)]
        truth = [name for name, is_present in zip(data.class_names, states, strict=True) if is_present]
        assert near.class_name == ("|".join(truth) or "(none)")
    for stratum, chosen in run.find(Explained).prototypes.items():
        column = [*data.class_names, "(none)"].index(stratum)
        states = np.column_stack([data.targets, ~data.targets.any(axis=1)])
        assert chosen and states[list(chosen), column].all()
    several = next(row for row in rows if len(row.labels) > 1 and not row.unknown)
    stdout, stderr = call("explain", run.path, several.uri, "--out", tmp_path / "why")
    stem = several.uri.rpartition("/")[2].removesuffix(".png")
    files = {f"{stem}-{name}.png" for name in several.labels}
    assert {path.name for path in (tmp_path / "why").iterdir()} == {"index.html", *files}
    assert stdout.count(f"{several.answer} ") == len(files) and "1 answered, 0 could" in stderr


def test_another_table_of_labels_is_judged_with_its_baseline_and_its_overlap(run, table, labels, tmp_path):
    rows = ["file,tags", *(f"{uri},{'|'.join(labels[uri]) or '|'}" for uri in sorted(labels)[:40])]
    other = tmp_path / "other.csv"
    other.write_text("\n".join([*rows, "041.png,blured"]) + "\n")
    with pytest.raises(DataError, match="the model has no label `blured`") as caught:
        headstart.evaluate(run, other, images=table.parent, target="tags", console=Console(quiet=True))
    assert "`blurred`" in caught.value.hint
    with pytest.raises(UsageError, match="the labels `struck`, `tinted` of the model are in no column") as short:
        headstart.evaluate(run, other, images=table.parent, target="blurred,framed", console=Console(quiet=True))
    assert short.value.hint == "--target blurred,framed,struck,tinted"
    other.write_text("\n".join(rows) + "\n")
    stdout, stderr = call("evaluate", run.path, other, "--images", table.parent, "--json")
    judged = json.loads(stdout)
    scores = {(s["name"], s["subject"]): s for s in judged["scores"]}
    answers = {answer.uri[-7:]: answer for answer in run.predict([table.parent / uri for uri in sorted(labels)[:40]])}
    right = [set(answer.labels) == labels[uri] for uri, answer in answers.items()]
    assert scores["exact_match", ""]["value"] == np.mean(right) and scores["exact_match", ""]["n"] == 40
    is_open = [len(answer.open) / 4 for answer in answers.values()]
    assert scores["open_labels", ""]["value"] == pytest.approx(np.mean(is_open))
    covered = [
        name in answer.plausible if name in labels[uri] else name not in answer.plausible or name in answer.open
        for uri, answer in answers.items()
        for name in EDITS
    ]
    assert scores["coverage", ""]["value"] == pytest.approx(np.mean(covered))
    shares = next(s for s in judged["baselines"] if s["name"] == "binary_log_loss")
    assert shares["subject"] == "share of each label" and shares["low"] > scores["binary_log_loss", ""]["high"]
    learnt = {run.dataset.uris[row] for row in run.splits.train}
    assert judged["learnt_from"] == len(learnt & set(answers)) > 0 and "labels that stay open" in stderr


def test_runs_of_labels_are_compared_by_log_losses_on_the_same_pictures(run, tmp_path):
    other, evaluation = shutil.copytree(run.path, tmp_path / "other"), run.evaluation
    worse = np.asarray(evaluation.probabilities) * 0.5 + 0.25
    worse[:, 0] = 1 - worse[:, 0]
    serialization.save_value(dataclasses.replace(evaluation, probabilities=worse), other / "evaluate")
    stdout, _ = call("compare", run.path, other)
    [pair] = headstart.compare([run.path, other])["pairs"]
    loss, exact = pair["scores"]
    assert (loss["name"], loss["tie"], exact["name"]) == ("binary_log_loss", False, "exact_match") and loss["high"] < 0
    by_label = {each["subject"]: each for each in pair["classes"]}
    assert by_label["blurred"]["value"] == 1.0 and not by_label["blurred"]["tie"] and by_label["framed"]["value"] == 0
    assert f"`{run.path.as_posix()}` is better: log loss of a label -" in stdout


def test_the_page_of_tasks_shows_what_the_example_answers(run, table):
    stdout, _ = call("predict", run.path, table.parent / "002.png", "--quiet")
    header, row = stdout.splitlines()
    place = PAGE.splitlines().index(header) + 1
    shown, answered = (next(csv.reader([line])) for line in (PAGE.splitlines()[place], row))
    assert shown[1] == answered[1] == "struck|tinted" and shown[4].split("|")[:2] == answered[4].split("|")[:2]
    assert all(line in PAGE for line in table.read_text().splitlines()[2:4])
    with pytest.raises(UsageError) as refused:
        headstart.fit(table, out=run.path.parent / "other", positive="struck", from_names=True)
    assert refused.value.where == "--positive, --from-names"
