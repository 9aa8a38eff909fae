"""Training curves, and what a run came to, in MLflow.

Nothing is sent anywhere unless `MLFLOW_TRACKING_URI` names a server; without it a database lies in the run folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.errors import SetupError
from headstart.core.recipe import Recipe
from headstart.core.storage.files import read_json, write_json
from headstart.core.types import EpochRow
from headstart.finetuning.tracking.epoch_values import epoch_numbers, recipe_fields

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "headstart"
# What MLflow takes: metrics at once, signs of a parameter, of a digest and of a metric's name.
_AT_ONCE, _LONG, _DIGEST, _NAME = 500, 500, 36, 250
# Read by mlflow when it is imported or asks a server; what the user has set stays.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to; `files` lie beside the numbers, `model` is a folder of `headstart.runtime.mlflow_model`."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    data: str
    digest: str
    files: Sequence[Path]
    model: Path


class MlflowTracker:
    """One MLflow run for the run and one below it for each training; `runs.json` remembers which."""

    def __init__(self, folder: Path, run_name: str, class_names: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._classes, self._file = class_names, folder / "runs.json"
        self._known: dict[str, str] = read_json(self._file) if self._file.is_file() else {}
        self._open: dict[str, str] = {}
        server = os.environ.get(URI, "")
        self._uri = server or f"sqlite:///{(folder / 'mlflow.db').resolve().as_posix()}"
        with self._translate_errors():
            self._client = _make_client(self._uri)
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            place = None if server else (folder / "artifacts").resolve().as_uri()
            create = functools.partial(self._client.create_experiment, EXPERIMENT, artifact_location=place)
            self._experiment = experiment.experiment_id if experiment else create()
            self._parent = self._open_run("", run_name)

    def params(self, log_name: str, recipe: Recipe) -> None:
        """Log the recipe's fields."""
        from mlflow.entities import Param

        params = [Param(name, value) for name, value in recipe_fields(recipe).items()]
        with self._translate_errors():
            self._client.log_batch(self._training_run(log_name), params=params)

    def log(self, log_name: str, row: EpochRow) -> None:
        """Log an epoch's scores."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(_metric_name(f"{side}/{name}"), value, now_ms, row.epoch)
            for side, scores in epoch_numbers(row, self._classes).items()
            for name, value in scores.items()
        ]
        with self._translate_errors():
            self._client.log_batch(self._training_run(log_name), metrics=metrics)

    def log_result(self, result: RunResult) -> None:
        """Log what the run came to, the model with it, in the run above all trainings."""
        from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

        now_ms, run = int(time.time() * 1000), self._parent
        metrics = [Metric(_metric_name(name), value, now_ms, 0) for name, value in result.metrics.items()]
        pictures = Dataset(name=result.data, digest=result.digest[:_DIGEST], source_type="local", source="{}")
        with self._translate_errors():
            for at in range(0, len(metrics), _AT_ONCE):
                self._client.log_batch(run, metrics=metrics[at : at + _AT_ONCE])
            params = [Param(name, value[:_LONG]) for name, value in result.params.items()]
            self._client.log_batch(run, params=params, tags=[RunTag(*tag) for tag in result.tags.items()])
            self._client.log_inputs(run, datasets=[DatasetInput(dataset=pictures, tags=[])])
            for path in result.files:
                self._client.log_artifact(run, str(path))
            self._client.log_artifacts(run, str(result.model), "model")

    def close(self) -> None:
        """Mark all as finished."""
        with self._translate_errors():
            for run in reversed(self._open.values()):
                self._client.set_terminated(run)
        self._open.clear()

    def _training_run(self, log_name: str) -> str:
        return self._open.get(log_name) or self._open_run(log_name, log_name, {"mlflow.parentRunId": self._parent})

    def _open_run(self, key: str, name: str, tags: dict[str, str] | None = None) -> str:
        """The run of that key, begun anew or gone on with."""
        from mlflow.exceptions import MlflowException

        run = self._known.get(key, "")
        try:
            if run:
                self._client.update_run(run, status="RUNNING")
        except MlflowException:  # another server, or a database that is gone
            run = ""
        if not run:
            run = str(self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id)
            self._known[key] = run
            write_json(self._file, self._known)
        self._open[key] = run
        return run

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ImportError as err:
            hint = extras.format_install_command("mlflow")
            raise SetupError(f"MLflow cannot be loaded: {err}", where="--track mlflow", hint=hint) from err
        except Exception as err:
            if not type(err).__module__.startswith(("mlflow", "sqlalchemy", "requests")):
                raise
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            fact = re.sub(r"//[^@/\s]*@", "//", f"MLflow at `{self._uri}` fails: {reason}")  # without a password
            hint = f"set {URI} to a server that answers, or unset it to keep a file in the run folder"
            raise SetupError(fact, where="--track mlflow", hint=hint) from err


def _metric_name(name: str) -> str:
    """As MLflow takes it; a long one keeps its beginning, and a digest tells it from others that begin alike."""
    clean = re.sub(r"[^\w\-./ ]", "_", name)
    return clean if len(clean) <= _NAME else f"{clean[: _NAME - 9]}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _make_client(uri: str) -> Any:
    import logging

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if uri.startswith("sqlite"):
        import alembic  # noqa: F401  # mlflow-skinny brings neither, and says something else when they are missing
        import sqlalchemy  # noqa: F401
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    return MlflowClient(tracking_uri=uri)
