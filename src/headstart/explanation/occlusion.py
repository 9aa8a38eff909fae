"""Explaining by asking again: parts of a picture are taken away, and the model says what that changes.

Works for every trunk and head, by forward passes alone. *Score-CAM* (Wang 2020) shows the model the picture through its
own maps and weighs each map by what it lets the model say. *Occlusion* (Zeiler and Fergus 2014) covers one window after
the other. What is taken away is replaced by the mean colour of what the model sees: black would itself be an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageFilter

from headstart.core.settings import INFERENCE_BATCH
from headstart.explanation import map_arithmetic
from headstart.explanation.feature_map_model import FeatureMapModel, FeatureMapPass, FeatureMaps
from headstart.explanation.map_arithmetic import Box
from headstart.heads.prediction import softmax

CHANNELS = 32  # maps of Score-CAM, those that vary most over the picture
GRID = 32  # cells in a row of what is covered
WINDOW, STRIDE = 8, 3  # of occlusion, in cells
_FOCUS = 12  # a picture out of focus: Gaussian whose radius is a twelfth of its side


def scorecam(looker: FeatureMapModel, seen: FeatureMaps, looked: FeatureMapPass, of: int) -> np.ndarray:
    """What speaks for a class by Score-CAM.

    Args:
        looker: The model.
        seen: The picture.
        looked: Its maps.
        of: Position of the class.

    Returns:
        (GRID, GRID) float64 over `seen.box`, 0..1: the mean of the maps, each weighed by the softmax of what the model
        says of the class through it.
    """
    masks = _activations(seen, looked)
    weights = softmax(_through(looker, seen, masks, plain(seen), of))
    made: np.ndarray = np.tensordot(weights, masks, axes=1)
    return made


def occlusion(looker: FeatureMapModel, seen: FeatureMaps, of: int) -> np.ndarray:
    """What speaks for a class by occlusion: how much more the say of it falls when a place is covered than any place.

    To be covered may itself speak for or against a class; so a window counts by how it differs from the mean of all
    windows.

    Returns:
        (GRID, GRID) float64 over `seen.box`, the mean over all windows that cover the cell.
    """
    corners = range(0, GRID - WINDOW + 1, STRIDE)
    masks = np.ones((len(corners) ** 2, GRID, GRID))
    for mask, (top, left) in zip(masks, ((t, f) for t in corners for f in corners), strict=True):
        mask[top : top + WINDOW, left : left + WINDOW] = 0.0
    said = _through(looker, seen, masks, plain(seen), of)
    fallen = said.mean() - said
    covered = 1.0 - masks
    made: np.ndarray = np.tensordot(fallen, covered, axes=1) / np.maximum(covered.sum(axis=0), 1.0)
    return made


def plain(seen: FeatureMaps) -> tuple[np.ndarray, ...]:
    """The picture's mean colour all over, a trunk each."""
    return tuple(np.broadcast_to(np.round(one.mean(axis=(0, 1))).astype(np.uint8), one.shape) for one in seen.pictures)


def blur(seen: FeatureMaps) -> tuple[np.ndarray, ...]:
    """The picture out of focus, a trunk each."""
    return tuple(
        np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(one.shape[0] / _FOCUS)))
        for one in seen.pictures
    )


def blended(seen: FeatureMaps, masks: np.ndarray, instead: Sequence[np.ndarray], *, smooth: bool) -> list[np.ndarray]:
    """The picture through masks: itself where a mask is 1, something else where it is 0.

    Args:
        seen: The picture.
        masks: (B, g, g) float 0..1 over `seen.box`.
        instead: What else, as `plain` or `blur` gives it.
        smooth: Between the cells of a mask.

    Returns:
        (B, S, S, 3) uint8 a trunk.
    """
    made = []
    for sharp, soft, box in zip(seen.pictures, instead, seen.boxes, strict=True):
        parts = [_sampled(mask, seen.box, box, len(sharp), smooth)[..., None] for mask in masks]
        made.append(
            np.stack([np.round(soft + part * (sharp.astype(np.float32) - soft)).astype(np.uint8) for part in parts])
        )
    return made


def _through(
    looker: FeatureMapModel, seen: FeatureMaps, masks: np.ndarray, instead: Sequence[np.ndarray], of: int
) -> np.ndarray:
    """(B,) what the model says of a class through each mask."""
    smooth = bool(np.any((masks > 0) & (masks < 1)))
    found = [looker.margins(blended(seen, part, instead, smooth=smooth), of) for part in _batches(masks)]
    return np.concatenate(found)


def _batches(masks: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(masks), INFERENCE_BATCH):
        yield masks[at : at + INFERENCE_BATCH]


def _activations(seen: FeatureMaps, looked: FeatureMapPass) -> np.ndarray:
    """(CHANNELS or fewer, GRID, GRID) float64 0..1: the deepest map's channels that vary most, over `seen.box`."""
    part = [one for one in looked.parts if one.values is not None][-1]
    assert part.values is not None
    under = part.under
    places = np.asarray(part.values[len(part.values) - under.side**2 :], np.float64)
    most = np.argsort(-places.std(axis=0), kind="stable")[:CHANNELS]
    made = []
    for channel in places[:, most].T:
        low, high = channel.min(), channel.max()
        one = (channel - low) / (high - low) if high > low else np.zeros_like(channel)
        box = seen.boxes[part.trunk]
        made.append(_sampled(one.reshape(under.side, under.side), box, seen.box, GRID, smooth=True))
    return np.stack(made)


def _sampled(mask: np.ndarray, source: Box, target: Box, side: int, smooth: bool) -> np.ndarray:
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
    return map_arithmetic.between(mask, axes[0], axes[1])
