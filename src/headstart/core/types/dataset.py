"""A data set as it was read: its pictures, its files and what was skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file that is on disk and not used, with the reason.

    Attributes:
        uri: Path relative to the data set's root, `/` between parts.
        reason: A fixed word: `empty_file`, `not_a_picture`, `truncated`, `too_many_pixels`, `permission`,
            `symlink_loop`, `hidden`, `outside_a_class`, `unreadable`.
        detail: One sentence.
    """

    uri: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetFacts:
    """What one decode at reduced scale tells about each picture.

    Attributes:
        width_px: (N,) int32, after EXIF orientation.
        height_px: (N,) int32.
        file_bytes: (N,) int64.
        phash: (N,) uint64, perceptual hash (DCT of a 32 x 32 grey picture).
        histogram: (N, 64) float32, 4 x 4 x 4 RGB colour histogram; each row sums to 1.
        grey_std: (N,) float32, standard deviation of the grey levels 0..255 (0 = a blank picture).
        notes: N strings, empty or what was done to read the picture ("alpha on white", "first of 12 frames", …).
    """

    width_px: np.ndarray
    height_px: np.ndarray
    file_bytes: np.ndarray
    phash: np.ndarray
    histogram: np.ndarray
    grey_std: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A labelled set of pictures, every file on disk accounted for.

    Attributes:
        name: The folder's name.
        root: Absolute path of the folder.
        modality: `image`.
        task: `classification`.
        uris: N paths relative to `root`, `/` between parts, sorted; undecodable bytes as surrogate escapes.
        digests: N SHA-256 hex digests of the files' bytes.
        targets: (N,) int64, positions in `class_names`.
        split: N words: `train`, `val` or `test` where the folder gives splits, else empty.
        class_names: C names, sorted; classes without a usable picture included.
        facts: One entry a picture.
        excused: Files on disk that are not used.
        digest: SHA-256 over uris, digests, targets, splits and class names.
    """

    name: str
    root: str
    modality: str
    task: str
    uris: tuple[str, ...]
    digests: tuple[str, ...]
    targets: np.ndarray
    split: tuple[str, ...]
    class_names: tuple[str, ...]
    facts: DatasetFacts
    excused: tuple[SkippedFile, ...]
    digest: str
