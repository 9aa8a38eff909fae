"""What of a run is compared: its answers for pictures that it did not learn from, its cost, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from headstart.backbones import loading
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.folder import RunFolder
from headstart.core.run.reader import RunReader
from headstart.core.types import (
    CLASSIFICATION,
    MULTILABEL,
    NO_ADAPTATION,
    ORDINAL,
    PRESENT,
    REGRESSION,
    Dataset,
    DomainAdaptation,
    Score,
    format_labels,
)
from headstart.heads import decision_rule

SCORES = {  # of a run, by task
    CLASSIFICATION.name: ("accuracy", "balanced_accuracy", "log_loss"),
    ORDINAL.name: ("accuracy", "quadratic_weighted_kappa", "mean_rank_error"),
    REGRESSION.name: ("mae", "rmse", "r2"),
    MULTILABEL.name: ("mean_average_precision", "macro_f1", "binary_log_loss"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run took and what its model takes; None where it is not known."""

    seconds: float | None  # wall time of all steps, without what came from the cache
    bytes: int  # of the saved model
    latency_ms: float | None
    params: int | None  # weights of the trunks
    trained: int  # numbers that were fitted
    gflops: float | None  # thousand million operations for one picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunSummary:
    """One run."""

    name: str
    job: Job
    dataset: Dataset
    split: str  # which of them judge: `test`, `val`, or `cv`, where other models than the final one answered
    nested: bool  # whether that is nested cross-validation, so that no picture chose the model that judges it
    adapted: bool  # whether the model was adapted to a new domain; answers and scores are of the one before that
    rows: np.ndarray  # (M,) int64 of them
    digests: tuple[str, ...]  # M of their files
    answers: np.ndarray  # (M,) int64; labels (M, C) bool
    probabilities: np.ndarray  # (M, C) float32
    clusters: np.ndarray  # (M,) int64 of near-duplicates
    scores: tuple[Score, ...]  # of the run, on all M
    cost: Cost
    model: str  # what was chosen, in words: features and head

    @property
    def is_optimistic(self) -> bool:
        """Whether the pictures that judge also chose the model."""
        return self.split == "cv" and not self.nested

    @property
    def truth(self) -> np.ndarray:
        """(M,) targets."""
        return np.asarray(self.dataset.targets[self.rows])


def read_run_summary(path: Path) -> RunSummary:
    """Read a finished run.

    Raises:
        DataError: There is no run, it is not finished, or what it holds is damaged.
    """
    RunFolder(path).require_run()
    run = RunReader(path)
    data, evaluation, features = run.dataset, run.evaluation, run.adapted.features
    if evaluation.refusal:
        hint = "`headstart evaluate` measures both on labelled pictures"
        raise DataError(f"no picture judged the run `{path}`: there is nothing to compare", hint=hint)
    adaptation = run.find(DomainAdaptation)
    rows, split = np.asarray(evaluation.rows, np.int64), evaluation.split
    probabilities = np.asarray(evaluation.probabilities)
    return RunSummary(
        name=path.as_posix(),
        job=run.job,
        dataset=data,
        split=split,
        nested=evaluation.nested,
        adapted=adaptation is not None and adaptation.method != NO_ADAPTATION,
        rows=rows,
        digests=tuple(data.digests[row] for row in rows.tolist()),
        answers=probabilities >= PRESENT
        if data.learning_task.has_labels
        else decision_rule.apply_decision(run.manifest.decision, data.class_names, probabilities),
        probabilities=probabilities,
        clusters=np.asarray(run.splits.clusters)[rows],
        scores=tuple(
            s
            for name in SCORES[data.task]
            for s in evaluation.scores
            if (s.split, s.name, s.subject) == (split, name, "")
        ),
        cost=_measure_cost(run),
        model=f"{' + '.join(f'{f.backbone}@{f.depth}' for f in features)}, {run.adapted.fitted.head}",
    )


def list_labels(data: Dataset) -> np.ndarray:
    """(N,) object: the name of each picture's class, those of its labels, or its number."""
    targets = np.asarray(data.targets)
    if data.learning_task.has_labels:
        return np.array([format_labels(tuple(compress(data.class_names, labels))) for labels in targets], object)
    return np.array(data.class_names, object)[targets] if data.learning_task.has_classes else targets.astype(object)


# ---------------------------------------------------------------- cost


def _measure_cost(run: RunReader) -> Cost:
    adapted = run.adapted
    names = tuple(dict.fromkeys(feature.backbone for feature in adapted.features))
    own = {network.spec.name: (network.spec.params, network.spec.flops) for network in adapted.networks}
    sizes = [own.get(name) or _find_params_and_flops(name) for name in names]
    known_sizes = [size for size in sizes if size is not None]
    complete = len(known_sizes) == len(sizes)
    latencies_ms = [latency for name in names if (latency := run.find_latency_ms(name)) is not None]
    return Cost(
        seconds=run.seconds if run.timings else None,
        bytes=run.exported.bytes,
        latency_ms=sum(latencies_ms) if len(latencies_ms) == len(names) else None,
        params=sum(params for params, _ in known_sizes) if complete else None,
        trained=adapted.fitted.trainable_params,
        gflops=sum(flops for _, flops in known_sizes) / 1e9 if complete else None,
    )


def _find_params_and_flops(name: str) -> tuple[int, int] | None:
    """None where the backbone's source is not installed here, or its file is gone."""
    try:
        spec = loading.find_backbone(name, opening=False).spec
    except (UsageError, DataError):
        return None
    return spec.params, spec.flops
