"""Real photographs of cloth, each turned by a known angle: pictures with a number that can be learnt."""

import csv

import numpy as np
from PIL import Image


def write_turned_pictures(textile, folder, count=100, side=96, seed=0):
    """Square middles of textile pictures turned by 0 to 60 degrees, and `labels.csv` with their angles; its path."""
    rng, folder = np.random.default_rng(seed), folder / "turned"
    folder.mkdir()
    angles, files = np.round(rng.uniform(0, 60, count), 3), sorted((textile / "nominal").glob("*.jpg"))
    sources = [files[place] for place in rng.permutation(len(files))[:count]]
    for number, (angle, source) in enumerate(zip(angles, sources, strict=True)):
        image = Image.open(source).convert("RGB").rotate(angle, resample=Image.Resampling.BICUBIC)
        middle, half = image.width // 2, int(image.width * 0.35)
        image = image.crop((middle - half, middle - half, middle + half, middle + half)).resize((side, side))
        image.save(folder / f"{number:03d}.png")
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "angle"), *((f"{n:03d}.png", a) for n, a in enumerate(angles))])
    return folder / "labels.csv"
