"""A heat map on its picture: grey where nothing speaks for the class, warm where something does."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from headstart.explanation import map_arithmetic
from headstart.explanation.map_arithmetic import Box

# from faint to strong: told by lightness too, so that it can be read without colours
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([[72, 28, 92], [190, 50, 70], [247, 140, 30], [255, 236, 120]], np.float64)
_STRONGEST = 0.72  # of the colour, where the heat is 1
_PALE = 0.35  # of the picture's own colour that goes, so that the heat's stands out
_OUTSIDE = 0.45  # brightness of what the model does not see


def draw_overlay(picture: np.ndarray, heat: np.ndarray, box: Box, size: tuple[int, int]) -> Image.Image:
    """The picture (h, w, 3) uint8, upright, with the heat map (r, c) float32 0..1 over `box`: RGB of the same size.

    `size` is the width and height in px to which `box`, the part that the model saw, refers.
    """
    height, width = picture.shape[:2]
    across, down = width / size[0], height / size[1]
    left, right = (round(value * across) for value in (box[0], box[2]))
    top, bottom = (round(value * down) for value in (box[1], box[3]))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    grey = np.asarray(ImageOps.grayscale(Image.fromarray(picture)), np.float64)[..., None]
    pale = picture * (1 - _PALE) + grey * _PALE
    canvas = pale * _OUTSIDE
    warm = map_arithmetic.resize_map(heat, (bottom - top, right - left))
    warm = warm[max(0, -top) : height - top, max(0, -left) : width - left]  # what lies beside a padded picture
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    colours = np.stack([np.interp(warm, _STOPS, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    share = _STRONGEST * np.clip(warm, 0, 1)[..., None]
    canvas[top:bottom, left:right] = pale[top:bottom, left:right] * (1 - share) + colours * share
    image = Image.fromarray(np.round(canvas).astype(np.uint8))
    if (left, top, right, bottom) != (0, 0, width, height):
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=(255, 255, 255))
    return image


def encode_image(image: Image.Image, kind: str) -> bytes:
    """The bytes of a picture file, `PNG` or `JPEG`."""
    options = {"PNG": {"compress_level": 3}, "JPEG": {"quality": 80, "subsampling": 0}}[kind]
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
