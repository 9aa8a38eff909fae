"""The control of fine-tuning: the same network from random weights, which tells what pre-training is worth."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.console import format_duration
from headstart.core.run.time_plan import FINISHING_END
from headstart.core.types import TrainingLog, TunedNetwork
from headstart.finetuning import final_training
from headstart.finetuning.search import search_space
from headstart.finetuning.search.recipe_search import BASELINE, Search
from headstart.finetuning.search.training_setup import Workbench


def from_random(bench: Workbench, search: Search, tuned: TunedNetwork) -> tuple[TunedNetwork | None, list[TrainingLog]]:
    """The same network from random weights, when the time allows at least the operations that the tuned one took.

    It is for as many as all epochs of the recipe take: where the pre-trained weights learn nothing, the first of their
    epochs counts, and what random weights would learn in the others must not be cut off with them.
    """
    recipe, price = search_space.from_random(tuned.recipe), bench.price
    price.recall(recipe)
    epoch_flops = price.epoch_flops(recipe)
    whole = tuned.flops + max(tuned.recipe.epochs - tuned.epochs, 0) * price.epoch_flops(tuned.recipe)
    least, wanted = (max(1, round(flops / epoch_flops)) for flops in (tuned.flops, whole))
    positions = _judged_apart(bench)

    def fitting() -> float:
        return search.clock.left_s(FINISHING_END) * price.pace(recipe) / epoch_flops

    def epochs() -> int:
        if not bench.explicit and fitting() >= least:  # by a pace that may be of other networks
            price.learn(bench.prepare(dataclasses.replace(recipe, epochs=least), positions))
        return int(min(wanted, fitting())) if fitting() >= least else 0

    try:
        told = "epochs of the same network from random weights; 0 when there is no time"
        if not search.stopped(BASELINE) and (given := bench.ctx.record_decision("adapt/from_random", epochs, told)):
            about = "" if bench.explicit else f", about {format_duration(given * epoch_flops / price.pace(recipe))}"
            line = f"to tell what pre-training is worth, the same network from random weights: {given} epochs{about}"
            bench.ctx.console.print_line("adapt", line)
            made, log = final_training.from_random(bench, tuned, given, positions)
            return made, [log]
    except KeyboardInterrupt:
        search.interrupt(BASELINE)
    least_s = least * epoch_flops / price.pace(recipe)
    left_out = "interrupted" if search.interrupted else f"it takes at least {format_duration(least_s)}"
    bench.left_out.append(f"the same network from random weights: {left_out}")
    return None, []


def _judged_apart(bench: Workbench) -> np.ndarray:
    """Positions that a baseline may learn from: all, or where nothing else judges, all but the first fold."""
    judged = len(bench.splits.test) or len(bench.splits.val)
    return bench.everything if judged else bench.learnt(bench.fold_numbers[0])
