"""What a saved model says besides its answer: the prediction set, how strange a picture is, and `unknown`.

A model abstains from a picture that lies further from what it learnt than nearly all known ones, and from one whose
prediction set is empty: every class is less probable than the true one is for nearly all known pictures. That a set
holds several classes is no reason to abstain; the set tells it. Numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headstart.core.model_manifest import UncertaintyEntry
from headstart.core.types import UncertaintyReport
from headstart.uncertainty import conformal
from headstart.uncertainty import ood_detection as novelty


class PredictionUncertainty(NamedTuple):
    """Of B pictures.

    Attributes:
        plausible: (B, C) bool, the set that holds the true class with the promised coverage; it may be empty.
        novelty: (B,) float64 share of known pictures that look more familiar; NaN where it is not measured.
        strange: (B,) bool, further from what was learnt than the model answers for.
        hopeless: (B,) bool, the prediction set is empty.
    """

    plausible: np.ndarray
    novelty: np.ndarray
    strange: np.ndarray
    hopeless: np.ndarray

    @property
    def unknown(self) -> np.ndarray:
        """(B,) bool, whether the model declines to answer."""
        return np.asarray(self.strange | self.hopeless)


def doubts(
    entry: UncertaintyEntry, arrays: Mapping[str, np.ndarray], p: np.ndarray, x: np.ndarray, answers: np.ndarray
) -> PredictionUncertainty:
    """How uncertain answers are.

    Args:
        entry: Of the manifest.
        arrays: Of the file that `entry` names: `thresholds` and `floors` (C,), and where novelty is measured `known`
            (K,) sorted distances of known pictures and what `headstart.uncertainty.ood_detection.distances` takes.
        p: (B, C) calibrated probabilities.
        x: (B, D) the head's features.
        answers: (B,) positions of the classes that would be answered.
    """
    plausible = conformal.sets(p, entry.score, arrays["thresholds"], answers)
    hopeless = conformal.hopeless(p, arrays["floors"])
    plausible[hopeless] = False
    if not entry.novelty:
        return PredictionUncertainty(plausible, np.full(len(p), np.nan), np.zeros(len(p), bool), hopeless)
    far, known = novelty.distances(arrays, entry.neighbour, x), arrays["known"]
    share = np.searchsorted(known, far.astype(known.dtype)) / len(known)
    return PredictionUncertainty(plausible, share, far.astype(known.dtype) > known.dtype.type(entry.limit), hopeless)


def entry_of(found: UncertaintyReport, arrays: str, sha256: str) -> UncertaintyEntry:
    """What a manifest says of the uncertainty of a run.

    Args:
        found: Of the run.
        arrays: Path of the file with `arrays_of(found)`.
        sha256: Its digest.
    """
    measured = found.novelty
    return UncertaintyEntry(
        coverage=found.coverage,
        promise=found.promise,
        score=found.score,
        kept=found.kept,
        novelty=measured.method if measured else "",
        neighbour=measured.neighbour if measured else 1,
        limit=measured.limit if measured else 0.0,
        familiar=measured.familiar if measured else 1.0,
        arrays=arrays,
        sha256=sha256,
    )


def arrays_of(found: UncertaintyReport) -> dict[str, np.ndarray]:
    """The arrays that `doubts` takes."""
    own = {"thresholds": found.thresholds, "floors": found.floors}
    return own | dict(found.novelty.arrays if found.novelty else {})


def reasons(
    entry: UncertaintyEntry, found: PredictionUncertainty, at: int, likeliest: str, probability: float
) -> tuple[str, ...]:
    """Why a picture is declined, a sentence each; empty where it is not.

    Args:
        entry: Of the manifest.
        found: PredictionUncertainty of some pictures.
        at: Which of them.
        likeliest: The class of the highest probability, which need not be what would be answered.
        probability: This probability.
    """
    said = []
    if found.strange[at]:
        share = np.floor(1000 * found.novelty[at]) / 10
        more = "all" if found.novelty[at] >= 1 else f"{share:.1f} % of the"
        said.append(f"it looks less like the pictures learnt from than {more} known pictures do")
    if found.hopeless[at]:
        said.append(
            f"the prediction set is empty: `{likeliest}`, the likeliest, has a probability of {probability:.2f}, and "
            f"{100 * entry.kept:g} % of known pictures have a higher one for their class"
        )
    return tuple(said)


def plausible(
    found: PredictionUncertainty, at: int, names: tuple[str, ...], p: np.ndarray, first: int
) -> tuple[str, ...]:
    """Names of the classes in the prediction set of a picture: what would be answered, then by probability.

    Args:
        found: PredictionUncertainty of some pictures.
        at: Which of them.
        names: C names.
        p: (C,) its probabilities.
        first: Position of the class that would be answered.
    """
    if found.hopeless[at]:
        return ()
    others = [c for c in np.argsort(-p, kind="stable").tolist() if found.plausible[at, c] and c != first]
    return tuple(names[c] for c in (first, *others))
