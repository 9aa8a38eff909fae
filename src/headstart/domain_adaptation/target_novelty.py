"""Whether the pictures of a new domain show what the labelled ones show, by how strange they are.

The distance is that to the fifth nearest training picture (Sun 2022; `uncertainty/ood_detection.py`). Another camera
makes pictures strange as well, so that they are refused only where they are besides nearly as strange as pictures of
quite other things: photographs, and handwritten digits where the classes are not the ten.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, FitResult, Score, Splits, TargetDomain
from headstart.features.embeddings import join_columns
from headstart.statistics.intervals import make_share_score
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import ood_detection, ood_threshold
from headstart.uncertainty.ood_images import DIGITS

METHOD = "nearest"
FAR = 0.5  # of the new pictures, beyond the limit within which `ood_threshold.FAMILIAR` of the labelled ones lie
AS_STRANGE = 0.8  # of the median distance of other things; chosen by `benchmarks/domains.py --strangers`


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNovelty:
    """How strange the pictures of a new domain are.

    Attributes:
        far: Share beyond the limit within which nearly all labelled pictures lie.
        part: Their median distance over that of `kind`.
        kind: The kind of other things that is the least strange.
    """

    far: Score
    part: float
    kind: str

    @property
    def is_refused(self) -> bool:
        """Whether they seem to show other things."""
        return self.exceeds(AS_STRANGE)

    def exceeds(self, limit: float) -> bool:
        """Whether most lie far, and `part` is at least `limit`."""
        return self.far.low > FAR and self.part >= limit


def measure_novelty(
    sample: ood_threshold.TrainingSample,
    class_names: Sequence[str],
    target_x: np.ndarray,
    others: Dataset,
    others_x: np.ndarray,
) -> TargetNovelty:
    """By features (T, D) of the new domain, and (F, D) of `others`, whose classes are kinds of other things."""
    limit, _ = ood_threshold.find_limit(ood_threshold.cross_fold_distances(sample, METHOD))
    arrays, neighbour = ood_detection.fit_references(sample.x, sample.y, METHOD)
    distances, of_others = (ood_detection.compute_distances(arrays, neighbour, x) for x in (target_x, others_x))
    has_digits = set(string.digits) <= set(class_names)
    medians = {
        kind: float(np.median(of_others[others.targets == place]))
        for place, kind in enumerate(others.class_names)
        if kind != DIGITS or not has_digits
    }
    nearest = min(medians, key=lambda kind: medians[kind])
    return TargetNovelty(
        far=make_share_score("unknown", "target", distances > limit),
        part=float(np.median(distances)) / max(medians[nearest], 1e-12),
        kind=nearest,
    )


def require_same_things(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    probe: FitResult,
    foreign: tuple[Dataset, tuple[Embeddings, ...]],
    *,
    ctx: Context,
) -> None:
    """Refuse pictures of quite other things; a warning where the job names a method, or some have labels.

    Raises:
        DataError: Over half of the pictures lie beyond the limit, and their median is at least 0.8 times that of a kind
            of `foreign`.
    """
    train, clusters = np.asarray(splits.train, np.int64), np.asarray(splits.clusters)
    firsts = np.sort(np.unique(clusters[train], return_index=True)[1])
    rows = train[firsts][evenly_spaced(len(firsts), ood_detection.MOST)]
    if len(rows) < ood_detection.LEAST:
        return
    sample = ood_threshold.TrainingSample(
        rows=rows,
        x=join_columns(embeddings, probe.features, rows),
        y=np.asarray(data.targets)[rows],
        fold=np.asarray(splits.folds[0])[rows].astype(np.int64),
    )
    target_x = join_columns(target_embeddings, probe.features, evenly_spaced(len(target.labels), ood_detection.MOST))
    others, other_embeddings = foreign
    others_x = join_columns(other_embeddings, probe.features, np.arange(len(others.uris)))
    novelty = measure_novelty(sample, data.class_names, target_x, others, others_x)
    if not novelty.is_refused:
        return
    far = novelty.far
    what = (
        f"the new pictures seem to show other things than the labelled ones: {far.value:.0%} [{far.low:.0%}, "
        f"{far.high:.0%}] of {far.n:,} lie beyond where {ood_threshold.FAMILIAR:.0%} of those lie, and their median "
        f"distance is {novelty.part:.2f} times that of {novelty.kind} (refused from {AS_STRANGE:g} on)"
    )
    _refuse(what, is_sure=ctx.job.adaptation == ("auto",) and not len(target.labelled), console=ctx.console)


def _refuse(what: str, *, is_sure: bool, console: Console) -> None:
    if not is_sure:
        console.print_warning(what)
        return
    hint = (
        "give pictures of the same things; much darker or blurred ones can be refused too: `--adaptation auto,coral` "
    )
    hint += "and another `--out`, or some labels among them, go on all the same"
    raise DataError(what, where="--unlabeled", hint=hint)
