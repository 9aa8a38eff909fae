"""What a card may tell: what the run folder holds, in values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.job import Job
from headstart.core.model_manifest import Manifest
from headstart.core.run.context import Context
from headstart.core.run.reader import RunReader
from headstart.core.types import (
    PRESENT,
    Audit,
    Dataset,
    DomainAdaptation,
    DomainShift,
    Evaluation,
    Exported,
    FitResult,
    Splits,
    TargetDomain,
    UncertaintyReport,
)
from headstart.heads import decision_rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CardInput:
    """All that a card is written from."""

    job: Job
    dataset: Dataset
    audits: tuple[Audit, ...]  # of the files and of the vectors
    splits: Splits  # who learnt and who judges
    adapted: FitResult
    evaluation: Evaluation
    exported: Exported  # the saved model, compared with the run
    model: Manifest  # the saved model's manifest
    uncertainty: UncertaintyReport | None = None
    target: TargetDomain | None = None  # pictures of another domain
    shift: DomainShift | None = None  # from these
    adaptation: DomainAdaptation | None = None  # to these

    @property
    def truth(self) -> np.ndarray:
        """(M,) targets of the pictures that judge; labels (M, C) bool."""
        return np.asarray(self.dataset.targets[np.asarray(self.evaluation.rows)])

    @property
    def decided_answers(self) -> np.ndarray:
        """(M,) int64 classes that the model answers for them, by its threshold or costs; labels (M, C) bool."""
        if self.dataset.learning_task.has_labels:
            return np.asarray(self.evaluation.probabilities) >= PRESENT
        return decision_rule.apply_decision(
            self.model.decision, self.dataset.class_names, np.asarray(self.evaluation.probabilities)
        )

    @property
    def right(self) -> np.ndarray:
        """(M,) float64, 1 where the answer is right, else 0; the share of a picture's labels that are."""
        right = self.truth == self.decided_answers
        return np.asarray(right.mean(axis=1) if right.ndim == 2 else right * 1.0)


def read_card_input(ctx: Context) -> CardInput:
    """Read what the run folder holds.

    Raises:
        DataError: The run has not come to its saved model, or what it holds is damaged.
    """
    run = RunReader(ctx.run.path)
    return CardInput(
        job=ctx.job,
        dataset=run.dataset,
        audits=run.audits,
        splits=run.splits,
        adapted=run.adapted,
        evaluation=run.evaluation,
        exported=run.exported,
        model=run.manifest,
        uncertainty=run.find(UncertaintyReport),
        target=run.find(TargetDomain),
        shift=run.find(DomainShift),
        adaptation=run.find(DomainAdaptation),
    )
