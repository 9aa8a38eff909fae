"""Fine-tuning, guarded: recipes are searched inside the budget, and the network must beat the frozen probe.

Recipes start from the backbones' best linear heads (LP-FT) and are judged in pairs on the folds that judged the
probe. The winner is trained on all training pictures, and the same network from random weights for as long. `auto`
keeps the probe unless the paired rule takes the network; a strategy asked for by name is handed over even when it lost.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.console import format_duration
from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.run.time_plan import TRYING_END, plan_time
from headstart.core.storage import serialization
from headstart.core.types import (
    Dataset,
    Embeddings,
    FineTuningResult,
    FitResult,
    Ranking,
    Splits,
    TrainingLog,
    TunedNetwork,
)
from headstart.data.strata import find_strata
from headstart.finetuning import final_training, probe_comparison, starting_points
from headstart.finetuning.random_init_control import train_random_init_control
from headstart.finetuning.search import augmentation_choice, diagnosis, recipe_proposals
from headstart.finetuning.search.fold_novelty import measure_fold_distances
from headstart.finetuning.search.recipe_search import BASELINE, TRAINING, Search
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_cost import make_time_budget
from headstart.finetuning.search.training_setup import WORK, TrainingSetup, make_training_setup
from headstart.finetuning.tracking import epoch_tracking
from headstart.networks import devices
from headstart.networks.framework_state import isolate_keras
from headstart.selection.probe import head_selection

MAX_TRIALS = 200  # whatever the budget


@isolate_keras()
def fine_tune(
    data: Dataset,
    splits: Splits,
    ranking: Ranking,
    embeddings: tuple[Embeddings, ...],
    probe: FitResult,
    *,
    ctx: Context,
) -> FineTuningResult | None:
    """Search recipes, judge them against the probe, train the winner; None when the job or its backbones allow no
    training.

    Raises:
        UsageError: The budget has no room for one epoch.
        NoOpError: A recipe trains nothing, or no backbone can be trained.
        SetupError: What the job wants to track with is missing.
    """
    if ctx.job.strategy == "probe":
        return None
    trainable = starting_points.select_trainable(embeddings, ctx)
    if embeddings and not trainable:
        return None
    started, folder = time.monotonic(), ctx.make_step_folder("adapt")
    tuning = serialization.find_value(FineTuningResult, folder, "tuning")
    files = [network.file for network in (tuning.network, tuning.scratch) if network] if tuning else []
    if tuning is None or not all((ctx.run.path / file).is_file() for file in files):
        with epoch_tracking.open_epoch_tracker(ctx, data.class_names, folder / WORK) as tracker:
            setup = _make_setup(data, splits, ranking, trainable, probe, ctx)
            setup.tracker = tracker
            with devices.run_on(devices.choose_device(ctx)):
                tuning = _search_and_train(setup)
        serialization.save_value(tuning, folder, "tuning")
    shutil.rmtree(folder / WORK, ignore_errors=True)  # the last to go, so that a killed run comes here again
    took = format_duration(time.monotonic() - started)
    ctx.console.print_line("adapt", f"{tuning.why}; {len(tuning.trials)} recipes tried, {took}")
    return tuning


def _make_setup(
    data: Dataset, splits: Splits, ranking: Ranking, embeddings: Sequence[Embeddings], probe: FitResult, ctx: Context
) -> TrainingSetup:
    problem = head_selection.make_training_problem(data, splits, ctx)
    fields = recipes.parse_fields(ctx.job.recipe)
    candidates = [e for e in embeddings if recipes.is_backbone_named(str(fields.get("backbone", "")), e.spec.name)]
    points = starting_points.judge_starting_points(ranking, candidates, problem, tuple(fields.get("depths", ())))
    finalists = starting_points.choose_backbones(ranking, points, embeddings, ctx)
    names = {backbone.name for backbone in finalists}
    points = [point for point in points if point.backbone in names]
    setup = make_training_setup(data, splits, embeddings, points, probe, problem, ctx=ctx)
    setup.recipe_space.finalists = finalists
    return setup


def _search_and_train(setup: TrainingSetup) -> FineTuningResult:
    ctx = setup.ctx
    fields = recipes.parse_fields(ctx.job.recipe)
    setup.recipe_space.domain = augmentation_choice.choose_domain(setup, fields)
    queue = _make_queue(setup, fields)
    max_trials = 1 if fields else ctx.job.trials or MAX_TRIALS
    budget = make_time_budget(ctx)
    search = Search(setup=setup, budget=budget, strategy=ctx.job.strategy, queue=queue, max_trials=max_trials)
    _require_time(search)
    search.try_recipes()
    finalists = search.judge_finalists()
    setup.work_folder.mkdir(parents=True, exist_ok=True)
    return _train_winner(setup, search, finalists) if finalists else _keep_probe(setup, search)


def _make_queue(setup: TrainingSetup, fields: Mapping[str, Any]) -> list[tuple[str, Recipe]]:
    """The recipes to try first, with their origin: that of the user, else what the number of pictures suggests."""
    if fields:
        return [("given", _complete_given_recipe(setup, fields))]
    return [("prior", recipe) for recipe in _make_first_recipes(setup)]


def _complete_given_recipe(setup: TrainingSetup, fields: Mapping[str, Any]) -> Recipe:
    """What the user's recipe leaves open is as in the job or by default, the arithmetic in float32."""
    space = setup.recipe_space
    strategy = fields.get("strategy", jobs.recipe_strategy(setup.ctx.job.strategy))
    rate = Recipe().rate * setup.training_set.objective.rate_factor
    usual = recipes.make_recipe({**space.shared_fields, "precision": Recipe().precision, "rate": rate})
    if strategy == "scratch":
        usual = recipe_proposals.make_scratch_recipe(usual)
    start = space.starting_points[0].recipe_fields
    return recipes.make_recipe({**recipes.field_values(usual), **fields, **start, "strategy": strategy})


