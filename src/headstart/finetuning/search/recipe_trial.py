"""A recipe that is tried: the folds it was trained on, and how it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headstart.core.recipe import Recipe
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.fold_verdict import FoldVerdict, count_epoch


@dataclass(kw_only=True, eq=False)
class RecipeTrial:
    """A trial on its way."""

    number: int
    recipe: Recipe
    origin: str
    runs: list[FoldRun] = field(default_factory=list)  # once judged, `best` of a log is what counts
    verdict: FoldVerdict | None = None  # on these folds; None when it failed
    why: str = ""  # what ended it, when it failed or was pruned
    pruned: bool = False

    def take_verdict(self, verdict: FoldVerdict) -> None:
        """Checks, report and log then speak of its epoch."""
        self.verdict, self.runs = verdict, count_epoch(self.runs, verdict.epoch)

    def require_verdict(self) -> FoldVerdict:
        """The verdict of a trial that was judged."""
        assert self.verdict is not None
        return self.verdict

    @property
    def loss(self) -> float:
        """The mean loss on the folds done; infinite when it failed."""
        return self.verdict.loss if self.verdict else float("inf")


def rank_trials(trials: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those that ended, the best first."""
    return sorted((t for t in trials if t.verdict and not t.pruned), key=lambda t: (t.loss, t.number))
