"""The few real photographs with an obvious label that packages carry: enough to see that a thing works, not how well.

Those of scikit-image lie in its wheel, which is fetched and never imported; those of scikit-learn are installed with
it. Drawings, patterns, second views and crops are left out; no photograph is left out for its answer.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store

WHEEL = ("scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af")
TAGS = ("3.11", "manylinux_2_28_x86_64")
LABELS = {
    "astronaut.png": "astronaut",
    "brick.png": "brick wall",
    "camera.png": "photographer",
    "cell.png": "cell under a microscope",
    "chelsea.png": "cat",
    "clock_motion.png": "clock",
    "coffee.png": "espresso",
    "coins.png": "coins",
    "grass.png": "grass",
    "gravel.png": "gravel",
    "hubble_deep_field.jpg": "galaxies",
    "ihc.png": "stained tissue",
    "moon.png": "moon",
    "motorcycle_left.png": "motorcycle",
    "page.png": "page of a book",
    "retina.jpg": "retina",
    "rocket.jpg": "rocket",
}
LEARN_LABELS = {"china.jpg": "palace", "flower.jpg": "flower"}


def fetch_labelled_photos(store: Store, console: Console) -> dict[Path, str]:
    """19 photographs and their labels; raises SetupError where the wheel cannot be had, or lacks one."""
    import sklearn.datasets

    key = {"set": "photos", "wheel": WHEEL[2]}  # in a folder inside the entry, whose seal is no picture:
    folder = store.make_entry("data", key, lambda draft: _extract_photos(draft / "photos", store, console))

    other = Path(sklearn.datasets.__file__).parent / "images"
    labels = {folder / "photos" / name: label for name, label in LABELS.items()}
    return labels | {other / name: label for name, label in LEARN_LABELS.items()}


def _extract_photos(target: Path, store: Store, console: Console) -> None:
    wheel = wheels.fetch_wheel(*WHEEL, store, console, tags=TAGS)
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        inside = {PurePosixPath(name).name: name for name in archive.namelist() if "/data/" in name}
        missing = LABELS.keys() - inside.keys()
        if missing:
            raise SetupError(f"the package lacks {', '.join(sorted(missing))}", where=str(wheel))
        for name in LABELS:
            (target / name).write_bytes(archive.read(inside[name]))
