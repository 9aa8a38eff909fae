"""Fine-tuning on real pictures with real weights, through the command line, as a user would go it.

The last stage of EfficientNet-Lite0 on 60 textile pictures of each class. Every run is a process of its own.
"""

import json
import random
import signal
import time

import numpy as np
import pytest

import headstart
from command_line import LITE0, call, cold, differing, start
from harmless import executable
from portable import absolute_paths, unportable
from tuning_bench import copies

pytestmark = pytest.mark.slow
RECIPE = "epochs=3,batch=16,rate=2e-3,augment=0.4,dropout=0.1,ema=0.9,blocks=1"
TUNED = ("--backbones", LITE0, "--strategy", "finetune", "--recipe", RECIPE, "--folds", "2")


@pytest.fixture(scope="module")
def few(textile, tmp_path_factory):
    """60 pictures of each class."""
    return copies(textile, tmp_path_factory.mktemp("few") / "textile", 60)


@pytest.fixture(scope="module")
def fitted(few, tmp_path_factory):
    """One finished run and what it printed."""
    out = tmp_path_factory.mktemp("fitted") / "run"
    words = ("fit", few, *TUNED, "--track", "tensorboard", "--profile", "--out", out, "--json")
    stdout, stderr = call(*words, light=False)
    return out, json.loads(stdout), stderr


def has_trained(run, since):
    """Whether fine-tuning wrote something after a time."""
    return any(path.stat().st_mtime > since for path in (run / "adapt" / ".work").rglob("state*"))


def test_the_folder_holds_nothing_that_runs_and_goes_to_any_system(fitted):
    out, _, _ = fitted
    assert executable(out) == []
    assert unportable(out) == []
    assert absolute_paths(out / "model") == []
    files = json.loads((out / "model" / "manifest.json").read_text())["trunks"][0]["files"]
    assert files and not [path for path in files if path.startswith("/") or "\\" in path or ":" in path]


def test_the_network_is_handed_over_and_every_verdict_said(fitted):
    out, said, stderr = fitted
    assert said["strategy"] == "finetune"
    assert said["chosen"] == [f"tuned:{LITE0}@features"]
    assert {one["code"] for one in said["verdicts"]} >= {"fine_tuning", "negative_transfer", "data_saved"}
    assert "of the step time was compute" in stderr
    names = [row.name for row in headstart.load(out).evaluation.paid]
    assert names == ["majority class", "colour histogram", "frozen probe", "fine-tuned", "from random weights"]


def test_that_the_budget_does_not_bound_a_recipe_is_said_before_anything_is_computed(fitted):
    _, _, stderr = fitted
    steps = [line.partition(" ")[0] for line in stderr.splitlines()]
    [said] = [at for at, line in enumerate(stderr.splitlines()) if "trained to its end, whatever `--budget" in line]
    assert steps[said] == "plan" and said < steps.index("embed") < steps.index("train")


def test_the_saved_network_answers_as_the_run_does(fitted, few):
    import keras

    from headstart.images import preprocessing

    out, _, _ = fitted
    run = headstart.load(out)
    rows = run.evaluation.rows[:12]
    files = [few / run.dataset.uris[row] for row in rows]
    stdout, _ = call("predict", out, *files, "--format", "jsonl")
    answers = [list(json.loads(line)["probabilities"].values()) for line in stdout.splitlines()]
    np.testing.assert_allclose(answers, run.evaluation.probabilities[:12], atol=1e-4)
    network = keras.models.load_model(out / "adapt" / "model.keras", safe_mode=True)
    spec = run.adapted.tuning.network.spec
    pictures = np.stack([preprocessing.decode_picture(file.read_bytes(), spec.input) for file in files])
    np.testing.assert_allclose(network.predict_on_batch(pictures.astype(np.float32)), answers, atol=1e-4)


def test_curves_lie_in_event_files(fitted):
    out, _, _ = fitted
    assert [path for path in out.rglob("events.out.tfevents.*") if path.stat().st_size > 500]


def test_a_training_that_helps_nothing_is_no_result_and_leaves_a_model(textile, tmp_path):
    data, out = copies(textile, tmp_path / "textile", 15), tmp_path / "run"
    words = ("--backbones", LITE0, "--strategy", "finetune", "--recipe", "epochs=1,rate=5e-2", "--folds", "2")
    stdout, stderr = call("fit", data, *words, "--out", out, "--json", light=False)
    nothing = "nothing of the training was kept: the network has its first weights"
    assert f"warning: {nothing}" in stderr
    [verdict] = [each for each in json.loads(stdout)["verdicts"] if each["code"] == "fine_tuning"]
    assert verdict["answer"] == "no" and nothing in verdict["sentence"]
    run = headstart.load(out)
    network, head = run.adapted.tuning.network, run.adapted.fitted
    assert (network.alpha, network.trainable_params) == (0, 0)
    assert head.trainable_params == head.arrays["weights"].size + 3
    assert nothing in (out / "README.md").read_text() and nothing in (out / "report.html").read_text()
    assert next(run.predict(sorted(data.rglob("*.jpg"))[0])).answer in (*run.dataset.class_names, "unknown")


def test_a_run_that_is_killed_again_and_again_ends_as_the_unbroken_one_in_another_cache(few, shared_store, tmp_path):
    words = ("fit", few, *TUNED, "--quiet")
    call(*words, "--out", tmp_path / "whole", env=cold(shared_store, tmp_path / "cache"), light=False)
    draw, kills = random.Random(), 0
    for _ in range(3):  # each a little after the training wrote something: no machine is too fast or too slow for that
        started = time.time()
        process = start(*words, "--out", tmp_path / "run", light=False)
        while process.poll() is None and not has_trained(tmp_path / "run", started):
            time.sleep(0.02)
        time.sleep(2 * draw.random())
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    call(*words, "--out", tmp_path / "run", light=False)
    assert differing(tmp_path / "run", tmp_path / "whole") == []
    assert (tmp_path / "run" / "adapt" / "model.keras").is_file()
    assert (tmp_path / "run" / "adapt" / "from_random.keras").is_file()


def test_control_c_hands_over_the_best_so_far(few, tmp_path):
    out = tmp_path / "run"
    words = ("fit", few, "--backbones", LITE0, "--strategy", "finetune", "--budget", "20m", "--out", out)
    process = start(*words, light=False)
    while not list((out / "adapt").rglob("state*")):
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "interrupted: going on with the best so far" in stderr
    assert (out / "report.html").is_file()
    assert headstart.load(out).interrupted
    _, stderr = call(*words, light=False)  # a finished run: nobody interrupts it now
    assert "Ctrl-C ended the search of this run earlier" in stderr
