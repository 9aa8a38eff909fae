"""An export judged by its own `predict.py` in a fresh process, against the run's saved model on real pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import GateFailed, SetupError
from headstart.core.types import ScoreChange, Task
from headstart.exporting.conversion_process import child_environment, last_words
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import make_change_error, read_bytes
from headstart.runtime.inputs.decoded_batches import Content
from headstart.statistics.intervals import mean_interval, paired_interval

if TYPE_CHECKING:
    from headstart.core.types import Prediction
    from headstart.runtime.model import Model

TOLERANCE = {"f32": 1e-4, "f16": 0.05, "int8": 1.0}  # see `measure_scale`; what int8 may cost is measured on answers
STRANGE = {"f32": 0.05, "f16": 0.25, "int8": 1.0}  # on a novelty, which moves in steps of one known picture
TURNS = 30  # of the clock
_LONGEST_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """Real pictures to compare on."""

    files: tuple[str | Path, ...]  # M locations
    truth: np.ndarray  # (M,) int64 classes or float64 numbers, or (M, C) bool labels
    clusters: np.ndarray | None  # (M,) labels of near-duplicates
    origin: str  # `test`, `val`, `train` or `data`
    calibration: tuple[str | Path, ...]  # of an 8-bit version; none of `files` where that can be
    scale: float = 1.0  # what differences are told in; see `measure_scale`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """The answers of a model."""

    probabilities: np.ndarray  # (M, C) float64
    positions: np.ndarray  # (M,) int64 classes, 0 of numbers, or (M, C) 0 or 1 of labels; -1 for `unknown`
    novelty: np.ndarray  # (M,) float64, NaN where nothing measures it
    time: dict[str, float]  # `p50_ms` and `p95_ms`, of an export


def measure_scale(task: Task, targets: np.ndarray) -> float:
    """What differences are told in: 1 of probabilities; of numbers the standard deviation of the targets (N,)."""
    return max(float(np.std(targets)), 1e-30) if task.is_number else 1.0


def ask_run(model: Model, files: Sequence[str | Path], *, declines: bool) -> Answers:
    """Answers of the run's saved model; without `declines`, always a class."""
    predictions = list(model.predict([Content(file, file) for file in map(str, files)], errors="rows"))
    if wrong := next((prediction for prediction in predictions if prediction.error), None):
        raise make_change_error("", wrong.uri, wrong.error)
    chances = np.array([[prediction.probabilities[name] for name in model.class_names] for prediction in predictions])
    return Answers(
        probabilities=chances,
        positions=np.array([_find_run_position(model, prediction, declines) for prediction in predictions]),
        novelty=np.array([np.nan if prediction.novelty is None else prediction.novelty for prediction in predictions]),
        time={},
    )


def _find_run_position(model: Model, prediction: Prediction, declines: bool) -> int | list[int]:
    if prediction.labels is not None:
        labels = None if prediction.unknown and declines else prediction.labels
        return [-1 if labels is None else int(name in labels) for name in model.class_names]
    if prediction.unknown and declines:
        return -1
    is_number = prediction.number is not None
    return 0 if is_number else model.class_names.index(model.answer_declined(prediction).answer)


def ask_export(folder: Path, class_names: Sequence[str], files: Sequence[str | Path], name: str) -> Answers:
    """Answers of an export, by `predict.py` in its folder, with nothing of this process around it.

    Raises:
        DataError: A picture is gone.
        SetupError: It cannot be loaded, or cannot answer.
    """
    command = [sys.executable, "-I", str((folder / "predict.py").resolve()), "-", "--time", str(TURNS)]
    env = child_environment()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            places = [
                name if Path(name).is_file() else _copy_file(name, f"{scratch}/{at}")
                for at, name in enumerate(map(str, files))
            ]
            names = b"".join(os.fsencode(Path(place).resolve()) + b"\0" for place in places)
            child = subprocess.run(command, input=names, capture_output=True, env=env, timeout=_LONGEST_S)
    except subprocess.TimeoutExpired as err:
        why = f"it took more than {_LONGEST_S // 60} minutes for {len(files):,} pictures"
        raise _export_failure(name, why) from err
    rows = [json.loads(line) for line in child.stdout.splitlines() if line.startswith(b"{")]
    wrong = next((row for row in rows if row.get("error")), None)
    if wrong and not Path(wrong["file"]).is_file():
        raise make_change_error("", wrong["file"], wrong["error"])
    if child.returncode or wrong or len(rows) != len(files) + 1:
        raise _export_failure(name, wrong["error"] if wrong else last_words(child.stderr, child.returncode))
    *answers, time = rows
    return Answers(
        probabilities=np.array([_read_outputs(row, class_names) for row in answers]),
        positions=np.array([_find_position(row, class_names) for row in answers]),
        novelty=np.array([row.get("novelty", np.nan) for row in answers], np.float64),
        time=time,
    )


