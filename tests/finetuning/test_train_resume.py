"""A training that is killed goes on to the same bits: at each file that it writes, and by kill -9 at random moments."""

import dataclasses
import secrets
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import small_network
from headstart.core.console import Console
from headstart.core.storage import files, serialization
from headstart.finetuning.training import checkpoint, trainer
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.finetuning.training.train_step import TrainStep

X, Y = small_network.pictures(48)
HELD = small_network.Held(*small_network.pictures(30, seed=1))
RECIPE = small_network.recipe(epochs=2, dropout=0.3, ema=0.9, batch_norm="train")


def fit(folder, recipe=RECIPE, *, network=None, **given):
    feed = small_network.Feed(X, Y, recipe)
    given = {"held": HELD, "class_weight": None, "console": Console(quiet=True), "name": "final", **given}
    return trainer.train_network(network or small_network.network(recipe), recipe, feed, folder=folder, **given)


@pytest.fixture(scope="module")
def over(tmp_path_factory):
    """The folder of a training that is over."""
    folder = tmp_path_factory.mktemp("over")
    fit(folder)
    return folder


class Killed(BaseException):
    pass


@pytest.mark.medium
@pytest.mark.parametrize("of", [pytest.param((1, 5, 6, 7), id="some"), pytest.param((2, 3, 4), marks=pytest.mark.slow)])
def test_a_kill_behind_any_write_changes_nothing(tmp_path, monkeypatch, of):
    full = fit(tmp_path / "full", keep_epochs=True)
    writes = {"count": 0, "fatal": -1}

    def write(path, content):
        files.write_bytes(path, content)
        writes["count"] += 1
        if writes["count"] == writes["fatal"]:
            raise Killed

    monkeypatch.setattr(checkpoint, "write_bytes", write)
    monkeypatch.setattr(serialization, "write_json", lambda path, what: write(path, files.json.dumps(what).encode()))
    fit(tmp_path / "counted", keep_epochs=True)
    total = writes["count"]
    assert total == 1 + 2 * 3  # the start; weights, arrays and facts of each epoch
    for fatal in of:
        folder = tmp_path / f"killed{fatal}"
        writes.update(count=0, fatal=fatal)
        with pytest.raises(Killed):
            fit(folder, keep_epochs=True)
        writes["fatal"] = -1
        made = fit(folder, keep_epochs=True)
        assert np.array_equal(made.logits, full.logits) and made.rows == full.rows
        for epoch in range(3):
            pairs = zip(made.weights(epoch).values(), full.weights(epoch).values(), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)
        assert {p.name for p in folder.iterdir()} == {p.name for p in (tmp_path / "full").iterdir()}


@pytest.mark.medium
@pytest.mark.parametrize("firsts", [(2,), pytest.param((1, 4), marks=pytest.mark.slow)], ids=["once", "twice"])
def test_kill_9_at_random_moments_changes_nothing(tmp_path, firsts):
    def start(folder, out):
        return subprocess.Popen([sys.executable, small_network.__file__, str(folder), str(out)])

    small_network.main(str(tmp_path / "full"), str(tmp_path / "full.npz"))
    folder, moments = tmp_path / "killed", []
    for first in firsts:
        epoch, late_s = first + secrets.randbelow(3), secrets.randbelow(200) / 1000  # an epoch takes about 0.2 s
        moments.append((epoch, late_s))
        process, until = start(folder, tmp_path / "killed.npz"), time.monotonic() + 120
        while process.poll() is None and not list(folder.glob(f"state-{epoch:03d}.json")) and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(late_s)
        process.kill()
        assert process.wait() == -9, moments
    assert start(folder, tmp_path / "killed.npz").wait(timeout=120) == 0
    with np.load(tmp_path / "full.npz") as full, np.load(tmp_path / "killed.npz") as killed:
        assert full.files == killed.files and len(full.files) > 9 * 5
        assert all(full[name].tobytes() == killed[name].tobytes() for name in full.files), moments


def test_a_training_that_is_over_is_read_and_not_made_again(tmp_path, monkeypatch):
    made = fit(tmp_path, keep_epochs=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(trainer, "TrainStep", None)
    network, rows = small_network.network(RECIPE), []
    again = fit(tmp_path, network=network, keep_epochs=True, on_epoch=lambda row: bool(rows.append(row)))
    assert again.rows == made.rows == tuple(rows) and again.profile == made.profile and again.best == made.best
    assert np.array_equal(again.logits, made.logits) and again.stopped == "all 2 epochs"
    assert np.array_equal(predict_logits(network, HELD), made.logits[made.best])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    for epoch in range(3):
        found = trainer.epoch_weights(tmp_path, epoch)
        assert all(np.array_equal(found[path], one) for path, one in made.weights(epoch).items())
    with pytest.raises(KeyError):
        trainer.epoch_weights(tmp_path, 3)


def test_epochs_that_are_done_are_told_again(tmp_path):
    first, second = [], []

    def stop(row):
        first.append(row)
        raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, on_epoch=lambda row: bool(first.append(row)) if row.epoch == 1 else stop(row))
    made = fit(tmp_path, on_epoch=lambda row: bool(second.append(row)))
    assert first == second == list(made.rows)


def test_a_pruning_that_was_not_written_happens_again(tmp_path):
    def prune(row):
        if row.epoch == 2:
            raise Killed
        return False

    recipe = small_network.recipe(epochs=4)
    with pytest.raises(Killed):
        fit(tmp_path, recipe, on_epoch=prune)
    made = fit(tmp_path, recipe, on_epoch=lambda row: row.epoch == 1)
    assert made.stopped == "pruned" and len(made.rows) == 1


@pytest.mark.parametrize(
    "change",
    [{}, {"rate": 0.01}, {"seed": 1}, {"stop_after": 1}, {"held": None}, {"class_weight": np.ones(3) * 2}],
)
def test_another_training_in_the_same_folder_starts_anew(tmp_path, monkeypatch, over, change):
    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    shutil.copytree(over, tmp_path / "copy")
    monkeypatch.setattr(trainer, "TrainStep", begin)
    recipe = dataclasses.replace(RECIPE, **{name: one for name, one in change.items() if name in ("rate", "seed")})
    given = {name: one for name, one in change.items() if name not in ("rate", "seed")}
    network = small_network.network(RECIPE)
    if not change:
        assert fit(tmp_path / "copy", recipe, network=network).stopped == "all 2 epochs"
        return
    with pytest.raises(Begun):
        fit(tmp_path / "copy", recipe, network=network, **given)
    assert not list((tmp_path / "copy").iterdir())


def test_without_keep_epochs_the_start_and_the_best_are_left(over):
    names = {p.name for p in over.iterdir()}
    assert names - {"weights-001.npz", "weights-002.npz"} == {"state-over.json", "state-over.npz", "weights-000.npz"}
    assert len(names) == 4


def test_the_parts_that_fitted_are_kept_when_memory_is_free_again(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.finetuning.training.memory.count_parts", lambda *_: (2, "in parts"))

    def stop(row):
        raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, on_epoch=lambda row: row.epoch == 2 and stop(row))
    monkeypatch.setattr("headstart.finetuning.training.memory.count_parts", lambda *_: (1, ""))
    sizes, part = [], TrainStep._train_part
    monkeypatch.setattr(TrainStep, "_train_part", lambda *given: sizes.append(len(given[2])) or part(*given))
    made = fit(tmp_path)
    assert made.notes == ("in parts",) and set(sizes) == {8}
