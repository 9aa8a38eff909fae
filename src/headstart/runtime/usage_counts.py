"""What is counted of answers, and nothing else: no name, no picture, no features, so that a count tells of nobody.

Classes or labels, confidence, novelty, sizes of prediction sets, `unknown`, files that could not be read, into which
tenth of the held-out answers a number falls, and of the features a sketch: into which tenth of the held-out pictures
they fall along eight fixed directions. Counts add up.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from headstart.core.types import Prediction

BINS = 20  # of confidence and novelty, equal parts of 0..1
SIZES = 11  # 0, 1, … 9, and 10 or more classes in the prediction set
LARGEST = 10**15  # of a count; sums of them stay whole numbers
DIRECTIONS, TENTHS = 8, 10
_ARRAYS = {"confidence": (BINS,), "novelty": (BINS,), "sizes": (SIZES,), "features": (DIRECTIONS, TENTHS)}
_ARRAYS |= {"numbers": (TENTHS,)}
_COUNTERS = ("labels", "present")
_ADDED = ("numbers", "present")  # what older logs do not have


def _make_zeros(name: str) -> Callable[[], np.ndarray]:
    return lambda: np.zeros(_ARRAYS[name], np.int64)


@dataclass(slots=True, kw_only=True, eq=False)
class Counts:
    """Counts of some answers; what is not measured is all zero."""

    answered: int = 0  # `unknown` among them
    errors: int = 0  # files that could not be read
    unknown: int = 0
    labels: Counter[str] = field(default_factory=Counter)  # likeliest class -> pictures
    present: Counter[str] = field(default_factory=Counter)  # label -> pictures that have it by the answer
    confidence: np.ndarray = field(default_factory=_make_zeros("confidence"))  # (BINS,) of the likeliest class
    novelty: np.ndarray = field(default_factory=_make_zeros("novelty"))  # (BINS,)
    sizes: np.ndarray = field(default_factory=_make_zeros("sizes"))  # (SIZES,) of the prediction sets
    features: np.ndarray = field(default_factory=_make_zeros("features"))  # (DIRECTIONS, TENTHS)
    numbers: np.ndarray = field(default_factory=_make_zeros("numbers"))  # (TENTHS,) of held-out answers

    def __iadd__(self, other: Counts) -> Counts:
        self.answered, self.errors = self.answered + other.answered, self.errors + other.errors
        self.unknown += other.unknown
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in _ARRAYS:
            getattr(self, name)[...] += getattr(other, name)
        return self

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        numbers = {"answered": self.answered, "errors": self.errors, "unknown": self.unknown}
        counters = {name: dict(sorted(getattr(self, name).items())) for name in _COUNTERS}
        return {**numbers, **counters, **{name: getattr(self, name).tolist() for name in _ARRAYS}}


def from_json(content: Mapping[str, Any]) -> Counts:
    """Counts that `Counts.as_json` gave. Raises `ValueError`: they are no such counts."""
    try:
        names = [name for name in _ARRAYS if name in content or name not in _ADDED]
        arrays = {name: np.array(content[name], np.int64) for name in names}
        if any(array.shape != _ARRAYS[name] or (array < 0).any() for name, array in arrays.items()):
            raise ValueError("a histogram has other bins")
        names = [name for name in _COUNTERS if name in content or name not in _ADDED]
        counters = {name: Counter({str(k): int(count) for k, count in content[name].items()}) for name in names}
        answered, errors, unknown = (int(content[name]) for name in ("answered", "errors", "unknown"))
    except (KeyError, TypeError, AttributeError, OverflowError) as err:
        raise ValueError(f"these are no counts: {err!r}") from err
    numbers = [answered, errors, unknown, *(int(a.max()) for a in arrays.values())]
    numbers += [count for counter in counters.values() for count in counter.values()]
    if min(numbers) < 0 or max(numbers) > LARGEST:
        raise ValueError("a count is negative, or more than anyone can have counted")
    counts = Counts(answered=answered, errors=errors, unknown=unknown)
    for name, values in {**counters, **arrays}.items():
        setattr(counts, name, values)
    return counts


def count_predictions(
    predictions: Sequence[Prediction],
    features: np.ndarray | None = None,
    edges: np.ndarray | None = None,
    *,
    number_edges: np.ndarray | None = None,
    has_sets: bool = True,
) -> Counts:
    """Count B answers, with (B, D) features of which rows of files that could not be read mean nothing.

    `edges` are the (DIRECTIONS, TENTHS - 1) ends of the tenths, `number_edges` (TENTHS - 1,) those of answers that are
    numbers; `has_sets` says whether there are prediction sets.
    """
    places = [at for at, prediction in enumerate(predictions) if not prediction.error]
    readable = [predictions[at] for at in places]
    unknown = sum(prediction.unknown for prediction in readable)
    counts = Counts(answered=len(readable), errors=len(predictions) - len(readable), unknown=unknown)
    of_classes = [(row, row.likeliest or row.answer) for row in readable if row.number is None]
    counts.labels.update(name for row, name in of_classes if row.labels is None)
    counts.present.update(name for row in readable for name in row.labels or ())
    counts.confidence += _bin_values([row.probabilities[name] for row, name in of_classes])
    counts.novelty += _bin_values([prediction.novelty for prediction in readable if prediction.novelty is not None])
    if has_sets:
        set_sizes = np.array([min(len(row.plausible), SIZES - 1) for row, _ in of_classes], np.int64)
        counts.sizes += np.bincount(set_sizes, minlength=SIZES)
    if number_edges is not None:
        numbers = np.array([row.number for row in readable], np.float64)
        counts.numbers += count_tenths(numbers[:, None], number_edges[None])[0]
    if features is not None and edges is not None and readable:
        counts.features += count_tenths(project_features(features[places]), edges)
    return counts


def _bin_values(values: Sequence[float]) -> np.ndarray:
    places = np.clip((np.asarray(values, np.float64) * BINS).astype(np.int64), 0, BINS - 1)
    return np.bincount(places, minlength=BINS)


def project_features(features: np.ndarray) -> np.ndarray:
    """(B, D) features -> (B, DIRECTIONS) float64: their mean, and seven sums with random signs (Achlioptas 2003).

    The signs come from a hash of D alone, so they are the same on any machine, and nothing has to be kept.
    """
    return np.asarray(np.asarray(features, np.float64) @ _draw_directions(features.shape[1]))


def find_tenths(projections: np.ndarray) -> np.ndarray:
    """(M, K) -> (K, TENTHS - 1) ends of the tenths of each column."""
    return np.asarray(np.quantile(projections, np.arange(1, TENTHS) / TENTHS, axis=0).T)


def count_tenths(columns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(B, K) and the ends of the tenths of each column -> (K, TENTHS) counts."""
    tenths = np.zeros((len(edges), TENTHS), np.int64)
    for at, (values, ends) in enumerate(zip(columns.T, edges, strict=True)):
        tenths[at] = np.bincount(np.searchsorted(ends, values, side="right"), minlength=TENTHS)
    return tenths


@lru_cache(maxsize=4)
def _draw_directions(width: int) -> np.ndarray:
    count = width * (DIRECTIONS - 1)
    random_bytes = hashlib.shake_256(f"headstart usage {width}".encode("ascii")).digest(-(-count // 8))
    signs = np.unpackbits(np.frombuffer(random_bytes, np.uint8))[:count].reshape(width, -1).astype(np.float64) * 2 - 1
    return np.asarray(np.concatenate([np.ones((width, 1)), signs], axis=1) / np.sqrt(width))
