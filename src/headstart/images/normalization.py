"""The usual scalings of pictures for networks, and pictures brought to what photographs look like."""

from __future__ import annotations

import numpy as np

from headstart.core.types import InputSpec

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of 0..255 RGB, and
IMAGENET_STD = (58.395, 57.12, 57.375)  # the deviation within a channel: what photographs look like
USUAL = {
    "0..255 as they are": InputSpec(size_px=1),
    "0..1": InputSpec(size_px=1, scale=1 / 255),
    "-1..1": InputSpec(size_px=1, mean=(127.5,) * 3, std=(127.5,) * 3),
    "ImageNet mean and deviation, RGB": InputSpec(size_px=1, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "Caffe: BGR minus 104, 117, 124": InputSpec(size_px=1, channels="bgr", mean=(103.939, 116.779, 123.68)),
}
_FLAT = 1.0  # deviation in grey levels below which pictures tell nothing
_BLUR_PX, _TIMES = 9, 2  # box filters, one after the other: about a Gaussian of 3.7 px


def are_one_colour(pictures: np.ndarray) -> bool:
    """Whether pictures (n, H, W, 3) are of one colour."""
    return bool(pictures.std(axis=(0, 1, 2)).min() < _FLAT)


def match_photographs(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, H, W, 3) without their fine structure, each channel's mean and deviation brought to photographs'."""
    from scipy.ndimage import uniform_filter

    smooth = pictures
    for _ in range(_TIMES):
        smooth = uniform_filter(smooth, size=(1, _BLUR_PX, _BLUR_PX, 1), mode="nearest")
    mean, std = smooth.mean(axis=(0, 1, 2)), np.maximum(smooth.std(axis=(0, 1, 2)), 1e-6)
    return np.asarray((smooth - mean) / std * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN))


def scale_pictures(pictures: np.ndarray, how: InputSpec) -> np.ndarray:
    """Pictures (n, H, W, 3) RGB 0..255 as an input spec says, float32."""
    turned = pictures[..., ::-1] if how.channels == "bgr" else pictures
    return np.asarray((turned * how.scale - np.array(how.mean)) / np.array(how.std), np.float32)
