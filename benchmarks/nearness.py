"""Nearness of a source: what its columns cost beside the probes, and what they say of real pictures.

Lite0's features of 2,000 textile pictures are probed as `rank` does it, with ImageNet's head and 256 kept vectors. Then
256 textile pictures, as the source, are compared with 256 others, with handwritten digits and crops of photographs.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import LITE0, context, pictures, ratio

SOURCE, DIGITS, CROPS = 256, 256, 256


def main() -> None:
    """Costs, then figures."""
    from headstart.data.reading.read_dataset import read_dataset as read
    from headstart.features.extraction import extract_features as embed

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ctx = context(folder / "run")
        data = read(str(pictures(folder / "textile", 2_000)), ctx=ctx)
        found = embed(data, LITE0, np.arange(2_000), ctx=ctx)
        vectors = {depth: np.array(rows) for depth, rows in found.vectors.items()}
        _cost(vectors, np.asarray(data.targets), ctx)
        _say(vectors, np.asarray(data.targets), ctx)


def _arena(y: np.ndarray, ctx):
    from headstart.selection.ranking.probe_scores import arena

    rows = np.arange(len(y))
    folds = np.random.default_rng(0).permutation(len(y))[None] % 5
    return arena(rows, y, folds, rows, split="cv", classes=int(y.max()) + 1, ctx=ctx)


def _past(vectors: dict[str, np.ndarray], ctx):
    """ImageNet's head, and textile vectors as if they had been kept."""
    import dataclasses

    from headstart.selection.ranking.source_similarity import known

    kept = {depth: rows[:: len(rows) // SOURCE][:SOURCE] for depth, rows in vectors.items()}
    return dataclasses.replace(known(LITE0, ctx.store), pictures=kept, no_pictures="")


def _seconds(work: Callable[[], object]) -> float:
    """CPU seconds, the least of three: libraries are loaded and caches warm."""
    found = []
    for _ in range(3):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def _cost(vectors: dict[str, np.ndarray], y: np.ndarray, ctx) -> None:
    from headstart.selection.ranking.probe_scores import ProbeInput, judge
    from headstart.selection.ranking.source_similarity import known, near

    on, past = _arena(y, ctx), _past(vectors, ctx)
    total = [0.0, 0.0]
    for depth, x in vectors.items():
        entrant = ProbeInput(backbone=LITE0, depth=depth, flops=1, prior=0.5)
        probes_s = _seconds(lambda entrant=entrant, x=x: judge(entrant, x, on))
        near_s = _seconds(lambda depth=depth, x=x: near(past, depth, x, on))
        total = [total[0] + probes_s, total[1] + near_s]
        print(f"{depth}, 2,000 x {x.shape[1]:,}: probes {probes_s:.2f} s CPU, nearness {near_s:.3f} s")
    head_s = _seconds(lambda: known(LITE0, ctx.store))
    print(f"ImageNet's head read and checked {head_s:.3f} s, once a backbone")
    last = vectors["last"]
    alone = _seconds(lambda: near(past, "last", last, on)) + head_s
    probes_s = _seconds(lambda: judge(ProbeInput(backbone=LITE0, depth="last", flops=1, prior=0.5), last, on))
    ratio("nearness / probes, 2,000 x 1,280, head and pictures", 100 * alone / probes_s, 5, "%")
    ratio("nearness / probes, all depths", 100 * (total[1] + head_s) / total[0], 5, "%")


def _say(vectors: dict[str, np.ndarray], y: np.ndarray, ctx) -> None:
    from headstart.selection.ranking.source_similarity import near

    past = _past(vectors, ctx)
    rest = np.setdiff1d(np.arange(len(y)), np.arange(len(y))[:: len(y) // SOURCE][:SOURCE])
    taken = rest[:: len(rest) // SOURCE][:SOURCE]
    sets = {"other textiles": ({depth: rows[taken] for depth, rows in vectors.items()}, y[taken])}
    sets |= {"handwritten digits": _digits(ctx), "photo crops": _crops(ctx)}
    head = f"{'target':<20}{'depth':<8}Fréchet  told apart               LEEP    NCE    CKA"
    print(f"\nof {SOURCE} textile pictures: {head}")
    for name, (x, labels) in sets.items():
        for depth, rows in x.items():
            found = near(past, depth, rows, _arena(labels, ctx))
            two = found.two_sample
            by_head = (found.leep, found.nce, found.cka)
            told = "".join("      -" if one is None else f"{one:7.3f}" for one in by_head)
            print(
                f"{'':<25}{name:<20}{depth:<8}{found.frechet:8.3f}  "
                f"{two.value:.3f} [{two.low:.3f}, {two.high:.3f}] {told}"
            )


def _vectors(made: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Depth -> (M, D) of (H, W, 3) uint8 pictures, resized as a file would be."""
    from headstart.backbones import loading
    from headstart.core.console import Console
    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store

    found = loading.find(LITE0)
    side = found.spec.input.size_px
    ready = np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in made])
    engine = loading.ready(found, Store(cache_folder()), Console(quiet=True), ready[:8], threads=2)
    parts = [outputs for _, outputs in engine.run((at, ready[at : at + 32]) for at in range(0, len(ready), 32))]
    joined = (np.concatenate(one) for one in zip(*parts, strict=True))
    return dict(zip((depth.name for depth in found.spec.depths), joined, strict=True))


def _digits(ctx) -> tuple[dict[str, np.ndarray], np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = np.argsort(found.target[:DIGITS], kind="stable")
    grey = (found.images[rows] * 15.9).astype(np.uint8)
    return _vectors([np.repeat(one[..., None], 3, axis=2) for one in grey]), found.target[rows]


def _crops(ctx) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Crops of the photographs that packages carry; the photograph is the class."""
    from headstart.core.console import Console
    from headstart.testing.sample_photos import labelled

    rng, made, labels = np.random.default_rng(0), [], []
    files = sorted(labelled(ctx.store, Console(quiet=True)))[:8]
    for label, file in enumerate(files):
        with Image.open(file) as opened:
            whole = np.asarray(opened.convert("RGB"))
        side = min(whole.shape[:2]) // 2
        for _ in range(CROPS // len(files)):
            top, left = (int(rng.integers(0, length - side)) for length in whole.shape[:2])
            made.append(whole[top : top + side, left : left + side])
            labels.append(label)
    return _vectors(made), np.array(labels)


if __name__ == "__main__":
    main()
