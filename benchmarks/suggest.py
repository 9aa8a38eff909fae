"""How much faster a model learns from the pictures that `headstart suggest` names than from pictures drawn at random.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.suggest [--stamps stamps/usr/share/tuxpaint/stamps] [--draws 6]

A third of the clusters of near-duplicates is the test. From 40 pictures drawn at random on, 20 at a time are labelled
up to 240, or half of those that may be labelled: logistic regression on the level `stage5` of EfficientNet-Lite0 learns
from them, and names the next. The area under the curve is the mean accuracy over the rounds; its gain over random order
is paired by draws, with a t interval. `margin` is uncertainty alone, without the clusters.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import context
from benchmarks.few_labels import stamps
from benchmarks.tuned_accuracy import digits
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import blas_threads, registry
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import Prediction
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features
from headstart.heads import prediction
from headstart.labelling.suggestions import choose_diverse, count_candidates, measure_uncertainty
from headstart.statistics.intervals import mean_interval

BACKBONE, LEVEL = "bundled:efficientnet_lite0", "stage5"
FIRST, STEP, LAST = 40, 20, 240
ORDERS = ("random", "margin", "suggest")


def measure_set(name: str, folder: Path, draws: int, scratch: Path) -> None:
    """One line of the table."""
    ctx = context(scratch / "read")
    data = read_dataset(str(folder), ctx=ctx)
    embeddings = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx)
    files = audit_dataset(data, ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx, embeddings=embeddings, before=files).clusters
    x, y = np.array(embeddings.vectors[LEVEL]), np.asarray(data.targets)
    curves = np.array([[label_in_order(order, x, y, clusters, draw) for order in ORDERS] for draw in range(draws)])
    areas, cells = curves.mean(axis=2), []
    for order in (1, 2):
        gain = mean_interval(100 * (areas[:, order] - areas[:, 0]))
        cells.append(f"{gain.value:+.1f} [{gain.low:.1f}, {gain.high:.1f}]")
    mean, labels = curves.mean(axis=0), FIRST + STEP * np.arange(curves.shape[2])
    needed = labels[mean[2] >= mean[0, -1]][:1]
    as_good = needed[0] if len(needed) else "-"
    accuracies = " | ".join(f"{100 * mean[order, -1]:.1f}" for order in (0, 2))
    print(f"| {name} | {accuracies} | {labels[-1]} | {as_good} | {cells[1]} | {cells[0]} |", flush=True)


def label_in_order(order: str, x: np.ndarray, y: np.ndarray, clusters: np.ndarray, draw: int) -> list[float]:
    """Accuracy on the test after each round."""
    rng, classes = np.random.default_rng([draw, 15]), int(y.max()) + 1
    groups = np.unique(clusters)
    is_test = np.isin(clusters, rng.choice(groups, len(groups) // 3, replace=False))
    pool, test = rng.permutation(np.flatnonzero(~is_test)), np.flatnonzero(is_test)
    labelled, rest, accuracies = pool[:FIRST], pool[FIRST:], list[float]()
    head = registry.load_plugin("heads", "logistic")
    while True:
        setting = head.grid(len(labelled), x.shape[1], classes)[3]
        path = head.path(x[labelled], y[labelled], n_classes=classes, params=[setting], class_weight=None, seed=draw)
        fitted = next(iter(path))
        p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x)
        accuracies.append(float((p[test].argmax(axis=1) == y[test]).mean()))
        if len(labelled) + STEP > min(LAST, len(pool) // 2):
            return accuracies
        chosen = choose(order, x[rest], p[rest], draw)
        labelled, rest = np.append(labelled, rest[chosen]), np.delete(rest, chosen)


def choose(order: str, x: np.ndarray, p: np.ndarray, seed: int) -> np.ndarray:
    """Positions of the next pictures."""
    if order == "random":
        return np.arange(STEP)
    uncertainty = [
        measure_uncertainty(Prediction(uri="", answer="", probabilities=dict(enumerate(row)))) for row in p.tolist()
    ]
    by_uncertainty = np.argsort(-np.array(uncertainty), kind="stable")
    if order == "margin":
        return by_uncertainty[:STEP]
    candidates = by_uncertainty[: count_candidates(len(x), STEP)]
    return candidates[choose_diverse(x[candidates], STEP, seed)]


def measure_sets(measure: Callable[[str, Path, int, Path], None], header: str, draws: int, title: str) -> None:
    """A table with the lines that `measure` prints of each set: textile, digits, and stamps where they are named."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--draws", type=int, default=draws)
    args = parser.parse_args()
    print(header)
    print("|---" * (header.count("|") - 1) + "|")
    with tempfile.TemporaryDirectory() as folder, blas_threads.single_blas_thread():
        scratch = Path(folder)
        for name, source in write_sets(args.stamps, scratch).items():
            measure(name, source, args.draws, scratch / f"run-{name}")


def write_sets(stamps_folder: Path | None, scratch: Path) -> dict[str, Path]:
    """Textile, digits, and stamps where they are named."""
    sets = {"textile": fetch_textile(Store(cache_folder()), Console(quiet=True))}
    sets["digits"] = digits(scratch / "digits", 10_000, 0)
    if stamps_folder:
        sets["stamps"] = stamps(stamps_folder, scratch / "stamps")
    return sets


def main() -> None:
    """Print the table."""
    header = "| set | random | suggested | labels | suggested as good with | gain of the area | by margin alone |"
    measure_sets(measure_set, header, 6, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
