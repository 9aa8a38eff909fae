"""Trainings are told to the tracker while they run, once, and the tracker is closed whatever ends the run."""

import types

import numpy as np
import pytest

from headstart.core.errors import SetupError
from headstart.core.recipe import Recipe
from headstart.core.types import ClassScores, EpochRow
from headstart.finetuning import final_training, fine_tune
from headstart.finetuning.search import fold_training
from headstart.finetuning.tracking import epoch_tracking, mlflow_tracker
from headstart.finetuning.training import prefetch, trainer

SCORES = ClassScores(
    log_loss=0.5, accuracy=0.5, balanced_accuracy=0.5, precision=0.5, recall=0.5, class_precision=(), class_recall=()
)
ROWS = [EpochRow(epoch=epoch, rate=0.1, loss=0.4, train=SCORES, val=SCORES) for epoch in (1, 2, 3)]


class Heard:
    """A tracker that remembers what it was told."""

    def __init__(self):
        self.told = []

    def params(self, name, recipe):
        self.told.append((name, recipe.rate))

    def log(self, name, row):
        self.told.append((name, row.epoch))

    def close(self):
        self.told.append("closed")


@pytest.fixture
def heard(monkeypatch):
    """What the tracker of a run hears."""
    made = Heard()
    monkeypatch.setattr(epoch_tracking, "open_tracker", lambda *named: made)
    return made.told


@pytest.fixture
def tracked(context):
    """The context of a run that asks for a tracker."""
    return context(track="tensorboard", strategy="auto")


def setup(ctx, followed, tmp_path):
    """As much of a workbench as trainings of one block need."""
    job = types.SimpleNamespace(
        network=types.SimpleNamespace(trainable_params=1),
        recipe=Recipe(rate=0.25),
        feed=None,
        source=types.SimpleNamespace(make_held_out=lambda positions: None),
        notes=(),
    )
    return types.SimpleNamespace(
        ctx=ctx,
        tracker=followed,
        work_folder=tmp_path,
        cost=types.SimpleNamespace(
            choose_places=lambda training: (), measure_pace=lambda *_: None, recall_pace=lambda recipe: None
        ),
        training_set=types.SimpleNamespace(
            rows=np.arange(4),
            problem=types.SimpleNamespace(class_weight=None),
            training_positions=lambda fold: np.arange(2),
            held_out_positions=lambda fold: np.arange(2, 4),
        ),
        prepare=lambda recipe, learnt: job,
    ), job


def trains(until, heard, order):
    """Stands in for `train`: three epochs, and a kill after `until` of them."""

    def run(network, recipe, feed, *, on_epoch, name, **named):
        for row in ROWS[:until]:
            order.append((row.epoch, on_epoch(row), list(heard)))
        if until < len(ROWS):
            raise KeyboardInterrupt
        return trainer.TrainingResult(
            rows=tuple(ROWS), start=SCORES, best=3, stopped="all", logits=np.zeros((4, 2, 2)), weights=dict, steps=3,
            profile=prefetch.Profile(), notes=(),
        )  # fmt: skip

    return run


def test_each_epoch_of_a_fold_is_told_when_it_ends_and_once_in_all_processes(heard, tracked, tmp_path, monkeypatch):
    name, order = "trial 2, fold 1", []
    monkeypatch.setattr(fold_training, "require_room", lambda *named: None)
    for until in (2, 3):
        monkeypatch.setattr(trainer, "train_network", trains(until, heard, order))
        with epoch_tracking.open_epoch_tracker(tracked, ("a", "b"), tmp_path) as followed:
            on, _ = setup(tracked, followed, tmp_path)
            if until < 3:
                with pytest.raises(KeyboardInterrupt):
                    fold_training.run_fold(on, Recipe(), 2, 1, lambda row: row.epoch == 2)
            else:
                fold_training.run_fold(on, Recipe(), 2, 1)
                fold_training.run_fold(on, Recipe(), 2, 1)  # read from the run folder
    assert order[0] == (1, False, [(name, 0.25), (name, 1)])  # heard before the second epoch
    assert [stop for _, stop, _ in order] == [False, True, False, False, False]
    assert heard == [(name, 0.25), (name, 1), (name, 2), "closed", (name, 3), "closed"]


def test_a_fold_that_a_kill_kept_from_being_told_is_told_later(heard, tracked, tmp_path, monkeypatch):
    monkeypatch.setattr(fold_training, "require_room", lambda *named: None)
    monkeypatch.setattr(trainer, "train_network", trains(3, heard, []))
    with epoch_tracking.open_epoch_tracker(tracked, ("a", "b"), tmp_path) as followed:
        on, _ = setup(tracked, followed, tmp_path)
        fold_training.run_fold(on, Recipe(), 0, 0)
    (tmp_path / "told.json").write_text('{"trial 0, fold 0": 2}')
    heard.clear()
    with epoch_tracking.open_epoch_tracker(tracked, ("a", "b"), tmp_path) as followed:
        on.tracker = followed
        fold_training.run_fold(on, Recipe(), 0, 0)
    assert heard == [("trial 0, fold 0", 3), "closed"]


def test_trainings_on_all_pictures_are_told_too(heard, tracked, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "train_network", trains(3, heard, []))
    with epoch_tracking.open_epoch_tracker(tracked, ("a", "b"), tmp_path) as followed:
        on, job = setup(tracked, followed, tmp_path)
        final_training._train(on, job, "from random weights", 3)
    assert heard == [("from random weights", 0.25), *(("from random weights", epoch) for epoch in (1, 2, 3)), "closed"]


def test_without_a_tracker_nothing_stands_between(context, tmp_path):
    with epoch_tracking.open_epoch_tracker(context(), ("a", "b"), tmp_path / "work") as followed:
        assert (
            followed is None
            and epoch_tracking.follow_epochs(followed, "x", Recipe(), heeded := (lambda row: True)) is heeded
        )
    assert not (tmp_path / "work").exists()


def test_a_missing_mlflow_is_told_before_anything_is_trained(context, monkeypatch):
    def missing(uri):
        raise ImportError("No module named 'mlflow'")

    monkeypatch.setattr(mlflow_tracker, "_make_client", missing)
    monkeypatch.setattr(fine_tune, "_make_setup", lambda *named: pytest.fail("something was done"))
    data = types.SimpleNamespace(class_names=("a", "b"))
    with pytest.raises(SetupError, match="MLflow cannot be loaded"):
        fine_tune.fine_tune(data, None, None, (), None, ctx=context(track="mlflow", strategy="auto"))
