"""Counts that are appended while pictures are answered, what a damaged log may hold, and a fit's reference."""

import json
import threading

import numpy as np
import pytest

import headstart
from headstart.cli.main import main
from headstart.core.errors import UsageError
from headstart.core.types import Embeddings
from headstart.evaluation.drift import drift_reference as stage
from headstart.runtime import batch_prediction, usage_counts, usage_log
from headstart.runtime.batch_prediction import UsageWriter
from headstart.runtime.model import load
from headstart.runtime.outputs import resumable_table
from headstart.runtime.usage_counts import Counts
from headstart.runtime.usage_log import UsageCounter

KNOWN = {"form": "csv", "batch": 16}


def kept(log):
    """Pictures of each line."""
    return [json.loads(line)["answered"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize(("form", "pause"), [("csv", 0), ("csv", 60), ("parquet", 0)])
def test_ctrl_c_keeps_the_counts_of_rows_that_stay(saved, paint, tmp_path, monkeypatch, form, pause):
    monkeypatch.setattr(batch_prediction, "WRITE_EVERY_S", pause)
    model, picture = load(saved), paint("a.png", "red")

    def pictures():
        yield from [picture] * 80  # more are decoded ahead than are answered
        raise KeyboardInterrupt

    log, table = (
        tmp_path / "log.jsonl",
        resumable_table.open_table(tmp_path / "rows", form, model.layout, KNOWN, mode="new"),
    )
    batch, found = batch_prediction.choose_batch(pictures())
    with pytest.raises(KeyboardInterrupt):
        batch_prediction.answer_all(
            model, found, table, batch=batch, usage_writer=UsageWriter(UsageCounter.from_model(model), log)
        )
    table.close()
    rows = len((tmp_path / "rows").read_text().splitlines()) - 1 if form == "csv" else 0  # of Parquet no part is whole
    assert sum(kept(log)) == rows
    assert rows >= 16 or form == "parquet"
    assert len(kept(log)) == (min(rows, 1) if pause else rows // 16)


def test_the_rest_is_counted_at_the_end_whatever_the_form(saved, paint, tmp_path):
    picture, log = paint("a.png", "red"), tmp_path / "log.jsonl"
    for form in ("csv", "parquet"):
        words = [str(saved), str(picture), str(picture), "--out", str(tmp_path / f"rows.{form}"), "--usage", str(log)]
        assert main(["predict", *words, "--quiet"]) == 0
    assert kept(log) == [2, 2]


@pytest.mark.parametrize(
    ("place", "code", "told"), [("none/log.jsonl", 3, "none/log.jsonl"), ("a.png", 2, "the name of a picture")]
)
def test_a_log_that_cannot_be_one_is_told_before_anything_is_answered(
    saved, paint, tmp_path, place, code, told, capsys
):
    picture = paint("a.png", "red")
    before = picture.read_bytes()
    assert main(["predict", str(saved), str(picture), "--usage", str(picture.parent / place)]) == code
    said = capsys.readouterr()
    assert told in said.err
    assert said.out == ""
    assert picture.read_bytes() == before


@pytest.mark.parametrize("content", ["file,answer\na.jpg,red\n", "{\n", "[1]", '{"format": 1}\n', "\n"])
def test_counts_are_appended_to_no_file_that_is_no_log(saved, paint, tmp_path, content, capsys):
    (tmp_path / "mine.txt").write_text(content)
    assert main(["predict", str(saved), str(paint("a.png", "red")), "--usage", str(tmp_path / "mine.txt")]) == 2
    said = capsys.readouterr()
    assert "mine.txt` holds something else than counts" in said.err
    assert said.out == ""
    assert (tmp_path / "mine.txt").read_text() == content


@pytest.mark.parametrize(
    "cut", ["", '{"for', '{"format": 1, "model": "0a', '{"format": 1, "model": "0a1b", "day": "2026']
)
def test_a_log_whose_only_line_was_cut_short_goes_on(saved, paint, tmp_path, cut):
    (tmp_path / "log.jsonl").write_text(cut)
    words = [str(saved), str(paint("a.png", "red")), "--usage", str(tmp_path / "log.jsonl"), "--quiet"]
    assert main(["predict", *words]) == 0
    assert main(["predict", *words]) == 0
    *begun, first, second = (tmp_path / "log.jsonl").read_text().splitlines()
    assert begun == ([cut] if cut else [])
    assert [json.loads(line)["answered"] for line in (first, second)] == [1, 1]


def test_many_may_append_to_one_log(saved, paint, tmp_path):
    model, log = load(saved), tmp_path / "log.jsonl"
    [found] = model.predict([paint("a.png", "red")])

    def work():
        for _ in range(40):
            one = UsageCounter.from_model(model)  # a handle of its own each time, as of a process of its own
            one.count_answers([found])
            one.append_counts(log)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    read = usage_log.read_logs([log], usage_log.model_digest(saved))
    assert (read.damaged, [one.answered for one in read.days.values()]) == (0, [160])


WRONG = [
    ('"format": 1', '"format": Infinity'),
    ('"answered": 1', '"answered": 1e400'),
    ('"answered": 1', f'"answered": {10**17}'),
    ('"errors": 0', '"errors": ' + "[" * 100_000),
]


@pytest.mark.parametrize(("what", "other"), WRONG, ids=["format", "infinite", "huge", "deep"])
def test_a_line_that_nobody_wrote_is_passed_over(saved, tmp_path, what, other):
    made = Counts(answered=1)
    line = json.dumps({"format": 1, "model": "m", "day": "2026-01-31", **made.as_json()})
    assert what in line
    (tmp_path / "log.jsonl").write_text(f"{line.replace(what, other)}\n{line}\n")
    read = usage_log.read_logs([tmp_path / "log.jsonl"], "m")
    assert (read.damaged, read.days["2026-01-31"].answered) == (1, 1)


def test_a_level_that_no_permutation_reaches_is_refused(saved):
    with pytest.raises(UsageError, match=r"alpha `0\.001` is not from 0\.01 up to 1") as caught:
        headstart.drift(saved, "log.jsonl", alpha=0.001)
    assert caught.value.hint == "--alpha 0.01"


def test_a_class_that_held_out_pictures_never_had_is_compared_too():
    from headstart.evaluation.drift import drift_tests

    before, now = Counts(answered=100), Counts(answered=100)
    before.labels.update({"a": 50, "c": 50})
    now.labels.update({"a": 30, "b": 50, "c": 20})
    edges = np.zeros((usage_counts.DIRECTIONS, usage_counts.TENTHS - 1))
    reference = usage_log.UsageReference(model="m", split="test", counts=before, edges=edges)
    found = drift_tests.test_drift(reference, usage_log.UsageLog(days={"2026-01-31": now}, foreign=0, damaged=0))
    assert [(one.name, one.moved) for one in found.tests] == [("classes", True)]
    assert "`b` is the likeliest class of 50.0% instead of 0.0%" in found.tests[0].sentence


# ---------------------------------------------------------------- the stage


@pytest.mark.parametrize(
    ("split", "strategy", "features"),
    [("test", "probe", 40), ("test", "finetune", 40), ("cv", "probe", 40), ("cv", "finetune", 0)],
)
def test_features_that_a_network_was_trained_on_are_no_reference(saved, data_of, context, split, strategy, features):
    ctx, (data, embeddings, adapted, evaluation) = data_of(saved, context, split, strategy)
    made = stage.write_drift_reference(data, embeddings, adapted, evaluation, ctx=ctx)
    assert made.counts.features.sum(axis=1).tolist() == [features] * usage_counts.DIRECTIONS
    assert (made.counts.answered, made.split) == (40, split)
    read = usage_log.read_reference(ctx.run.path / "model")
    assert np.array_equal(read.edges, made.edges)


@pytest.fixture
def data_of():
    """A function that gives a run folder with a saved model, and values as a fit hands them to the stage."""
    import shutil
    from types import SimpleNamespace

    def make(saved, context, split, strategy):
        ctx = context()
        shutil.copytree(saved, ctx.run.path / "model")
        model, draw = load(saved), np.random.default_rng(0)
        vectors = {
            d.name: draw.uniform(0, 255, (40, d.dim)).astype(np.float32) for d in model.manifest.trunks[0].depths
        }
        rows, spec = np.arange(40), SimpleNamespace(name=model.manifest.trunks[0].name)
        embeddings = Embeddings(key=None, spec=spec, rows=rows, vectors=vectors, seconds=0.0, cached=0, latency_ms=1.0)
        p = draw.dirichlet(np.ones(3), 40)
        evaluation = SimpleNamespace(split=split, rows=rows, probabilities=p)
        data = SimpleNamespace(uris=[f"{row}.png" for row in rows])
        return ctx, (data, (embeddings,), SimpleNamespace(strategy=strategy), evaluation)

    return make
