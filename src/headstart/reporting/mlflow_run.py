"""Track: a finished run in MLflow, with what was asked for, all scores, the card, the report and the model.

It is logged in the run above those of the trainings (`headstart.finetuning.tracking.mlflow_tracker`). The model has a
signature and is loaded by `mlflow.pyfunc.load_model`; nothing of it is pickled. Nothing leaves the machine unless
`MLFLOW_TRACKING_URI` is set.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart.core import redaction
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.run.reader import RunReader
from headstart.core.types import FitResult, Score
from headstart.finetuning.tracking.mlflow_tracker import MlflowTracker, RunResult
from headstart.heads.ensemble import MEMBERS, format_params
from headstart.runtime import mlflow_model


def log_to_mlflow(*, ctx: Context) -> None:
    """Log what the run came to.

    Raises:
        DataError: It is not finished.
        SetupError: MLflow is not installed, or its server does not answer.
    """
    run = RunReader(ctx.run.path)
    data, adapted, evaluation, model = run.dataset, run.adapted, run.evaluation, run.manifest
    tracker = MlflowTracker(run.path / "mlflow", run.path.resolve().name, data.class_names)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            mlflow_model.write_mlflow_model(run.model_folder, data.class_names, folder, made_with=model.headstart)
            result = RunResult(
                params=dict(_list_params(adapted, ctx.job)),
                metrics=dict(_list_metrics(evaluation.scores)),
                tags={"headstart.version": model.headstart, "headstart.data": data.digest},
                data=data.name,
                digest=data.digest,
                files=run.list_shared_files(),
                model=folder,
            )
            tracker.log_result(result)
    finally:
        tracker.close()
    ctx.console.print_line("track", "MLflow has the scores, the card, the report and the model")


def _list_params(adapted: FitResult, job: Job) -> Iterator[tuple[str, str]]:
    """What was asked for, but no path of the machine, and what was chosen."""
    for option in dataclasses.fields(job):
        if option.name != "data":
            value = redaction.redact_setting(job, option.name)
            yield option.name, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    yield "chosen.features", " + ".join(f"{feature.backbone}@{feature.depth}" for feature in adapted.features)
    yield "chosen.head", adapted.fitted.head
    yield "chosen.strategy", adapted.strategy
    for name, value in adapted.fitted.params.items():
        yield f"chosen.{name}", format_params(adapted.fitted.params) if name == MEMBERS else str(value)


def _list_metrics(scores: tuple[Score, ...]) -> Iterator[tuple[str, float]]:
    for score in scores:
        name = f"{score.split}/{score.name}" + (f"/{score.subject}" if score.subject else "")
        if math.isfinite(score.value):
            yield name, score.value
            ends = {f"{name}.low": score.low, f"{name}.high": score.high}
            yield from ((end, bound) for end, bound in ends.items() if math.isfinite(bound))
            yield f"{name}.n", float(score.n)
