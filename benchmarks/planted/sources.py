"""Real pictures to plant defects in: cloth, photographs of things, and small digits.

The things are Tux Paint's stamps; without them only cloth and digits are measured.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.few_labels import stamps
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store

STAMPS = Path("stamps/usr/share/tuxpaint/stamps")


def write_sources(scratch: Path) -> Iterator[tuple[str, Path]]:
    """Names and folders of class folders: 2,000 cloths, up to 405 stamps on white and 1,797 digits of 8 px."""
    yield "textile", fetch_textile(Store(cache_folder()), Console(quiet=True))
    if STAMPS.is_dir():
        folder = stamps(STAMPS, scratch / "stamps")
        for file in folder.rglob("*.png"):
            load_on_white(file).save(file)
        yield "stamps", folder
    yield "digits", write_digits(scratch / "digits")


def load_on_white(file: Path) -> Image.Image:
    """A picture as RGB, what is transparent as white."""
    with Image.open(file) as image:
        rgba = image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def write_digits(folder: Path) -> Path:
    """scikit-learn's digits as PNG of 8 x 8 px, in class folders."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (levels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((levels * 15.9).astype(np.uint8)).convert("RGB").save(path)
    return folder
