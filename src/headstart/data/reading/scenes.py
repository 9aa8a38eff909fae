"""Which pictures lie beside one another on the ground: they are split together.

Neighbouring tiles share fields, weather and the day of the pass, so that a model that has seen one knows the next
(Roberts et al. 2017, "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
structure"). Pictures whose bounds touch or overlap in one coordinate system form a scene. A scene of more than a fifth
of the set is cut into square blocks, for else there would be nothing to split.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from headstart.core.extras import list_missing_packages
from headstart.core.settings import count_threads
from headstart.images.file_formats import PictureError
from headstart.images.formats.geotiff import read_place
from headstart.images.preprocessing import read_bytes

SUFFIXES = (".tif", ".tiff")
MOST = 0.2  # of the pictures that one scene may hold,
FEW = 10  # if they are more than these
BLOCKS = 5  # along the longer side of a scene that is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """`groups`: N names, empty for a picture without a place; `reason`: how they came about."""

    groups: tuple[str, ...]
    reason: str


def find_scenes(root: str, uris: Sequence[str]) -> Scenes | None:
    """The scenes of the pictures that are GeoTIFF; None where fewer than two of them have a place on the ground."""
    rows = [at for at, uri in enumerate(uris) if uri.lower().endswith(SUFFIXES)]
    if len(rows) < 2 or list_missing_packages("geo"):
        return None
    with ThreadPoolExecutor(count_threads()) as pool:
        places = list(pool.map(_find_place, (os.path.join(root, uris[at]) for at in rows)))  # noqa: PTH118 - any bytes
    groups, cut = [""] * len(uris), 0
    for system in sorted({place[0] for place in places if place}):
        of_system = [(at, place[1]) for at, place in zip(rows, places, strict=True) if place and place[0] == system]
        bounds = np.array([box for _, box in of_system])
        scenes = join_touching(bounds)
        for scene in np.unique(scenes):
            members = np.flatnonzero(scenes == scene)
            names = [f"{system} scene {scene + 1}"] * len(members)
            if len(members) > max(FEW, MOST * len(uris)):
                names = [f"{names[0]} block {block + 1}" for block in cut_blocks(bounds[members]).tolist()]
                cut += 1
            for member, name in zip(members.tolist(), names, strict=True):
                groups[of_system[member][0]] = name
    count = len(set(filter(None, groups)))
    if not count:
        return None
    reason = f"{count:,} scenes on the ground are split whole: pictures that touch or overlap belong together"
    of_blocks = f"; {cut} of more than a fifth of the pictures {'is' if cut == 1 else 'are'} cut into square blocks"
    return Scenes(groups=tuple(groups), reason=reason + (of_blocks if cut else ""))


def join_touching(bounds: np.ndarray) -> np.ndarray:
    """(N,) int64 component of boxes (N, 4) left, bottom, right, top that touch or overlap, numbered by first member."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left, bottom, right, top = bounds.T
    slack = 1e-3 * np.minimum(right - left, top - bottom)  # of a picture: rounded corners still touch
    order, pairs = np.argsort(left, kind="stable"), list[tuple[int, int]]()
    open_boxes = np.zeros(0, np.int64)
    for at in order.tolist():
        open_boxes = open_boxes[right[open_boxes] + slack[at] >= left[at]]
        near = (bottom[open_boxes] <= top[at] + slack[at]) & (top[open_boxes] + slack[at] >= bottom[at])
        pairs += [(at, other) for other in open_boxes[near].tolist()]
        open_boxes = np.append(open_boxes, at)
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(bounds),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def cut_blocks(bounds: np.ndarray) -> np.ndarray:
    """(N,) int64 square block of each box's middle; `BLOCKS` of them along the longer side of all."""
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    span = middle - middle.min(axis=0)
    side = max(float(span.max()), 1e-12) / BLOCKS * (1 + 1e-9)
    column, row = np.minimum((span / side).astype(int), BLOCKS - 1).T
    return np.asarray(row * BLOCKS + column, np.int64)


def _find_place(path: str) -> tuple[str, tuple[float, float, float, float]] | None:
    try:
        return read_place(path if os.path.isfile(path) else read_bytes(path))  # noqa: PTH113 - names of any bytes
    except (PictureError, UnicodeError):  # a name of any bytes
        return None
