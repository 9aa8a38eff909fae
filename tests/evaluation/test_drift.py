"""Counts of a model in use: what is kept, that nothing else is, that lines add up, and whether they tell of drift."""

import dataclasses
import json
import re
import shlex
import shutil
import threading

import numpy as np
import pytest

from headstart.cli import options
from headstart.cli.commands import fit as fit_command
from headstart.cli.main import main
from headstart.cli.parser import Parser
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job, write_local_paths, write_run_job
from headstart.core.run.folder import FORMAT
from headstart.core.types import Prediction
from headstart.evaluation.drift import drift_tests
from headstart.runtime import usage_counts, usage_log
from headstart.runtime.model import load
from headstart.runtime.usage_counts import Counts
from headstart.statistics import two_sample_tests

CLASSES = ("blue", "green", "red")


def answers(rng, count, *, sure=4.0, weights=(1, 1, 1), novelty=1.0):
    """Answers with their features, as of a model in use."""
    labels = rng.choice(3, count, p=np.array(weights) / sum(weights))
    logits = rng.normal(size=(count, 3)) + sure * np.eye(3)[labels]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [
        Prediction(
            uri=f"secret-{at}.jpg",
            answer=CLASSES[row.argmax()],
            likeliest=CLASSES[row.argmax()],
            probabilities=dict(zip(CLASSES, row.tolist(), strict=True)),
            plausible=(CLASSES[row.argmax()],),
            novelty=float(rng.random() ** novelty),
        )
        for at, row in enumerate(p)
    ]
    return found, rng.normal(size=(count, 16)) + labels[:, None]


def reference_of(rng, count=400, model="m"):
    found, features = answers(rng, count)
    projections = usage_counts.project_features(features)
    edges = usage_counts.find_tenths(projections)
    return usage_log.UsageReference(
        model=model, split="test", counts=usage_counts.count_predictions(found, features, edges), edges=edges
    )


def judged(reference, found, features):
    made = usage_counts.count_predictions(found, features, reference.edges)
    return drift_tests.test_drift(reference, usage_log.UsageLog(days={"2026-01-31": made}, foreign=0, damaged=0))


# ---------------------------------------------------------------- the test


@pytest.mark.parametrize("ordered", [True, False])
def test_the_p_value_is_uniform_under_no_difference_and_small_under_one(ordered):
    rng = np.random.default_rng(1)
    share = np.array([0.4, 0.3, 0.2, 0.1])
    ps = [
        two_sample_tests.compare_counts(
            rng.multinomial(60, share), rng.multinomial(200, share), ordered=ordered, seed=at, draws=199
        ).p
        for at in range(300)
    ]
    assert np.mean(np.array(ps) <= 0.05) <= 0.09
    assert 0.4 <= np.mean(ps) <= 0.62
    moved = two_sample_tests.compare_counts(
        np.array([40, 30, 20, 10]), np.array([10, 20, 30, 40]), ordered=ordered, seed=0
    )
    assert moved.p < 0.001
    assert moved.effect > 0.5


def test_the_p_value_agrees_with_fishers_exact_test():
    from scipy.stats import fisher_exact

    table = np.array([[12, 5], [6, 14]])
    found = two_sample_tests.compare_counts(table[0], table[1], ordered=False, seed=0, draws=20_000)
    assert found.p == pytest.approx(fisher_exact(table).pvalue, abs=0.02)


def test_a_million_pictures_with_a_trifle_are_significant_and_not_large():
    found = two_sample_tests.compare_counts(
        np.array([500_000, 500_000]), np.array([503_000, 497_000]), ordered=False, seed=0
    )
    assert found.p < 0.001
    assert found.effect < 0.001


def test_nothing_to_compare_says_nothing():
    for pair in (([0, 0], [3, 4]), ([3, 0], [4, 0]), ([0], [0])):
        assert two_sample_tests.compare_counts(*map(np.array, pair), ordered=True, seed=0).p == 1.0


# ---------------------------------------------------------------- false alarms and alarms


def test_pictures_of_the_same_kind_seldom_cry():
    rng, told = np.random.default_rng(2), 0
    for _ in range(10):
        told += judged(reference_of(rng, 150), *answers(rng, 150)).drifted
    assert told <= 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weights": (6, 1, 1)}, "classes"),
        ({"sure": 1.0}, "confidence"),
        ({"novelty": 0.2}, "novelty"),
    ],
)
def test_each_change_is_seen_and_named(change, what):
    rng = np.random.default_rng(3)
    found = judged(reference_of(rng), *answers(rng, 300, **change))
    assert found.drifted
    assert what in {one.name for one in found.tests if one.moved}
    assert found.sentence.startswith("inputs moved away from training: ")
    assert "300 pictures of 1 day against 400 held-out pictures" in found.sentence
    assert found.advice


