"""Logistic regression against scikit-learn's on the same folds; with --million, rank and adapt 1,000,000 rows.

The comparison runs on EfficientNet-Lite0's last layer of 1,000 textile pictures; `--million` takes 5 GB of disk, twice.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, context, measured, pictures, ratio

ROWS, WIDTH, CLASSES = 1_000_000, 1_280, 3


def features(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, 1280) float32 features of real pictures, and their classes."""
    from headstart.data.reading.read_dataset import read_dataset as read
    from headstart.features.extraction import extract_features as embed

    ctx = context(folder / "run")
    data = read(str(pictures(folder / "pictures", count)), ctx=ctx)
    found = embed(data, LITE0, np.arange(count), ctx=ctx)
    return np.array(found.vectors["last"]), np.asarray(data.targets)


# ---------------------------------------------------------------- against scikit-learn


def ours(x: np.ndarray, y: np.ndarray, folds: np.ndarray, grid: list) -> np.ndarray:
    """(G, M, C) held-out probabilities."""
    from headstart.core import registry
    from headstart.heads import cross_validation

    head = registry.load_plugin("heads", "logistic")
    return cross_validation.predict_held_out(head, x, y, folds[None], n_classes=CLASSES, grid=grid)[:, 0]


def theirs(x: np.ndarray, y: np.ndarray, folds: np.ndarray, grid: list, tol: float, warm: bool) -> np.ndarray:
    """The same by scikit-learn, in float64 on one thread; warm: each strength starts from the one before."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    out = np.zeros((len(grid), len(y), CLASSES))
    with threadpool_limits(1):
        for k in np.unique(folds):
            rest = folds != k
            scaler = StandardScaler().fit(x[rest].astype(np.float64))
            learnt, judged = (scaler.transform(x[rows].astype(np.float64)) for rows in (rest, ~rest))
            model = LogisticRegression(warm_start=warm, tol=tol, max_iter=5000)
            for at, params in enumerate(grid):
                model.set_params(C=1 / (params["strength"] * rest.sum())).fit(learnt, y[rest])
                out[at, ~rest] = model.predict_proba(judged)
    return out


def compare() -> None:
    """CPU seconds, accuracy, log loss and the largest difference in probability."""
    from headstart.core import registry
    from headstart.statistics.losses import log_losses

    with tempfile.TemporaryDirectory() as scratch:
        x, y = features(Path(scratch), 1_000)
    grid = list(registry.load_plugin("heads", "logistic").grid(len(y), x.shape[1], CLASSES))
    folds = np.random.default_rng(0).permutation(len(y)) % 5
    ours(x[::10], y[::10], folds[::10], grid[:1])  # libraries are loaded once, outside the clock
    theirs(x[::10], y[::10], folds[::10], grid[:1], 1e-4, False)
    started = time.process_time()
    mine = ours(x, y, folds, grid)
    mine_s = time.process_time() - started
    print(f"5 folds, {len(grid)} strengths, n = 1,000, D = {x.shape[1]}, C = {CLASSES}: {mine_s:.2f} s CPU")
    for tol, warm in ((1e-4, False), (1e-8, False), (1e-8, True)):
        started = time.process_time()
        other = theirs(x, y, folds, grid, tol, warm)
        other_s = time.process_time() - started
        gap = np.abs(mine - other).max()
        said = f"scikit-learn, tol {tol:g}{', warm starts' if warm else ''}: {other_s:.2f} s CPU"
        print(f"{said}; probabilities differ by {gap:.1e} at most; CPU ratio {mine_s / other_s:.2f}", flush=True)
    for name, p in (("ours", mine), ("scikit-learn", other)):
        told = [f"{log_losses(y, q).mean():.4f}/{(q.argmax(axis=1) == y).mean():.3f}" for q in p]
        print(f"log loss/accuracy by strength, {name}: {' '.join(told)}")


# ---------------------------------------------------------------- a million rows


def million() -> None:
    """Rank and fit 1,000,000 vectors of width 1,280 in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "vectors.f32"
        _write(path)
        cost = measured([sys.executable, "-m", "benchmarks.heads", "--child", str(path)])
        print(Path(scratch, "said.txt").read_text(), end="")
        print(f"rank and adapt {ROWS:,} x {WIDTH:,}: {cost.wall_s:.0f} s wall, {cost.cpu_s:.0f} s CPU")
        ratio("peak anonymous", cost.peak_anonymous / 1e9, 8, "GB")
        ratio("peak resident, mapped files included", cost.peak_rss / 1e9, 8, "GB")


def _labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, CLASSES, ROWS)


