"""Label propagation: labels spread from source to target pictures over a graph of nearest neighbours.

Zhu, Ghahramani and Lafferty, ICML 2003, with the source moved by CORAL first. The head then learns from target pictures
by how surely a label reached them, so that what is exported is a linear head again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.domain_adaptation.feature_moments import match_correlations, project_on_leading
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures
from headstart.statistics.sampling import draw_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 10
DIRECTIONS = 64  # in which distances are measured
MOST = 8_000  # pictures of a domain in the graph
STEPS = 30
LEAST_SURE = 0.5  # probability of a label, below which it teaches nothing
SHRINKAGE = 0.1


class LabelPropagation:
    """See the module."""

    name = "label_propagation"
    title = "labels spread to near target pictures"
    extra = ""
    is_default = True
    uses_labels = True
    grid: Sequence[Mapping[str, Any]] = ({"neighbours": NEIGHBOURS},)

    def adapt(
        self,
        source: LabelledFeatures,
        target: np.ndarray,
        *,
        answer: FeatureMap,
        fit: HeadFit,
        params: Mapping[str, Any],
        seed: int,
    ) -> HeadTraining:
        """See `headstart.domain_adaptation.method_base.AdaptationMethod`."""
        move = match_correlations(source.x, target, SHRINKAGE)
        mapped = move(source.x)
        from_rows, to_rows = draw_rows(len(mapped), MOST), draw_rows(len(target), MOST)
        pooled = np.concatenate([mapped[from_rows], target[to_rows]])
        directions, origin = project_on_leading(pooled, DIRECTIONS)
        graph = build_graph((pooled - origin) @ directions, int(params["neighbours"]))
        labels = np.eye(source.n_classes)[source.y[from_rows]]
        spread = propagate(graph, labels)
        sure = spread.max(axis=1)
        taught = np.flatnonzero(sure > LEAST_SURE)
        if not len(taught):
            raise NoOpError("no label reaches a target picture")
        weights = np.ones(len(mapped)) if source.weights is None else source.weights
        return HeadTraining(
            x=np.concatenate([mapped, target[to_rows[taught]]]),
            y=np.concatenate([source.y, spread[taught].argmax(axis=1)]),
            weights=np.concatenate([weights, sure[taught]]),
            map_source=move,
        )


def build_graph(points: np.ndarray, k: int) -> csr_matrix:
    """(N, N) symmetric similarities of each point (N, Q) with its k nearest: Gaussian, as wide as they are far."""
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(points) - 1)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points.astype(np.float32))
    distances, neighbours = search.kneighbors()
    reach = np.maximum(distances[:, -1:], 1e-12)
    near = np.exp(-np.square(distances / reach))
    pairs = (near.ravel(), neighbours.ravel(), np.arange(0, near.size + 1, k))
    graph = csr_matrix(pairs, shape=(len(points), len(points)))
    return graph.maximum(graph.T)


def propagate(graph: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """(T, C) probabilities of the points that follow the labelled ones, whose labels (M, C) are held."""
    from scipy.sparse import diags

    share = labels.mean(axis=0)
    values = np.concatenate([labels, np.broadcast_to(share, (graph.shape[0] - len(labels), len(share)))])
    walk = diags(1 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)) @ graph
    for _ in range(STEPS):
        values = walk @ values
        values[: len(labels)] = labels
    spread = values[len(labels) :]
    return np.asarray(spread / np.maximum(spread.sum(axis=1, keepdims=True), 1e-12))


PLUGIN = LabelPropagation()
