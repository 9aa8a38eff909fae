"""Accuracy against the number of labels a class, with and without a start from the names of the classes.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.few_labels stamps/usr/share/tuxpaint/stamps [--backbone NAME] [--fit]

The pictures are photographs of things that Tux Paint's stamps cut out, in folders with names such as `birds`; drawings
and mirrored copies are left out. Their names say what they show; as a counterpart the same names are dealt out anew to
other classes, and the textile pictures have names that say nothing of what they look like. Features are of one
backbone's depth `last`; each head's strength is searched by cross-validation inside the labelled pictures, as `fit`
does, with one label a class it is fixed. All other pictures judge. Means over draws of the labelled pictures, the
difference to plain ridge with a t interval over the draws, which share pictures. With `--fit` whole fits are compared
instead, with and without `--from-names`: what its folds choose is handed over.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import context
from headstart.backbones import loading
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import blas_threads, registry
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.heads import cross_validation, prediction
from headstart.statistics.intervals import mean_interval, wilson_interval
from headstart.statistics.losses import log_losses
from headstart.zero_shot import capability, class_names

FOLDERS = {
    "birds": "animals/birds",
    "insects": "animals/insects",
    "mammals": "animals/mammals",
    "clothes": "clothes",
    "dishes": "household/dishes",
    "electronics": "household/electronics",
    "tools": "household/tools",
    "fruit": "food/fruit",
    "vegetables": "food/vegetables",
    "music": "hobbies/music",
    "body_parts": "people/body_parts",
    "flowers": "plants/flowers",
    "solarsystem": "space/solarsystem",
    "sports": "sports",
    "money": "symbols/money",
    "roadsigns": "town/roadsigns",
    "vehicles": "vehicles",
}
LABELS, DRAWS, LEFT = (1, 2, 4, 8, 16), 10, 4  # LEFT: pictures of a class that must be left to judge
FITTED, FITS = (2, 4), 4  # labels a class and draws of whole fits
HEADS = ("nearest_mean", "ridge", "logistic")
NAMED, DEALT = "ridge from names", "ridge from names dealt anew"
QUIET = Console(quiet=True)


def stamps(source: Path, target: Path) -> Path:
    """The photographs, in one folder a class."""
    for name, folder in FOLDERS.items():
        (target / name).mkdir(parents=True)
        for file in sorted((source / folder).rglob("*.png")):
            if "cartoon" not in file.parts and not file.stem.endswith(("_mirror", "_flip")):
                shutil.copy(file, target / name)
    return target


def measured(title: str, folder: Path, backbone: str, scratch: Path) -> None:
    """Embed a set, guess by names alone, then learn from ever more labels."""
    from headstart.data.reading.read_dataset import read_dataset as read
    from headstart.features.extraction import extract_features as embed

    ctx = context(scratch, data=str(folder))
    data, one = read(str(folder), ctx=ctx), loading.find_backbone(backbone)
    one.source.pull(one.preset, ctx.store, QUIET)
    x = np.array(embed(data, one.name, np.arange(len(data.uris)), ctx=ctx).vectors[one.spec.depths[-1].name])
    y, names = np.asarray(data.targets), data.class_names
    class_names.require_class_names(names)
    found = capability.make_name_scorer(one, names, ctx.store, QUIET)
    print(f"\n{title}: {len(y):,} pictures, {len(names)} classes, {one.name}@{one.spec.depths[-1].name}")
    alone(y, found.compute_similarities(x), "by names alone")
    centred = x - x.mean(axis=0)
    alone(y, centred @ found.make_linear_weights(), "the same in its linear form, pictures' mean taken off")
    least = np.bincount(y)
    for labels in LABELS:
        kept = np.flatnonzero(least >= labels + LEFT)
        rows = np.flatnonzero(np.isin(y, kept))
        curve(x[rows], np.searchsorted(kept, y[rows]), found.make_linear_weights()[:, kept], labels)


def alone(y: np.ndarray, scores: np.ndarray, said: str) -> None:
    one = wilson_interval(int((scores.argmax(axis=1) == y).sum()), len(y))
    print(f"{said:<56}{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]")


def curve(x: np.ndarray, y: np.ndarray, start: np.ndarray, labels: int) -> None:
    """One line a head: accuracy and log loss with so many labels a class."""
    classes = start.shape[1]
    right: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng([draw, labels])
        learnt = np.sort([row for c in range(classes) for row in rng.permutation(np.flatnonzero(y == c))[:labels]])
        judged = np.setdiff1d(np.arange(len(y)), learnt)
        heads = {name: registry.load_plugin("heads", name) for name in HEADS}
        heads[NAMED] = heads["ridge"].starting(start)
        heads[DEALT] = heads["ridge"].starting(start[:, np.roll(rng.permutation(classes), 1)])
        for name, head in heads.items():
            p = answers(head, x, y, learnt, judged, labels, classes)
            right.setdefault(name, []).append(float(np.mean(p.argmax(axis=1) == y[judged])))
            losses.setdefault(name, []).append(float(np.mean(log_losses(y[judged], p))))
    print(f"{labels} labels a class, {classes} classes, {len(judged):,} judge")
    for name in right:
        apart = mean_interval(np.array(right[name]) - np.array(right["ridge"]))
        told = "" if name == "ridge" else f"   {apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}] to ridge"
        print(f"    {name:<30}{np.mean(right[name]):.3f}   log loss {np.mean(losses[name]):.3f}{told}", flush=True)


def answers(head, x, y, learnt, judged, labels: int, classes: int) -> np.ndarray:
    """(B, C) of the judged pictures; the strength by cross-validation on the learnt ones."""
    grid = list(head.grid(len(learnt), x.shape[1], classes))
    setting = grid[len(grid) // 2]
    if labels > 1:
        folds = np.zeros(len(learnt), np.int64)
        for c in range(classes):
            folds[y[learnt] == c] = np.arange(labels) % min(labels, 5)
        setting = cross_validation.tune_head(head, x[learnt], y[learnt], folds, n_classes=classes).params
    made = head.path(x[learnt], y[learnt], n_classes=classes, params=[setting], class_weight=None, seed=0)
    return prediction.predict_many(list(made), x[judged])[0]


# ---------------------------------------------------------------- whole fits


def fits(source: Path, backbone: str, scratch: Path) -> None:
    """Test accuracy of what a fit hands over, with and without a start from names, on the same pictures."""
    import headstart

    pictures = {folder.name: sorted(folder.iterdir()) for folder in sorted(source.iterdir())}
    for labels in FITTED:
        right: dict[bool, list[float]] = {False: [], True: []}
        for draw in range(FITS):
            data = split(pictures, labels, draw, scratch / f"data_{labels}_{draw}")
            for named, into in right.items():
                out = scratch / f"run_{labels}_{draw}_{named}"
                run = headstart.fit(data, from_names=named, backbones=backbone, out=out, console=QUIET)
                into.append(next(s.value for s in run.scores if (s.split, s.name) == ("test", "accuracy")))
        apart = mean_interval(np.array(right[True]) - np.array(right[False]))
        without, named = (np.mean(right[one]) for one in (False, True))
        told = f"{without:.3f} without, {named:.3f} with --from-names"
        print(
            f"{labels} labels a class, {FITS} fits: {told}   {apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]"
        )


def split(pictures: dict[str, list[Path]], labels: int, draw: int, target: Path) -> Path:
    """`train` with so many pictures a class, `test` with the others."""
    rng = np.random.default_rng([draw, labels])
    for name, files in pictures.items():
        if len(files) >= labels + LEFT:
            for place, at in enumerate(rng.permutation(len(files))):
                into = target / ("train" if place < labels else "test") / name
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(files[at], into)
    return target


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--backbone", default="bundled:efficientnet_lite2")
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, blas_threads.single_blas_thread():
        folder = stamps(given.stamps, Path(scratch) / "stamps")
        if given.fit:
            fits(folder, given.backbone, Path(scratch))
            return
        measured("stamps", folder, given.backbone, Path(scratch) / "run1")
        measured("textile", fetch_textile(Store(cache_folder()), QUIET), given.backbone, Path(scratch) / "run2")


if __name__ == "__main__":
    main()
