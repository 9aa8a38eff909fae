"""A map of the pictures: their vectors on a plane, so that pictures which a model sees as alike lie close together.

t-SNE of the leading principal components (van der Maaten and Hinton 2008), by scikit-learn on one thread, so that the
same vectors give the same places. Its time grows faster than the number of pictures: from many a draw is laid out, and
each of the others goes where the most similar of these lie.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.console import format_duration
from headstart.core.storage.serialization import save_value
from headstart.core.types import PictureMap
from headstart.features.embeddings import join_columns

if TYPE_CHECKING:
    from sklearn.manifold import TSNE

    from headstart.core.run.context import Context
    from headstart.core.types import Dataset, Embeddings, Evaluation, FitResult

MOST = 20_000  # pictures on a map
LAID_OUT = 4_000  # of these by t-SNE
COMPONENTS, PERPLEXITY, STEPS = 50, 30, 500
FEW = 4  # pictures that have no neighbours to keep
_ANGLE = 0.8  # of the Barnes-Hut approximation: 5.4 s for 2,000 pictures, not 8.8; trustworthiness 0.895, not 0.900


def map_pictures(
    data: Dataset, embeddings: tuple[Embeddings, ...], fit_result: FitResult, evaluation: Evaluation, *, ctx: Context
) -> PictureMap:
    """Write `<run>/map/`: places of the pictures by the features of what is handed over; label suspects are on it."""
    started, rows = time.monotonic(), np.arange(len(data.uris))
    if len(rows) > MOST:
        suspects = np.asarray(evaluation.suspects, np.int64)[: MOST // 2]
        others = np.random.default_rng(ctx.seed).permutation(np.setdiff1d(rows, suspects))
        rows = np.sort(np.concatenate([suspects, others[: MOST - len(suspects)]]))
    places = project_vectors(join_columns(embeddings, fit_result.features, rows), ctx.seed)
    picture_map = PictureMap(rows=rows, places=places)
    save_value(picture_map, ctx.make_step_folder("map"))
    ctx.console.print_line("map", f"{len(rows):,} pictures, {format_duration(time.monotonic() - started)}")
    return picture_map


def project_vectors(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Places (M, 2) float32 from 0 to 1 of vectors (M, D); directions and far distances mean nothing."""
    from sklearn.manifold import TSNE  # loads what is limited below
    from threadpoolctl import threadpool_limits

    if len(vectors) <= FEW or not np.ptp(vectors, axis=0).any():
        return np.repeat(np.linspace(0, 1, len(vectors), dtype=np.float32)[:, None], 2, axis=1)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:LAID_OUT])
    others = np.setdiff1d(np.arange(len(vectors)), drawn)
    places = np.zeros((len(vectors), 2), np.float32)
    with threadpool_limits(1):  # sums of several threads differ in their last bits, and t-SNE blows them up
        components = _take_components(vectors, seed)
        places[drawn] = _lay_out(components[drawn], TSNE(max_iter=STEPS, angle=_ANGLE, random_state=seed, n_jobs=1))
        if len(others):
            places[others] = _place_beside(components[others], components[drawn], places[drawn])
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-12), np.float32)


def _take_components(vectors: np.ndarray, seed: int) -> np.ndarray:
    """(M, K) float32 leading principal components of standardised vectors, at least two columns."""
    from sklearn.decomposition import PCA

    scale = vectors.std(axis=0, dtype=np.float64)
    standardised = (vectors - vectors.mean(axis=0, dtype=np.float64)) / np.where(scale > 0, scale, 1.0)
    count = min(COMPONENTS, *standardised.shape)
    components = PCA(count, random_state=seed).fit_transform(standardised.astype(np.float32))
    return np.pad(components, ((0, 0), (0, max(0, 2 - count))))


def _lay_out(components: np.ndarray, layout: TSNE) -> np.ndarray:
    first = components[:, :2]
    if not first[:, 0].std():  # all alike
        return first
    start, perplexity = first / first[:, 0].std() * 1e-4, min(PERPLEXITY, (len(first) - 1) / 3)
    return np.asarray(layout.set_params(init=start, perplexity=perplexity).fit_transform(components))


def _place_beside(components: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Beside the most similar one, a little towards the next: a mean of several is far from them all."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=2, n_jobs=1).fit(known).kneighbors(components, return_distance=False)
    first, second = places[nearest[:, 0]], places[nearest[:, 1]]
    return np.asarray(first + 0.02 * (second - first))
