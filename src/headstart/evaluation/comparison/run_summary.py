"""What of a run is compared: its answers for pictures that it did not learn from, its cost, and what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.core import job as jobs
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.folder import RunFolder
from headstart.core.storage import model_manifest, serialization
from headstart.core.storage.files import read_json
from headstart.core.types import Dataset, Evaluation, Exported, FitResult, Score, Splits
from headstart.heads import decision_rule

SCORES = ("accuracy", "balanced_accuracy", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run took and what its model takes; None where it is not known.

    Attributes:
        seconds: Wall time of all steps, without what came from the cache.
        bytes: Of the saved model.
        latency_ms: Milliseconds a picture through its trunks, as last measured; under whatever load there was.
        params: Weights of the trunks.
        trained: Numbers that were fitted.
        gflops: Thousand million operations for one picture.
    """

    seconds: float | None
    bytes: int
    latency_ms: float | None
    params: int | None
    trained: int
    gflops: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One run.

    Attributes:
        name: Its folder, as given.
        job: What was asked for.
        dataset: The pictures.
        split: Which of them judge: `test`, `val`, or `cv`, where other models than the final one answered.
        rows: (M,) int64 of them.
        digests: M of their files.
        answers: (M,) int64.
        probabilities: (M, C) float32.
        clusters: (M,) int64 of look-alikes.
        scores: Of the run, on all M.
        cost: See there.
        model: What was chosen, in words: features and head.
    """

    name: str
    job: Job
    dataset: Dataset
    split: str
    rows: np.ndarray
    digests: tuple[str, ...]
    answers: np.ndarray
    probabilities: np.ndarray
    clusters: np.ndarray
    scores: tuple[Score, ...]
    cost: Cost
    model: str

    @property
    def truth(self) -> np.ndarray:
        """(M,) int64."""
        return np.asarray(self.dataset.targets[self.rows])


def read(path: Path) -> Side:
    """A finished run.

    Raises:
        DataError: There is no run, it is not finished, or what it holds is damaged.
    """
    RunFolder(path).require_run()
    data, of = (
        serialization.load_step_value(Dataset, path, "read"),
        serialization.load_step_value(Evaluation, path, "evaluate"),
    )
    adapted, exported = (
        serialization.load_step_value(FitResult, path, "adapt"),
        serialization.load_step_value(Exported, path, "export"),
    )
    rows, rule = np.asarray(of.rows, np.int64), model_manifest.read_manifest(path / "model").decision
    answers = decision_rule.decide(
        np.asarray(of.probabilities),
        positive=data.class_names.index(rule.positive) if rule.positive else None,
        threshold=rule.threshold,
        costs=None if rule.costs is None else np.asarray(rule.costs),
    )
    return Side(
        name=path.as_posix(),
        job=jobs.read_job(path / "job.toml"),
        dataset=data,
        split=of.split,
        rows=rows,
        digests=tuple(data.digests[row] for row in rows.tolist()),
        answers=answers,
        probabilities=np.asarray(of.probabilities),
        clusters=np.asarray(serialization.load_step_value(Splits, path, "splits").clusters)[rows],
        scores=tuple(s for n in SCORES for s in of.scores if (s.split, s.name, s.subject) == (of.split, n, "")),
        cost=_cost(path, adapted, exported),
        model=f"{' + '.join(f'{f.backbone}@{f.depth}' for f in adapted.features)}, {adapted.fitted.head}",
    )


# ---------------------------------------------------------------- cost


def _cost(path: Path, adapted: FitResult, exported: Exported) -> Cost:
    timings = read_json(path / "timings.json") if (path / "timings.json").is_file() else {}
    names = tuple(dict.fromkeys(feature.backbone for feature in adapted.features))
    tuned = adapted.tuning.network if adapted.tuning and adapted.strategy != "probe" else None
    specs = [_params_flops(name) if tuned is None else (tuned.spec.params, tuned.spec.flops) for name in names]
    paces = [_pace(name, timings) for name in names]
    trained = adapted.fitted.trainable_params if tuned is None else tuned.trainable_params
    known = [spec for spec in specs if spec is not None]
    whole = len(known) == len(specs)
    return Cost(
        seconds=sum(float(entry.get("wall_s", 0.0)) for entry in timings.values()) if timings else None,
        bytes=exported.bytes,
        latency_ms=None if any(map(math.isnan, paces)) else sum(paces),
        params=sum(spec[0] for spec in known) if whole else None,
        trained=trained,
        gflops=sum(spec[1] for spec in known) / 1e9 if whole else None,
    )


def _params_flops(name: str) -> tuple[int, int] | None:
    """Of a trunk; None where its source is not installed here, or its file is gone."""
    try:
        spec = loading.find(name, opening=False).spec
    except (UsageError, DataError):
        return None
    return spec.params, spec.flops


def _pace(name: str, timings: Mapping[str, Any]) -> float:
    found = [
        float(entry["latency_ms"])
        for step, entry in timings.items()
        if step.startswith(f"embed {name} ") and entry.get("latency_ms") is not None
    ]
    return found[-1] if found else math.nan
