"""How many pictures of a folder a model learnt from: scores on those are too good, whatever folder they come from."""

from __future__ import annotations

from pathlib import Path

from headstart.core.run.reader import RunReader
from headstart.core.storage.hashing import file_digest
from headstart.core.types import Splits
from headstart.runtime.inputs.decoded_batches import walk_paths


def find_training_overlap(run: Path, folder: Path) -> int:
    """Count files of a folder whose bytes are those of a training picture; a model folder alone counts none."""
    reader = RunReader(run)
    splits = reader.find(Splits)
    if splits is None:
        return 0
    digests = reader.dataset.digests
    training_digests = {digests[row] for row in splits.train.tolist()}
    return sum(_digest_or_empty(file) in training_digests for file in walk_paths([folder]))


def _digest_or_empty(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError:
        return ""  # it was not judged either, and has its row with the reason
