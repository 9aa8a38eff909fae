"""How the budget is split: every part of it in one place, as pure functions of seconds that read no clock.

A probe spends most of its time in passes of pictures through backbones, then in heads. Fine-tuning keeps its passes
short: half of what is left goes into trying recipes on one fold, a quarter into judging the best on more folds,
the last into the final training and the same network from random weights. Measuring and exporting have a reserve.
Nested cross-validation comes after all training and has only what that left.
"""

from __future__ import annotations

from dataclasses import dataclass

from headstart.core.job import Job
from headstart.core.types.domain import ADABN_METHODS, TRAINED_METHODS

REACH_PART = 0.2  # of the time left: fetching recommended backbones and making them ready
PASS_PART = 0.6  # of the time left: all pictures through a backbone that may be handed over,
PASS_PART_WHEN_TUNING = 0.2  # and where fine-tuning wants the budget
RESERVE_PART = 0.08  # of the whole budget, for measuring and exporting
ADAPTATION_PART = (
    0.25  # of the whole budget, for training once more on pictures of another domain, where some are given
)
AUGMENTATION_PART = 0.1  # of fine-tuning's time, for measuring which augmentations keep the label
TRYING_END, JUDGING_END, FINISHING_END = 0.5, 0.75, 1.0  # parts of fine-tuning's time by whose end a phase is over
COMBINATION_MARGIN = 3.0  # a combination of feature levels must fit the time left so often: others may follow it,
COMBINATION_MARGIN_WHEN_TUNING = 30.0  # and training too
ADAPTATION_MARGIN = 1.25  # adapting a trunk is one long step: its estimate may be off by a quarter
NESTED_MARGIN = 1.5  # nested cross-validation is one long step: its estimate may be off by half
LEAST_EPOCHS = 3.0  # a budget that is named as large enough has time to try so many epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePlan:
    """The split of one budget."""

    budget_s: float  # seconds in all
    pass_part: float  # of the time left, for all pictures through what is handed over
    combination_margin: float  # how often a combination of feature levels must fit the time left; 0 whatever is left
    nested_margin: float = NESTED_MARGIN  # how often nested cross-validation must fit; 0 whatever is left
    adaptation_part: float = 0.0  # of the budget, for training on another domain

    def pass_s(self, left_s: float) -> float:
        """Seconds for all pictures through what is handed over."""
        return self.pass_part * left_s

    def reach_s(self, left_s: float) -> float:
        """Seconds until all recommended backbones that are fetched are here and ready."""
        return REACH_PART * left_s

    def has_room_for_combination(self, expected_s: float, left_s: float) -> bool:
        """Whether there is time for a head on a combination of feature levels."""
        return not self.combination_margin or left_s > self.combination_margin * expected_s

    def has_room_for_nested(self, expected_s: float, left_s: float) -> bool:
        """Whether there is time for nested cross-validation of the heads, the reserve set aside."""
        return not self.nested_margin or self.fine_tuning_s(left_s) > self.nested_margin * expected_s

    @property
    def reserve_s(self) -> float:
        """Seconds for all that comes after fine-tuning."""
        return (RESERVE_PART + self.adaptation_part) * self.budget_s

    def fine_tuning_s(self, left_s: float) -> float:
        """Seconds that fine-tuning may take, the reserve set aside."""
        return max(left_s - self.reserve_s, 0.0)

    def adaptation_s(self, left_s: float) -> float:
        """Seconds that adapting trunks to another domain may take, once fine-tuning is over."""
        return max(left_s - RESERVE_PART * self.budget_s, 0.0)

    def has_room_for_adaptation(self, expected_s: float, left_s: float) -> bool:
        """Whether there is time for adapting a trunk once, the reserve set aside."""
        return self.adaptation_s(left_s) > ADAPTATION_MARGIN * expected_s

    def augmentation_s(self, left_s: float) -> float:
        """Seconds for measuring which augmentations keep the label."""
        return AUGMENTATION_PART * self.fine_tuning_s(left_s)

    def phase_left_s(self, end: float, fine_tuning_s: float, left_s: float) -> float:
        """Seconds until a phase of fine-tuning must be over, `TRYING_END`, `JUDGING_END` or `FINISHING_END`."""
        spent_s = fine_tuning_s - (left_s - self.reserve_s)
        return end * fine_tuning_s - spent_s

    def smallest_budget_s(self, epoch_s: float, fine_tuning_s: float) -> float:
        """The budget that has room for trying a few epochs, where all before takes as long as it did."""
        return self.budget_s - fine_tuning_s + LEAST_EPOCHS * epoch_s / TRYING_END


def format_unbounded(job: Job) -> str:
    """The end of a sentence about the time of a run, where the budget does not bound its training."""
    return f"; a recipe is trained to its end, whatever `--budget {job.budget}` says" if job.recipe else ""


def plan_time(job: Job) -> TimePlan:
    """How a budget is split; no clock has a say in the heads beside a given recipe, so that two runs are equal."""
    part, margin = PASS_PART, COMBINATION_MARGIN
    if job.strategy != "probe":
        part, margin = PASS_PART_WHEN_TUNING, COMBINATION_MARGIN_WHEN_TUNING
    if job.recipe:
        return TimePlan(budget_s=job.budget_s, pass_part=part, combination_margin=0.0, nested_margin=0.0)
    adaptation = ADAPTATION_PART if _may_adapt_trunks(job) else 0.0
    return TimePlan(budget_s=job.budget_s, pass_part=part, combination_margin=margin, adaptation_part=adaptation)


def _may_adapt_trunks(job: Job) -> bool:
    """Whether trunks may be adapted after training: by a named training, or by batch norms where the probe may stay."""
    if not job.unlabeled or job.strategy == "probe":
        return False
    by_batch_norms = job.strategy == "auto" and {"auto", *ADABN_METHODS} & set(job.adaptation)
    return bool(by_batch_norms or set(TRAINED_METHODS) & set(job.adaptation))
