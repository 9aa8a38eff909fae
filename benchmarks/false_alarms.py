"""Near-duplicates: how many planted copies are found, and how many different pictures are taken for copies.

The textile set is the hard case: 2,000 pictures of one cloth; `python -m benchmarks.false_alarms FOLDER` measures
another folder of JPEGs. Of every fourth picture seven copies are planted: JPEG at quality 50, resized to 60 %, crops
that take 3 % and 10 % off width and height, 8 % brighter, mirrored, turned by 90 degrees. A copy is found when it ends
in one cluster with its original; a pair of pictures from different sources is a false alarm. Prints a table for hashes
and two for each depth of the embeddings, over limits, and marks the limit that the checks choose.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import job
from headstart.core.console import Console
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.data.duplicates.clusters import find_clusters
from headstart.data.duplicates.near_duplicate_search import (
    find_hash_pairs,
    find_vector_pairs,
    measure_isolation,
    to_unit_vectors,
    typical_bits,
)

BACKBONE = "bundled:efficientnet_lite0"


def crop(picture: Image.Image, part: float) -> Image.Image:
    """Cut off a part of the width and of the height, half at each end."""
    w, h = picture.size
    return picture.crop(
        (round(w * part / 2), round(h * part / 2), round(w * (1 - part / 2)), round(h * (1 - part / 2)))
    )


COPIES = {
    "jpeg50": (lambda p: p, 50),
    "resize60": (lambda p: p.resize((p.width * 6 // 10, p.height * 6 // 10), Image.Resampling.BICUBIC), 92),
    "crop3": (lambda p: crop(p, 0.03), 92),
    "crop10": (lambda p: crop(p, 0.1), 92),
    "bright8": (lambda p: ImageEnhance.Brightness(p).enhance(1.08), 92),
    "mirror": (ImageOps.mirror, 92),
    "turn90": (lambda p: p.transpose(Image.Transpose.ROTATE_90), 92),
}


def plant(source: Path, target: Path, every: int) -> None:
    """The pictures of a set, and copies of every so-manieth, named `<source>--<copy>.jpg`."""
    for number, path in enumerate(sorted(source.rglob("*.jpg"))):
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        for name, (change, quality) in COPIES.items() if number % every == 0 else ():
            buffer = io.BytesIO()
            change(Image.open(path).convert("RGB")).save(buffer, "JPEG", quality=quality)
            (folder / f"{path.stem}--{name}.jpg").write_bytes(buffer.getvalue())


def named(uris: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) number of each picture's source, and (N,) name of its copy, empty for an original."""
    stems = [uri.removesuffix(".jpg").split("--") for uri in uris]
    _, source = np.unique([stem[0] for stem in stems], return_inverse=True)
    return source, np.array([stem[1] if len(stem) > 1 else "" for stem in stems])


def found(pairs: np.ndarray, uris: tuple[str, ...]) -> tuple[list[float], int]:
    """The part of each kind of copy that pairs tie to its original, and how many pairs are false."""
    source, copy = named(uris)
    same = source[pairs[:, 0]] == source[pairs[:, 1]]
    cluster = find_clusters(len(uris), pairs[same])
    original = {int(source[row]): row for row in np.flatnonzero(copy == "")}
    of_kind = [np.flatnonzero(copy == name) for name in COPIES]
    parts = [float(np.mean(cluster[rows] == cluster[[original[int(s)] for s in source[rows]]])) for rows in of_kind]
    return parts, int(np.sum(~same))


def line(label: str, pairs: np.ndarray, uris: tuple[str, ...], mark: str = "") -> None:
    """Print one row of a table."""
    parts, wrong = found(pairs, uris)
    precision = 1 - wrong / max(len(pairs), 1)
    print(f"{label:>8}" + "".join(f"{part:10.3f}" for part in parts) + f"{wrong:13,}{precision:11.4f}{mark}")


def table(pairs: np.ndarray, distances: np.ndarray, uris: tuple[str, ...], limits: list[float], chosen: float) -> None:
    """Print what is found at each limit."""
    print(f"{'limit':>8}" + "".join(f"{name:>10}" for name in COPIES) + "  false pairs  precision")
    for limit in sorted({*limits, chosen}):
        line(f"{limit:.3g}", pairs[distances <= limit], uris, "  <- chosen" if limit == chosen else "")


def hashes(data) -> None:
    """The table of perceptual hashes."""
    from headstart.data.duplicates import copy_detection

    phash = np.asarray(data.facts.phash)
    usual = typical_bits(phash)
    chosen = int(np.clip(copy_detection.HASH_PART * usual, copy_detection.HASH_LEAST, copy_detection.HASH_MOST))
    print(f"\nperceptual hash, {len(phash):,} pictures; all but the closest pairs keep {usual:.0f} of 64 bits")
    table(*find_hash_pairs(phash, 16), data.uris, [2, 4, 6, 8, 10, 12, 14, 16], chosen)
    line("D103", copy_detection.find_near_pairs(data)[0], data.uris, "  <- the check, which compares colours too")


def embeddings(data, ctx: Context) -> None:
    """For each depth a table over the part of the distance to the tenth nearest picture, and one over fixed limits."""
    from headstart.data.checks import d201_near_duplicates as d201
    from headstart.features.extraction import extract_features

    made = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx)
    for depth in made.spec.depths:
        vectors = to_unit_vectors(made.vectors[depth.name])
        pairs, distances = find_vector_pairs(vectors, 0.7 * measure_isolation(vectors, d201.NEIGHBOUR))
        usual = measure_isolation(vectors, d201.NEIGHBOUR)[pairs].min(axis=1)
        print(f"\n{BACKBONE}@{depth.name}, part of the distance to the tenth nearest picture")
        table(pairs, distances / usual, data.uris, [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6], d201.PART)
        line(
            "D201",
            find_vector_pairs(vectors, d201.find_distance_limits(vectors))[0],
            data.uris,
            "  <- the check, with its bounds",
        )
        print(f"{BACKBONE}@{depth.name}, one cosine distance for all")
        for limit in (0.01, 0.02, 0.03, 0.04, 0.05, 0.1):
            line(f"{limit:.3g}", find_vector_pairs(vectors, np.full(len(vectors), limit))[0], data.uris)


def main() -> None:
    """Run it."""
    from headstart.data.reading.read_dataset import read_dataset

    with tempfile.TemporaryDirectory() as folder:
        store, console = Store(cache_folder()), Console(quiet=True)
        ctx = Context(job=job.make_job(data=folder), run=RunFolder(Path(folder) / "run"), store=store, console=console)
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else fetch_textile(store, console)
        plant(source, Path(folder) / "pictures", every=4)
        data = read_dataset(Path(folder) / "pictures", ctx=ctx)
        hashes(data)
        embeddings(data, ctx)


if __name__ == "__main__":
    main()
