"""Model checks on real trainings of a small network: each fault is brought about, and named by its own check alone."""

import dataclasses

import numpy as np
import pytest

import small_network
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.types import TrainingInput, TrainingLog
from headstart.finetuning.training import trainer
from small_nets import classes

MAJORITY = 1 / small_network.CLASSES
HELD = 90


def trainings(recipe, n_train, folds=2, wrong=0.0):
    """The recipe on fresh pictures, once a fold; a part of the training labels may be wrong."""
    made = []
    for fold in range(folds):
        x, y = small_network.pictures(n_train, seed=10 + fold)
        y = np.where(np.arange(n_train) < wrong * n_train, (y + 1) % small_network.CLASSES, y)
        recipe = dataclasses.replace(recipe, seed=fold)
        network = small_network.network(recipe)
        held = small_network.Held(*small_network.pictures(HELD, seed=20 + fold))
        feed = small_network.Feed(x, y, recipe)
        done = trainer.train_network(
            network,
            recipe,
            feed,
            held=held,
            class_weight=None,
            folder=None,
            console=Console(quiet=True),
            name=f"fold {fold}",
        )
        log = TrainingLog(
            name=f"fold {fold}",
            trial=0,
            recipe=recipe,
            fold=fold,
            n_train=n_train,
            start=done.start,
            epochs=done.rows,
            best=done.best,
            stopped=done.stopped,
            trainable_params=network.trainable_params,
        )
        made.append(log)
    return tuple(made)


def probe():
    """Answers as a frozen probe of a poor trunk gives them: right in half of the cases."""
    y = np.arange(HELD) % small_network.CLASSES
    p = np.full((HELD, small_network.CLASSES), 0.25)
    p[np.arange(HELD), np.where(np.arange(HELD) % 2, y, (y + 1) % small_network.CLASSES)] = 0.5
    return classes(small_network.CLASSES).score(y, p)


def said(logs):
    """Code -> diagnosis of everything that did not pass."""
    given = TrainingInput(logs=logs, class_names=("red", "green", "blue"), guess=MAJORITY, probe=probe())
    found = [registry.load_plugin("model_checks", name)(given) for name in registry.list_plugins("model_checks")]
    return {d.outcome.code: d for d in found if d.outcome.status in ("issue", "tip")}


def recipe(**given):
    return small_network.recipe(**{"epochs": 12, "patience": 0, "rate": 5e-3, **given})


@pytest.mark.medium
def test_a_sound_training_raises_no_issue():
    assert said(trainings(recipe(), 240)) == {}


@pytest.mark.medium
def test_wrong_labels_learnt_by_heart_overfit():
    found = said(trainings(recipe(epochs=40, rate=2e-2), 90, wrong=0.3))
    assert found["M201"].outcome.status == "issue" and found.keys() <= {"M201", "M205"}
    assert found["M201"].outcome.why.startswith("overfits from epoch ")
    assert found["M201"].change == {"augment": 0.5, "weight_decay": 1e-3}


@pytest.mark.medium
def test_a_rate_too_high_diverges():
    wild = recipe(optimiser="sgd", rate=10.0, clip=0.0, warmup=0.0, schedule="constant", epochs=4)
    found = said(trainings(wild, 120))
    assert found["M203"].outcome.status == "issue"
    assert found["M203"].change["rate"] == pytest.approx(1.0) and found["M203"].change["clip"] == 1.0


@pytest.mark.medium
def test_a_rate_too_low_underfits():
    found = said(trainings(recipe(rate=1e-5, epochs=6), 120))
    assert set(found) == {"M202"}
    assert found["M202"].change["rate"] == pytest.approx(3e-5)
