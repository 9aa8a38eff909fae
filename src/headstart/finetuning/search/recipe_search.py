"""The search over recipes: each is tried on one fold, what falls behind is pruned, the best are judged on more folds.

First come the recipes that the number of pictures suggests; then what a model check advised about the last trial; then
Optuna's proposals, while the budget has room. Ctrl-C ends the trying and keeps what was found so far.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.core.run.time_plan import JUDGING_END, TRYING_END
from headstart.core.types import EpochRow
from headstart.finetuning.search import diagnosis, finalists, search_space
from headstart.finetuning.search import fold_training as folds
from headstart.finetuning.search.fold_training import FoldRun, run_fold
from headstart.finetuning.search.fold_verdict import FoldVerdict, counted, judged
from headstart.finetuning.search.time_budget import TimeBudget
from headstart.finetuning.search.training_setup import Workbench

STOPPED = "interrupted"
TRYING_IT, JUDGING_IT, TRAINING, BASELINE = "trying", "judging", "training", "baseline"  # what Ctrl-C ended


@dataclass(kw_only=True, eq=False)
class RecipeTrial:
    """A trial on its way.

    Attributes:
        number: From 0.
        recipe: As it was asked for.
        origin: See `headstart.core.types.Trial`.
        runs: The folds done so far; once judged, the `best` of their logs is the epoch that counts.
        judged: On these folds; None when it failed.
        why: What ended it, when it failed or was pruned.
        pruned: Whether it was cut short.
    """

    number: int
    recipe: Recipe
    origin: str
    runs: list[FoldRun] = dataclasses.field(default_factory=list)
    judged: FoldVerdict | None = None
    why: str = ""
    pruned: bool = False

    def settle(self, found: FoldVerdict) -> None:
        """Take a verdict: checks, report and log then speak of its epoch."""
        self.judged, self.runs = found, counted(self.runs, found.epoch)

    @property
    def loss(self) -> float:
        """The mean loss on the folds done; infinite when it failed."""
        return self.judged.loss if self.judged else float("inf")


@dataclass(kw_only=True, eq=False)
class Search:
    """The trials of a run.

    Attributes:
        bench: Pictures, features, trunks and folds.
        clock: The time.
        strategy: Of the job.
        queue: Recipes to try next, with their origin.
        most: Trials at most.
        attempts: In the order of trying.
        interrupted: Whether Ctrl-C ended it.
    """

    bench: Workbench
    clock: TimeBudget
    strategy: str
    queue: list[tuple[str, Recipe]]
    most: int
    attempts: list[RecipeTrial] = dataclasses.field(default_factory=list)
    interrupted: bool = False

    def run(self) -> None:
        """Try recipes until the time, the number or the patience of the user is at its end."""
        try:
            while len(self.attempts) < self.most and (found := self._next()):
                self.attempts.append(found)
                self._try(found)
        except KeyboardInterrupt:
            self.interrupt(TRYING_IT)

    def interrupt(self, during: str, folds: int = 1) -> None:
        """Go on with what there is; decided once, so that a resumed run ends in the same way.

        Args:
            during: What Ctrl-C ended.
            folds: Done by then.
        """
        self.interrupted = True
        self.attempts = [a for a in self.attempts if a.judged or a.why]
        ended = {"during": during, "trials": len(self.attempts), "folds": folds}
        self.bench.decide(STOPPED, lambda: ended, "Ctrl-C: what it ended, trials and folds that were done by then")
        self.bench.ctx.console.print_warning(
            "interrupted: going on with the best so far; press Ctrl-C again to stop at once"
        )

    def stopped(self, during: str, done: int = 0) -> bool:
        """Whether Ctrl-C ended the run before this, now or in an earlier process.

        Args:
            during: What would begin.
            done: Trials or folds that are done.
        """
        stop = self.bench.ctx.run.find_decision(f"adapt/{STOPPED}")
        if stop is not None and stop["during"] == during:
            self.interrupted |= done >= {TRYING_IT: stop["trials"], JUDGING_IT: stop["folds"]}.get(during, 0)
        return self.interrupted

    def _next(self) -> RecipeTrial | None:
        number = len(self.attempts)
        if self.stopped(TRYING_IT, number):
            return None
        made = self.bench.decide(
            f"trial/{number}", self._propose, "the next recipe; null when there is no time for one"
        )
        if made is None:
            return None
        return RecipeTrial(number=number, recipe=recipes.make(made["recipe"]), origin=made["origin"])

    def _propose(self) -> dict[str, Any] | None:
        left = self.clock.left_s(TRYING_END)
        tried, queue = {recipes.shown(a.recipe) for a in self.attempts}, list(self.queue)
        while self.queue:
            origin, recipe = self.queue.pop(0)
            if recipes.shown(recipe) not in tried and self._fits(recipe, left):
                return {"origin": origin, "recipe": recipes.field_values(recipe)}
        if not self.attempts:
            return self._shortened(queue, left)
        if self.most == 1:
            return None
        proposer = self._proposer()
        for _ in range(search_space.PROPOSALS):
            recipe = self.bench.proposed(proposer.propose())
            if recipes.shown(recipe) not in tried and self._fits(recipe, left):
                return {"origin": "search", "recipe": recipes.field_values(recipe)}
        return None

    def _shortened(self, queue: Sequence[tuple[str, Recipe]], left_s: float) -> dict[str, Any] | None:
        """When no recipe fits as it is: the one of which most epochs do, with so many."""

        def epochs(recipe: Recipe) -> int:
            one, two = (self.bench.price.seconds(dataclasses.replace(recipe, epochs=n)) for n in (1, 2))
            return 1 + int((left_s - one) / (two - one)) if one <= left_s else 0

        if not queue:
            return None
        origin, recipe = max(queue, key=lambda one: epochs(one[1]))
        if not epochs(recipe):
            return None
        recipe = dataclasses.replace(recipe, epochs=epochs(recipe))
        return {"origin": origin, "recipe": recipes.field_values(recipe)}

    def _fits(self, recipe: Recipe, left_s: float) -> bool:
        return self.bench.explicit or self.bench.price.seconds(recipe) <= left_s

    def _proposer(self) -> search_space.Proposer:
        ended = [
            search_space.Ended(recipe=a.recipe, loss=a.loss, course=_course(a.runs[0]))
            for a in self.attempts
            if a.judged
        ]
        return search_space.Proposer(self.strategy, self.bench.backbones, ended, self.bench.ctx.seed)

    def _try(self, attempt: RecipeTrial) -> None:
        proposer, course, spared = self._proposer(), dict[int, float](), finalists.spared(self.bench, self.attempts)

        def behind(row: EpochRow) -> bool:
            assert row.val is not None
            course[row.epoch] = row.val.log_loss
            return not spared and proposer.behind(course)

        self._fold(attempt, self.bench.fold_numbers[0], behind)
        if not attempt.pruned and not diagnosis.astray(self.attempts):
            advice = diagnosis.advice(self.bench, attempt.runs)
            if advice is not None:
                self.queue.insert(finalists.turns(self.bench, self.attempts, self.queue), advice)
        self._forget()

    def _forget(self) -> None:
        """Let go of the weights of trials that cannot be finalists any more; their curves stay."""
        kept = finalists.kept(self.bench, self.attempts)
        for attempt in self.attempts:
            if attempt not in kept:
                shutil.rmtree(folds.place(self.bench, attempt.number, self.bench.fold_numbers[0]), ignore_errors=True)

    def _fold(self, attempt: RecipeTrial, fold: int, behind: Callable[[EpochRow], bool] | None = None) -> None:
        run = run_fold(self.bench, attempt.recipe, attempt.number, fold, behind)
        attempt.runs.append(run)
        attempt.pruned = run.log.stopped == "pruned"
        if "not finite" in run.log.stopped:
            attempt.why = run.log.stopped
        if np.isfinite(run.logits).all() and max(len(one.logits) for one in attempt.runs) > 1:
            attempt.settle(judged(attempt.runs, self.bench.y_of, self.bench.on.metric))
        self._say(attempt)

    def _say(self, attempt: RecipeTrial) -> None:
        if attempt.judged is None:
            told = attempt.why
        else:
            so_far = "pruned" if attempt.pruned else f"epoch {attempt.judged.epoch} counts so far"
            heated = ", after temperature" if self.bench.on.metric == "log_loss" else ""
            whole = ", before interpolation" if attempt.recipe.averaging.wise else ""
            told = f"{self._score(attempt)}{heated}{whole}; {so_far}"
        self.bench.ctx.console.print_line(
            "adapt", f"trial {attempt.number} ({attempt.origin}) {recipes.shown(attempt.recipe)}: {told}"
        )

    def _score(self, attempt: RecipeTrial) -> str:
        assert attempt.judged is not None
        metric = "log loss" if self.bench.on.metric == "log_loss" else f"1 - {self.bench.on.metric.replace('_', ' ')}"
        folds = f"{len(attempt.runs)} fold{'s' if len(attempt.runs) != 1 else ''}"
        return f"{metric} {attempt.loss:.3f} (n = {len(attempt.judged.rows):,}, {folds})"

    def _say_compared(self, attempt: RecipeTrial) -> None:
        """The score that meets the frozen probe's: after it no other is told of this trial."""
        found = attempt.judged
        assert found is not None
        way = f"{found.alpha:.0%} of the way from the first weights to the tuned ones"
        helped = "" if found.alpha else ", for none of the training helped"
        how = f"epoch {found.epoch}, {way}{helped}, temperature {found.temperature:.2f}"
        self.bench.ctx.console.print_line(
            "adapt", f"trial {attempt.number} is compared by {self._score(attempt)}: {how}"
        )

    def judge(self) -> list[RecipeTrial]:
        """The best trials on further folds, as many as there is time for; the best first."""
        alone = self.most == 1 or self.interrupted
        best = finalists.best(self.attempts)[:1] if alone else finalists.chosen(self.bench, self.attempts)
        if not self.interrupted:
            best = self._more_folds(best)
        for attempt in best:
            attempt.settle(self._interpolated(attempt))
            self._say_compared(attempt)
        return sorted(best, key=lambda a: (a.loss, a.number))

    def _more_folds(self, best: list[RecipeTrial]) -> list[RecipeTrial]:
        done = 1
        try:
            for fold in self.bench.fold_numbers[1:]:
                going = best[: self._room(done, fold, best)]
                if not going:
                    break
                for attempt in going:
                    self._fold(attempt, fold)
                best, done = going, done + 1
        except KeyboardInterrupt:
            self.interrupt(JUDGING_IT, done)
            for attempt in best:
                del attempt.runs[done:]
                attempt.settle(judged(attempt.runs, self.bench.y_of, self.bench.on.metric))
        return best

    def _room(self, done: int, fold: int, best: Sequence[RecipeTrial]) -> int:
        """How many go on to a fold: all or none, but that before the second fold some may be given up."""
        if not best or self.stopped(JUDGING_IT, done):
            return 0
        if self.bench.explicit:
            return len(best)
        least = min(finalists.FINALISTS, len(best)) if done == 1 else len(best)
        costs = [self.bench.price.seconds(a.recipe) for a in best]

        def fitting() -> int:
            left = self.clock.left_s(JUDGING_END)
            return next((n for n in range(len(best), least - 1, -1) if sum(costs[:n]) <= left), 0)

        found = int(
            self.bench.decide(f"fold/{fold}", fitting, f"how many of {len(best)} recipes to judge on fold {fold}")
        )
        for attempt in best[found:] if found else ():
            self.bench.ctx.console.print_line(
                "adapt", f"trial {attempt.number} is not judged further: there is no time for it"
            )
        return found

    def _interpolated(self, attempt: RecipeTrial) -> FoldVerdict:
        if not attempt.recipe.averaging.wise:
            return judged(attempt.runs, self.bench.y_of, self.bench.on.metric)

        jobs = [self.bench.prepare(attempt.recipe, self.bench.learnt(run.log.fold)) for run in attempt.runs]

        def logits(epoch: int, alpha: float) -> np.ndarray:
            found = []
            for job, run in zip(jobs, attempt.runs, strict=True):
                made = folds.weights(self.bench, job, attempt.number, run, epoch, alpha)
                found.append(folds.logits(self.bench, job, made, run))
            return np.concatenate(found)

        return judged(attempt.runs, self.bench.y_of, self.bench.on.metric, logits)


def _course(run: FoldRun) -> Mapping[int, float]:
    return {row.epoch: row.val.log_loss for row in run.log.epochs if row.val is not None}
