"""Fine-tuning, guarded: recipes are searched inside the budget, and the network must beat the frozen probe.

Starting points are the best logistic heads of the backbones (LP-FT). Recipes are tried and judged on the folds that
judged the probe, in pairs; the winner is trained on all training pictures, and so is the same network from random
weights for as long, so that what pre-training is worth can be told. `auto` keeps the probe unless the paired rule
takes the network; a strategy that was asked for by name is handed over even when it lost, and that is said.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.console import format_duration
from headstart.core.errors import UsageError, format_nearest
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
from headstart.finetuning import final_training, random_init_control, starting_points
from headstart.finetuning.search import augmentation_choice, diagnosis, search_space, trial_comparison
from headstart.finetuning.search.recipe_search import BASELINE, TRAINING, RecipeTrial, Search
from headstart.finetuning.search.time_budget import clock
from headstart.finetuning.search.training_setup import WORK, Workbench
from headstart.finetuning.tracking import epoch_tracking
from headstart.selection.probe import head_selection
from headstart.statistics.paired_selection import PairedChoice

MOST = 200  # trials, whatever the budget


def fine_tune(
    data: Dataset,
    splits: Splits,
    ranking: Ranking,
    embeddings: tuple[Embeddings, ...],
    probe: FitResult,
    *,
    ctx: Context,
) -> FineTuningResult | None:
    """Search recipes, judge them against the probe, train the winner; or read what an earlier process made.

    Args:
        data: The data set.
        splits: Folds and clusters; only `train` is looked at.
        ranking: Tells the best depths.
        embeddings: Features of all pictures.
        probe: The frozen probe that must be beaten.
        ctx: The run; its job gives strategy, recipe, trials and budget.

    Returns:
        None when the job asks for the probe alone, or leaves the choice and no backbone can be trained.

    Raises:
        UsageError: The recipe names what is not there, or the budget has no room for one epoch.
        NoOpError: A recipe trains nothing, or no backbone can be trained.
        SetupError: What the job wants to track with is missing.
    """
    if ctx.job.strategy == "probe":
        return None
    kept = starting_points.trainable(embeddings, ctx)
    if embeddings and not kept:
        return None
    embeddings = kept
    started = time.monotonic()
    tuning = serialization.find_value(FineTuningResult, ctx.make_step_folder("adapt"), "tuning")
    if tuning is None or not _whole(tuning, ctx):
        with epoch_tracking.opened(ctx, data.class_names, ctx.make_step_folder("adapt") / WORK) as followed:
            tuning = _made(data, splits, ranking, embeddings, probe, ctx, followed)
        serialization.save_value(tuning, ctx.make_step_folder("adapt"), "tuning")
    work = ctx.make_step_folder("adapt") / WORK
    if work.is_dir():  # the last to go, so that a killed run comes here again
        shutil.rmtree(work, ignore_errors=True)
    ctx.console.print_line(
        "adapt", f"{tuning.why}; {len(tuning.trials)} recipes tried, {format_duration(time.monotonic() - started)}"
    )
    return tuning


def _whole(tuning: FineTuningResult, ctx: Context) -> bool:
    """Whether the networks are there too."""
    made = (tuning.network, tuning.scratch)
    return all((ctx.run.path / network.file).is_file() for network in made if network is not None)


def _made(
    data: Dataset,
    splits: Splits,
    ranking: Ranking,
    embeddings: tuple[Embeddings, ...],
    probe: FitResult,
    ctx: Context,
    followed: epoch_tracking.EpochTracker | None,
) -> FineTuningResult:
    on = head_selection.make_cv_problem(data, splits, ctx)
    given = recipes.parse(ctx.job.recipe)
    found = _bases(given, ranking, embeddings, on)
    starts = starting_points.starts(ranking, found, embeddings, ctx)
    found = [base for base in found if base.backbone in {one.name for one in starts}]
    bench = Workbench(data=data, splits=splits, embeddings=embeddings, bases=found, probe=probe, on=on, ctx=ctx)
    bench.starts = starts
    bench.follow, bench.domain = followed, augmentation_choice.decided(bench, given)
    queue = _queue(bench, given, ctx)
    search = Search(bench=bench, clock=clock(ctx), strategy=ctx.job.strategy, queue=queue, most=_most(ctx))
    _require_room(search, ctx)
    search.run()
    best = search.judge()
    bench.work.mkdir(parents=True, exist_ok=True)
    return _finished(bench, search, best, ctx)


def _bases(
    given: dict[str, Any], ranking: Ranking, embeddings: Sequence[Embeddings], on: head_selection.HeadCvProblem
) -> list[starting_points.StartingPoint]:
    wanted, depths = str(given.get("backbone", "")), tuple(given.get("depths", ()))
    among = [e for e in embeddings if not wanted or f":{e.spec.name}".endswith(f":{wanted}")]
    if not among:
        names = [e.spec.name for e in embeddings]
        near = format_nearest(wanted, [*names, *(name.rpartition(":")[2] for name in names)])
        hint = f"{near} measured: {', '.join(names)}; choose others with --backbones".strip()
        raise UsageError(f"the recipe wants backbone `{wanted}`, which was not measured", where="--recipe", hint=hint)
    found = starting_points.bases(ranking, among, on, depths)
    if not found:
        known = "; ".join(f"{e.spec.name} at {', '.join(d.name for d in e.spec.depths)}" for e in among)
        asked = f"depths {'+'.join(depths) or 'any'} of backbone `{wanted or 'any'}`"
        hint = f"measured: {known}"
        raise UsageError(f"the recipe wants {asked}, which were not measured", where="--recipe", hint=hint)
    return found


def _queue(bench: Workbench, given: dict[str, Any], ctx: Context) -> list[tuple[str, Recipe]]:
    if given:
        return [("given", _given(bench, given, ctx))]
    return [("prior", one) for one in _priors(bench, ctx)]


def _given(bench: Workbench, given: dict[str, Any], ctx: Context) -> Recipe:
    """The recipe of the user: what it leaves open is as in the job or by default, the arithmetic in float32."""
    strategy = given.get("strategy", jobs.recipe_strategy(ctx.job.strategy))
    usual = recipes.make({**bench.shared, "precision": Recipe().precision})
    if strategy == "scratch":
        usual = search_space.from_random(usual)
    return recipes.make({**recipes.field_values(usual), **given, **bench.where(bench.bases[0]), "strategy": strategy})


def _priors(bench: Workbench, ctx: Context) -> list[Recipe]:
    """Each kind of recipe on every starting point, the cheaper networks first: something is there soon."""
    counts = np.bincount(bench.y, minlength=bench.on.n_classes)
    typical, n = int(np.median(counts[counts > 0])), len(bench.rows)
    listed = [
        search_space.priors(ctx.job.strategy, typical, n, bench.blocks(base), {**bench.shared, **bench.where(base)})
        for base in bench.bases
    ]
    listed.sort(key=lambda own: (len(own[0].depths) > 1, bench.price.answering_flops(own[0])))
    return [own[at] for at in range(max(map(len, listed))) for own in listed if at < len(own)]


def _most(ctx: Context) -> int:
    if ctx.job.recipe:
        return 1
    return ctx.job.trials or MOST


def _require_room(search: Search, ctx: Context) -> None:
    """Say at once when the time is too short for a single epoch of the cheapest recipe."""
    if search.bench.explicit or ctx.run.find_decision("adapt/trial/0") is not None:
        return
    options = [dataclasses.replace(recipe, epochs=1) for _, recipe in search.queue]
    needed = min(search.bench.price.seconds(recipe) for recipe in options)
    if needed <= TRYING_END * search.clock.total_s:
        return
    told = (
        f"one epoch of the cheapest recipe takes about {format_duration(needed)} here, "
        f"and {format_duration(TRYING_END * search.clock.total_s)} of the budget `{ctx.job.budget}` are left for "
        "trying recipes"
    )
    if ctx.job.strategy != "auto":
        fits = math.ceil(plan_time(ctx.job).smallest_budget_s(needed, search.clock.total_s) / 60)
        hint = f"--budget {fits}m has room for a few epochs; --strategy probe needs none"
        raise UsageError(f"the budget is too small for fine-tuning: {told}", where="--budget", hint=hint)
    search.bench.left_out.append(f"fine-tuning: {told}")
    search.queue.clear()


def _finished(bench: Workbench, search: Search, best: Sequence[RecipeTrial], ctx: Context) -> FineTuningResult:
    """Decide, train on all pictures, and gather what is to be told."""
    if not best:
        return _without(bench, search)
    found, chosen, taken = trial_comparison.settled(bench, best)
    order = [chosen, *(a for a in best if a is not chosen)]
    network, logs = _network(bench, search, order)
    scratch, baseline = random_init_control.from_random(bench, search, network)
    assert chosen.judged is not None
    return FineTuningResult(
        trials=tuple(trial_comparison.trial(bench, a, found, chosen) for a in search.attempts),
        logs=(*(run.log for a in search.attempts for run in a.runs), *logs, *baseline),
        outcomes=tuple(d.outcome for d in diagnosis.diagnoses(bench, chosen.runs)),
        network=network,
        scratch=scratch,
        taken=taken,
        why=_why(found, chosen, taken, ctx),
        rows=chosen.judged.rows,
        probabilities=chosen.judged.probabilities,
        probe_probabilities=bench.probe_of(chosen.judged.rows),
        left_out=tuple(bench.left_out),
    )


def _network(bench: Workbench, search: Search, order: Sequence[RecipeTrial]) -> tuple[TunedNetwork, list[TrainingLog]]:
    """The winner on all pictures; when Ctrl-C ends its training, as its first fold left it."""
    made = None
    if not search.stopped(TRAINING):
        try:
            made = final_training.final(bench, order)
            return final_training.handed_over(bench, made), [*made.logs]
        except KeyboardInterrupt:
            search.interrupt(BASELINE if made else TRAINING)
    return final_training.handed_over(bench, made) if made else final_training.of_fold(bench, order[0]), [
        *made.logs
    ] if made else []


def _without(bench: Workbench, search: Search) -> FineTuningResult:
    nothing = np.empty((0, bench.on.n_classes), np.float32)
    nothing_done = "interrupted before a recipe was judged" if search.interrupted else "no recipe could be trained"
    told = bench.left_out or [a.why for a in search.attempts if a.why] or [nothing_done]
    ran = [a.runs for a in search.attempts if a.runs]
    return FineTuningResult(
        trials=tuple(trial_comparison.trial(bench, a, None, None) for a in search.attempts),
        logs=tuple(run.log for a in search.attempts for run in a.runs),
        outcomes=tuple(d.outcome for d in diagnosis.diagnoses(bench, ran[-1])) if ran else (),
        network=None,
        scratch=None,
        taken=False,
        why=f"the frozen probe stays: {told[0]}",
        rows=np.empty(0, np.int64),
        probabilities=nothing,
        probe_probabilities=nothing,
        left_out=tuple(bench.left_out),
    )


def _why(found: PairedChoice, chosen: RecipeTrial, taken: bool, ctx: Context) -> str:
    if taken and found.winner == trial_comparison.PROBE:
        told = f"fine-tuned as `--strategy {ctx.job.strategy}` asks, though the frozen probe is as good or better"
        return f"{told}: {found.why}"
    if not taken and found.winner != trial_comparison.PROBE:
        return f"the frozen probe stays, for it is beaten by less than half a standard error: {found.why}"
    return found.why
