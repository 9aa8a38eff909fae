"""Folds of fine-tuning on two Ray machines that share this one: seconds and CPU beyond training them one by one here.

python -m benchmarks.ray_folds [--count 300] [--epochs 8]

Both machines have the cores of this one, as training needs them, so that wall time shows the worst case: no core more.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import LITE0, cold_cache, context, pictures
from benchmarks.ray_embedding import spent_s
from headstart.api.fit_steps import FitSteps
from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.run.folder import RunFolder
from headstart.core.settings import count_cores
from headstart.core.storage.cache import Store
from headstart.finetuning import starting_points
from headstart.finetuning.search import fold_training
from headstart.finetuning.search.parallel import parallel_folds
from headstart.finetuning.search.training_setup import TrainingSetup, make_training_setup
from headstart.remote.cluster.connection import connect_workers, load_ray
from headstart.remote.cluster.options import ClusterOptions
from headstart.selection.probe import head_selection

DEPTH, FOLDS = "stage4", 3


def prepare(data: Path, place: Path, epochs: int) -> tuple[TrainingSetup, Recipe]:
    """All that the folds of a recipe need, on a cache without folds, and the recipe."""
    settings = {"strategy": "finetune", "recipe": f"epochs={epochs}", "folds": FOLDS, "backbones": LITE0}
    ctx = dataclasses.replace(
        context(place, **settings | {"data": str(data)}), store=Store(cold_cache(place / "cache"))
    )
    steps = FitSteps(ctx)
    problem = head_selection.make_training_problem(steps.data, steps.splits, ctx)
    points = starting_points.judge_starting_points(steps.ranking, steps.embeddings, problem, (DEPTH,))
    setup = make_training_setup(steps.data, steps.splits, steps.embeddings, points, steps.probe, problem, ctx=ctx)
    recipe = recipes.make_recipe({"backbone": LITE0, "depths": (DEPTH,), "epochs": epochs, "rate": 2e-3})
    setup.prepare(recipe, setup.training_set.training_positions(0))  # activations are cached once, outside the clock
    return setup, recipe


def train(setup: TrainingSetup, recipe: Recipe, place: Path, workers: Any) -> tuple[list[bytes], float, float]:
    """The logits of all folds, and the wall and CPU seconds they took."""
    ctx = dataclasses.replace(setup.ctx, run=RunFolder(place), workers=workers, console=Console())
    own = dataclasses.replace(setup, ctx=ctx)
    own.cost.fold_seconds = lambda recipe: 1e3  # whatever it costs, they are sent
    wall, cpu = time.monotonic(), spent_s()
    folds = own.training_set.fold_numbers
    parallel_folds.train_folds_ahead(own, [(recipe, fold) for fold in folds])
    logits = [fold_training.run_fold(own, recipe, 0, fold).logits.tobytes() for fold in folds]
    return logits, time.monotonic() - wall, spent_s() - cpu


def main() -> None:
    """Print seconds of both ways; the logits must be equal bit for bit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=8)
    settings = parser.parse_args()
    load_ray()
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        setup, recipe = prepare(pictures(scratch / "data", settings.count), scratch / "run", settings.epochs)
        alone, alone_wall_s, alone_s = train(setup, recipe, scratch / "alone", None)
        machine = {"num_cpus": count_cores(), "object_store_memory": 200_000_000}
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **machine})
        try:
            cluster.add_node(**machine)
            with connect_workers(ClusterOptions(address=cluster.address), Console()) as workers:
                together, wall_s, cpu_s = train(setup, recipe, scratch / "together", workers)
        finally:
            cluster.shutdown()
    if alone != together:
        sys.exit("the logits of the cluster are not those of this process")
    print(f"{FOLDS} folds, {settings.count} pictures, {settings.epochs} epochs, {count_cores()} cores: equal logits")
    print(f"wall seconds {alone_wall_s:.1f} one by one here, {wall_s:.1f} on two machines that share these cores")
    print(f"CPU seconds {alone_s:.1f} here, {cpu_s:.1f} there: {(cpu_s - alone_s) / FOLDS:.1f} more a fold")


if __name__ == "__main__":
    main()