def _copy_file(location: str, copy: str) -> str:
    """A picture of an archive or an object store as a file, under its own suffix."""
    try:
        content = read_bytes(location)
    except PictureError as err:
        raise make_change_error("", location, err.detail) from err
    copy += os.path.splitext(location)[1]  # noqa: PTH122
    Path(copy).write_bytes(content)
    return copy


def _read_outputs(row: Mapping[str, Any], class_names: Sequence[str]) -> list[float]:
    return [row["number"]] if "number" in row else [row["probabilities"][name] for name in class_names]


def _find_position(row: Mapping[str, Any], class_names: Sequence[str]) -> int | list[int]:
    """As in `Answers.positions`."""
    if "labels" in row:
        return [-1 if row.get("unknown") else int(name in row["labels"]) for name in class_names]
    return -1 if row.get("unknown") else 0 if "number" in row else class_names.index(row["answer"])


def _export_failure(name: str, why: str) -> SetupError:
    return SetupError(
        f"the `{name}` export was written, but its runtime cannot answer: {why}", where="--to", hint=_format_hint(name)
    )


def _format_hint(name: str) -> str:
    return "headstart doctor shows the engines" if name == "openvino" else "--to openvino"


def compare_answers(run: Answers, export: Answers, scale: float) -> tuple[float, float]:
    """The largest difference of a probability or number, in `scale`, and the share of pictures with the same answer."""
    agreement = float(_flag_equal_rows(run.positions, export.positions).mean())
    return _largest_difference(run.probabilities, export.probabilities) / scale, agreement


def _largest_difference(first: np.ndarray, other: np.ndarray) -> float:
    differences = np.abs(first - other)
    return float(differences.max()) if np.isfinite(differences).all() else float("inf")


def novelty_difference(run: Answers, export: Answers) -> float | None:
    """The largest difference of a novelty; None where one of the two does not measure it."""
    measured = np.isfinite(run.novelty).all() and np.isfinite(export.novelty).all()
    return _largest_difference(run.novelty, export.novelty) if measured else None


def require_same(worst: float, strange: float | None, name: str, precision: str, kind: str) -> None:
    """Refuse an export that does not answer as the run.

    `worst` is the difference of a probability or number, `strange` of a novelty.
    Of `neighbours` one vote is a large step, so below f32 only answers count.

    Raises:
        SetupError: They differ by more than the precision explains.
    """
    limit = 1.0 if kind == "neighbours" and precision != "f32" else TOLERANCE[precision]
    answer = "number, in standard deviations of the target" if kind == "linear_identity" else "probability"
    differences = (("novelty", strange, STRANGE[precision]), (answer, worst, limit))
    for what, difference, most in differences:
        if difference is not None and not difference <= most:
            raise SetupError(
                f"the `{name}` export in {precision} and the run differ by {difference:.2g} on a {what}: more than "
                f"{most:g}",
                where="--to",
                hint=_format_hint(name),
            )


def measure_change(run: Answers, export: Answers, pictures: Pictures) -> ScoreChange:
    """What the precision costs on labelled pictures, with a paired 95 % interval that near-duplicates widen.

    `unknown` is no right answer, and of a number as good as the mean of the true ones, so a precision that makes
    everything out-of-distribution is seen too.
    """
    if np.issubdtype(pictures.truth.dtype, np.floating):
        of_run, of_export = (_explained_shares(answers, pictures.truth) for answers in (run, export))
        metric = "r2"
        interval = mean_interval(of_export - of_run, pictures.clusters)
    else:
        of_run, of_export = (_flag_equal_rows(answers.positions, pictures.truth) for answers in (run, export))
        metric = "accuracy" if pictures.truth.ndim == 1 else "exact_match"
        interval = paired_interval(of_run, of_export, pictures.clusters)
    means, (change, low, high) = {"before": float(of_run.mean()), "after": float(of_export.mean())}, interval
    return ScoreChange(metric=metric, **means, change=change, low=low, high=high, n=len(of_run))


def _flag_equal_rows(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(M,) bool of (M,) or (M, C) each."""
    return np.asarray((first == other).reshape(len(first), -1).all(axis=1))


def _explained_shares(answers: Answers, truth: np.ndarray) -> np.ndarray:
    """(M,) float64 whose mean is R²."""
    numbers = np.where(answers.positions < 0, truth.mean(), answers.probabilities[:, 0])
    return np.asarray(1.0 - (numbers - truth) ** 2 / max(float(np.var(truth)), 1e-30))


def require_score(change: ScoreChange, max_drop: float, name: str, precision: str) -> None:
    """Refuse an export that answers worse than the run by more than was allowed.

    Raises:
        GateFailed: With the drop, its interval and the number of pictures.
    """
    if -change.change > max_drop + 1e-12:
        raise GateFailed(
            f"in {precision} the `{name}` export loses {-change.change:.3f} of {change.metric} "
            f"[{-change.high:.3f}, {-change.low:.3f}] on {change.n:,} pictures, more than the "
            f"{max_drop:g} of `--max-drop`",
            where="--precision",
            hint="--precision f16" if precision == "int8" else "--precision f32",
        )
