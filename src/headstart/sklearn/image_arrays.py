"""Arrays of numbers as pictures: what is laid out flat gets its height and width back, any numbers become 0..255.

Nothing here looks at neighbours: the same row gives the same picture in any company. N pictures, F numbers of a flat
one, h w px of one as it came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.images.codecs import fit_to_levels

BYTE = (0.0, 255.0)
_WHOLE = 1e-3  # from a whole number: rounding of float32
_DARKEST_BYTES = 127.0  # numbers up to 255 whose largest is above this are taken for 0..255


def infer_shape(width: int, image_shape: tuple[int, ...] | None = None) -> tuple[int, int, int]:
    """Height, width and channels of flat pictures of `width` = F numbers.

    Without `image_shape` a colour square if F is three times a square, else the smallest grey square that holds F.

    Raises:
        ValueError: The given shape does not hold F numbers, or is none of a picture.
    """
    if image_shape is None:
        third = math.isqrt(width // 3)
        if 3 * third * third == width:
            return third, third, 3
        side = math.isqrt(width - 1) + 1
        return side, side, 1
    sides = tuple(int(side) for side in image_shape)
    shape = (*sides, 1) if len(sides) == 2 else sides
    if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
        raise ValueError(f"image_shape {image_shape!r} is not (height, width) or (height, width, 1 or 3)")
    if math.prod(shape) != width:
        raise ValueError(f"image_shape {image_shape!r} holds {math.prod(shape)} numbers; a row of X has {width}")
    return shape[0], shape[1], shape[2]


def find_unequal_pictures(values: Any) -> list[np.ndarray] | None:
    """The arrays, a picture each, in a list or an array of objects; None where `values` can be one array of numbers.

    Raises:
        ValueError: Rows or nested lists of unequal sizes, or pictures of several types of numbers.
    """
    if not isinstance(values, list | tuple) and not (isinstance(values, np.ndarray) and values.dtype == object):
        return None
    pictures = list(values)
    shapes = sorted({picture.shape for picture in pictures if isinstance(picture, np.ndarray)})
    if shapes and min(map(len, shapes)) > 1 and all(isinstance(picture, np.ndarray) for picture in pictures):
        types = sorted({str(picture.dtype) for picture in pictures})
        if len(types) > 1:
            raise ValueError(f"the pictures of X are of several types, {', '.join(types)}: convert all to uint8")
        return pictures if len(shapes) > 1 or isinstance(values, np.ndarray) else None
    try:
        np.shape(values)
    except ValueError as err:
        sizes = [len(each) if isinstance(each, list | tuple | np.ndarray) else 1 for each in pictures]
        other = next((at for at, size in enumerate(sizes) if size != sizes[0]), None)
        example = "" if other is None else f" (X[0] has {sizes[0]} numbers, X[{other}] has {sizes[other]})"
        remedy = "pass rows of one length, or a list with an array a picture, (height, width, 3) or (height, width)"
        raise ValueError(f"the rows of X are of unequal sizes{example}: {remedy}") from err
    return None


def unflatten_images(flat: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(N, F) -> (N, h, w, channels); behind the F numbers comes black where the square is larger."""
    return np.pad(flat, ((0, 0), (0, math.prod(shape) - flat.shape[1]))).reshape(len(flat), *shape)


def find_value_range(pictures: Sequence[np.ndarray] | np.ndarray) -> tuple[float, float]:
    """Which of the finite numbers are black and white: of bytes 0 and 255, else 0..1 or 0..255, else the ends."""
    if pictures[0].dtype == np.uint8:
        return BYTE
    low = float(min(picture.min() for picture in pictures))
    high = float(max(picture.max() for picture in pictures))
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    if low >= 0.0 and _DARKEST_BYTES < high <= BYTE[1]:
        return BYTE
    return low, high


def to_bytes(numbers: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """The same shape in uint8; what lies beyond the ends is black or white."""
    if numbers.dtype == np.uint8 and ends == BYTE:
        return numbers
    low, high = ends
    with np.errstate(over="ignore"):
        scaled = (numbers.astype(np.float64) - low) * (255.0 / (high - low) if high > low else 0.0)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def needs_fractions(pictures: Sequence[np.ndarray] | np.ndarray, ends: tuple[float, float]) -> bool:
    """Whether numbers tell more than 8 bits hold: they are no whole numbers up to 255 apart, nor such over 255."""
    span = ends[1] - ends[0]
    if pictures[0].dtype == np.uint8 or not span:
        return False
    steps = (1.0, span / 255) if span <= BYTE[1] else (span / 255,)
    return not any(all(_are_whole((picture - ends[0]) / step) for picture in pictures) for step in steps)


def _are_whole(numbers: np.ndarray) -> bool:
    return bool((np.abs(numbers - np.rint(numbers)) < _WHOLE).all())


def to_levels(numbers: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """The same shape in float32 0..255 with fractions; what lies beyond the ends is black or white."""
    with np.errstate(over="ignore"):
        return fit_to_levels(numbers, *ends)


def to_rgb(pictures: np.ndarray) -> np.ndarray:
    """(N, h, w), (N, h, w, 1) or (N, h, w, 3) -> (N, h, w, 3); raises ValueError where the shape is none of these."""
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        shapes = "neither (N, height, width) nor (N, height, width, 1 or 3)"
        raise ValueError(f"pictures of shape {pictures.shape} are {shapes}")
    return pictures if pictures.shape[3] == 3 else np.repeat(pictures, 3, axis=3)
