"""A data set as it was read: its pictures, its files and what was skipped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headstart.core.types.backbone import OWN_RANGES, InputSpec, PixelRanges
from headstart.core.types.task import TASKS, Task

if TYPE_CHECKING:
    import numpy as np

CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
CHANNELS = ("red", "green", "blue")
# Numbers that one decode measures of each picture, beside those with a name of their own in `DatasetFacts`.
MEASURES = (
    "grey_low",  # 5 % of the grey levels 0..255 lie below
    "grey_high",  # 5 % lie above
    "sharpness",  # energy of the Laplacian of the small grey picture, by that of its gradient
    "jpeg_quality",  # 1..100 by the quantisation tables; 0 where the file is no JPEG
    "taken_day",  # days since 1970 by the EXIF data; 0 where they say nothing
    *(f"border_{channel}" for channel in CHANNELS),  # mean of the outermost ring of the small picture
    *(f"{corner}_{channel}" for corner in CORNERS for channel in CHANNELS),  # one pixel of the decoded picture
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file on disk, or a row of a table, that is not used, with the reason.

    `reason` of a file is `empty_file`, `not_a_picture`, `truncated`, `too_many_pixels`, `permission`, `symlink_loop`,
    `hidden`, `outside_a_class`, `missing`, `unreadable`, or `excluded`, which was asked for; of a row of a table
    `malformed_row`, `no_path`, `no_split`, `no_weight`, `no_time`, `no_label`, `two_labels` or `duplicate_row`.
    """

    uri: str  # path relative to the data set's root, `/` between parts
    reason: str
    detail: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """A row of the CSV of problems."""
        return self.uri, self.reason, self.detail


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetFacts:
    """What one decode at reduced scale tells about each picture."""

    width_px: np.ndarray  # (N,) int32, after EXIF orientation
    height_px: np.ndarray  # (N,) int32
    file_bytes: np.ndarray  # (N,) int64
    phash: np.ndarray  # (N,) uint64, perceptual hash (DCT of a 32 x 32 grey picture)
    histogram: np.ndarray  # (N, 64) float32, 4 x 4 x 4 RGB colour histogram; each row sums to 1
    grey_std: np.ndarray  # (N,) float32, standard deviation of the grey levels 0..255 (0 = a blank picture)
    notes: tuple[str, ...]  # N strings, empty or how the picture was read: "alpha on white", "first of 12 frames", …
    # Of runs of earlier releases the rest is empty.
    turned_phash: np.ndarray = field(default_factory=lambda: _make_empty(7))  # (N, 7) uint64, mirrored and turned
    coefficients: np.ndarray = field(default_factory=lambda: _make_empty(144))  # (N, 144) float32, lowest cosine waves
    measures: np.ndarray = field(default_factory=lambda: _make_empty(len(MEASURES)))  # (N, M) float32 of `MEASURES`
    file_formats: tuple[str, ...] = ()  # N names: `JPEG`, `DICOM`, …
    cameras: tuple[str, ...] = ()  # N digests of maker, model and software, empty where the file says nothing

    def get_measure(self, name: str) -> np.ndarray:
        """(N,) float32 of one of `MEASURES`."""
        column: np.ndarray = self.measures[:, MEASURES.index(name)]
        return column


def _make_empty(width: int) -> np.ndarray:
    import numpy as np

    return np.empty((0, width))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReading:
    """How the pictures of a set are read, whatever a backbone says."""

    resize: str = ""  # `crop`, `pad` or `squash`; empty for each backbone's own
    reason: str = ""  # why so
    ranges: PixelRanges = OWN_RANGES  # measured once on the whole set

    def without_bands(self) -> PictureReading:
        """The same for pictures of grey or colour, whose levels take the place of mixed bands."""
        return replace(self, ranges=replace(self.ranges, n_bands=0, bands=(), band_ranges=(), mix=()))


PLAIN_READING = PictureReading()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A labelled set of pictures, every file on disk accounted for."""

    name: str  # the folder's name
    root: str  # absolute path of the folder; in a run folder its name alone
    modality: str  # `image`
    task: str  # one of `TASKS`
    uris: tuple[str, ...]  # N paths relative to `root`, `/` between parts, sorted; bad bytes as surrogate escapes
    digests: tuple[str, ...]  # N SHA-256 hex digests of the files' bytes
    targets: np.ndarray  # (N,) int64, positions in `class_names`; labels (N, C) bool; numbers (N,) float64
    split: tuple[str, ...]  # N words: `train`, `val` or `test` where the folder gives splits, else empty
    class_names: tuple[
        str, ...
    ]  # C names, sorted, grades in their order; classes without a usable picture included; none for numbers
    facts: DatasetFacts  # one entry a picture
    excused: tuple[SkippedFile, ...]  # files on disk that are not used
    digest: str  # SHA-256 over uris, digests, targets, splits, class names, and groups, times and weights if any
    reading: PictureReading = PLAIN_READING
    groups: tuple[str, ...] = ()  # N names of what each picture is of (patient, site, video; empty = its own), or none
    times: np.ndarray | None = None  # (N,) float64, seconds, NaN where unknown; the newest are tested on
    weights: np.ndarray | None = None  # (N,) float64, positive, mean 1: how much a picture counts in training
    unlabelled: tuple[str, ...] = ()  # paths relative to `root` of pictures without a label: kept apart, not learnt
    target_name: str = ""  # what a number measures

    @property
    def learning_task(self) -> Task:
        """What is learnt."""
        return TASKS[self.task]

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the columns of an answer are: the classes or labels, or the one number."""
        return self.class_names or (self.target_name or "value",)

    def adapt_input(self, spec: InputSpec) -> InputSpec:
        """A backbone's input with what holds for this set."""
        return replace(spec, resize=self.reading.resize or spec.resize, ranges=self.reading.ranges)
