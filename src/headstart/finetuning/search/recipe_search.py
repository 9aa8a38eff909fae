"""The search over recipes: each is tried on one fold, what falls behind is pruned, the best are judged on more folds.

First come the recipes that the number of pictures suggests, then advice of model checks, then Optuna's proposals.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.core.run.time_plan import JUDGING_END, TRYING_END
from headstart.core.types import EpochRow
from headstart.finetuning.search import diagnosis, finalists, fold_training, recipe_proposals
from headstart.finetuning.search.fold_training import run_fold
from headstart.finetuning.search.parallel.parallel_folds import count_folds_at_once, train_folds_ahead
from headstart.finetuning.search.recipe_trial import FoldVerdict, RecipeTrial, judge_folds, rank_trials
from headstart.finetuning.search.training_cost import TimeBudget
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.statistics.losses import is_gain

INTERRUPTED = "adapt/interrupted"  # the decision of Ctrl-C
TRYING_IT, JUDGING_IT, TRAINING, BASELINE = "trying", "judging", "training", "baseline"  # what Ctrl-C ended


@dataclass(kw_only=True, eq=False)
class Search:
    """The trials of a run, in the order of trying; `queue` holds recipes to try next, with their origin."""

    setup: TrainingSetup
    budget: TimeBudget
    strategy: str
    queue: list[tuple[str, Recipe]]
    max_trials: int
    trials: list[RecipeTrial] = dataclasses.field(default_factory=list)
    interrupted: bool = False

    def try_recipes(self) -> None:
        """Try recipes until the time, the number or the patience of the user is at its end."""
        try:
            while len(self.trials) < self.max_trials and (trial := self._next_trial()):
                self.trials.append(trial)
                self._try(trial)
        except KeyboardInterrupt:
            self.interrupt(TRYING_IT)

    def interrupt(self, during: str, folds: int = 1) -> None:
        """Go on with what there is after so many folds; decided once, so that a resumed run ends in the same way."""
        self.interrupted = True
        self.trials = [trial for trial in self.trials if trial.verdict or trial.why]
        end = {"during": during, "trials": len(self.trials), "folds": folds}
        why = "Ctrl-C: what it ended, trials and folds that were done by then"
        self.setup.ctx.record_decision(INTERRUPTED, lambda: end, why)
        warning = "interrupted: going on with the best so far; press Ctrl-C again to stop at once"
        self.setup.ctx.console.print_warning(warning)

    def is_stopped(self, during: str, count: int = 0) -> bool:
        """Whether Ctrl-C ended the run before this, now or in an earlier process, at so many trials or folds."""
        end = self.setup.ctx.run.find_decision(INTERRUPTED)
        if end is not None and end["during"] == during:
            self.interrupted |= count >= {TRYING_IT: end["trials"], JUDGING_IT: end["folds"]}.get(during, 0)
        return self.interrupted

    def _next_trial(self) -> RecipeTrial | None:
        number = len(self.trials)
        if self.is_stopped(TRYING_IT, number):
            return None
        why = "the next recipe; null when there is no time for one"
        proposal = self.setup.ctx.record_decision(f"adapt/trial/{number}", self._propose, why)
        if proposal is None:
            return None
        return RecipeTrial(number=number, recipe=recipes.make_recipe(proposal["recipe"]), origin=proposal["origin"])

    def _propose(self) -> dict[str, Any] | None:
        """The next recipe as a decision: of the queue, else of Optuna, the first that fits the time."""
        left_s = self.budget.left_s(TRYING_END)
        tried, queue = {recipes.format_recipe(trial.recipe) for trial in self.trials}, list(self.queue)
        while self.queue:
            origin, recipe = self.queue.pop(0)
            if recipes.format_recipe(recipe) not in tried and self._fits(recipe, left_s):
                return {"origin": origin, "recipe": recipes.field_values(recipe)}
        if not self.trials:
            return self._propose_shortened(queue, left_s)
        if self.max_trials == 1:
            return None
        proposer = self._make_proposer()
        for _ in range(recipe_proposals.PROPOSALS):
            recipe = self.setup.recipe_space.complete_proposal(proposer.propose())
            if recipes.format_recipe(recipe) not in tried and self._fits(recipe, left_s):
                return {"origin": "search", "recipe": recipes.field_values(recipe)}
        return None

    def _propose_shortened(self, queue: Sequence[tuple[str, Recipe]], left_s: float) -> dict[str, Any] | None:
        """When no recipe fits as it is: the one of which most epochs do, with so many."""

        def count_epochs(recipe: Recipe) -> int:
            one, two = (self.setup.cost.fold_seconds(dataclasses.replace(recipe, epochs=n)) for n in (1, 2))
            return 1 + int((left_s - one) / (two - one)) if one <= left_s else 0

        if not queue:
            return None
        origin, recipe = max(queue, key=lambda queued: count_epochs(queued[1]))
        if not count_epochs(recipe):
            return None
        recipe = dataclasses.replace(recipe, epochs=count_epochs(recipe))
        return {"origin": origin, "recipe": recipes.field_values(recipe)}

    def _fits(self, recipe: Recipe, left_s: float) -> bool:
        return self.setup.recipe_space.is_given or self.setup.cost.fold_seconds(recipe) <= left_s

    def _make_proposer(self) -> recipe_proposals.Proposer:
        finished = [
            recipe_proposals.FinishedTrial(
                recipe=t.recipe,
                loss=t.loss,
                course={row.epoch: row.val.loss for row in t.runs[0].log.epochs if row.val is not None},
            )
            for t in self.trials
            if t.verdict
        ]
        return recipe_proposals.Proposer(
            self.strategy, self.setup.recipe_space.backbones, finished, self.setup.ctx.seed
        )

    def _try(self, trial: RecipeTrial) -> None:
        space = self.setup.recipe_space
        proposer, course = self._make_proposer(), dict[int, float]()
        spared = finalists.spares_from_pruning(space, self.trials)

        def is_behind(row: EpochRow) -> bool:
            assert row.val is not None
            course[row.epoch] = row.val.loss
            return not spared and proposer.is_behind(course)

        self._train_ahead(trial)
        self._run_fold(trial, self.setup.training_set.fold_numbers[0], is_behind)
        if not trial.pruned and not diagnosis.advice_failed(self.trials):
            advice = diagnosis.find_advice(self.setup.training_set, trial.runs)
            if advice is not None:
                self.queue.insert(finalists.count_first_turns(space, self.trials, self.queue), advice)
        self._delete_weights()

    def _train_ahead(self, trial: RecipeTrial) -> None:
        """On workers, beside a trial's first fold: its further folds where they are sure to come, else the first fold
        of recipes that wait."""
        setup, tried = self.setup, {recipes.format_recipe(each.recipe) for each in self.trials}
        first, *further = setup.training_set.fold_numbers
        if setup.ctx.workers is None or fold_training.is_begun(setup, trial.number, first):
            return
        folds = [(trial.recipe, first)]
        if setup.recipe_space.is_given:
            folds += [(trial.recipe, fold) for fold in further]
        else:
            room = min(count_folds_at_once(setup.ctx.workers), self.max_trials - trial.number) - 1
            waiting = (recipe for _, recipe in self.queue if recipes.format_recipe(recipe) not in tried)
            left_s = self.budget.left_s(TRYING_END)
            fitting = (recipe for recipe in waiting if self._fits(recipe, left_s))
            folds += [(recipe, first) for recipe in itertools.islice(fitting, max(room, 0))]
        train_folds_ahead(setup, folds)

    def _train_finalists_ahead(self, going: Sequence[RecipeTrial], folds: Sequence[int]) -> None:
        """On workers: the next of some folds, and as many of the others as train at once."""
        setup = self.setup
        if setup.ctx.workers is None:
            return
        waiting = [(trial, fold) for fold in folds for trial in going]
        missing = [
            (trial.recipe, fold)
            for trial, fold in waiting[: max(count_folds_at_once(setup.ctx.workers), len(going))]
            if not fold_training.is_begun(setup, trial.number, fold)
        ]
        train_folds_ahead(setup, missing)

    def _delete_weights(self) -> None:
        """Of trials that cannot be finalists any more; their curves stay."""
        possible = finalists.list_possible_finalists(self.setup.recipe_space, self.trials)
        first = self.setup.training_set.fold_numbers[0]
        for trial in self.trials:
            if trial not in possible:
                shutil.rmtree(fold_training.weights_folder(self.setup, trial.number, first), ignore_errors=True)

    def _run_fold(self, trial: RecipeTrial, fold: int, is_behind: Callable[[EpochRow], bool] | None = None) -> None:
        run = run_fold(self.setup, trial.recipe, trial.number, fold, is_behind)
        trial.runs.append(run)
        trial.pruned = run.log.stopped == "pruned"
        if "not finite" in run.log.stopped:
            trial.why = run.log.stopped
        if np.isfinite(run.logits).all() and max(len(each.logits) for each in trial.runs) > 1:
            trial.take_verdict(judge_folds(trial.runs, self.setup.training_set))
        self._print_progress(trial)

    def _print_progress(self, trial: RecipeTrial) -> None:
        result = trial.why
        if trial.verdict is not None:
            so_far = "pruned" if trial.pruned else f"epoch {trial.verdict.epoch} counts so far"
            objective, metric = self.setup.training_set.objective, self.setup.training_set.problem.metric
            tempered = ", after temperature" if objective.has_temperature and not is_gain(metric) else ""
            interpolated = ", before interpolation" if trial.recipe.averaging.wise else ""
            result = f"{self._format_score(trial)}{tempered}{interpolated}; {so_far}"
        about = f"trial {trial.number} ({trial.origin}) {recipes.format_recipe(trial.recipe)}"
        self.setup.ctx.console.print_line("adapt", f"{about}: {result}")

    def _format_score(self, trial: RecipeTrial) -> str:
        name = self.setup.training_set.problem.metric
        metric = f"{'1 - ' if is_gain(name) else ''}{name.replace('_', ' ')}"
        folds = f"{len(trial.runs)} fold{'s' if len(trial.runs) != 1 else ''}"
        return f"{metric} {trial.loss:.3f} (n = {len(trial.require_verdict().rows):,}, {folds})"

    def _print_compared(self, trial: RecipeTrial) -> None:
        """The score that meets the frozen probe's: after it no other is told of this trial."""
        verdict = trial.require_verdict()
        distance = f"{verdict.alpha:.0%} of the way from the first weights to the tuned ones"
        helped = "" if verdict.alpha else ", for none of the training helped"
        how = f"epoch {verdict.epoch}, {distance}{helped}"
        if self.setup.training_set.objective.has_temperature:
            how += f", temperature {verdict.temperature:.2f}"
        about = f"trial {trial.number} is compared by {self._format_score(trial)}"
        self.setup.ctx.console.print_line("adapt", f"{about}: {how}")

    def judge_finalists(self) -> list[RecipeTrial]:
        """The best trials on further folds, as many as there is time for; the best first."""
        if self.max_trials == 1 or self.interrupted:
            best = rank_trials(self.trials)[:1]
        else:
            clusters, console = self.setup.training_set.problem.clusters, self.setup.ctx.console
            best = finalists.choose_finalists(self.setup.recipe_space, self.trials, clusters, console)
        if not self.interrupted:
            best = self._run_more_folds(best)
        for trial in best:
            trial.take_verdict(self._interpolate(trial))
            self._print_compared(trial)
        return sorted(best, key=lambda trial: (trial.loss, trial.number))

    def _run_more_folds(self, best: list[RecipeTrial]) -> list[RecipeTrial]:
        fold_count = 1
        try:
            for fold in self.setup.training_set.fold_numbers[1:]:
                going = best[: self._count_fitting(fold_count, fold, best)]
                if not going:
                    break
                self._train_finalists_ahead(going, self.setup.training_set.fold_numbers[fold_count:])
                for trial in going:
                    self._run_fold(trial, fold)
                best, fold_count = going, fold_count + 1
        except KeyboardInterrupt:
            self.interrupt(JUDGING_IT, fold_count)
            for trial in best:
                del trial.runs[fold_count:]
                trial.take_verdict(judge_folds(trial.runs, self.setup.training_set))
        return best

    def _count_fitting(self, fold_count: int, fold: int, best: Sequence[RecipeTrial]) -> int:
        """How many go on to a fold: all or none, but that before the second fold some may be given up."""
        if not best or self.is_stopped(JUDGING_IT, fold_count):
            return 0
        if self.setup.recipe_space.is_given:
            return len(best)
        least = min(finalists.FINALISTS, len(best)) if fold_count == 1 else len(best)
        costs = [self.setup.cost.fold_seconds(trial.recipe) for trial in best]

        def count() -> int:
            left_s = self.budget.left_s(JUDGING_END)
            return next((n for n in range(len(best), least - 1, -1) if sum(costs[:n]) <= left_s), 0)

        why = f"how many of {len(best)} recipes to judge on fold {fold}"
        fitting = int(self.setup.ctx.record_decision(f"adapt/fold/{fold}", count, why))
        for trial in best[fitting:] if fitting else ():
            about = f"trial {trial.number} is not judged further: there is no time for it"
            self.setup.ctx.console.print_line("adapt", about)
        return fitting

    def _interpolate(self, trial: RecipeTrial) -> FoldVerdict:
        setup = self.setup
        if not trial.recipe.averaging.wise:
            return judge_folds(trial.runs, setup.training_set)
        folds = [setup.training_set.training_positions(run.log.fold) for run in trial.runs]
        trainings = [setup.prepare(trial.recipe, positions) for positions in folds]

        def predict(epoch: int, alpha: float) -> np.ndarray:
            logits = []
            for training, run in zip(trainings, trial.runs, strict=True):
                weights = fold_training.load_weights(setup, training, trial.number, run, epoch, alpha)
                logits.append(fold_training.predict_held_out(setup, training, weights, run))
            return np.concatenate(logits)

        return judge_folds(trial.runs, setup.training_set, predict)
