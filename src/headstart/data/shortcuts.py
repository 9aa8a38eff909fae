"""Properties of the files that may tell the class without a look at the content, each judged by itself.

A model may learn such a shortcut instead of the content (Geirhos 2020). A shallow decision tree that knows one property
alone is cross-validated, copies and groups on one side, and held against chance, corrected for their number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import Dataset, Score
from headstart.core.types.dataset import CHANNELS, CORNERS
from headstart.data.check_base import find_learning_rows
from headstart.data.duplicates.copy_detection import find_first_copies
from headstart.data.groups import find_groups, join_clusters
from headstart.data.stratified_group_split import deal_clusters
from headstart.statistics.intervals import cluster_sums, compact_clusters, cross_validation_effect
from headstart.statistics.metrics import compute_score, confusion_matrix
from headstart.statistics.paired_tests import holm_adjusted
from headstart.statistics.sampling import draw_rows

FOLDS, LEAVES = 5, 4  # leaves of the tree a class
LEAST_ROWS = 5  # of a class; one with fewer is left out
MOST_CLASSES, MOST_ROWS = 100, 10_000  # the largest classes, and pictures of them that are drawn
MOST_KINDS = 32  # cameras or formats, the most frequent
ALPHA = 0.01  # how often chance alone may name any property
SOME = 0.1  # part of the way from chance to certainty that is worth a word
# From here on a property is large enough to warn of: how a file was made is no content, what its pixels show may be
# (cleanlab's Datalab warns from 0.7 on), and no model sees its name.
MADE, SHOWN, NAMED = 0.5, 0.7, math.inf
WHOLE = 0.9  # recall less false alarms from which a single class counts as told
SHARED = 0.05  # part of a class's numbers that other classes have too, from which each class is counted by itself


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Property:
    """What one rule may know of M pictures."""

    name: str
    values: np.ndarray  # (M, D) float64
    large: float  # part of the way from chance to certainty from which a shortcut is large


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """How well one property tells the class."""

    name: str
    score: Score  # balanced accuracy of the rule, cross-validated
    chance: float
    gain: float  # part of the way from chance to certainty
    p: float  # of so much by chance, corrected for the number of properties
    large: float
    classes: tuple[str, ...]  # that it tells from all others, nearly without a mistake

    @property
    def is_certain(self) -> bool:
        """Whether the property surely tells something worth a word."""
        return self.p <= ALPHA and self.score.low > self.chance and self.gain >= SOME

    @property
    def is_large(self) -> bool:
        """Whether it surely tells so much, or one class so well, that a model would do well to learn nothing else."""
        return self.is_certain and (self.gain >= self.large or (bool(self.classes) and self.large == MADE))


def judge_properties(data: Dataset) -> list[Shortcut]:
    """Every property that differs between the pictures to learn from, the one that tells most first.

    Empty where fewer than two classes have `LEAST_ROWS` pictures, or all are copies or of one group.
    """
    rows = _draw_pictures(data)
    classes, y = np.unique(np.asarray(data.targets)[rows], return_inverse=True)
    if len(classes) < 2:
        return []
    properties = [each for each in _list_properties(data, rows, y) if np.ptp(each.values, axis=0).any()]
    if not properties:
        return []
    clusters = find_first_copies(data.digests)
    clusters = (join_clusters(clusters, find_groups(data)) if data.groups else clusters)[rows]
    if np.ptp(clusters) == 0:
        return []
    folds = deal_clusters(y, clusters, [1 / FOLDS] * FOLDS, np.random.default_rng(0))
    answers = [_answer_by_tree(each.values, y, folds) for each in properties]
    ps = holm_adjusted([_test_chance(y, each, clusters) for each in answers])
    return sorted(
        (
            _make_shortcut(each, answer, p, y, clusters, [data.class_names[int(c)] for c in classes])
            for each, answer, p in zip(properties, answers, ps, strict=True)
        ),
        key=lambda shortcut: -shortcut.gain,
    )


def _make_shortcut(
    known: Property, answers: np.ndarray, p: float, y: np.ndarray, clusters: np.ndarray, class_names: Sequence[str]
) -> Shortcut:
    n_classes = len(class_names)
    certain = np.eye(n_classes)[answers]
    score = compute_score("balanced_accuracy", y, certain, split="cv", clusters=clusters, n_folds=FOLDS)
    table, chance = confusion_matrix(y, answers, n_classes), 1 / n_classes
    counts, right = table.sum(axis=1), table.diagonal()
    youden = right / counts - (table.sum(axis=0) - right) / (len(y) - counts)
    return Shortcut(
        name=known.name,
        score=score,
        chance=chance,
        gain=(score.value - chance) / (1 - chance),
        p=p,
        large=known.large,
        classes=tuple(class_names[int(c)] for c in np.flatnonzero(youden >= WHOLE)),
    )


def _draw_pictures(data: Dataset) -> np.ndarray:
    """(M,) int64 rows to learn from, of the largest classes."""
    rows, targets = find_learning_rows(data), np.asarray(data.targets)
    counts = np.bincount(targets[rows], minlength=len(data.class_names))
    largest = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    rows = rows[np.isin(targets[rows], largest[counts[largest] >= LEAST_ROWS])]
    return np.asarray(rows[draw_rows(len(rows), MOST_ROWS)])


def _list_properties(data: Dataset, rows: np.ndarray, y: np.ndarray) -> Iterator[Property]:
    facts = data.facts
    width, height = (np.asarray(side, np.float64)[rows] for side in (facts.width_px, facts.height_px))
    quality = facts.get_measure("jpeg_quality")[rows]  # the format says already which are no JPEG
    quality = np.where(quality > 0, quality, np.median(quality[quality > 0])) if (quality > 0).any() else quality
    for name, column in (
        ("width and height", np.stack([width, height, width / height], axis=1)),
        ("file format", _encode_kinds(facts.file_formats, rows)),
        ("JPEG quality", quality),
        ("camera", _encode_kinds(facts.cameras, rows)),
        ("day taken", facts.get_measure("taken_day")[rows]),
    ):
        yield Property(name=name, values=column.reshape(len(rows), -1), large=MADE)
    yield Property(name="bytes per pixel", values=(facts.file_bytes[rows] / (width * height))[:, None], large=SHOWN)
    for place, name in (("border", "colour of the border"), *((c, f"pixel in the corner {c}") for c in CORNERS)):
        colours = np.stack([facts.get_measure(f"{place}_{channel}")[rows] for channel in CHANNELS], axis=1)
        yield Property(name=name.replace("_", " "), values=_add_differences(colours), large=SHOWN)
    yield Property(name="mean colour", values=_add_differences(_mean_colours(facts.histogram[rows])), large=SHOWN)
    if (numbers := _rank_numbers([data.uris[int(row)] for row in rows], y)) is not None:
        yield Property(name="number in the file's name", values=numbers[:, None], large=NAMED)


def _encode_kinds(names: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """(M, K) float64, 1 where a picture is of the kind."""
    of_rows = np.array([names[int(row)] for row in rows], np.str_)
    kinds, counts = np.unique(of_rows, return_counts=True)
    return np.asarray(of_rows[:, None] == kinds[np.argsort(-counts, kind="stable")[:MOST_KINDS]], np.float64)


def _add_differences(colours: np.ndarray) -> np.ndarray:
    """(M, 6) red, green, blue and their differences, in which a cast shows whatever the light."""
    return np.concatenate([colours, colours - np.roll(colours, 1, axis=1)], axis=1, dtype=np.float64)


def _mean_colours(histogram: np.ndarray) -> np.ndarray:
    """(M, 64) colour histograms, red slowest -> (M, 3) mean levels 0..255, as exact as four steps a colour are."""
    levels = np.stack(np.meshgrid(*[32.0 + 64.0 * np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(64, 3)
    return np.asarray(histogram @ levels)


def _rank_numbers(uris: Sequence[str], y: np.ndarray) -> np.ndarray | None:
    """(M,) ranks of the last number in each file's name; None where one has none or each class is counted by itself."""
    numbers = [re.findall(r"\d+", PurePosixPath(uri).stem)[-1:] for uri in uris]
    if not all(numbers):
        return None
    ranks = np.unique([float(number) for (number,) in numbers], return_inverse=True)[1]
    classes_of_number = np.bincount(np.unique(np.stack([ranks, y]), axis=1)[0])
    shared = np.bincount(y, weights=classes_of_number[ranks] > 1) / np.bincount(y)
    return None if shared.max() > SHARED else ranks.astype(np.float64)


def _answer_by_tree(values: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(M,) classes that trees answer which have not seen the picture's fold."""
    from sklearn.tree import DecisionTreeClassifier

    answers, leaves = np.empty_like(y), LEAVES * (int(y.max()) + 1)
    for fold in np.unique(folds):
        tree = DecisionTreeClassifier(
            max_leaf_nodes=leaves, min_samples_leaf=2, class_weight="balanced", random_state=0
        )
        judged = folds == fold
        answers[judged] = tree.fit(values[~judged], y[~judged]).predict(values[judged])
    return answers


def _test_chance(y: np.ndarray, answers: np.ndarray, clusters: np.ndarray) -> float:
    """One-sided p that the answers (M,) have nothing to do with the classes: a score test on sums of whole clusters."""
    weight = 1 / np.bincount(y)[y]
    usual = np.bincount(answers, weights=weight, minlength=int(y.max()) + 1) / (int(y.max()) + 1)
    sums = cluster_sums(((y == answers) - usual[y]) * weight, compact_clusters(clusters))
    spread = float(np.sqrt((sums**2).sum() * cross_validation_effect(FOLDS)))
    return math.erfc(float(sums.sum()) / spread / math.sqrt(2)) / 2 if spread else 1.0
