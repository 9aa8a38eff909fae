"""Arrays of numbers as pictures: what is laid out flat gets its height and width back, any numbers become 0..255.

Nothing here looks at neighbours: the same row gives the same picture in any company. N pictures, F numbers of a flat
one, h w px of one as it came.
"""

from __future__ import annotations

import math

import numpy as np

BYTE = (0.0, 255.0)
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


def unflatten_images(flat: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(N, F) -> (N, h, w, channels); behind the F numbers comes black where the square is larger."""
    return np.pad(flat, ((0, 0), (0, math.prod(shape) - flat.shape[1]))).reshape(len(flat), *shape)


def find_value_range(numbers: np.ndarray) -> tuple[float, float]:
    """Which of the finite numbers are black and white: of bytes 0 and 255, else 0..1 or 0..255, else the ends."""
    if numbers.dtype == np.uint8:
        return BYTE
    low, high = float(numbers.min()), float(numbers.max())
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


def to_rgb(pictures: np.ndarray) -> np.ndarray:
    """(N, h, w), (N, h, w, 1) or (N, h, w, 3) -> (N, h, w, 3); raises ValueError where the shape is none of these."""
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        shapes = "neither (N, height, width) nor (N, height, width, 1 or 3)"
        raise ValueError(f"pictures of shape {pictures.shape} are {shapes}")
    return pictures if pictures.shape[3] == 3 else np.repeat(pictures, 3, axis=3)
