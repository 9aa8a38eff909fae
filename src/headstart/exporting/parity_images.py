"""Real pictures to compare an export on: those that judged the run, as they were, or a labelled folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.exporting.parity import Pictures, measure_scale
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.statistics.sampling import evenly_spaced

if TYPE_CHECKING:
    from headstart.core.types import Dataset, Evaluation, Splits, Task
    from headstart.runtime.inputs.decoded_batches import Source

MOST = 1000
CALIBRATION = 256


def pictures_of_run(data: Dataset, splits: Splits, evaluation: Evaluation, *, calibrating: bool) -> Pictures:
    """The pictures that judged the run; where none could be held out, those that it learnt from.

    Raises:
        DataError: The run's pictures are gone or are others now.
    """
    origin = evaluation.split if evaluation.split in ("test", "val") else "train"
    rows = evaluation.rows if origin != "train" else splits.train
    rows = np.asarray(rows)[evenly_spaced(len(rows), MOST)]
    learnt = splits.train[evenly_spaced(len(splits.train), CALIBRATION)]
    return Pictures(
        files=_require_unchanged_files(data, rows),
        truth=np.asarray(data.targets)[rows],
        clusters=np.asarray(splits.clusters)[rows],
        origin=origin,
        calibration=_require_unchanged_files(data, learnt) if calibrating else (),
        scale=measure_scale(data.learning_task, data.targets),
    )


def _require_unchanged_files(data: Dataset, rows: np.ndarray) -> tuple[str, ...]:
    files = tuple(os.path.join(data.root, data.uris[row]) for row in rows)  # noqa: PTH118 - no file system's
    for file, row in zip(files, rows, strict=True):
        try:
            fault = "" if hashlib.sha256(read_bytes(file)).hexdigest() == data.digests[row] else "is another one now"
        except PictureError as err:
            fault = "is gone" if isinstance(err.__cause__, FileNotFoundError) else "cannot be read any more"
        if fault:
            raise DataError(
                f"an export is compared on the run's own pictures, and `{format_printable(data.uris[row])}` {fault}",
                where=format_printable(data.root),
                hint="--data FOLDER names other labelled pictures to compare on, one sub-folder a class",
            )
    return files


def pictures_of_folder(files: Sequence[Source], truth: np.ndarray, task: Task, *, calibrating: bool) -> Pictures:
    """Labelled pictures that were named for it; every other one calibrates where that is needed."""
    places = tuple(map(str, files))
    judging = slice(1, None, 2) if calibrating and len(files) > 1 else slice(None)
    return Pictures(
        files=places[judging],
        truth=np.asarray(truth)[judging],
        clusters=None,
        origin="data",
        calibration=places[::2] if calibrating else (),
        scale=measure_scale(task, truth),
    )
