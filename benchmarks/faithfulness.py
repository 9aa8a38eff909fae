"""Whether a heat map tells what the model goes by: deletion and insertion (Petsiuk 2018).

Cells are put out of focus one after the other, the warmest first, and the probability of the class is watched: the
better the map, the sooner it falls (deletion). Or the picture comes into focus in that order: the better, the sooner it
rises (insertion). One number a picture, insertion's mean probability minus deletion's: 0 for a map that knows nothing
about the order, on the average, since what is deleted first is inserted last. Needs numpy and Pillow only.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from headstart.explanation import map_arithmetic, occlusion
from headstart.explanation.feature_map_model import FeatureMapModel, TrunkInputs
from headstart.heads import prediction

CELLS = 14  # in a row
STEPS = 10
FOCUS = 12  # a picture out of focus: Gaussian whose radius is a twelfth of its side


def cell_orders(heat: np.ndarray, random: int, seed: int) -> np.ndarray:
    """(1 + random, CELLS²) positions of cells: from the warmest on, and at random."""
    small = map_arithmetic.resample_map(heat, (0, 0, 1, 1), (0, 0, 1, 1), (CELLS, CELLS)).ravel()
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(CELLS * CELLS) for _ in range(random)]
    return np.stack([np.argsort(-small, kind="stable"), *drawn])


def deletion_insertion(
    map_model: FeatureMapModel, maps: TrunkInputs, order: np.ndarray, position: int
) -> tuple[float, float]:
    """Mean probability of a class while cells are deleted, and while they are inserted, in an order.

    Args:
        order: (CELLS²,) positions of cells over `seen.box`.

    Returns:
        Deletion (the lower, the better) and insertion (the higher, the better), each 0..1.
    """
    masks = np.ones((STEPS + 1, CELLS * CELLS))
    for step, count in enumerate(np.linspace(0, CELLS * CELLS, STEPS + 1).round().astype(int)):
        masks[step, order[:count]] = 0.0
    both = np.concatenate([masks, 1.0 - masks]).reshape(-1, CELLS, CELLS)
    blurred = tuple(
        np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(picture.shape[0] / FOCUS)))
        for picture in maps.pictures
    )
    shown = occlusion.blend_masks(maps, both, blurred, smooth=False)
    features = map_model.compute_features(shown)
    probabilities = prediction.predict_probabilities(
        map_model.model.manifest.head.kind, map_model.model.arrays, features
    )[:, position]
    deleted, inserted = probabilities[: STEPS + 1], probabilities[STEPS + 1 :]
    return _mean_height(deleted), _mean_height(inserted)


def faithfulness_gain(
    map_model: FeatureMapModel, maps: TrunkInputs, heat: np.ndarray, position: int, *, random: int = 5, seed: int = 0
) -> tuple[float, float]:
    """Insertion minus deletion by a heat map, and the mean of that by orders at random.

    Args:
        heat: (h, w) over `seen.box`.
        random: How many orders at random.
    """
    gains = []
    for order in cell_orders(heat, random, seed):
        deleted, inserted = deletion_insertion(map_model, maps, order, position)
        gains.append(inserted - deleted)
    return gains[0], float(np.mean(gains[1:]))


def _mean_height(curve: np.ndarray) -> float:
    """Mean height of a curve of equal steps."""
    return float((curve[:-1] + curve[1:]).mean() / 2)
