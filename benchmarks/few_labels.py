"""Accuracy against the number of labels a class, with and without a start from the names of the classes.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.few_labels stamps/usr/share/tuxpaint/stamps [BACKBONE]

The pictures are photographs of things that Tux Paint's stamps cut out, in folders with names such as `birds`; drawings
and mirrored copies are left out. Their names say what they show; as a counterpart the same names are dealt out anew to
other classes, and the textile pictures have names that say nothing of what they look like. Features are of one
backbone's depth `last`; each head's strength is searched by cross-validation inside the labelled pictures, as `fit`
does, with one label a class it is fixed. All other pictures judge. Means over draws of the labelled pictures, the
difference to plain ridge with a t interval over the draws, which share pictures.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import context
from headstart.core import registry
from headstart.core.say import Say
from headstart.core.settings import cache_folder
from headstart.core.store import Store
from headstart.kit import blas, class_names, crossval, fitted, naming, trunk
from headstart.kit.intervals import mean_interval, wilson
from headstart.kit.losses import log_losses
from headstart.kit.wheels import textile

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
HEADS = ("nearest_mean", "ridge", "logistic")
NAMED, DEALT = "ridge from names", "ridge from names dealt anew"
QUIET = Say(quiet=True)


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
    from headstart.stages.embed.run import run as embed
    from headstart.stages.read.run import run as read

    ctx = context(scratch, data=str(folder))
    data, one = read(str(folder), ctx=ctx), trunk.find(backbone)
    one.source.pull(one.preset, ctx.store, QUIET)
    x = np.array(embed(data, one.name, np.arange(len(data.uris)), ctx=ctx).vectors[one.spec.depths[-1].name])
    y, names = np.asarray(data.targets), data.class_names
    class_names.require(names)
    found = naming.of(one, names, ctx.store, QUIET)
    print(f"\n{title}: {len(y):,} pictures, {len(names)} classes, {one.name}@{one.spec.depths[-1].name}")
    alone(y, found.similarities(x), "by names alone")
    centred = x - x.mean(axis=0)
    alone(y, centred @ found.linear(), "the same in its linear form, pictures' mean taken off")
    least = np.bincount(y)
    for labels in LABELS:
        kept = np.flatnonzero(least >= labels + LEFT)
        rows = np.flatnonzero(np.isin(y, kept))
        curve(x[rows], np.searchsorted(kept, y[rows]), found.linear()[:, kept], labels)


def alone(y: np.ndarray, scores: np.ndarray, said: str) -> None:
    one = wilson(int((scores.argmax(axis=1) == y).sum()), len(y))
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
        heads = {name: registry.load("heads", name) for name in HEADS}
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
        setting = crossval.tuned(head, x[learnt], y[learnt], folds, n_classes=classes).params
    made = head.path(x[learnt], y[learnt], n_classes=classes, params=[setting], class_weight=None, seed=0)
    return fitted.many(list(made), x[judged])[0]


def main() -> None:
    backbone = sys.argv[2] if len(sys.argv) > 2 else "bundled:efficientnet_lite2"
    with tempfile.TemporaryDirectory() as scratch, blas.single():
        folder = stamps(Path(sys.argv[1]), Path(scratch) / "stamps")
        measured("stamps", folder, backbone, Path(scratch) / "run1")
        measured("textile", textile(Store(cache_folder()), QUIET), backbone, Path(scratch) / "run2")


if __name__ == "__main__":
    main()
