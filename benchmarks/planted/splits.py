"""Drift between given splits: textile pictures of the test changed in one way, and splits drawn at random.

One in five of the pictures of each class is the test. In each draw these, and no others, are 3 % or 8 % brighter, of a
red 8 % stronger, half as wide, or saved as JPEG of quality 50; the others are saved anew as JPEG of quality 92, as all
are in the clean set. What is planted is the set: recall is over draws. False alarms are over 200 splits of the clean
set that are drawn at random.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.common import LITE0, context, pictures
from benchmarks.planted import DefectRow
from benchmarks.planted.shortcuts import save
from headstart.core.types import AuditInput, Dataset
from headstart.data.checks.d204_split_drift import PLUGIN
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features

EACH, SHARE, DRAWS, RANDOM = 200, 0.2, 5, 200


def _redden(picture: Image.Image) -> bytes:
    return save(Image.fromarray(np.clip(np.asarray(picture) * [1.08, 1, 1], 0, 255).astype(np.uint8)))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "": save,
    "test 3 % brighter": lambda picture: save(ImageEnhance.Brightness(picture).enhance(1.03)),
    "test 8 % brighter": lambda picture: save(ImageEnhance.Brightness(picture).enhance(1.08)),
    "test 8 % redder": _redden,
    "test half as wide": lambda picture: save(picture.resize((picture.width // 2, picture.height // 2))),
    "test of JPEG quality 50": lambda picture: save(picture, quality=50),
}


def _draw_test(y: np.ndarray, seed: int) -> np.ndarray:
    """(N,) bool with the share of each class."""
    ranks = np.random.default_rng(seed).permuted(np.arange(len(y)))
    return np.concatenate([np.argsort(np.argsort(ranks[y == c])) < SHARE * (y == c).sum() for c in np.unique(y)])


def measure() -> Iterator[DefectRow]:
    """A row for each change."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = pictures(scratch / "source", 3 * EACH)
        ctx = context(scratch / "run")
        vectors, sets = dict[str, np.ndarray](), dict[str, Dataset]()
        for number, (change, edit) in enumerate(CHANGES.items()):
            root = scratch / f"set{number}"
            for file in source.rglob("*.jpg"):
                (root / file.parent.name).mkdir(parents=True, exist_ok=True)
                (root / file.parent.name / file.name).write_bytes(edit(Image.open(file).convert("RGB")))
            sets[change] = read_dataset(str(root), ctx=ctx)
            embeddings = extract_features(sets[change], LITE0, np.arange(3 * EACH), ctx=ctx)
            vectors[change] = np.array(embeddings.vectors[embeddings.spec.depths[-1].name])
        y = np.asarray(sets[""].targets)

        def is_drifted(change: str, seed: int) -> bool:
            is_test = _draw_test(y, seed)
            split_data = replace(sets[""], split=tuple("test" if test else "train" for test in is_test))
            x = np.where(is_test[:, None], vectors[change], vectors[""])
            outcome = PLUGIN(AuditInput(data=split_data, folds=5, vectors=x, rows=np.arange(len(y))))
            return outcome.status in ("issue", "tip")

        alarms = sum(is_drifted("", DRAWS + draw) for draw in range(RANDOM))
        for change in filter(None, CHANGES):
            hits = sum(is_drifted(change, draw) for draw in range(DRAWS))
            yield DefectRow(
                check="D204",
                defect=change,
                tool="headstart",
                planted=DRAWS,
                found=hits,
                named=hits,
                clean_named=alarms,
                clean=RANDOM,
            )
