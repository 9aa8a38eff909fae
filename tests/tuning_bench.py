"""A real, small run up to the frozen probe, where fine-tuning starts: Lite0's ImageNet weights on cloth."""

import dataclasses
import itertools
import shutil
from types import SimpleNamespace

from headstart.api.fit_steps import FitSteps
from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.finetuning import final_training, starting_points
from headstart.finetuning.search.recipe_search import Search
from headstart.finetuning.search.training_cost import TimeBudget
from headstart.finetuning.search.training_setup import make_training_setup
from headstart.selection.probe import head_selection

LITE0, DEPTH = "bundled:efficientnet_lite0", "stage4"
PLAIN = {"backbone": LITE0, "depths": (DEPTH,), "epochs": 2, "batch": 6, "rate": 2e-3}
_numbers = itertools.count()


def copies(textile, root, count, start=0):
    """A folder with `count` textile pictures of each class."""
    for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
        (root / folder.name).mkdir(parents=True)
        for picture in sorted(folder.glob("*.jpg"))[start : start + count]:
            shutil.copy(picture, root / folder.name)
    return root


def surroundings(data, run, store, **settings):
    """A context of a job with an explicit recipe."""
    settings = {"backbones": LITE0, "strategy": "finetune", "recipe": "epochs=2", "folds": 2, **settings}
    return Context(
        job=jobs.make_job(data=str(data), **settings), run=RunFolder(run), store=store, console=Console(quiet=True)
    )


def workbench(ctx, depth=DEPTH):
    """Everything that a training of the run needs, the frozen probe included, from the start at one depth."""
    story = FitSteps(ctx)
    on = head_selection.make_training_problem(story.data, story.splits, ctx)
    points = starting_points.judge_starting_points(story.ranking, story.embeddings, on, (depth,))
    return make_training_setup(story.data, story.splits, story.embeddings, points, story.probe, on, ctx=ctx)


def tried(setup, **changes):
    """A recipe on the first fold, as the search tries it, and its network after the last epoch.

    Returns:
        setup, attempt, network (as described) and model (the `keras.Model` that was saved).
    """
    from headstart.backbones.earlier_runs import tuned_network

    recipe = recipes.make_recipe({**PLAIN, **changes})
    folder = setup.ctx.run.path / f"try{next(_numbers)}"
    own = dataclasses.replace(setup, ctx=dataclasses.replace(setup.ctx, run=RunFolder(folder)))
    budget = TimeBudget(ctx=own.ctx, total_s=0.0)
    search = Search(setup=own, budget=budget, strategy=recipe.strategy, queue=[("given", recipe)], max_trials=1)
    search.try_recipes()
    (attempt,) = search.trials
    if attempt.verdict is None:
        return SimpleNamespace(setup=own, attempt=attempt, network=None, model=None)
    attempt.verdict = dataclasses.replace(attempt.verdict, epoch=len(attempt.runs[0].log.epochs))
    network = final_training.save_first_fold(own, attempt)
    file = own.ctx.run.path / network.file
    return SimpleNamespace(
        setup=own, attempt=attempt, network=network, model=tuned_network.load_network(file), bytes=file.read_bytes()
    )
