"""One recipe of each strategy: accuracy, what trains and what it takes, on the textile set with few pictures.

    python -m benchmarks.strategies [NAME …]

EfficientNet-Lite0 learns from 300 pictures, 700 others judge, all start from the logistic head on stage 5. The recipes
are those that a search begins with, but for the same 15 epochs each, and none is chosen by what it reaches.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import LITE0, context
from benchmarks.tuned_accuracy import textile
from headstart.api.fit_steps import FitSteps
from headstart.core import blas_threads
from headstart.core import recipe as recipes
from headstart.core.console import format_duration
from headstart.finetuning import starting_points
from headstart.finetuning.search import recipe_proposals
from headstart.finetuning.search.training_setup import TrainingSetup, make_training_setup
from headstart.finetuning.training import epoch_metrics, trainer
from headstart.heads.prediction import softmax
from headstart.selection.probe import head_selection
from headstart.statistics.intervals import mean_interval

LEARN, JUDGE, EPOCHS, DEPTH = 300, 700, 15, "stage5"
RECIPES: dict[str, dict[str, Any]] = {
    "probe, hidden layer": {"strategy": "probe", "head": "mlp", "rate": 1e-3, "dropout": 0.3},
    "finetune, 1 block": {"blocks": 1},
    "finetune, 2 blocks": {"blocks": 2},
    "finetune, 2 blocks, gradual": {"blocks": 2, "gradual": True},
    "finetune, all": {"part": "all", "decay": 0.6},
    "lora, 2 blocks": {"strategy": "lora", "blocks": 2},
    "norms": {"strategy": "norms", "part": "all", "rate": 3e-3, "decay": 1.0},
    "scratch": {"strategy": "scratch"},
}


def training_setup(folder: Path) -> tuple[TrainingSetup, np.ndarray, np.ndarray]:
    """What trainings share, with the pictures that learn and those that judge, and the positions of both."""
    story = FitSteps(context(folder / "run", data=str(textile(folder / "data", LEARN, 0)), backbones=(LITE0,)))
    rng, learn = np.random.default_rng(0), story.splits.train
    judge = np.sort(rng.permutation(story.splits.test)[:JUDGE])
    on = head_selection.make_training_problem(story.data, story.splits, story.ctx)
    points = starting_points.judge_starting_points(story.ranking, story.embeddings, on, (DEPTH,))
    splits = dataclasses.replace(story.splits, train=np.concatenate([learn, judge]))
    setup = make_training_setup(story.data, splits, story.embeddings, points, story.probe, on, ctx=story.ctx)
    setup.recipe_space.domain = "texture"
    return setup, np.arange(len(learn)), len(learn) + np.arange(len(judge))


def one(setup: TrainingSetup, learn: np.ndarray, judge: np.ndarray, name: str, fields: dict[str, Any]) -> None:
    """Train one recipe and print its line."""
    usual = {"rate": 2e-3, "decay": 0.8, "weight_decay": 2e-2, "epochs": EPOCHS, "augment": 0.5, "domain": "texture"}
    recipe = recipes.make_recipe({**usual, **setup.recipe_space.starting_points[0].recipe_fields, **fields})
    if recipe.strategy == "scratch":
        recipe = recipe_proposals.make_scratch_recipe(recipe)
    started = time.monotonic()
    job = setup.prepare(recipe, learn)
    if name == "":
        _tell(
            "frozen probe",
            setup,
            epoch_metrics.predict_logits(job.network, job.source.make_held_out(judge)),
            judge,
            "0 epochs",
        )
        return
    made = trainer.train_network(
        job.network,
        job.recipe,
        job.feed,
        held=None,
        class_weight=None,
        folder=None,
        console=setup.ctx.console,
        name=name,
    )
    took = made.profile.compute_s + made.profile.wait_s
    pace = (made.steps - 1) * job.feed.batch / took
    work = setup.cost.epoch_flops(job.recipe) / len(setup.training_set.rows) / 1e9
    told = (
        f"{job.network.trainable_params:,} weights, {work:.2f} GFLOP a picture and step, {pace:,.0f} pictures/s, "
        f"{format_duration(time.monotonic() - started)}"
    )
    _tell(name, setup, epoch_metrics.predict_logits(job.network, job.source.make_held_out(judge)), judge, told)


def _tell(name: str, setup: TrainingSetup, logits: np.ndarray, judge: np.ndarray, told: str) -> None:
    y = setup.training_set.targets[judge]
    right = np.argmax(softmax(logits.astype(np.float64)), axis=1) == y
    found = mean_interval(right * 1.0)
    each = np.mean([right[y == c].mean() for c in np.unique(y)])
    print(
        f"{name:<30}accuracy {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] (n = {len(y)}), "
        f"balanced {each:.3f}; {told}",
        flush=True,
    )


def main() -> None:
    """Print a line a strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {'; '.join(RECIPES)}")
    wanted = parser.parse_args().names or list(RECIPES)
    if set(wanted) - set(RECIPES):
        sys.exit(f"no recipe is named {', '.join(sorted(set(wanted) - set(RECIPES)))}")
    with tempfile.TemporaryDirectory() as scratch, blas_threads.single_blas_thread():
        setup, learn, judge = training_setup(Path(scratch))
        one(setup, learn, judge, "", {})
        for name in wanted:
            one(setup, learn, judge, name, RECIPES[name])


if __name__ == "__main__":
    main()
