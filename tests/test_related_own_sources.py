"""Of a user's own earlier networks the one that learnt a related task is preferred, end to end.

One small network learns letters (A to F), another which material a patch is of; both from random weights,
by `headstart.fit`. Then other letters (N to S) are given, few of each: the ranking and the fit must take the first.
One seed here; `benchmarks/zoo.py` judges such choices over three.
"""

import keras
import numpy as np
import pytest
from benchmarks import zoo_nets, zoo_tasks
from PIL import Image

import headstart
from headstart.backbones.imported import registration
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from network_files import save

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)
RECIPE = "depths=last,part=all,start=random,rate=3e-3,decay=1,epochs=15,batch=32,wise=false"


def write(folder, task, count):
    """The first `count` pictures of each of the first six classes of a task, as files."""
    for c, name in enumerate(task.classes[:6]):
        (folder / name).mkdir(parents=True)
        for at in np.flatnonzero(task.y == c)[:count]:
            Image.fromarray(task.x[at]).save(folder / name / f"{at:04d}.png")
    return folder


def untrained(folder, seed):
    """A small network with random weights as a backbone of one's own; its name."""
    from headstart.networks.random_init import fill_random

    trunk = zoo_nets.build("vgg")
    fill_random(trunk, seed)
    save(keras.Model(trunk.input, trunk.get_layer("last").output), folder / "small.keras")
    wish = registration.ImportRequest(file=folder / "small.keras", name="small", depths=zoo_nets.DEPTHS)
    return f"saved_file:{registration.add_file(wish, Store(folder / 'cache'), QUIET).name}"


def test_the_related_run_is_preferred(tmp_path, monkeypatch):
    letters, texture = (one for one in zoo_tasks.sources() if one.name in ("letters", "texture"))
    target = next(one for one in zoo_tasks.targets() if one.related == "letters")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    base = untrained(tmp_path, seed=0)
    how = {"backbones": base, "strategy": "finetune", "recipe": RECIPE, "folds": 2, "seed": 0, "console": QUIET}
    for name, task in (("a", letters), ("c", texture)):
        headstart.fit(write(tmp_path / f"data_{name}", task, 96), out=tmp_path / name, **how)
    pictures = write(tmp_path / "data_b", target, 12)
    own = f"run:{tmp_path / 'a'},run:{tmp_path / 'c'}"
    run = headstart.fit(pictures, backbones=own, out=tmp_path / "b", folds=3, seed=0, console=QUIET)
    a, c = (best(run.ranking, f"run:{name}-") for name in "ac")
    assert run.ranking.chosen == a.candidate
    assert loss(a) < loss(c)
    assert c.paired.low > 0  # not by chance
    assert a.beats_random
    assert all(feature.backbone == a.backbone for feature in run.adapted.features)


def best(ranking, prefix):
    """The row of a backbone's best depth."""
    return min((row for row in ranking.rows if row.backbone.startswith(prefix)), key=loss)


def loss(row):
    return next(score.value for score in row.scores if score.name == "log_loss")
