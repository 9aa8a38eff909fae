"""The zoo: small networks of three styles on four source tasks, each transferred to five targets, everything kept.

Every training is headstart's own (`finetuning/network/trainable_network`, `finetuning/training/trainer`): sources
from random weights, targets from the fitted logistic head with all blocks free. What is done lies in the cache under
the digest of pictures, recipe and network, so that a killed benchmark goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import zoo_nets, zoo_tasks
from benchmarks.zoo_tasks import Task
from benchmarks.zoo_training import Compiled, Pictures, Shown, even_folds, logistic, start_of
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import CLASSIFICATION, BackboneSpec
from headstart.finetuning.network import trainable_network
from headstart.finetuning.objectives import make_objective
from headstart.finetuning.training import epoch_metrics, trainer

LEARN = 60  # pictures of a target, as even over its classes as can be
SEEDS = (0, 1, 2)
REPEATS = 5
KIND = "zoo"  # in the cache
_FORMAT = 1  # raise when the networks are built otherwise
STEPS = 600  # of learning a source task
SOURCE_RECIPE = Recipe(
    strategy="scratch", depths=("last",), start="random", batch_norm="train", rate=3e-3, batch=32,
    weight_decay=1e-2, wise=False,
)  # fmt: skip
TARGET_RECIPE = Recipe(
    strategy="finetune", depths=("last",), part="all", rate=2e-3, decay=0.9, epochs=20, batch=20, weight_decay=1e-2,
    wise=False,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A network of the zoo.

    Attributes:
        style: `vgg`, `resnet` or `inception`.
        learnt: Name of its source task, `nothing` for a random one.
        accuracy: On held-out pictures of that task; 0 for a random one.
        folder: Of its entry in the cache, with `trunk.npz`.
        classes: Of its source task.
    """

    style: str
    learnt: str
    accuracy: float
    folder: Path
    classes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`vgg/digits`."""
        return f"{self.style}/{self.learnt}"

    @property
    def digest(self) -> str:
        """Of what it depends on."""
        return self.folder.name

    @cached_property
    def trunk(self) -> Any:
        """The frozen `keras.Model`."""
        made = zoo_nets.build(self.style)
        with np.load(self.folder / "trunk.npz") as found:
            zoo_nets.fill(made, dict(found))
        return made

    @cached_property
    def spec(self) -> BackboneSpec:
        """What is known of it."""
        from headstart.networks import flops

        model = self.trunk
        return zoo_nets.spec(
            f"zoo:{self.name}",
            self.style,
            self.learnt,
            self.accuracy,
            model.count_params(),
            int(flops.count_flops(model)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """What a target gives to learn from, for one seed.

    Attributes:
        task: The target.
        seed: Of the draw, the folds and the training.
        rows: (n,) positions in the task's pool.
    """

    task: Task
    seed: int
    rows: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """(n, 32, 32, 3) uint8."""
        return self.task.x[self.rows]

    @property
    def y(self) -> np.ndarray:
        """(n,) int64."""
        return self.task.y[self.rows]

    @property
    def folds(self) -> np.ndarray:
        """(5, n) fold of each picture in each repeat, classes spread evenly."""
        return np.stack([even_folds(self.y, np.random.default_rng([self.seed, 12, at])) for at in range(REPEATS)])


class Zoo:
    """Networks, targets and what is kept of them.

    Args:
        store: The cache.
        say: Told of every training.
    """

    def __init__(self, store: Store | None = None, console: Console | None = None) -> None:
        self.store, self.console = store or Store(cache_folder()), console or Console(quiet=True)
        self.targets = zoo_tasks.targets()
        self._compiled: dict[tuple[str, int], Compiled] = {}

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Three styles on every source, trained where they are not there yet."""
        return tuple(self._trained(style, task) for task in zoo_tasks.sources() for style in zoo_nets.STYLES)

    @cached_property
    def controls(self) -> tuple[Member, ...]:
        """A network with random weights for each style."""
        return tuple(self._random(style) for style in zoo_nets.STYLES)

    def drawn(self) -> Iterator[Drawn]:
        """Every target with every seed."""
        for task in self.targets:
            for seed in SEEDS:
                yield Drawn(task=task, seed=seed, rows=task.draw(LEARN, seed))

    def features(self, member: Member, task: Task) -> dict[str, np.ndarray]:
        """Depth -> (N, D) float32 of a target's pool."""
        key = {"features": member.digest, "task": task.digest}

        def write(draft: Path) -> None:
            found = member.trunk.predict(task.x.astype(np.float32), batch_size=256, verbose=0)
            np.savez(draft / "pooled.npz", **dict(zip(zoo_nets.DEPTHS, found, strict=True)))

        with np.load(self.store.make_entry(KIND, key, write) / "pooled.npz") as kept:
            return dict(kept)

    def truth(self, member: Member, of: Drawn) -> float:
        """Accuracy on the target's test part after fine-tuning on all that was drawn."""
        logits = self.tuned(member, of, np.arange(len(of.rows)), None)
        return float((logits.argmax(axis=1) == of.task.test_y).mean())

    def tuned(self, member: Member, of: Drawn, learn: np.ndarray, judge: np.ndarray | None) -> np.ndarray:
        """Fine-tune on positions of what was drawn; (M, C) float32 logits of others, or of the test part (None)."""
        recipe = dataclasses.replace(TARGET_RECIPE, seed=of.seed)
        key = {
            "format": _FORMAT, "network": member.digest, "task": of.task.digest, "recipe": recipe,
            "rows": of.rows[learn].tolist(), "judge": "test" if judge is None else of.rows[judge].tolist(),
        }  # fmt: skip

        def write(draft: Path) -> None:
            self.console.print_line("tune", f"{member.name} -> {of.task.name}, seed {of.seed}, {len(learn)} pictures")
            features, classes = self.features(member, of.task)["last"][of.rows[learn]], len(of.task.classes)
            start = start_of(logistic(features, of.y[learn], classes, of.seed))
            objective = make_objective(CLASSIFICATION, np.empty(0), classes)
            fresh = trainable_network.build_network(member.trunk, member.spec, recipe, start=start, objective=objective)
            compiled = self._compiled.setdefault((member.style, classes), Compiled(fresh, recipe))
            held = Shown(of.task.test_x, of.task.test_y) if judge is None else Shown(of.x[judge], of.y[judge])
            feed = Pictures(of.x[learn], of.y[learn], classes, recipe)
            np.save(draft / "logits.npy", compiled.trained(fresh.get(frozen=True), recipe, feed, held))

        return np.load(self.store.make_entry(KIND, key, write) / "logits.npy")

    # ------------------------------------------------------------ making the networks

    def _trained(self, style: str, task: Task) -> Member:
        epochs = -(-STEPS // (len(task.y) // SOURCE_RECIPE.batch))
        recipe = dataclasses.replace(SOURCE_RECIPE, epochs=epochs, seed=list(zoo_nets.STYLES).index(style))
        key = {"format": _FORMAT, "style": style, "task": task.digest, "recipe": recipe}
        folder = self.store.make_entry(KIND, key, lambda draft: self._train_source(draft, style, task, recipe))
        accuracy = json.loads((folder / "facts.json").read_text())["accuracy"]
        return Member(style=style, learnt=task.name, accuracy=accuracy, folder=folder, classes=task.classes)

    def _train_source(self, draft: Path, style: str, task: Task, recipe: Recipe) -> None:
        from headstart.finetuning.network.plain_model import make_plain_model

        self.console.print_line(
            "source", f"{style} on {task.name}: {len(task.y):,} pictures, {len(task.classes)} classes"
        )
        trunk = zoo_nets.build(style)
        spec = zoo_nets.spec(f"zoo:{style}", style, task.name, 0.0, trunk.count_params(), 1)
        objective = make_objective(CLASSIFICATION, np.empty(0), len(task.classes))
        made = trainable_network.build_network(trunk, spec, recipe, start=None, objective=objective)
        feed = Pictures(task.x, task.y, len(task.classes), recipe)
        trainer.train_network(
            made, recipe, feed, held=None, class_weight=None, folder=None, console=Console(quiet=True), name=style
        )
        right = epoch_metrics.predict_logits(made, Shown(task.test_x, task.test_y)).argmax(axis=1) == task.test_y
        made = make_plain_model(made, trunk, spec)
        np.savez(draft / "trunk.npz", **zoo_nets.taken(zoo_nets.with_depths(made.trunk)))
        (draft / "facts.json").write_text(json.dumps({"accuracy": float(right.mean())}))

    def _random(self, style: str) -> Member:
        from headstart.networks.random_init import fill_random

        def write(draft: Path) -> None:
            trunk = zoo_nets.build(style)
            fill_random(trunk, 0)
            np.savez(draft / "trunk.npz", **zoo_nets.taken(trunk))

        folder = self.store.make_entry(KIND, {"format": _FORMAT, "style": style, "random": 0}, write)
        return Member(style=style, learnt="nothing", accuracy=0.0, folder=folder)