def test_what_a_cross_validated_run_cannot_tell_of_is_said():
    rng = np.random.default_rng(4)
    before, _ = answers(rng, 200)
    plain = [dataclasses.replace(prediction, novelty=None) for prediction in before]
    counts = usage_counts.count_predictions(plain, has_sets=False)
    reference = usage_log.UsageReference(model="m", split="cv", counts=counts, edges=reference_of(rng).edges)
    found = judged(reference, *answers(rng, 200))
    assert not {"novelty", "plausible", "unknown"} & {test.name for test in found.tests}
    assert "novelty, prediction sets and `unknown` are not compared" in " ".join(found.advice)
    assert "are not compared" not in " ".join(judged(reference_of(rng), *answers(rng, 200)).advice)


def test_a_new_domain_is_spoken_of_as_one_and_brackets_are_not_nested():
    rng = np.random.default_rng(4)
    before, features = answers(rng, 400)
    plain = [dataclasses.replace(prediction, novelty=None) for prediction in before]
    edges = usage_counts.find_tenths(usage_counts.project_features(features))
    counts = usage_counts.count_predictions(plain, features, edges, has_sets=False)
    new, plain = (
        usage_log.UsageReference(model="m", split=split, counts=counts, edges=edges) for split in ("target", "cv")
    )
    for reference in (new, plain):
        moved, still, few = (
            judged(reference, *seen) for seen in (answers(rng, 300, sure=1.0), answers(rng, 300), answers(rng, 9))
        )
        text = " ".join([moved.sentence, still.sentence, few.sentence, *moved.advice, *still.advice])
        text += " ".join(test.sentence for test in moved.tests)
        assert not re.search(r"\([^)]*\(", text)
        of_domain = "away from the new domain", "400 pictures of the new domain", "of the new domain themselves"
        of_run = "away from training", "held-out pictures", "held back no pictures", "split `"
        assert {words in text for words in of_domain} == {reference is new}
        assert {words in text for words in of_run} == {reference is plain}


def test_pictures_more_familiar_than_held_out_ones_did_not_move_away():
    rng = np.random.default_rng(3)
    found = judged(reference_of(rng), *answers(rng, 300, novelty=5.0))
    assert found.drifted
    assert found.sentence.startswith(
        "the pictures look more familiar than held-out ones did: they may be those that the model learnt from ("
    )


def numbers_of(rng, count, shift=0.0):
    """Answers of a model of numbers, and what it would count of them."""
    values = rng.normal(20 + shift, 5, count).tolist()
    return [
        Prediction(uri="a.jpg", answer=f"{v:.6g}", number=v, likeliest="angle", probabilities={"angle": v}, novelty=0.5)
        for v in values
    ]


def test_numbers_that_moved_are_seen_and_classes_are_not_spoken_of():
    rng = np.random.default_rng(11)
    before = numbers_of(rng, 400)
    [ends] = usage_counts.find_tenths(np.array([[row.number] for row in before]))
    counts = usage_counts.count_predictions(before, number_edges=ends)
    edges = np.zeros((usage_counts.DIRECTIONS, usage_counts.TENTHS - 1))
    reference = usage_log.UsageReference(model="m", split="test", counts=counts, edges=edges, number_edges=ends)
    results = []
    for shift in (0, 5):
        seen = usage_counts.count_predictions(numbers_of(rng, 300, shift), number_edges=ends)
        log = usage_log.UsageLog(days={"2026-01-31": seen}, foreign=0, damaged=0)
        results.append(drift_tests.test_drift(reference, log))
    still, moved = results
    assert [test.name for test in still.tests if test.moved] == []
    assert {test.name for test in still.tests} == {"numbers", "novelty", "unknown"}
    assert [test.name for test in moved.tests if test.moved] == ["numbers"]
    below = [np.mean([row.number < end for row in before]) for end in ends]
    [test] = [test for test in moved.tests if test.moved]
    share, end, usual = re.match(
        r"([\d.]+)% of the answers are below ([\d.]+) instead of ([\d.]+)%", test.sentence
    ).groups()
    assert float(end) in [float(f"{value:.4g}") for value in ends] and float(share) < float(usual) - 20
    assert float(usual) in [round(100 * value, 1) for value in below]
    assert "only the answers changed" in moved.advice[0] and "classes" not in " ".join(moved.advice)


def test_a_line_of_an_older_version_has_no_numbers_and_counts(tmp_path):
    line = {"format": 1, "model": "m", "day": "2026-01-31", **Counts(answered=7).as_json()}
    del line["numbers"]
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    assert usage_log.read_logs([tmp_path / "log.jsonl"], "m").days["2026-01-31"].answered == 7


