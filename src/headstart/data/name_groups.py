"""What the names of files tell about which pictures belong together: patients, videos, bursts.

Names are cut into digits, letters and what stands between them. Where most names have the same shape, each beginning
that holds a number and that several pictures share could name a group. It counts only where pictures with the same
beginning are more alike than pictures of their class are, which a permutation test tells: numbers alone prove nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import Dataset, DatasetFacts

FEWEST_GROUPS = 5
LEAST_SHARE = 0.5  # of the pictures that have names of one shape, and of these that share their group
DEVIATIONS = 5.0  # of the mean distance over permutations, by which pictures of a group are nearer
CLOSER = 0.9  # at most this part of the distance that chance gives
PERMUTATIONS, PAIRS = 100, 2_000
_TOKENS = re.compile(r"[0-9]+|[^\W\d_]+|[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NameGroups:
    """Groups that names tell.

    Attributes:
        names: N names of groups, empty for pictures whose names have another shape.
        pattern: Regular expression whose first bracket finds the name in a path.
        closeness: Distance of pictures of one group, by that of any of their class.
    """

    names: tuple[str, ...]
    pattern: str
    closeness: float


def find_name_groups(data: Dataset) -> NameGroups | None:
    """The coarsest groups that names tell and pictures confirm; None without any."""
    paths = [_cut_path(uri, data.class_names) for uri in data.uris]
    tokens = [_TOKENS.findall(path) for path in paths]
    shapes = [tuple(_name_kind(token) for token in row) for row in tokens]
    shape, count = Counter(shapes).most_common(1)[0]
    if count < LEAST_SHARE * len(paths):
        return None
    rows = np.array([row for row, each in enumerate(shapes) if each == shape], np.int64)
    columns = [tokens[row] for row in rows]
    classes = np.asarray(data.targets)[rows] if data.learning_task.has_classes else np.zeros(len(rows), np.int64)
    finer, best = np.arange(len(rows)), None
    for length in reversed(_list_lengths(columns, shape)):
        names = ["".join(row[:length]) for row in columns]
        keys = np.unique(names, return_inverse=True)[1]
        closeness = _measure_closeness(data.facts, rows, classes, keys, finer)
        if closeness is not None:
            finer, best = keys, (names, length, closeness)
    if best is None:
        return None
    names, length, closeness = best
    of_rows = dict(zip(rows.tolist(), names, strict=True))
    groups = tuple(of_rows.get(row, "") for row in range(len(paths)))
    return NameGroups(names=groups, pattern=_write_pattern(columns, length), closeness=closeness)


def _cut_path(uri: str, class_names: Sequence[str]) -> str:
    """The path below the folder of a class, without suffix."""
    parts = uri.split("/")
    below = 1 + max((at for at, part in enumerate(parts[:-1]) if part in class_names), default=-1)
    return str(PurePosixPath(*parts[below:]).with_suffix(""))


def _name_kind(token: str) -> str:
    return "digits" if token[0] in "0123456789" else "letters" if token[0].isalpha() else token


def _list_lengths(columns: Sequence[Sequence[str]], shape: Sequence[str]) -> list[int]:
    """Numbers of first tokens that could name a group, one for each way to group, from coarse to fine."""
    lengths, last = list[int](), 0
    for length in range(1, len(shape)):
        if "digits" not in shape[:length]:
            continue
        sizes = Counter(tuple(row[:length]) for row in columns)
        shared = [size for size in sizes.values() if size > 1]
        if len(shared) < FEWEST_GROUPS or sum(shared) < LEAST_SHARE * len(columns):
            continue
        if len(sizes) > last:
            lengths.append(length)
            last = len(sizes)
    return lengths


def _measure_closeness(
    facts: DatasetFacts, rows: np.ndarray, classes: np.ndarray, keys: np.ndarray, finer: np.ndarray
) -> float | None:
    """Distance of pairs of one key (M,) and class (M,), but of two finer keys (M,), by that of shuffled pairs.

    None where they are no closer than chance gives.
    """
    rng = np.random.default_rng(0)
    order = np.lexsort((keys, classes))
    blocks = np.unique(np.stack([classes[order], keys[order]]), axis=1, return_inverse=True, return_counts=True)
    block, counts = blocks[1].ravel(), blocks[2]
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    first = np.tile(np.arange(len(rows)), 4)
    second = starts[block[first]] + (rng.random(len(first)) * counts[block[first]]).astype(np.int64)
    first, second = order[first], order[second]
    usable = (first != second) & (finer[first] != finer[second])
    first, second = first[usable], second[usable]
    drawn = rng.permutation(len(first))[:PAIRS]
    first, second = first[drawn], second[drawn]
    if len(first) < FEWEST_GROUPS or len(np.unique(keys[first])) < FEWEST_GROUPS:
        return None
    ratios = list[float]()
    pairs = np.stack([first, second])
    shuffled = rows[np.stack(list(_shuffle_within(classes, pairs, rng)))]  # (PERMUTATIONS, 2, P)
    for measure in (_measure_colour_distances, _measure_hash_distances):
        distance = measure(facts, *rows[pairs]).mean()
        chance = np.array([measure(facts, *new).mean() for new in shuffled])
        if distance < CLOSER * chance.mean() and distance < chance.mean() - DEVIATIONS * chance.std():
            ratios.append(float(distance / chance.mean()))
    return min(ratios, default=None)


def _shuffle_within(classes: np.ndarray, pairs: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Pairs (2, P) of which each place is taken by another of its class (M,), the same one wherever it stands.

    As many as `PERMUTATIONS`; only places in pairs are dealt out, so that a million names cost no more.
    """
    members, numbers = np.unique(pairs, return_inverse=True)
    own = classes[members]
    pools = [(np.flatnonzero(own == label), np.flatnonzero(classes == label)) for label in np.unique(own)]
    for _ in range(PERMUTATIONS):
        dealt = np.empty_like(members)
        for part, pool in pools:
            dealt[part] = rng.choice(pool, len(part), replace=False)
        yield dealt[numbers.reshape(pairs.shape)]


def _measure_colour_distances(facts: DatasetFacts, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) half the sum of the differences of the colour histograms, 0 to 1."""
    return np.asarray(np.abs(facts.histogram[first] - facts.histogram[second]).sum(axis=1) / 2)


def _measure_hash_distances(facts: DatasetFacts, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) bits in which the perceptual hashes differ."""
    return np.asarray(np.bitwise_count(facts.phash[first] ^ facts.phash[second]).astype(np.float64))


def _write_pattern(columns: Sequence[Sequence[str]], length: int) -> str:
    """A regular expression of paths whose first bracket is the first `length` tokens below the class."""
    parts = [_write_part({row[at] for row in columns}) for at in range(length + 1)]
    slashes = sum(token.count("/") for token in columns[0][length + 1 :])
    return f"(?:^|/)({''.join(parts[:length])}){parts[length]}[^/]*{'/[^/]*' * slashes}$"


def _write_part(values: set[str]) -> str:
    value = next(iter(values))
    if _name_kind(value) == "digits":
        return "[0-9]+"
    return re.escape(value) if len(values) == 1 else r"[^\W\d_]+"
