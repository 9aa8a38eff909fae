"""How much faster a model learns from the pictures that `headstart suggest` names than from pictures drawn at random.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    pip install --no-deps --target peers scikit-activeml==1.0.0 makefun iteration-utilities  # for the columns of peers
    PYTHONPATH=peers python -m benchmarks.suggest [--stamps stamps/usr/share/tuxpaint/stamps] [--draws 6] [--case rare]

A third of the clusters of near-duplicates is the test. From 40 pictures drawn at random on, 20 at a time are labelled
up to 240, or half of those that may be labelled: logistic regression on the level `stage5` of EfficientNet-Lite0 learns
from them, and names the next. The area under the curve is the mean accuracy over the rounds; its gain over random order
is paired by draws, with a t interval. `margin` is uncertainty alone, without the clusters. Where scikit-activeml is
there, its BADGE, CoreSet and TypiClust choose from the same features, with the same model.

`--case wrong` gives 5 % of the labels that are learnt from another class. `--case rare` leaves of each class a smaller
part to label, down to a tenth, and measures the mean accuracy of the classes.
"""

import argparse
import importlib.util
import tempfile
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
from headstart.core.types import FittedHead, Prediction
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features
from headstart.heads import prediction
from headstart.labelling.suggestions import choose_diverse, count_candidates, measure_uncertainty
from headstart.statistics.intervals import mean_interval

BACKBONE, LEVEL = "bundled:efficientnet_lite0", "stage5"
FIRST, STEP, LAST = 40, 20, 240
ORDERS = ("random", "suggest", "margin")
PEERS = ("Badge", "CoreSet", "TypiClust") if importlib.util.find_spec("skactiveml") else ()
CASES = ("plain", "wrong", "rare")
WRONG, RAREST = 0.05, 0.1


def measure_set(name: str, folder: Path, draws: int, scratch: Path, case: str) -> None:
    """One line of the table."""
    ctx = context(scratch / "read")
    data = read_dataset(str(folder), ctx=ctx)
    embeddings = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx)
    files = audit_dataset(data, ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx, embeddings=embeddings, before=files).clusters
    x, y = np.array(embeddings.vectors[LEVEL]), np.asarray(data.targets)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    orders = (*ORDERS, *PEERS)
    curves = np.array(
        [[label_in_order(order, x, y, clusters, draw, case) for order in orders] for draw in range(draws)]
    )
    areas, mean = curves.mean(axis=2), curves.mean(axis=0)
    gains = [mean_interval(100 * (areas[:, order] - areas[:, 0])) for order in range(1, len(orders))]
    labels = FIRST + STEP * np.arange(curves.shape[2])
    needed = labels[mean[1] >= mean[0, -1]][:1]
    as_good = needed[0] if len(needed) else "-"
    accuracies = " | ".join(f"{100 * value:.1f}" for value in (*mean[:2, -1], *areas.mean(axis=0)[:2]))
    cells = " | ".join(f"{gain.value:+.1f} [{gain.low:.1f}, {gain.high:.1f}]" for gain in gains)
    print(f"| {name} | {accuracies} | {labels[-1]} | {as_good} | {cells} |", flush=True)


def label_in_order(order: str, x: np.ndarray, y: np.ndarray, clusters: np.ndarray, draw: int, case: str) -> list[float]:
    """Accuracy on the test after each round."""
    rng, classes = np.random.default_rng([draw, 15]), int(y.max()) + 1
    groups = np.unique(clusters)
    is_test = np.isin(clusters, rng.choice(groups, len(groups) // 3, replace=False))
    pool, test = rng.permutation(np.flatnonzero(~is_test)), np.flatnonzero(is_test)
    learnt_y = y.copy()
    if case == "wrong":
        learnt_y = np.where(rng.random(len(y)) < WRONG, (y + rng.integers(1, classes, len(y))) % classes, y)
    if case == "rare":
        shares = RAREST ** (rng.permutation(classes) / (classes - 1))
        pool = pool[rng.random(len(pool)) < shares[y[pool]]]
    labelled, rest, accuracies = pool[:FIRST], pool[FIRST:], list[float]()
    head = registry.load_plugin("heads", "logistic")
    while True:
        setting = head.grid(len(labelled), x.shape[1], classes)[3]
        path = head.path(
            x[labelled], learnt_y[labelled], n_classes=classes, params=[setting], class_weight=None, seed=draw
        )
        fitted = next(iter(path))
        p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x)
        accuracies.append(measure_accuracy(p[test].argmax(axis=1) == y[test], y[test], by_class=case == "rare"))
        if len(labelled) + STEP > min(LAST, len(pool) // 2):
            return accuracies
        if order in PEERS:
            chosen = ask_peer(order, x, learnt_y, labelled, rest, fitted, draw)
        else:
            chosen = choose(order, x[rest], p[rest], draw)
        labelled, rest = np.append(labelled, rest[chosen]), np.delete(rest, chosen)


def measure_accuracy(hits: np.ndarray, y: np.ndarray, *, by_class: bool) -> float:
    """The share of right answers, or the mean of the classes' shares."""
    return float(np.mean([hits[y == label].mean() for label in np.unique(y)]) if by_class else hits.mean())


def ask_peer(
    name: str, x: np.ndarray, y: np.ndarray, labelled: np.ndarray, rest: np.ndarray, fitted: FittedHead, seed: int
) -> np.ndarray:
    """Positions of the next pictures, as a strategy of scikit-activeml chooses them."""
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier

    class Head(SkactivemlClassifier):
        """The model as it was fitted."""

        def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: object = None) -> "Head":
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return prediction.predict_probabilities(fitted.kind, fitted.arrays, x.astype(np.float32))

    values = np.concatenate([y[labelled].astype(float), np.full(len(rest), np.nan)])
    options = {"clf": Head(classes=np.unique(y)), "fit_clf": False} if name == "Badge" else {}
    query = getattr(pool, name)(random_state=seed).query
    chosen = query(x[np.append(labelled, rest)], values, batch_size=STEP, **options)
    return np.asarray(chosen) - len(labelled)


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


def write_sets(stamps_folder: Path | None, scratch: Path) -> dict[str, Path]:
    """Textile, digits, and stamps where they are named."""
    sets = {"textile": fetch_textile(Store(cache_folder()), Console(quiet=True))}
    sets["digits"] = digits(scratch / "digits", 10_000, 0)
    if stamps_folder:
        sets["stamps"] = stamps(stamps_folder, scratch / "stamps")
    return sets


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--case", choices=CASES, default=CASES[0])
    args = parser.parse_args()
    columns = ["set", "random", "suggested", "area, random", "area, suggested", "labels", "suggested as good with"]
    columns += [*ORDERS[1:], *PEERS]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    with tempfile.TemporaryDirectory() as folder, blas_threads.single_blas_thread():
        scratch = Path(folder)
        for name, source in write_sets(args.stamps, scratch).items():
            measure_set(name, source, args.draws, scratch / f"run-{name}", args.case)


if __name__ == "__main__":
    main()
