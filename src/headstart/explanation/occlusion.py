"""Heat maps by covering: parts of a picture are taken away, and the model answers again.

*Score-CAM* (Wang 2020) shows the model the picture through its own maps and weighs each map by the score that is left.
*Occlusion* (Zeiler and Fergus 2014) covers one window after the other. What is taken away is replaced by the mean
colour of what the model sees: black would itself be an object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.settings import INFERENCE_BATCH
from headstart.explanation import map_arithmetic
from headstart.explanation.feature_map_model import FeatureMapModel, FeatureMapPass, TrunkInputs
from headstart.explanation.map_arithmetic import Box
from headstart.heads.prediction import softmax

CHANNELS = 32  # maps of Score-CAM, those that vary most over the picture
GRID = 32  # cells in a row of what is covered
WINDOW, STRIDE = 8, 3  # of occlusion, in cells


def score_cam(map_model: FeatureMapModel, maps: TrunkInputs, map_pass: FeatureMapPass, position: int) -> np.ndarray:
    """(GRID, GRID) float64 0..1 over `maps.box`: the mean of the maps, weighed by softmax of the score through each."""
    masks = _channel_masks(maps, map_pass)
    weights = softmax(_margins_through(map_model, maps, masks, position))
    evidence: np.ndarray = np.tensordot(weights, masks, axes=1)
    return evidence


def occlusion_map(map_model: FeatureMapModel, maps: TrunkInputs, position: int) -> np.ndarray:
    """(GRID, GRID) float64 over `maps.box`: how much more a class's score falls when a place is covered than any place.

    To be covered may itself speak for or against a class; so a window counts by how it differs from the mean of all.
    """
    corners = range(0, GRID - WINDOW + 1, STRIDE)
    masks = np.ones((len(corners) ** 2, GRID, GRID))
    for mask, (top, left) in zip(masks, ((t, f) for t in corners for f in corners), strict=True):
        mask[top : top + WINDOW, left : left + WINDOW] = 0.0
    margins = _margins_through(map_model, maps, masks, position)
    fallen = margins.mean() - margins
    covered = 1.0 - masks
    evidence: np.ndarray = np.tensordot(fallen, covered, axes=1) / np.maximum(covered.sum(axis=0), 1.0)
    return evidence


def blend_masks(
    maps: TrunkInputs, masks: np.ndarray, instead: Sequence[np.ndarray], *, smooth: bool
) -> list[np.ndarray]:
    """(B, S, S, 3) a trunk: the picture where a mask (B, g, g) over `maps.box` is 1, `instead` where it is 0."""
    blended = []
    for sharp, soft, box in zip(maps.pictures, instead, maps.boxes, strict=True):
        height, side = sharp.shape[:2]  # the views of a picture lie one below the other
        parts = [
            np.tile(_sample_mask(mask, maps.box, box, side, smooth), (height // side, 1))[..., None] for mask in masks
        ]
        blended.append(
            np.stack([_as_levels(soft + part * (sharp.astype(np.float32) - soft), sharp.dtype) for part in parts])
        )
    return blended


def _average_colour(picture: np.ndarray) -> np.ndarray:
    """(V * S, 1, 3) float32, the mean colour of each view of a picture (V * S, S, 3)."""
    side = picture.shape[1]
    return np.repeat(picture.reshape(-1, side * side, 3).mean(axis=1, dtype=np.float32), side, axis=0)[:, None]


def _as_levels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Levels of a type: bytes are rounded, floats keep their fractions."""
    return (np.round(values) if dtype == np.uint8 else values).astype(dtype)


def _margins_through(map_model: FeatureMapModel, maps: TrunkInputs, masks: np.ndarray, position: int) -> np.ndarray:
    """(B,) logit margin of a class through each mask."""
    smooth = bool(np.any((masks > 0) & (masks < 1)))
    colours = tuple(_as_levels(_average_colour(picture), picture.dtype) for picture in maps.pictures)
    margins = [
        map_model.class_margins(blend_masks(maps, part, colours, smooth=smooth), position)
        for part in (masks[start : start + INFERENCE_BATCH] for start in range(0, len(masks), INFERENCE_BATCH))
    ]
    return np.concatenate(margins)


def _channel_masks(maps: TrunkInputs, map_pass: FeatureMapPass) -> np.ndarray:
    """(CHANNELS or fewer, GRID, GRID) float64 0..1: the deepest map's channels that vary most, over `maps.box`."""
    part = [mask for mask in map_pass.parts if mask.values is not None][-1]
    assert part.values is not None
    under = part.source
    places = np.asarray(part.values[len(part.values) - under.side**2 :], np.float64)
    most = np.argsort(-places.std(axis=0), kind="stable")[:CHANNELS]
    masks = []
    for channel in places[:, most].T:
        low, high = channel.min(), channel.max()
        mask = (channel - low) / (high - low) if high > low else np.zeros_like(channel)
        box = maps.boxes[part.trunk]
        masks.append(_sample_mask(mask.reshape(under.side, under.side), box, maps.box, GRID, smooth=True))
    return np.stack(masks)


def _sample_mask(mask: np.ndarray, source: Box, target: Box, side: int, smooth: bool) -> np.ndarray:
    """(side, side) float32 values of a mask that lies over `source`, at the places of `target`."""
    axes = []
    for low, high, first, last, count in (
        (source[1], source[3], target[1], target[3], mask.shape[0]),
        (source[0], source[2], target[0], target[2], mask.shape[1]),
    ):
        at = first + (np.arange(side) + 0.5) * (last - first) / side
        axes.append(np.clip((at - low) / (high - low) * count - 0.5, 0, count - 1))
    if not smooth:
        rows, columns = (np.round(axis).astype(int) for axis in axes)
        return np.asarray(mask[np.ix_(rows, columns)], np.float32)
    return map_arithmetic.interpolate_map(mask, axes[0], axes[1])
