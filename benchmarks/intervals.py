"""Whether cross-validated intervals hold the truth: small sets drawn from many pictures, all others as the truth.

    python -m benchmarks.intervals

Each set is learnt from as `fit` does without a test split: heads compete by the paired rule on the features of
EfficientNet-Lite0, a temperature is set, and nested cross-validation in five folds gives the scores. The truth are
those of the model that is handed over on all pictures that were not drawn. Printed are the shares of sets whose
interval holds it: `independent` with the variance of pictures that judge one model, `corrected` as `fit` says it.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import LITE0, context
from headstart.backbones import loading
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.stratified_group_split import deal_clusters
from headstart.features.extraction import extract_features
from headstart.heads import cross_validation
from headstart.heads.nested_cv import Candidate, run_nested_cv
from headstart.statistics import metrics
from headstart.statistics.paired_selection import CandidateLosses, choose_candidate
from headstart.uncertainty.temperature import apply_temperature, choose_temperature

FOLDS = 5
HEADS = ("ridge", "logistic", "lda")
SETS = (("textile", 60, 60), ("textile", 150, 60), ("digits", 150, 40))  # pictures of a set, sets
SCORES = ("log_loss", "brier", "accuracy", "balanced_accuracy")
QUIET = Console(quiet=True)


def write_digits(folder: Path) -> Path:
    """The 1,797 digits that scikit-learn carries, as pictures of 64 pixels a side."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((64, 64)).save(path)
    return folder


def embed(folder: Path, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 features and (N,) int64 classes of all pictures."""
    ctx = context(scratch, data=str(folder))
    data, backbone = read_dataset(str(folder), ctx=ctx), loading.find_backbone(LITE0)
    backbone.source.pull(backbone.preset, ctx.store, QUIET)
    embeddings = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx)
    x = np.array(embeddings.vectors[embeddings.spec.depths[-1].name], np.float32)
    return x, np.asarray(data.targets, np.int64)


def choose(candidates: Sequence[Candidate], tuned: Sequence[cross_validation.TunedSetting]) -> int:
    """The paired rule, on the pictures that were judged."""
    judged = [np.isfinite(setting.losses) for setting in tuned]
    losses = [
        CandidateLosses(name=c.name, rows=np.flatnonzero(rows), losses=t.losses[rows], cost=c.cost)
        for c, t, rows in zip(candidates, tuned, judged, strict=True)
    ]
    return [c.name for c in candidates].index(choose_candidate(losses).winner)


def learn(x: np.ndarray, y: np.ndarray, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, C) nested answers to a set, and (B, C) of the model that is handed over to all other pictures."""
    own_x, own_y, n_classes = x[rows], y[rows], int(y.max()) + 1
    deal = np.random.default_rng([seed, 2])
    folds = deal_clusters(own_y, np.arange(len(rows)), (1 / FOLDS,) * FOLDS, deal)
    heads = {name: registry.load_plugin("heads", name) for name in HEADS}
    candidates = [
        Candidate(name=name, x=own_x, head=head, grid=list(head.grid(len(rows), x.shape[1], n_classes)), cost=1.0)
        for name, head in heads.items()
    ]

    def temper(inner: np.ndarray, held_out: np.ndarray, p: np.ndarray) -> np.ndarray:
        return apply_temperature(p, choose_temperature(held_out, own_y[inner], inner, seed).temperature)

    nested, _ = run_nested_cv(candidates, own_y, folds, n_classes=n_classes, choose=choose, calibrate=temper)
    tuned = [
        cross_validation.tune_head(c.head, own_x, own_y, folds[None], n_classes=n_classes, grid=c.grid)
        for c in candidates
    ]
    best, others = choose(candidates, tuned), np.setdiff1d(np.arange(len(y)), rows)
    fit = {"grid": [tuned[best].params], "n_classes": n_classes, "class_weight": None, "seed": 0}
    p = cross_validation.fit_and_predict(candidates[best].head, x, y, rows, others, **fit)[0]
    return nested, temper(np.arange(len(rows)), tuned[best].held_out, p)


def measure(name: str, x: np.ndarray, y: np.ndarray, count: int, sets: int) -> None:
    """One line a score: shares of sets whose interval holds the truth, and the mean error."""
    held: dict[str, list[tuple[bool, bool, float]]] = {score: [] for score in SCORES}
    calibration = []
    for seed in range(sets):
        rng = np.random.default_rng([seed, count])
        share = count / len(y)
        parts = [rng.permutation(np.flatnonzero(y == c))[: round(share * np.sum(y == c))] for c in np.unique(y)]
        rows = np.sort(np.concatenate(parts))
        nested, p = learn(x, y, rows, seed)
        others = np.setdiff1d(np.arange(len(y)), rows)
        for score in SCORES:
            truth = metrics.compute_score(score, y[others], p, split="test").value
            plain, wide = (
                metrics.compute_score(score, y[rows], nested, split="cv", n_folds=folds) for folds in (0, FOLDS)
            )
            ends = plain.low <= truth <= plain.high, wide.low <= truth <= wide.high
            held[score].append((*ends, plain.value - truth))
        gaps = [
            sum(b.n * abs(b.accuracy - b.confidence) for b in metrics.calibration_bins(*pair)) / len(pair[0])
            for pair in ((y[rows], nested), (y[others], p))
        ]
        calibration.append((gaps[0], metrics.compute_score("ece", y[rows], nested, split="cv").value, gaps[1]))
    print(f"\n{name}, {sets} sets of {count} pictures, {len(y) - count:,} others")
    for score, outcomes in held.items():
        independent, corrected, error = np.mean(np.array(outcomes, float), axis=0)
        print(f"{score:<20}independent {independent:.3f}   corrected {corrected:.3f}   told too high by {error:+.3f}")
    plain, debiased, truth = np.mean(calibration, axis=0)
    print(f"calibration error   mean gap {plain:.3f}   debiased {debiased:.3f}   truth {truth:.3f}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            "textile": fetch_textile(Store(cache_folder()), QUIET),
            "digits": write_digits(Path(scratch) / "digits"),
        }
        vectors = {name: embed(folder, Path(scratch) / f"run_{name}") for name, folder in folders.items()}
        for name, count, sets in SETS:
            measure(name, *vectors[name], count, sets)


if __name__ == "__main__":
    main()
