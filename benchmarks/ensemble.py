"""What an ensemble of heads gains on pictures that no head learnt from, against the best single head.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.ensemble [--stamps stamps/usr/share/tuxpaint/stamps] [--draws 3]

Each draw deals the pictures out anew to learning and testing, near-duplicates together. `rank` and `adapt` run twice on
the cached features of EfficientNet-Lite0 to 2: as they are, and with the ensemble forbidden. What they hand over
answers for the test pictures. Paired differences over all draws; a picture that several draws test counts as one.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import context
from benchmarks.few_labels import stamps
from benchmarks.tuned_accuracy import LITE, digits
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import Dataset, Embeddings, FitResult
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.splits import draw_splits
from headstart.data.stratified_group_split import deal_clusters
from headstart.features.extraction import extract_features
from headstart.features.feature_matrix import predict_rows
from headstart.heads import ensemble
from headstart.selection.probe.train_probe import train_probe
from headstart.selection.ranking.rank_backbones import rank_backbones
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.losses import log_losses
from headstart.uncertainty.temperature import apply_temperature


def measure_set(name: str, folder: Path, learn: int, draws: int, scratch: Path) -> None:
    """One line of the table."""
    ctx = context(scratch / "read")
    data = read_dataset(str(folder), ctx=ctx)
    every, y = np.arange(len(data.uris)), np.asarray(data.targets)
    features = tuple(extract_features(data, backbone, every, ctx=ctx) for backbone in LITE)
    files = audit_dataset(data, ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx, embeddings=features[0], before=files).clusters
    losses, right, tested, taken, cpu_s = [], [], [], 0, {True: 0.0, False: 0.0}
    for draw in range(draws):
        answers = {}
        for allowed in (True, False):
            started = time.process_time()
            fitted, test = fit_draw(data, features, clusters, learn, draw, scratch / f"{draw}{allowed}", allowed)
            cpu_s[allowed] += (time.process_time() - started) / draws
            p = predict_rows(fitted.fitted, features, fitted.features, test)
            answers[allowed] = apply_temperature(p, fitted.temperature)
            taken += fitted.fitted.head == ensemble.NAME
        losses.append([log_losses(y[test], answers[allowed]) for allowed in (True, False)])
        right.append([answers[allowed].argmax(axis=1) == y[test] for allowed in (True, False)])
        tested.append(test)
    rows, (loss, single), (hits, single_hits) = np.concatenate(tested), *map(stack, (losses, right))
    gain, points = (mean_interval(d, clusters[rows]) for d in (loss - single, 100 * (hits - single_hits)))
    print(
        f"| {name} | {learn:,} of {len(y):,} | {taken} of {draws} | {single.mean():.3f} | {show(gain, 3)} "
        f"| {100 * gain.value / single.mean():+.1f} % | {show(points, 1)} | {cpu_s[True]:.1f} of {cpu_s[False]:.1f} |",
        flush=True,
    )


def fit_draw(
    data: Dataset,
    features: tuple[Embeddings, ...],
    clusters: np.ndarray,
    learn: int,
    draw: int,
    folder: Path,
    allowed: bool,
) -> tuple[FitResult, np.ndarray]:
    """What is handed over, and the (M,) rows that test it."""
    y, share = np.asarray(data.targets), learn / len(data.targets)
    part = deal_clusters(y, clusters, (share, 1 - share), np.random.default_rng([draw, 31]))
    data = dataclasses.replace(data, split=tuple(np.where(part == 0, "train", "test").tolist()))
    ctx = context(folder, seed=draw)
    if not allowed:
        ctx.record_decision("adapt/ensemble", lambda: False, "a benchmark leaves it out")
    splits = draw_splits(data, clusters, ctx=ctx)
    ranking = rank_backbones(data, splits, features, ctx=ctx)
    return train_probe(data, splits, ranking, features, ctx=ctx), np.asarray(splits.test)


def stack(pairs: list) -> np.ndarray:
    """(2, M) float64 of all draws, one behind the other."""
    return np.concatenate([np.asarray(pair, np.float64) for pair in pairs], axis=1)


def show(interval: Interval, digits: int) -> str:
    """With a sign."""
    value, low, high = interval
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, help="folder of Tux Paint's stamps")
    parser.add_argument("--folder", type=Path, help="another folder of classes, of which 600 pictures are learnt from")
    parser.add_argument("--draws", type=int, default=3)
    args = parser.parse_args()
    print("| set | learnt from | taken | log loss | difference | of it | accuracy, points | CPU s of rank and adapt |")
    print("|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        textile = fetch_textile(Store(cache_folder()), Console(quiet=True))
        sets = [("textile", textile, 300), ("textile", textile, 1_000)]
        sets.append(("digits", digits(scratch / "digits", 1_797, 0) / "train", 800))
        sets += [("stamps", stamps(args.stamps, scratch / "stamps"), 200)] if args.stamps else []
        sets += [(args.folder.name, args.folder, 600)] if args.folder else []
        for number, (name, folder, learn) in enumerate(sets):
            measure_set(name, folder, learn, args.draws, scratch / str(number))


if __name__ == "__main__":
    main()
