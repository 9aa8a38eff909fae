"""How often `headstart drift` cries over pictures like those it was measured on, and what it sees of real changes.

A model learns from part of the textile pictures; the others, which it never saw, are drawn as its use: as they are,
blurred, darkened, with a class twice as frequent, and handwritten digits instead.

python -m benchmarks.drift
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.common import ratio
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.cli.main import main as command
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import Prediction
from headstart.evaluation.drift import drift_tests
from headstart.runtime import usage_counts, usage_log
from headstart.runtime.model import Model, load

LEARNT, UNSEEN, REPEATS = 200, 200, 200  # pictures a class, and draws
HELD_OUT = 100  # pictures a draw that use is compared with
SIZES = (50, 100, 300)
CHANGES = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "darkened a little": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
}


def answered(model: Model, files: list[Path]) -> tuple[list[Prediction], np.ndarray]:
    """Answers and projections of the features."""
    found, blocks = [], []
    for chunk in model.extract_features(iter(files), batch=16):
        found += model.predict_chunk(chunk)
        blocks.append(model.join_features(chunk))
    return found, np.concatenate(blocks)


def changed(files: list[Path], folder: Path, change) -> list[Path]:
    """Copies of pictures, changed."""
    folder.mkdir()
    for at, file in enumerate(files):
        with Image.open(file) as image:
            change(image.convert("RGB")).save(folder / f"{at:04d}.png")
    return sorted(folder.iterdir())


def digits(folder: Path, count: int) -> list[Path]:
    """Handwritten digits as pictures."""
    from sklearn.datasets import load_digits

    folder.mkdir()
    for at, digit in enumerate(load_digits().images[:count]):
        image = Image.fromarray((255 - digit * 15.9).astype(np.uint8)).resize((64, 64))
        image.convert("RGB").save(folder / f"{at:04d}.png")
    return sorted(folder.iterdir())


def share(known: tuple, other: tuple | None, size: int, weights: np.ndarray | None = None) -> float:
    """How often drift is told of `size` pictures against `HELD_OUT` known ones, both drawn anew each time.

    Args:
        known: Answers and features of pictures that the model never saw.
        other: The same of the pictures in use; None draws them from the other known ones.
        size: Pictures in use.
        weights: How likely each known picture is to be drawn as one in use; drawn again and again, for else the likely
            ones would soon be used up.
    """
    rng, told = np.random.default_rng(size), 0
    for _ in range(REPEATS):
        order = rng.permutation(len(known[0]))
        held, rest = order[:HELD_OUT], order[HELD_OUT:]
        reference = held_out(known, held)
        answers, features = other or known
        odds = None if weights is None else weights[rest] / weights[rest].sum()
        rows = rng.choice(len(answers) if other else rest, size, replace=odds is not None, p=odds)
        made = usage_counts.count_predictions([answers[row] for row in rows], features[rows], reference.edges)
        told += drift_tests.test_drift(
            reference, usage_log.UsageLog(days={"2026-01-01": made}, foreign=0, damaged=0)
        ).drifted
    return told / REPEATS


def held_out(known: tuple, rows: np.ndarray) -> usage_log.UsageReference:
    """What a fit keeps, of these pictures."""
    projections = usage_counts.project_features(known[1][rows])
    edges = usage_counts.find_tenths(projections)
    made = usage_counts.count_predictions([known[0][row] for row in rows], known[1][rows], edges)
    return usage_log.UsageReference(model="", split="test", counts=made, edges=edges)


def main() -> None:
    """Print a share a kind and size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = fetch_textile(Store(cache_folder()), Console(quiet=True))
        classes = [sorted(p.glob("*.jpg")) for p in sorted(source.iterdir()) if p.is_dir()]
        for files in classes:
            target = folder / "learnt" / files[0].parent.name
            target.mkdir(parents=True)
            for file in files[:LEARNT]:
                (target / file.name).write_bytes(file.read_bytes())
        run = folder / "run"
        words = ["--backbones", "bundled:efficientnet_lite0", "--strategy", "probe", "--budget", "5m", "--quiet"]
        assert command(["fit", str(folder / "learnt"), "--out", str(run), *words]) == 0
        model = load(run)
        print(f"{HELD_OUT} held-out pictures; share of {REPEATS} draws in which drift is told")
        unseen = [file for files in classes for file in files[LEARNT : LEARNT + UNSEEN]]
        known = answered(model, unseen)
        for size in SIZES:
            ratio(f"false alarms, {size} unseen pictures of the same kind", share(known, None, size), 0.05)
        other = {name: changed(unseen, folder / name, change) for name, change in CHANGES.items()}
        other["digits"] = digits(folder / "digits", 400)
        for name, files in other.items():
            found = answered(model, files)
            for size in SIZES:
                ratio(f"told, {size} pictures {name}", share(known, found, size), 0.9, at="least")
        first = np.repeat([4.0, 1.0, 1.0], [len(files[LEARNT : LEARNT + UNSEEN]) for files in classes])
        for size in SIZES[:2]:
            told = share(known, None, size, first)
            ratio(f"told, {size} pictures, the first class four times as frequent", told, 0.9, at="least")


if __name__ == "__main__":
    main()
