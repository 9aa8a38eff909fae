"""Real pictures of other things, at hand without a network: handwritten digits and pieces of two photographs.

scikit-learn carries both (UCI's optical digits, 8 x 8 px; the photographs have a Creative Commons licence).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_bytes
from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.core.types import Dataset, DatasetFacts

DIGITS, PHOTOGRAPHS = "handwritten digits", "photographs"
KINDS = (DIGITS, PHOTOGRAPHS)
COUNTS = (40, 20)
CHANCE = 0.01  # that answers by chance agree as often
_SIDE_PX = 160
_REVISION = 1  # of what is drawn below


def make_ood_images(store: Store) -> Dataset:
    """The foreign pictures as a data set of two classes, the digits first.

    Raises:
        SetupError: The cache cannot be written.
    """
    key = {"set": "foreign", "revision": _REVISION, "counts": COUNTS}
    root = store.make_entry("data", key, _write_images) / "foreign"
    uris = tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png")))
    digests = tuple(file_digest(root / uri) for uri in uris)
    targets = np.array([KINDS.index(uri.partition("/")[0]) for uri in uris], np.int64)
    return Dataset(
        name="foreign pictures",
        root=str(root),
        modality="image",
        task="classification",
        uris=uris,
        digests=digests,
        targets=targets,
        split=("",) * len(uris),
        class_names=KINDS,
        facts=_make_facts(len(uris)),
        excused=(),
        digest=compute_digest([uris, digests]),
    )


def find_known_kinds(data: Dataset, class_names: tuple[str, ...], answers: np.ndarray) -> tuple[str, ...]:
    """Kinds that a model knows, which are no pictures of other things for it.

    Digits are, where it answers digits whose names are classes of its own by these names beyond chance (p < 0.01).

    Args:
        answers: (M,) class that the model finds likeliest for each picture of `data`.
    """
    from scipy.stats import binomtest

    digits = [(row, Path(uri).stem[-1]) for row, uri in enumerate(data.uris) if uri.startswith(f"{DIGITS}/")]
    hits = [class_names[answers[row]] == name for row, name in digits if name in class_names]
    if not hits or binomtest(sum(hits), len(hits), 1 / len(class_names), "greater").pvalue >= CHANCE:
        return ()
    return (DIGITS,)


def _write_images(draft: Path) -> None:
    from PIL import Image

    for kind, count, drawn in zip(KINDS, COUNTS, (_draw_digits, _cut_photographs), strict=True):
        folder = draft / "foreign" / kind
        folder.mkdir(parents=True)
        for number, array in enumerate(drawn(count)):
            out = io.BytesIO()
            small = Image.fromarray(array).convert("RGB")
            small.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC).save(out, "PNG")
            write_bytes(folder / f"{number:02}.png", out.getvalue())


def _draw_digits(count: int) -> Iterator[np.ndarray]:
    """(8, 8) uint8 dark ink on white, every class equally often."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(count):
        image = digits.images[np.flatnonzero(digits.target == number % 10)[number // 10]]
        yield (255 - np.minimum(image * 16, 255)).astype(np.uint8)


def _cut_photographs(count: int) -> Iterator[np.ndarray]:
    """(h, h, 3) uint8 squares of both photographs, of all sizes."""
    from sklearn.datasets import load_sample_images

    draw, photos = np.random.default_rng(0), load_sample_images().images
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(draw.integers(100, 400))
        top, left = (int(draw.integers(0, length - side + 1)) for length in photo.shape[:2])
        yield photo[top : top + side, left : left + side]


def _make_facts(n: int) -> DatasetFacts:
    side = np.full(n, _SIDE_PX, np.int32)
    return DatasetFacts(
        width_px=side,
        height_px=side,
        file_bytes=np.zeros(n, np.int64),
        phash=np.zeros(n, np.uint64),
        histogram=np.full((n, 64), 1 / 64, np.float32),
        grey_std=np.ones(n, np.float32),
        notes=("",) * n,
    )
