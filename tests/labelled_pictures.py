"""A set with several labels a picture, made from real pictures by known edits: each edit is a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.2)),
    "framed": lambda picture: ImageOps.expand(picture.crop((2, 2, 94, 94)), 2, "grey"),
    "struck": lambda picture: _strike(picture),
    "tinted": lambda picture: Image.blend(picture, Image.new("RGB", picture.size, "orange"), 0.12),
}


def write_labelled_pictures(textile: Path, folder: Path, count: int = 140) -> Path:
    """Write `count` pictures of 96 px and `labels.csv`: `file,labels`, a lone `|` where no edit was made."""
    rng, rows = np.random.default_rng(0), ["file,labels"]
    files = sorted((textile / "nominal").glob("*.jpg"))
    for number, source in enumerate(rng.permutation(np.array(files))[:count]):
        angle, (left, top) = rng.uniform(0, 90), rng.integers(0, 60, 2)
        with Image.open(source) as image:
            turned = image.convert("RGB").rotate(angle, resample=Image.Resampling.BICUBIC)
        half = turned.width // 3
        corner = (half + left - 30, half + top - 30)
        picture = turned.crop((*corner, corner[0] + half, corner[1] + half)).resize((96, 96))
        labels = [name for name in EDITS if rng.random() < 0.4]
        for name in labels:
            picture = EDITS[name](picture)
        picture.save(folder / f"{number:03}.png")
        rows.append(f"{number:03}.png,{'|'.join(labels) or '|'}")
    table = folder / "labels.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def _strike(picture: Image.Image) -> Image.Image:
    ImageDraw.Draw(picture).line((0, 95, 95, 0), fill="grey", width=2)
    return picture
