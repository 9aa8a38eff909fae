"""How near a candidate's source is to these pictures: columns beside the scores, which decide nothing.

The source head's probabilities of the target pictures, from the cached vectors that it reads, are compared with the
labels; vectors of source pictures, where some were kept, with those of the target pictures at each depth.
"""

from __future__ import annotations

import numpy as np

from headstart.backbones.earlier_runs import source_task
from headstart.core import blas_threads
from headstart.core.errors import UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import Score, SourceSimilarity, SourceTask
from headstart.heads import prediction
from headstart.selection.ranking.probe_scores import ProbeCvProblem
from headstart.selection.transferability import domain_similarity, leep
from headstart.selection.transferability.logme import ROWS
from headstart.statistics.sampling import spread

_NO_SOURCE = "no source has a backbone of its name"


def known(backbone: str, store: Store) -> SourceTask:
    """What is known of a backbone's source; of one that is no source's, why nothing is."""
    try:
        return source_task.of(backbone, store)
    except UsageError:
        return SourceTask(no_head=_NO_SOURCE, no_pictures=_NO_SOURCE)


def near(source: SourceTask, depth: str, x: np.ndarray, on: ProbeCvProblem) -> SourceSimilarity:
    """Compare one candidate's source with the pictures.

    Args:
        source: What is known of it.
        depth: Of the candidate.
        x: (M, D) float32 features, in the order of `on.rows`.
        on: The pictures.
    """
    with blas_threads.single_blas_thread():
        leep_value, nce_value, cka_value, no_head = _by_head(source, depth, x, on)
        distance, told, no_pictures = _by_pictures(source, depth, x, on)
    return SourceSimilarity(
        leep=leep_value,
        nce=nce_value,
        cka=cka_value,
        frechet=distance,
        two_sample=told,
        unknown="; ".join(why for why in (no_head, no_pictures) if why),
    )


_ByHead = tuple[float | None, float | None, float | None, str]


def _by_head(source: SourceTask, depth: str, x: np.ndarray, on: ProbeCvProblem) -> _ByHead:
    """LEEP, NCE, CKA on at most 640 evenly spaced pictures, and why one of them is missing."""
    why = source.no_head
    if not why and depth != source.depth:
        why = f"its head reads the depth {source.depth}"
    elif not why and x.shape[1] != len(source.head["weights"]):
        why = "its head does not fit the features"
    if why:
        return None, None, None, f"LEEP, NCE, CKA: {why}"
    taken = spread(len(on.y), ROWS)
    seen, y = prediction.probabilities("linear", source.head, x[taken]), on.y[taken]
    alike = leep.cka(seen, leep.one_hot(y))
    why = "" if alike is not None else "CKA: labels or probabilities call all pictures equally alike, or there are few"
    return leep.leep(seen, y), leep.nce(seen, y), alike, why


def _by_pictures(
    source: SourceTask, depth: str, x: np.ndarray, on: ProbeCvProblem
) -> tuple[float | None, Score | None, str]:
    """Fréchet and two-sample score on one picture of each cluster of look-alikes, and why they are missing."""
    kept, both, why = source.pictures.get(depth), None, source.no_pictures
    if not why and (kept is None or kept.shape[1] != x.shape[1]):
        why = "no source pictures were kept at this depth"
    elif kept is not None and not why:
        alone = np.sort(np.unique(on.clusters, return_index=True)[1])  # classes lie one after the other
        both = domain_similarity.sides(kept, x[alone[spread(len(alone), domain_similarity.ROWS)]])
        why = "" if both else f"fewer than {domain_similarity.LEAST} different pictures on a side"
    if both is None:
        return None, None, f"Fréchet, two-sample: {why}"
    found, n = domain_similarity.two_sample(both, on.seed), 2 * len(both.source)
    told = Score(split=on.split, name="two_sample", **found._asdict(), n=n, method="wilson")
    return domain_similarity.frechet(both), told, ""