def _write(path: Path) -> None:
    """Correlated columns of unequal size in which the classes differ a little."""
    rng, y = np.random.default_rng(0), _labels()
    centres = (0.08 * rng.normal(size=(CLASSES, WIDTH))).astype(np.float32)
    shared = rng.normal(size=(32, WIDTH)).astype(np.float32)
    with path.open("wb") as out:
        for at in range(0, ROWS, 8_192):
            part = y[at : at + 8_192]
            x = rng.standard_normal((len(part), WIDTH), np.float32) + centres[part]
            x += rng.standard_normal((len(part), 32), np.float32) @ shared * np.float32(0.3)
            out.write(np.maximum(x, 0).tobytes())


def _child(path: Path) -> None:
    from headstart.core.types import (
        BackboneSpec,
        Dataset,
        DatasetFacts,
        Embeddings,
        EmbedKey,
        FeatureLevel,
        InputSpec,
        Splits,
    )
    from headstart.selection.probe.train_probe import train_probe as adapt
    from headstart.selection.ranking.rank_backbones import rank_backbones as rank

    y, rng = _labels(), np.random.default_rng(2)
    none = np.zeros(ROWS, np.int32)
    histogram = rng.random((ROWS, 64), np.float32)
    facts = DatasetFacts(
        width_px=none, height_px=none, file_bytes=none, phash=none, histogram=histogram, grey_std=none, notes=()
    )
    names = tuple(f"class{c}" for c in range(CLASSES))
    data = Dataset(
        name="million", root="", modality="image", task="classification", uris=("",) * ROWS, digests=(), targets=y,
        split=(), class_names=names, facts=facts, excused=(), digest="",
    )  # fmt: skip
    order = rng.permutation(ROWS)
    train = np.sort(order[: ROWS * 4 // 5])
    folds = np.full((1, ROWS), -1, np.int16)
    folds[0, train] = rng.integers(0, 5, len(train))
    splits = Splits(
        train=train, val=order[:0], test=np.sort(order[ROWS * 4 // 5 :]), folds=folds, clusters=np.arange(ROWS),
        given=False, straddling=np.zeros((0, 2), np.int64), seed=0, why="",
    )  # fmt: skip
    depths = (FeatureLevel(name="last", dim=WIDTH),)
    spec = BackboneSpec(
        name="made:up", family="made", revision="1", input=InputSpec(size_px=8), depths=depths, params=1, flops=1,
        licence="", licence_note="", pretrained_on="", download_bytes=0, prior=0.5, prior_source="",
    )  # fmt: skip
    key = EmbedKey(backbone="made:up", revision="1", input=spec.input, depths=depths, precision="f32", engine="none")
    vectors = {"last": np.memmap(path, np.float32, "r", shape=(ROWS, WIDTH)).view(np.ndarray)}
    found = Embeddings(key=key, spec=spec, rows=np.arange(ROWS), vectors=vectors, seconds=0.0, cached=0, latency_ms=0.0)
    ctx = context(path.parent / "run")
    started = time.monotonic()
    ranking = rank(data, splits, (found,), ctx=ctx)
    ranked_s = time.monotonic() - started
    adapted = adapt(data, splits, ranking, (found,), ctx=ctx)
    adapted_s = time.monotonic() - started - ranked_s
    right = (adapted.train_probabilities.argmax(axis=1) == y[train]).mean()
    fitting = time.monotonic()
    fitted = _logistic(vectors["last"], y)
    Path(path.parent, "said.txt").write_text(
        f"rank (50,000 rows) {ranked_s:.0f} s; adapt (20,000 rows, then {len(train):,}) {adapted_s:.0f} s: "
        f"{adapted.fitted.head}, {right:.3f} right in training; "
        f"logistic alone on {ROWS:,} {time.monotonic() - fitting:.0f} s: {fitted:.3f} right\n"
    )


def _logistic(x: np.ndarray, y: np.ndarray) -> float:
    from headstart.core import registry
    from headstart.heads.prediction import predict_probabilities

    head = registry.load_plugin("heads", "logistic")
    grid = head.grid(len(y), WIDTH, CLASSES)
    made = next(iter(head.path(x, y, n_classes=CLASSES, params=[grid[2]], class_weight=None, seed=0)))
    return float((predict_probabilities(made.kind, made.arrays, x[:50_000]).argmax(axis=1) == y[:50_000]).mean())


def main() -> None:
    """Compare; the million only when asked for."""
    if "--child" in sys.argv:
        _child(Path(sys.argv[-1]))
        return
    compare()
    if "--million" in sys.argv:
        million()


if __name__ == "__main__":
    main()
