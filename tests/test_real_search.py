"""A whole `--strategy auto`: real trainings of a tiny network, its budget in trials so that no clock decides.

A network that trains learns the direction of stripes better than the frozen probe does. Of shades with drawn labels the
probe knows all there is; training hurts, and the probe stays. A search that is killed twice, in a cache that knows
nothing of earlier runs, ends byte for byte as an unbroken one beside a run of another seed.
"""

import json
import shutil
import signal
import time

import numpy as np
import pytest

import headstart
from command_line import call, differing, start
from drawn_pictures import write_colours, write_stripes
from headstart.core.console import Console
from headstart.statistics.losses import log_losses
from network_files import tiny_keras

pytestmark = pytest.mark.medium
SETTINGS = {"backbones": "saved_file:tiny", "strategy": "auto", "budget": "10h", "folds": 3}
CLOCKED = ("adapt/time", "adapt/pace/")  # decisions that hold seconds or paces


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with a cache of its own, in which the tiny network is known, and a copy of that cache."""
    root = tmp_path_factory.mktemp("search")
    tiny_keras(root / "tiny.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(root / "cache"))
        call("backbones", "add", root / "tiny.keras", light=False)
        shutil.copytree(root / "cache", root / "cold")
        yield root


def fit(data, out, **settings):
    return headstart.fit(data, out=out, console=Console(quiet=True), **SETTINGS, **settings)


@pytest.fixture(scope="module")
def stripes(bench):
    return write_stripes(bench / "stripes")


@pytest.fixture(scope="module")
def searched(bench, stripes):
    """A finished search, unbroken, after one of another seed, and so of other folds, on the same pictures."""
    other = fit(stripes, bench / "other", seed=7, trials=1)
    run = fit(stripes, bench / "searched", trials=2)
    assert not np.array_equal(other.splits.folds, run.splits.folds)
    return run


def mean_loss(data, rows, probabilities):
    return float(np.mean(log_losses(np.asarray(data.targets)[rows], probabilities)))


def test_a_search_tries_recipes_and_hands_over_the_network_that_beats_the_probe(searched):
    tuning, data = searched.adapted.tuning, searched.dataset
    assert len(tuning.trials) == 2
    [chosen] = [trial.number for trial in tuning.trials if trial.status == "chosen"]
    assert tuning.taken and searched.adapted.strategy == tuning.network.recipe.strategy != "probe"
    own, probe = (mean_loss(data, tuning.rows, p) for p in (tuning.probabilities, tuning.probe_probabilities))
    assert own < probe - 0.05
    learnt = [log for log in tuning.logs if log.trial == chosen and log.fold >= 0]
    assert len(learnt) == 3 and all(log.epochs[-1].val.log_loss < log.start.log_loss for log in learnt)


def test_where_fine_tuning_hurts_the_probe_stays_and_is_validated_after_all_training(bench):
    run = fit(write_colours(bench / "colours"), bench / "hurt", trials=2)
    tuning, adapted = run.adapted.tuning, run.adapted
    assert tuning.network is not None and all(trial.paired.value > 0.01 for trial in tuning.trials)
    assert max(log.epochs[-1].val.log_loss - log.start.log_loss for log in tuning.logs if log.fold >= 0) > 0.05
    assert not tuning.taken and adapted.strategy == "probe"
    handed_over = mean_loss(run.dataset, adapted.cv_rows, adapted.cv_probabilities)
    assert handed_over < mean_loss(run.dataset, tuning.rows, tuning.probabilities)
    names = [name for name, _ in list_decisions(run.path)]
    assert names.index("adapt/time") < names.index("adapt/from_random") < names.index("adapt/nested")
    assert run.evaluation.nested  # of what training left of the budget


def wait_for(process, is_there):
    while not is_there():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_a_killed_search_in_a_cache_without_earlier_runs_ends_as_the_unbroken_one(bench, stripes, searched):
    words = [f"--{name}={value}" for name, value in {**SETTINGS, "trials": 2}.items()]
    command, adapt = ("fit", stripes, *words, "--out", bench / "killed", "--quiet"), bench / "killed" / "adapt"
    cold = {"HEADSTART_CACHE": str(bench / "cold")}
    for middle in ("trial001-fold0/state-0*.json", "final*/state-0*.json"):
        process = start(*command, env=cold, light=False)
        wait_for(process, lambda middle=middle: list((adapt / ".work").glob(middle)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (adapt / "tuning.json").exists()
    call(*command, env=cold, light=False)
    assert list_decisions(bench / "killed") == list_decisions(searched.path)  # what it starts from and tries
    assert differing(bench / "killed", searched.path) == ["decisions.jsonl"]


def list_decisions(run):
    """Decisions without seconds and paces."""
    entries = map(json.loads, (run / "decisions.jsonl").read_text().splitlines())
    return [(e["name"], None if e["name"].startswith(CLOCKED) else e["value"]) for e in entries]