def _make_first_recipes(setup: TrainingSetup) -> list[Recipe]:
    """Each kind of recipe on every starting point, the cheaper networks first: something is there soon."""
    space, training_set = setup.recipe_space, setup.training_set
    counts = find_strata(training_set.data).count_rows(training_set.rows)
    typical = int(np.median(counts[counts > 0]))
    of_points = [
        recipe_proposals.make_first_recipes(
            setup.ctx.job.strategy,
            typical,
            len(training_set.rows),
            space.count_blocks(point),
            {**space.shared_fields, **point.recipe_fields},
        )
        for point in space.starting_points
    ]
    if setup.ctx.job.strategy != "scratch":
        factor = training_set.objective.rate_factor
        of_points = [[each.with_fields(rate=each.rate * factor) for each in listed] for listed in of_points]
    of_points.sort(key=lambda listed: (len(listed[0].depths) > 1, setup.cost.inference_flops(listed[0])))
    return [listed[at] for at in range(max(map(len, of_points))) for listed in of_points if at < len(listed)]


def _require_time(search: Search) -> None:
    """Say at once when the time is too short for a single epoch of the cheapest recipe."""
    setup, total_s = search.setup, search.budget.total_s
    job = setup.ctx.job
    if job.recipe or setup.ctx.run.find_decision("adapt/trial/0") is not None:
        return
    needed_s = min(setup.cost.fold_seconds(dataclasses.replace(recipe, epochs=1)) for _, recipe in search.queue)
    if needed_s <= TRYING_END * total_s:
        return
    why = (
        f"one epoch of the cheapest recipe takes about {format_duration(needed_s)} here, "
        f"and {format_duration(TRYING_END * total_s)} of the budget `{job.budget}` are left for trying recipes"
    )
    if job.strategy != "auto":
        minutes = math.ceil(plan_time(job).smallest_budget_s(needed_s, total_s) / 60)
        hint = f"--budget {minutes}m has room for a few epochs; --strategy probe needs none"
        raise UsageError(f"the budget is too small for fine-tuning: {why}", where="--budget", hint=hint)
    setup.left_out.append(f"fine-tuning: {why}")
    search.queue.clear()


def _train_winner(setup: TrainingSetup, search: Search, finalists: Sequence[RecipeTrial]) -> FineTuningResult:
    training_set, strategy = setup.training_set, setup.ctx.job.strategy
    choice = probe_comparison.compare_with_probe(training_set, setup.cost, finalists)
    winners = [t for t in finalists if probe_comparison.format_finalist(t) == choice.winner]
    chosen = winners[0] if winners else finalists[0]
    network, logs = _train_network(setup, search, [chosen, *(t for t in finalists if t is not chosen)])
    is_taken = probe_comparison.hands_over_network(choice, network, strategy)
    if network.is_untrained and is_taken:
        hint = "--strategy probe is faster, and chooses among more heads; more pictures or another recipe may help"
        setup.ctx.console.print_warning(f"{probe_comparison.format_lost_training(network)}; {hint}")
    control, control_logs = train_random_init_control(setup, search, network)
    verdict = chosen.require_verdict()
    return FineTuningResult(
        trials=tuple(probe_comparison.describe_trial(training_set, t, choice, chosen) for t in search.trials),
        logs=(*(run.log for t in search.trials for run in t.runs), *logs, *control_logs),
        outcomes=tuple(d.outcome for d in diagnosis.run_model_checks(training_set, chosen.runs)),
        network=network,
        scratch=control,
        taken=is_taken,
        why=probe_comparison.format_reason(choice, network, is_taken, strategy),
        rows=verdict.rows,
        probabilities=verdict.probabilities,
        probe_probabilities=training_set.probe_probabilities(verdict.rows),
        left_out=tuple(setup.left_out),
        distances=measure_fold_distances(setup, chosen) if is_taken else {},
    )


def _train_network(
    setup: TrainingSetup, search: Search, finalists: Sequence[RecipeTrial]
) -> tuple[TunedNetwork, list[TrainingLog]]:
    """The winner on all pictures; when Ctrl-C ends its training, as its first fold left it."""
    final = None
    if not search.is_stopped(TRAINING):
        try:
            final = final_training.train_final_network(setup, finalists)
            return final_training.save_final_network(setup, final), [*final.logs]
        except KeyboardInterrupt:
            search.interrupt(BASELINE if final else TRAINING)
    if final:
        return final_training.save_final_network(setup, final), [*final.logs]
    return final_training.save_first_fold(setup, finalists[0]), []


def _keep_probe(setup: TrainingSetup, search: Search) -> FineTuningResult:
    training_set = setup.training_set
    empty = np.empty((0, training_set.problem.n_classes), np.float32)
    nothing = "interrupted before a recipe was judged" if search.interrupted else "no recipe could be trained"
    reasons = setup.left_out or [t.why for t in search.trials if t.why] or [nothing]
    trained = [t.runs for t in search.trials if t.runs]
    return FineTuningResult(
        trials=tuple(probe_comparison.describe_trial(training_set, t, None, None) for t in search.trials),
        logs=tuple(run.log for runs in trained for run in runs),
        outcomes=tuple(d.outcome for d in diagnosis.run_model_checks(training_set, trained[-1])) if trained else (),
        network=None,
        scratch=None,
        taken=False,
        why=f"the frozen probe stays: {reasons[0]}",
        rows=np.empty(0, np.int64),
        probabilities=empty,
        probe_probabilities=empty,
        left_out=tuple(setup.left_out),
    )
