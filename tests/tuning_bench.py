"""A real, small run up to the frozen probe, where fine-tuning starts: Lite0's ImageNet weights on cloth."""

import dataclasses
import itertools
import shutil
from types import SimpleNamespace

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.context import Context
from headstart.core.rundir import RunDir
from headstart.core.say import Say
from headstart.stages.adapt import bases, contest, finish
from headstart.stages.adapt.clock import Clock
from headstart.stages.adapt.search import Search
from headstart.stages.adapt.workbench import Workbench
from headstart.story import Story

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
    return Context(job=jobs.make(data=str(data), **settings), run=RunDir(run), store=store, say=Say(quiet=True))


def workbench(ctx):
    """Everything that a training of the run needs, the frozen probe included."""
    story = Story(ctx)
    on = contest.ring(story.data, story.splits, ctx)
    found = bases.bases(story.ranking, story.embeddings, on, (DEPTH,))
    return Workbench(
        data=story.data,
        splits=story.splits,
        embeddings=story.embeddings,
        bases=found,
        probe=story.probe,
        on=on,
        ctx=ctx,
    )


def tried(bench, **changes):
    """A recipe on the first fold, as the search tries it, and its network after the last epoch.

    Returns:
        bench, attempt, network (as described) and model (the `keras.Model` that was saved).
    """
    from headstart.kit import tuned

    recipe = recipes.make({**PLAIN, **changes})
    own = dataclasses.replace(bench, name=f"try{next(_numbers)}")
    clock = Clock(ctx=own.ctx, total_s=0.0)
    search = Search(bench=own, clock=clock, strategy=recipe.strategy, queue=[("given", recipe)], most=1)
    search.run()
    (attempt,) = search.attempts
    if attempt.judged is None:
        return SimpleNamespace(bench=own, attempt=attempt, network=None, model=None)
    attempt.judged = dataclasses.replace(attempt.judged, epoch=len(attempt.runs[0].log.epochs))
    network = finish.of_fold(own, attempt)
    file = own.ctx.run.path / network.file
    return SimpleNamespace(bench=own, attempt=attempt, network=network, model=tuned.load(file), bytes=file.read_bytes())