def test_features_that_moved_are_seen():
    rng = np.random.default_rng(4)
    reference, (found, features) = reference_of(rng), answers(rng, 300)
    moved = judged(reference, found, features * 0.5 + 2)
    assert [one.name for one in moved.tests if one.moved] == ["features"]


def test_too_few_pictures_tell_nothing():
    rng = np.random.default_rng(5)
    found = judged(reference_of(rng), *answers(rng, 29, weights=(1, 0, 0)))
    assert found.verdict == "too few pictures"
    assert not found.drifted
    assert found.tests == ()


# ---------------------------------------------------------------- counting


def test_what_is_counted_and_nothing_else(tmp_path):
    rng = np.random.default_rng(6)
    found, features = answers(rng, 50)
    found[3] = Prediction(uri="secret-3.jpg", answer="", error="not a picture: secret-3.jpg")
    kept = usage_log.UsageCounter("m", reference_of(rng), today=lambda: "2026-01-31")
    kept.count_answers(found, features)
    kept.append_counts(tmp_path / "log.jsonl")
    kept.append_counts(tmp_path / "log.jsonl")  # nothing new
    text = (tmp_path / "log.jsonl").read_text()
    assert "secret" not in text
    [line] = map(json.loads, text.splitlines())
    assert (line["day"], line["answered"], line["errors"], line["unknown"]) == ("2026-01-31", 49, 1, 0)
    assert sum(line["labels"].values()) == sum(line["confidence"]) == sum(line["novelty"]) == 49
    assert line["sizes"][1] == 49
    assert [sum(row) for row in line["features"]] == [49] * 8
    assert set(line) == {"format", "model", "day", *Counts().as_json()}


