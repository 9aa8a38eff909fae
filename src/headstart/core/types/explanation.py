"""What a run keeps to explain its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """A held-out picture with a heat map in the run folder.

    Attributes:
        row: The picture.
        group: What it is an example of: `right, most sure`, …
        answer: What the model answers.
        class_name: The class that the map speaks of.
        confidence: Probability of that class.
        file: The picture with its heat map, in the stage's folder.
        neighbours: Rows of the training pictures most like it, the likest first.
        similarities: Their cosines.
    """

    row: int
    group: str
    answer: str
    class_name: str
    confidence: float
    file: str
    neighbours: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a run keeps to explain its answers by.

    Attributes:
        method: How heat maps of this model are made: `cam` or `occlusion`.
        why: Why so, in a sentence.
        kept: Training pictures kept to compare with.
        bytes: Size of what is kept.
        prototypes: Class -> rows of the pictures that stand for it, the best first.
        maps: Held-out pictures with their heat maps.
        left_out: Why there are no heat maps, else empty.
    """

    method: str
    why: str
    kept: int
    bytes: int
    prototypes: Mapping[str, tuple[int, ...]]
    maps: tuple[MapRow, ...]
    left_out: str = ""
