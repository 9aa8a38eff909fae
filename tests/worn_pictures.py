"""Real photographs of cloth in five grades of wear, by how much they are blurred: classes that have an order."""

import csv

import numpy as np
from PIL import Image, ImageFilter

GRADES = ("new", "good", "used", "worn", "torn")


def write_worn_pictures(textile, folder, count=100, side=96, seed=0, names=GRADES, jitter=0.7):
    """Textile pictures blurred by their grade and some chance, and `labels.csv` with it; its path."""
    rng, folder = np.random.default_rng(seed), folder / "worn"
    folder.mkdir()
    grades, files = rng.permutation(np.arange(count) % len(names)), sorted((textile / "nominal").glob("*.jpg"))
    sources = [files[place] for place in rng.permutation(len(files))[:count]]
    for number, (grade, source) in enumerate(zip(grades, sources, strict=True)):
        image = Image.open(source).convert("RGB").resize((side, side))
        radius = 0.5 * 2.0 ** (0.6 * float(grade + rng.normal(0, jitter)))
        image.filter(ImageFilter.GaussianBlur(radius)).save(folder / f"{number:03d}.png")
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "wear"), *((f"{n:03d}.png", names[g]) for n, g in enumerate(grades))])
    return folder / "labels.csv"
