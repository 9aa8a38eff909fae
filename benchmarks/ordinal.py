"""What a head that knows the order of grades gains over heads of plain classes, by the number of labels a grade.

    python -m benchmarks.ordinal [--draws 10] [--depth stage5]

Real pictures of cloth in five grades of a known change, each a random amount off its grade: blurred, faded, turned.
Handwritten digits are the counterpart: their order means nothing for what they look like. Features are of
EfficientNet-Lite0 at one depth. Each head's strength is searched by cross-validation inside the labelled pictures, as
`fit` does, and all other pictures judge by the ranked probability score. `chosen` is what cross-validation prefers
among all heads but the last, `chosen with` among all. Means over draws; differences are less the first of a pair, with
t intervals over the draws, which share pictures.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.common import LITE0, context
from benchmarks.few_labels import QUIET
from benchmarks.tuned_accuracy import digits
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import blas_threads, registry
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.heads import cross_validation, prediction
from headstart.statistics import metrics
from headstart.statistics.intervals import mean_interval
from headstart.statistics.losses import ranked_probability_losses

GRADES, PICTURES, JITTER = 5, 600, 0.7  # JITTER: standard deviation of the change about its grade, in grades
LABELS = (3, 5, 10, 20, 40)
HEADS = ("nearest_mean", "ridge", "logistic", "lda", "adjacent_category")
METRIC = "ranked_probability_score"
CHANGES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "blurred": lambda image, amount: image.filter(ImageFilter.GaussianBlur(0.5 * 2 ** (0.6 * amount))),
    "faded": lambda image, amount: ImageEnhance.Contrast(image).enhance(2 ** (-0.4 * amount)),
    "turned": lambda image, amount: image.rotate(12 * amount, resample=Image.Resampling.BICUBIC),
}


def write_set(
    change: Callable[[Image.Image, float], Image.Image], source: Path, folder: Path, pictures: int = PICTURES
) -> Path:
    """Changed pictures and a table of their grades, and of the amounts by which they were changed."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    grades = rng.permutation(np.arange(pictures) % GRADES)
    files = sorted((source / "nominal").glob("*.jpg"))
    rows = [("file", "grade", "amount")]
    for grade, place in zip(grades.tolist(), rng.permutation(len(files)).tolist(), strict=False):
        amount = grade + float(rng.normal(0, JITTER))
        name = f"{len(rows):04d}.png"
        crop_middle(change(Image.open(files[place]).convert("RGB"), amount)).save(folder / name)
        rows.append((name, str(grade), f"{amount:.3f}"))
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return folder / "labels.csv"


def crop_middle(image: Image.Image) -> Image.Image:
    """The middle square of a picture: turned corners stay outside."""
    half, middle = int(0.35 * image.width), image.width // 2
    return image.crop((middle - half, middle - half, middle + half, middle + half))


def measure_set(name: str, location: Path, depth: str, draws: int, scratch: Path) -> None:
    """Lines of the table, one a number of labels."""
    from headstart.data.reading.read_dataset import read_dataset
    from headstart.features.extraction import extract_features

    ctx = context(scratch, data=str(location), target="grade", task="ordinal")
    data = read_dataset(str(location), ctx=ctx)
    x = np.array(extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx).vectors[depth])
    y, grades = np.asarray(data.targets), len(data.class_names)
    for labels in LABELS:
        losses: dict[str, list[float]] = {}
        kappas: dict[str, list[float]] = {}
        for draw in range(draws):
            rng = np.random.default_rng([draw, labels])
            learnt = np.sort([row for c in range(grades) for row in rng.permutation(np.flatnonzero(y == c))[:labels]])
            judged = np.setdiff1d(np.arange(len(y)), learnt)
            results = {head: judge_head(head, x, y, learnt, judged, labels, grades) for head in HEADS}
            results["chosen"] = min((results[head] for head in HEADS[:-1]), key=lambda result: result[0])
            results["chosen with"] = min((results[head] for head in HEADS), key=lambda result: result[0])
            for head, (_, p) in results.items():
                losses.setdefault(head, []).append(float(ranked_probability_losses(y[judged], p).mean()))
                kappa = metrics.compute_score("quadratic_weighted_kappa", y[judged], p, split="test")
                kappas.setdefault(head, []).append(kappa.value)
        scores = " | ".join(f"{np.mean(losses[head]):.3f}" for head in HEADS)
        differences = " | ".join(
            format_difference(losses[a], losses[b])
            for a, b in (("logistic", "adjacent_category"), ("chosen", "chosen with"))
        )
        kappa_gain = format_difference(kappas["chosen"], kappas["chosen with"])
        print(f"| {name} | {labels} | {scores} | {differences} | {kappa_gain} |", flush=True)


def judge_head(
    name: str, x: np.ndarray, y: np.ndarray, learnt: np.ndarray, judged: np.ndarray, labels: int, grades: int
) -> tuple[float, np.ndarray]:
    """The cross-validated score on the learnt pictures, and (B, C) of the judged ones."""
    head, folds = registry.load_plugin("heads", name), np.zeros(len(learnt), np.int64)
    for c in range(grades):
        folds[y[learnt] == c] = np.arange(labels) % min(labels, 5)
    tuned = cross_validation.tune_head(head, x[learnt], y[learnt], folds, n_classes=grades, metric=METRIC)
    shared = {"n_classes": grades, "class_weight": None, "seed": 0}
    fitted = next(iter(head.path(x[learnt], y[learnt], params=[tuned.params], **shared)))
    return float(np.mean(tuned.losses)), prediction.predict_probabilities(fitted.kind, fitted.arrays, x[judged])


def format_difference(first: list[float], second: list[float]) -> str:
    value, low, high = mean_interval(np.array(second) - np.array(first))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--depth", default="stage5")
    args = parser.parse_args()
    columns = ("set", "labels", *HEADS, "adjacent to logistic", "chosen with to chosen", "kappa of these")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with tempfile.TemporaryDirectory() as temporary, blas_threads.single_blas_thread():
        scratch = Path(temporary)
        textile = fetch_textile(Store(cache_folder()), QUIET)
        for name, change in CHANGES.items():
            location = write_set(change, textile, scratch / name)
            measure_set(name, location, args.depth, args.draws, scratch / f"{name} run")
        folder = digits(scratch / "digits", 900, 0) / "train"
        measure_set("digits", folder, args.depth, args.draws, scratch / "digits run")


if __name__ == "__main__":
    main()
