"""Whether the pictures of a new domain show what the labelled ones show, by how strange they are.

The distance is that to the fifth nearest training picture (Sun 2022; `uncertainty/ood_detection.py`). Another camera
makes pictures strange as well, so that they are refused only where they are besides about as strange as pictures of
quite other things: handwritten digits and photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, FitResult, Splits, TargetDomain
from headstart.features.embeddings import join_columns
from headstart.features.feature_matrix import predict_rows
from headstart.statistics.intervals import make_share_score
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import ood_detection, ood_threshold
from headstart.uncertainty.ood_images import find_known_kinds

METHOD = "nearest"
FAR = 0.5  # of the new pictures, beyond the limit within which `ood_threshold.FAMILIAR` of the labelled ones lie
AS_STRANGE = 0.5  # of the median distance of pictures of other things


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
        DataError: Over half of the pictures lie beyond the limit, and their median is at least half that of `foreign`.
    """
    train, clusters = np.asarray(splits.train, np.int64), np.asarray(splits.clusters)
    firsts = np.sort(np.unique(clusters[train], return_index=True)[1])
    rows = train[firsts][evenly_spaced(len(firsts), ood_detection.MOST)]
    sample = ood_threshold.TrainingSample(
        rows=rows,
        x=join_columns(embeddings, probe.features, rows),
        y=np.asarray(data.targets)[rows],
        fold=np.asarray(splits.folds[0])[rows].astype(np.int64),
    )
    if len(rows) < ood_detection.LEAST:
        return
    limit, _ = ood_threshold.find_limit(ood_threshold.cross_fold_distances(sample, METHOD))
    arrays, neighbour = ood_detection.fit_references(sample.x, sample.y, METHOD)

    def measure_distances(of: Sequence[Embeddings], count: int) -> np.ndarray:
        x = join_columns(of, probe.features, evenly_spaced(count, ood_detection.MOST))
        return ood_detection.compute_distances(arrays, neighbour, x)

    distances = measure_distances(target_embeddings, len(target.labels))
    far = make_share_score("unknown", "target", distances > limit)
    others, other_embeddings = foreign
    of_others, every = measure_distances(other_embeddings, len(others.uris)), np.arange(len(others.uris))
    answers = predict_rows(probe.fitted, other_embeddings, probe.features, every).argmax(axis=1)
    familiar = find_known_kinds(others, data.class_names, answers)
    medians = {
        float(np.median(of_others[np.asarray(others.targets) == position])): kind
        for position, kind in enumerate(others.class_names)
        if kind not in familiar
    }
    part = float(np.median(distances)) / max(min(medians), 1e-12)
    if far.low <= FAR or part < AS_STRANGE:
        return
    what = (
        f"the new pictures seem to show other things than the labelled ones: {far.value:.0%} [{far.low:.0%}, "
        f"{far.high:.0%}] of {far.n:,} lie beyond where {ood_threshold.FAMILIAR:.0%} of those lie, and their median "
        f"distance is {part:.2f} times that of {medians[min(medians)]} (refused from {AS_STRANGE:g} on)"
    )
    _refuse(what, is_sure=ctx.job.adaptation == ("auto",) and not len(target.labelled), console=ctx.console)


def _refuse(what: str, *, is_sure: bool, console: Console) -> None:
    if not is_sure:
        console.print_warning(what)
        return
    hint = "give pictures of the same things; much darker or blurred ones can be refused too: `--adaptation coral` "
    hint += "and another `--out`, or some labels among them, go on all the same"
    raise DataError(what, where="--unlabeled", hint=hint)