def test_threads_and_days_add_up(tmp_path):
    rng, days = np.random.default_rng(7), iter(["2026-01-30", "2026-01-31"] * 8)
    found, _ = answers(rng, 10)
    kept = usage_log.UsageCounter("m", None, today=lambda: next(days))
    workers = [threading.Thread(target=kept.count_answers, args=(found,)) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    kept.append_counts(tmp_path / "a.jsonl")
    other = usage_log.UsageCounter("other", None)
    other.count_answers(found)
    other.append_counts(tmp_path / "a.jsonl")
    kept.count_answers(found[:1]) if next(days, None) else None
    log = usage_log.read_logs([tmp_path / "a.jsonl", tmp_path / "a.jsonl"], "m")
    assert {day: one.answered for day, one in log.days.items()} == {"2026-01-30": 160, "2026-01-31": 160}
    assert log.foreign == 2


def test_a_line_cut_short_or_damaged_is_passed_over(tmp_path):
    found, _ = answers(np.random.default_rng(8), 10)
    path = tmp_path / "log.jsonl"
    kept = usage_log.UsageCounter("m", None, today=lambda: "2026-01-31")
    kept.count_answers(found)
    kept.append_counts(path)
    line = path.read_bytes()
    wrong = line.replace(b'"errors": 0', b'"errors": -1')
    path.write_bytes(line + wrong + b"[]\n" + line[: len(line) // 2])
    kept.count_answers(found)
    kept.append_counts(path)
    log = usage_log.read_logs([path], "m")
    assert log.damaged == 3
    assert log.days["2026-01-31"].answered == 20


def test_a_log_that_cannot_be_read_or_is_newer(tmp_path):
    with pytest.raises(DataError, match="nothing was counted there yet"):
        usage_log.read_logs([tmp_path / "none.jsonl"], "m")
    (tmp_path / "new.jsonl").write_text('{"format": 9, "model": "m", "day": "2026-01-31"}\n')
    with pytest.raises(DataError, match="format 9"):
        usage_log.read_logs([tmp_path / "new.jsonl"], "m")


def test_a_disk_that_refuses_loses_no_count(tmp_path):
    from headstart.core.errors import SetupError

    found, _ = answers(np.random.default_rng(9), 10)
    kept = usage_log.UsageCounter("m", None)
    kept.count_answers(found)
    with pytest.raises(SetupError):
        kept.append_counts(tmp_path / "none" / "log.jsonl")
    kept.append_counts(tmp_path / "log.jsonl")
    assert json.loads((tmp_path / "log.jsonl").read_text())["answered"] == 10


# ---------------------------------------------------------------- the command, on a saved model


@pytest.fixture
def watched(saved, paint):
    """The tiny model with a reference of 60 pictures, and pictures of two kinds."""
    rng = np.random.default_rng(10)
    shades = [f"rgb({r},{g},{b})" for r, g, b in rng.integers(0, 256, (120, 3)).tolist()]
    files = [paint(f"{at:03d}.png", shade) for at, shade in enumerate(shades)]
    model = load(saved)
    found, features = [], []
    for chunk in model.extract_features(iter(files[:60]), batch=16):
        found += model.predict_chunk(chunk)
        features.append(model.join_features(chunk))
    edges = usage_counts.find_tenths(usage_counts.project_features(np.concatenate(features)))
    made = usage_counts.count_predictions(found, np.concatenate(features), edges, has_sets=False)
    digest = usage_log.model_digest(saved)
    usage_log.write_reference(usage_log.UsageReference(model=digest, split="test", counts=made, edges=edges), saved)
    return files[60:], [paint(f"dark-{at:03d}.png", f"rgb({at % 40},0,0)") for at in range(60)]


def test_the_command_tells_known_from_moved(saved, watched, tmp_path, capsys):
    for name, files in zip(("known", "moved"), watched, strict=True):
        log = str(tmp_path / f"{name}.jsonl")
        assert main(["predict", str(saved), *map(str, files), "--usage", log, "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    assert main(["drift", str(saved), str(tmp_path / "known.jsonl"), "--fail"]) == 0
    assert "no sign that inputs moved" in capsys.readouterr().out
    assert main(["drift", str(saved), str(tmp_path / "moved.jsonl")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("inputs moved away from training")
    assert "where the pictures lie in feature space" in said
    assert main(["drift", str(saved), str(tmp_path / "moved.jsonl"), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["answered"], told["reference"]) == ("moved", 60, 60)
    assert {one["name"] for one in told["tests"] if one["moved"]} >= {"features", "classes"}
    assert main(["drift", str(saved), str(tmp_path / "moved.jsonl"), "--fail"]) == 1
    assert "inputs moved away" in capsys.readouterr().err


def test_printed_commands_run_as_printed(saved, watched, tmp_path, capsys):
    run, log, folder = tmp_path / "a run", str(tmp_path / "log.jsonl"), tmp_path / "labelled"
    shutil.copytree(saved, run / "model")
    assert main(["predict", str(saved), *map(str, watched[1]), "--usage", log, "--out", str(tmp_path / "rows")]) == 0
    for number, name in enumerate(("blue", "red")):
        for path in watched[1][number::2]:
            (folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    settings = {"data": str(tmp_path / "photos"), "unlabeled": "new", "target_labels": "learn", "adaptation": ("none",)}

    def print_commands(place):
        capsys.readouterr()
        assert main(["drift", str(place), log]) == 0
        commands = [shlex.split(text) for text in re.findall(r"`headstart (.*)`", capsys.readouterr().out)]
        return [[str(folder) if word == "FOLDER" else word for word in words] for words in commands]

    evaluate, fit = print_commands(run / "model")
    assert main([*evaluate, "--quiet"]) == 0
    assert fit == ["fit", "DATA", "--unlabeled", str(folder)]  # nothing says where the labelled pictures lie
    write_run_job(Job(**settings), run)
    write_local_paths(Job(**settings), run)
    (run / "format.json").write_text(f'{{"format": {FORMAT}}}')
    parser = Parser("headstart fit", None)
    fit_command.PLUGIN.configure(parser)
    data, request = options.read_request(parser.parse_words(print_commands(run)[1][1:]))
    assert (data, request["unlabeled"]) == (str(tmp_path / "photos"), str(folder))
    assert (request["target_labels"], request["adaptation"]) == ("judge", ("auto",))


def test_what_stops_the_command(saved, watched, tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    log.write_text("")
    assert main(["drift", str(saved), str(log)]) == 3
    assert f"`{log}` is empty: nothing was counted there yet" in capsys.readouterr().err
    assert main(["drift", str(saved), str(tmp_path / "later.jsonl")]) == 3
    assert "nothing was counted there yet" in capsys.readouterr().err
    log.write_text("file,answer\na.jpg,red\n")
    assert main(["drift", str(saved), str(log)]) == 3
    said = capsys.readouterr().err
    assert f"`{log}` is no usage log" in said
    assert "--usage LOG makes one" in said
    log.write_text("")
    assert main(["drift", str(saved), str(log), "--alpha", "2"]) == 2
    content = (saved / "usage.json").read_text()
    (saved / "usage.json").write_text(content.replace('"test"', '"cv"'))
    assert main(["drift", str(saved), str(log)]) == 3
    assert "was changed after it was written" in capsys.readouterr().err
    (saved / "usage.json").unlink()
    assert main(["drift", str(saved), str(log)]) == 3
    assert "has no reference" in capsys.readouterr().err


def test_a_reference_of_another_model_is_refused(saved, watched):
    found = usage_log.read_reference(saved)
    usage_log.write_reference(
        usage_log.UsageReference(model="0", split="test", counts=found.counts, edges=found.edges), saved
    )
    with pytest.raises(DataError, match="belongs to another model"):
        usage_log.read_reference(saved)


def test_the_function_refuses_levels_that_mean_nothing(saved):
    import headstart

    with pytest.raises(UsageError, match="effect"):
        headstart.drift(saved, "log.jsonl", effect=float("nan"))
