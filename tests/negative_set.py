"""A set on which pre-training does not pay, made from real pictures by one rule that the label follows.

Its two classes are the two phases of a checkerboard of single pixels, 4 grey levels up and down, on pieces of textile
pictures: `even` has its bright squares where row + column is even, `odd` where it is odd. Both classes show the same
mixture of textiles in the same light, so content says nothing about the class. ImageNet rewards filters that look past
such a pattern; a network that starts from random weights has no such habit.
"""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("even", "odd")
SIDE_PX = 224  # EfficientNet-Lite0 takes this size, so no resize touches the pattern
PIECE_PX = 112  # drawn out to twice its size, so that no grain of the camera covers the pattern
LEVELS = 4


def phases(textile: Path, root: Path, count: int, seed: int = 0) -> Path:
    """Write the set: one folder a class, PNG files of 224 x 224 pixels, each from a textile picture of its own.

    Args:
        textile: The folder of textile pictures, one folder a class; each class is dealt out evenly.
        root: Where to write.
        count: Pictures in all, half of them of each class.
        seed: Of the pictures, the pieces and the light.
    """
    rng = np.random.default_rng(seed)
    files = sorted(textile.rglob("*.jpg"))
    drawn = sorted((files[at] for at in rng.permutation(len(files))[:count]), key=lambda file: file.parent.name)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
    for number, file in enumerate(drawn):
        phase = number % 2
        grey = np.rint(_light(_piece(file, rng), rng) + LEVELS * _board(phase))
        picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
        picture.save(root / CLASSES[phase] / f"{number:04d}.png")
    return root


def _piece(file: Path, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float64: a random square of a picture, drawn out smoothly."""
    with Image.open(file) as image:
        left, top = rng.integers(0, np.array(image.size) - PIECE_PX + 1).tolist()
        square = image.convert("RGB").crop((left, top, left + PIECE_PX, top + PIECE_PX))
    return np.asarray(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.float64)


def _light(piece: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half to all of the contrast, about a mean between 88 and 168."""
    lit: np.ndarray = rng.uniform(0.5, 1.0) * (piece - piece.mean()) + rng.uniform(88, 168)
    return lit


def _board(phase: int) -> np.ndarray:
    """(S, S, 1) of 1 and -1."""
    row, column = np.indices((SIDE_PX, SIDE_PX))
    return np.where((row + column) % 2 == phase, 1.0, -1.0)[..., None]
