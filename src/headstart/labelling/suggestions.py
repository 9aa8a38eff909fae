"""Which pictures to label next: those that the model is least sure of, no two of them alike.

The most uncertain pictures are clustered by what the head reads of them, as many clusters as pictures are wanted, and
the most uncertain one of each is named (Zhdanov 2019, with the margin of Scheffer 2001 for the uncertainty). Measured
against random order in `docs/suggest.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.errors import NoOpError
from headstart.core.storage.locations.names import is_remote
from headstart.core.types import Prediction
from headstart.core.types.prediction import PRESENT
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.runtime.inputs.decoded_batches import Source
from headstart.runtime.model import Model

CANDIDATES = 10  # times as many pictures as are wanted are clustered, of few pictures half of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A picture to label."""

    prediction: Prediction
    uncertainty: float  # 0 sure to 1: 1 minus the lead of the likeliest class; of labels by the least sure one


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """Which pictures to label next, of how many."""

    chosen: tuple[Suggestion, ...]  # the most uncertain first
    looked_at: int  # pictures
    unread: int  # files that could not be read
    problem: str = ""  # of the first of them: its name and why
    known: int = 0  # pictures left out: the run has them with a label


def suggest_pictures(model: Model, sources: Iterable[Source], count: int, *, seed: int = 0) -> Suggestions:
    """At most `count` of any number of pictures; memory grows with `count` alone.

    Of pictures with the same features, copies, one is suggested. Files that cannot be read are counted.

    Raises:
        NoOpError: The model answers with a number and measures no novelty: nothing says which picture it is unsure of.
    """
    if model.layout.is_number and not (model.manifest.doubt and model.manifest.doubt.novelty):
        message = "this model answers with a number and measures no novelty: nothing says which picture it is unsure of"
        raise NoOpError(message, hint="label pictures drawn at random; a probe (--strategy probe) measures novelty")
    most, looked_at, unread, problem = CANDIDATES * count, 0, 0, ""
    candidates, features = list[Suggestion](), np.empty((0, 0), np.float32)
    for chunk in model.extract_features(sources):
        answers = model.predict_chunk(chunk)
        rows = [row for row, answer in enumerate(answers) if not answer.error]
        looked_at, unread = looked_at + len(rows), unread + len(answers) - len(rows)
        problem = problem or next((f"{answer.uri}: {answer.error}" for answer in answers if answer.error), "")
        if not rows:
            continue
        x = model.join_features(chunk)[rows]
        joined = np.concatenate([features, x]) if candidates else x
        candidates += [
            Suggestion(prediction=answers[row], uncertainty=measure_uncertainty(answers[row])) for row in rows
        ]
        order = np.argsort([-candidate.uncertainty for candidate in candidates], kind="stable")
        firsts = np.sort(np.unique(joined[order], axis=0, return_index=True)[1])[:most]
        candidates, features = [candidates[position] for position in order[firsts]], joined[order[firsts]]
    considered = features[: count_candidates(looked_at, count)]
    chosen = tuple(candidates[position] for position in choose_diverse(considered, count, seed))
    return Suggestions(chosen=chosen, looked_at=looked_at, unread=unread, problem=problem)


def skip_known(sources: Iterable[Source], digests: Container[str], skipped: list[Source]) -> Iterator[Source]:
    """Pictures whose bytes have none of some SHA-256 digests; the others go to `skipped`.

    Those in an object store are not looked at: each would be fetched twice.
    """
    for source in sources:
        if _find_digest(source) in digests:
            skipped.append(source)
        else:
            yield source


def _find_digest(source: Source) -> str:
    """Of the bytes; empty where they lie elsewhere or cannot be had, of which the decoder says why."""
    if is_remote(str(source)):
        return ""
    try:
        content = read_bytes(str(source)) if isinstance(source, Path) else source.read_bytes()
    except PictureError:
        return ""
    return hashlib.sha256(content).hexdigest()


def measure_uncertainty(prediction: Prediction) -> float:
    """0 sure to 1: 1 minus the lead of the likeliest class, of labels that of the least sure, of a number novelty."""
    if prediction.number is not None:
        return float(prediction.novelty or 0.0)
    p = sorted(prediction.probabilities.values())
    if prediction.labels is not None:
        return 1 - min(abs(value - PRESENT) for value in p) / PRESENT
    return 1 - (p[-1] - p[-2]) if len(p) > 1 else 0.0


def count_candidates(looked_at: int, count: int) -> int:
    """How many of the most uncertain pictures are clustered, for `count` of those that were looked at."""
    return max(count, min(CANDIDATES * count, looked_at // 2))


def choose_diverse(x: np.ndarray, count: int, seed: int) -> list[int]:
    """At most `count` positions of x (M, D), the most uncertain first, one of each cluster, ascending."""
    if len(x) <= count:
        return list(range(len(x)))
    from sklearn.cluster import KMeans

    spread = x.std(axis=0, dtype=np.float64)
    z = (x - x.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1.0)
    clusters = KMeans(count, n_init=1, random_state=seed).fit_predict(z)
    firsts = np.unique(clusters, return_index=True)[1].tolist()
    others = [position for position in range(len(x)) if position not in set(firsts)]
    return sorted([*firsts, *others[: count - len(firsts)]])
