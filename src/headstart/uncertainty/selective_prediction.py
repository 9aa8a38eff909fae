"""What a saved model says besides its answer: the prediction set, how strange a picture is, and `unknown`.

A model abstains from a picture that lies further from what it learnt than nearly all known ones, and from one whose
prediction set is empty. That a set holds several classes is no reason to abstain. Numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headstart.core.model_manifest import UncertaintyEntry
from headstart.core.types import UncertaintyReport
from headstart.uncertainty import conformal, label_sets, prediction_intervals
from headstart.uncertainty import ood_detection as novelty


class PredictionUncertainty(NamedTuple):
    """Of B pictures.

    Attributes:
        plausible: (B, C) bool, the set that holds the true class with the promised coverage; it may be empty. Of labels
            those that cannot be ruled out.
        novelty: (B,) float64 share of known pictures that look more familiar; NaN where it is not measured.
        strange: (B,) bool, further from what was learnt than the model answers for.
        hopeless: (B,) bool, the prediction set is empty.
        open: (B, C) bool, labels that may be there or absent.
    """

    plausible: np.ndarray
    novelty: np.ndarray
    strange: np.ndarray
    hopeless: np.ndarray
    open: np.ndarray

    @property
    def unknown(self) -> np.ndarray:
        """(B,) bool, whether the model declines to answer."""
        return np.asarray(self.strange | self.hopeless)


def measure_uncertainty(
    entry: UncertaintyEntry, arrays: Mapping[str, np.ndarray], p: np.ndarray, x: np.ndarray, answers: np.ndarray
) -> PredictionUncertainty:
    """How uncertain the answers to B pictures are, from calibrated probabilities and the head's features.

    `arrays` are those of `collect_arrays`: `thresholds` (C,), of labels (C, 2), and `floors` (C,), and where novelty is
    measured `known` (K,) sorted distances of known pictures and what `ood_detection.compute_distances` takes.
    """
    hopeless, undecided = np.zeros(len(p), bool), np.zeros(np.shape(p), bool)
    if entry.score == prediction_intervals.SCORE:
        plausible = np.ones(p.shape, bool)
    elif arrays["thresholds"].ndim == 2:
        states = label_sets.make_label_sets(p, arrays["thresholds"])
        plausible, undecided = states[:, :, 1], np.all(states, axis=2)
    else:
        plausible = conformal.make_sets(p, entry.score, arrays["thresholds"], answers, ordered=entry.ordered)
        hopeless = conformal.flag_empty_sets(p, arrays["floors"])
    plausible[hopeless] = False
    if not entry.novelty:
        return PredictionUncertainty(plausible, np.full(len(p), np.nan), np.zeros(len(p), bool), hopeless, undecided)
    distances, known_distances = novelty.compute_distances(arrays, entry.neighbour, x), arrays["known"]
    share = np.searchsorted(known_distances, distances.astype(known_distances.dtype)) / len(known_distances)
    strange = distances.astype(known_distances.dtype) > known_distances.dtype.type(entry.limit)
    return PredictionUncertainty(plausible, share, strange, hopeless, undecided)


def make_entry(report: UncertaintyReport, arrays: str, sha256: str) -> UncertaintyEntry:
    """What a manifest says of a run's uncertainty; `arrays` is the path of the file with `collect_arrays(report)`."""
    detector = report.novelty
    return UncertaintyEntry(
        coverage=report.coverage,
        promise=report.promise,
        score=report.score,
        kept=report.kept,
        novelty=detector.method if detector else "",
        neighbour=detector.neighbour if detector else 1,
        limit=detector.limit if detector else 0.0,
        familiar=detector.familiar if detector else 1.0,
        arrays=arrays,
        sha256=sha256,
        ordered=report.ordered,
    )


def collect_arrays(report: UncertaintyReport) -> dict[str, np.ndarray]:
    """The arrays that `measure_uncertainty` takes."""
    thresholds = {"thresholds": report.thresholds, "floors": report.floors}
    return thresholds | dict(report.novelty.arrays if report.novelty else {})


def format_reasons(
    entry: UncertaintyEntry, uncertainty: PredictionUncertainty, row: int, likeliest: str, probability: float
) -> tuple[str, ...]:
    """Why a picture is declined, a sentence each; empty where it is not."""
    sentences = []
    if uncertainty.strange[row]:
        share = np.floor(1000 * uncertainty.novelty[row]) / 10
        more = "all" if uncertainty.novelty[row] >= 1 else f"{share:.1f} % of the"
        sentences.append(f"it looks less like the pictures learnt from than {more} known pictures do")
    if uncertainty.hopeless[row]:
        sentences.append(
            f"the prediction set is empty: `{likeliest}`, the likeliest, has a probability of {probability:.2f}, and "
            f"{100 * entry.kept:g} % of known pictures have a higher one for their class"
        )
    return tuple(sentences)


def list_prediction_set(
    uncertainty: PredictionUncertainty, row: int, names: tuple[str, ...], p: np.ndarray, first: int
) -> tuple[str, ...]:
    """Classes in the prediction set of a picture: what would be answered (`first`), then by probability."""
    if uncertainty.hopeless[row]:
        return ()
    others = [c for c in np.argsort(-p, kind="stable").tolist() if uncertainty.plausible[row, c] and c != first]
    return tuple(names[c] for c in (first, *others))
