"""How many pictures of a folder a model learnt from: scores on those are too good, whatever folder they come from."""

from __future__ import annotations

from pathlib import Path

from headstart.core.storage import serialization
from headstart.core.storage.hashing import file_digest
from headstart.core.types import Dataset, Splits
from headstart.runtime.inputs.decoded_batches import walk


def find_training_overlap(run: Path, folder: Path) -> int:
    """Count files of a folder whose bytes are those of a training picture of a run.

    Args:
        run: A run folder; a model folder alone does not know what it learnt from, and counts none.
        folder: The pictures.
    """
    if not (run / "splits" / "value.json").is_file():
        return 0
    data, splits = serialization.load_value(Dataset, run / "read"), serialization.load_value(Splits, run / "splits")
    learnt = {data.digests[row] for row in splits.train.tolist()}
    return sum(_digest(file) in learnt for file in walk([folder]))


def _digest(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError:
        return ""  # it was not judged either, and has its row with the reason
