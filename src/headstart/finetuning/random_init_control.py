"""The control of fine-tuning: the same network from random weights, which tells what pre-training is worth."""

from __future__ import annotations

import dataclasses

from headstart.core.console import format_duration
from headstart.core.run.time_plan import FINISHING_END
from headstart.core.types import TrainingLog, TunedNetwork
from headstart.finetuning import final_training
from headstart.finetuning.search.recipe_proposals import make_scratch_recipe
from headstart.finetuning.search.recipe_search import BASELINE, Search
from headstart.finetuning.search.training_setup import TrainingSetup


def train_random_init_control(
    setup: TrainingSetup, search: Search, tuned: TunedNetwork
) -> tuple[TunedNetwork | None, list[TrainingLog]]:
    """The same network from random weights, when the time allows at least the operations that the tuned one took.

    It trains for as many as all epochs of the recipe take: where pre-trained weights learn nothing, the first of their
    epochs counts, and what random weights would learn in the others must not be cut off with them.
    """
    recipe, cost = make_scratch_recipe(tuned.recipe), setup.cost
    cost.recall_pace(recipe)
    epoch_flops = cost.epoch_flops(recipe)
    all_epochs_flops = tuned.flops + max(tuned.recipe.epochs - tuned.epochs, 0) * cost.epoch_flops(tuned.recipe)
    least, most = (max(1, round(flops / epoch_flops)) for flops in (tuned.flops, all_epochs_flops))
    training_set, is_given = setup.training_set, setup.recipe_space.is_given
    positions = training_set.positions
    if not len(training_set.splits.test) and not len(training_set.splits.val):  # then the first fold alone judges
        positions = training_set.training_positions(training_set.fold_numbers[0])

    def count_fitting() -> float:
        return search.budget.left_s(FINISHING_END) * cost.flops_per_s(recipe) / epoch_flops

    def choose_epochs() -> int:
        if not is_given and count_fitting() >= least:  # by a pace that may be of other networks
            cost.measure_pace(setup.prepare(dataclasses.replace(recipe, epochs=least), positions))
        return int(min(most, count_fitting())) if count_fitting() >= least else 0

    try:
        why = "epochs of the same network from random weights; 0 when there is no time"
        epochs = 0
        if not search.is_stopped(BASELINE):
            epochs = setup.ctx.record_decision("adapt/from_random", choose_epochs, why)
        if epochs:
            seconds = format_duration(epochs * epoch_flops / cost.flops_per_s(recipe))
            about = "" if is_given else f", about {seconds}"
            line = f"to tell what pre-training is worth, the same network from random weights: {epochs} epochs{about}"
            setup.ctx.console.print_line("adapt", line)
            network, log = final_training.train_from_random(setup, tuned, epochs, positions)
            return network, [log]
    except KeyboardInterrupt:
        search.interrupt(BASELINE)
    least_s = least * epoch_flops / cost.flops_per_s(recipe)
    why_not = "interrupted" if search.interrupted else f"it takes at least {format_duration(least_s)}"
    setup.left_out.append(f"the same network from random weights: {why_not}")
    return None, []
