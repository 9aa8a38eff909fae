"""What a card may tell: what the run folder holds, in values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import model_manifest, serialization
from headstart.core.storage.files import read_json
from headstart.core.storage.model_manifest import Manifest
from headstart.core.types import Audit, Dataset, Evaluation, Exported, FitResult, Splits, UncertaintyReport
from headstart.heads import decision_rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CardInput:
    """Everything a card tells of.

    Attributes:
        job: The request.
        dataset: The pictures.
        audits: Of the files and of the vectors.
        splits: Who learnt and who judges.
        adapted: The head.
        evaluation: The measured model.
        doubted: When it should not be believed; None in runs that did not measure it.
        exported: The saved model, compared with the run.
        model: The saved model's manifest.
        timings: Step -> what `timings.json` holds.
    """

    job: Job
    dataset: Dataset
    audits: tuple[Audit, ...]
    splits: Splits
    adapted: FitResult
    evaluation: Evaluation
    exported: Exported
    model: Manifest
    doubted: UncertaintyReport | None = None
    timings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def truth(self) -> np.ndarray:
        """(M,) int64 classes of the pictures that judge."""
        return np.asarray(self.dataset.targets[np.asarray(self.evaluation.rows)])

    @property
    def answers(self) -> np.ndarray:
        """(M,) int64 what the model answers for them, by its threshold or costs."""
        rule, names = self.model.decision, self.dataset.class_names
        return decision_rule.decide(
            np.asarray(self.evaluation.probabilities),
            positive=names.index(rule.positive) if rule.positive else None,
            threshold=rule.threshold,
            costs=None if rule.costs is None else np.asarray(rule.costs),
        )


def gather(ctx: Context) -> CardInput:
    """Read what the run folder holds.

    Raises:
        DataError: The run has not come to its saved model, or what it holds is damaged.
    """
    run = ctx.run.path
    path = run / "timings.json"
    phases = [phase for phase in ("files", "vectors") if (run / "audit" / f"{phase}.json").is_file()]
    return CardInput(
        job=ctx.job,
        dataset=serialization.load_step_value(Dataset, run, "read"),
        audits=tuple(serialization.load_step_value(Audit, run, "audit", phase) for phase in phases),
        splits=serialization.load_step_value(Splits, run, "splits"),
        adapted=serialization.load_step_value(FitResult, run, "adapt"),
        evaluation=serialization.load_step_value(Evaluation, run, "evaluate"),
        exported=serialization.load_step_value(Exported, run, "export"),
        model=model_manifest.read_manifest(run / "model"),
        doubted=serialization.find_value(UncertaintyReport, run / "doubt"),
        timings=read_json(path) if path.is_file() else {},
    )
