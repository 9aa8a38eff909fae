"""What a run keeps to explain its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """A held-out picture with a heat map in the run folder."""

    row: int
    group: str  # what it is an example of: `right, most sure`, …
    answer: str  # what the model answers
    class_name: str  # the class that the map speaks of
    confidence: float  # probability of that class
    file: str  # the picture with its heat map, in the stage's folder
    neighbours: tuple[int, ...]  # rows of the training pictures most like it, the likest first
    similarities: tuple[float, ...]  # their cosines


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a run keeps to explain its answers by."""

    method: str  # how heat maps of this model are made: `cam` or `occlusion`
    why: str
    kept: int  # training pictures kept to compare with
    bytes: int  # size of what is kept
    prototypes: Mapping[str, tuple[int, ...]]  # class -> rows of the pictures that stand for it, the best first
    maps: tuple[MapRow, ...]  # held-out pictures with their heat maps
    left_out: str = ""  # why there are no heat maps, else empty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureMap:
    """Pictures on a plane, those close together that the model sees as alike."""

    rows: np.ndarray  # (M,) int64 rows of the data set, ascending
    places: np.ndarray  # (M, 2) float32, both from 0 to 1
