"""Copies of every tenth picture, each changed in one of ten ways, in 600 textile pictures and the stamps of Tux Paint.

A copy is found when a tool puts it in one group with its original; named are the copies that it puts in any group.
headstart answers by all checks of copies together that need no vectors.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.common import context, pictures
from benchmarks.few_labels import stamps
from benchmarks.planted import DefectRow
from benchmarks.planted.sources import STAMPS
from headstart.core.types import AuditInput, Dataset
from headstart.data.audit import load_checks
from headstart.data.duplicates.clusters import find_clusters
from headstart.data.reading.read_dataset import read_dataset

TEXTILE = 600
CHECKS = ("D101", "D102", "D103", "D108")


def cut(picture: Image.Image, part: float, rng: np.random.Generator) -> Image.Image:
    """Cut a part of the width and of the height off, anywhere."""
    width, height = (round(side * (1 - part)) for side in picture.size)
    left, top = int(rng.integers(picture.width - width + 1)), int(rng.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _shrink(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width * 6 // 10, picture.height * 6 // 10), Image.Resampling.BICUBIC)


Change = Callable[[Image.Image, np.random.Generator], Image.Image]
COPIES: dict[str, tuple[str, Change, int]] = {
    "resized to 60 %": ("D103", lambda picture, rng: _shrink(picture), 92),
    "JPEG of quality 50": ("D103", lambda picture, rng: picture, 50),
    "8 % brighter": ("D103", lambda picture, rng: ImageEnhance.Brightness(picture).enhance(1.08), 92),
    "mirrored": ("D103", lambda picture, rng: ImageOps.mirror(picture), 92),
    "turned by 90": ("D103", lambda picture, rng: picture.transpose(Image.Transpose.ROTATE_90), 92),
    "turned by 180": ("D103", lambda picture, rng: picture.transpose(Image.Transpose.ROTATE_180), 92),
    "cropped by 5 %": ("D108", lambda picture, rng: cut(picture, 0.05, rng), 92),
    "cropped by 10 %": ("D108", lambda picture, rng: cut(picture, 0.1, rng), 92),
    "cropped by 20 %": ("D108", lambda picture, rng: cut(picture, 0.2, rng), 92),
}
KINDS = ("exact", *COPIES)


def plant(source: Path, target: Path) -> None:
    """The pictures, and of each in turn a copy of one kind or none, named `<source>--<number of the kind>`."""
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        kind = number % (2 * len(KINDS))  # every second picture stays alone
        if kind == 0:
            (folder / f"{path.stem}--0{path.suffix}").write_bytes(path.read_bytes())
        elif kind < len(KINDS):
            _, change, quality = COPIES[KINDS[kind]]
            opened = Image.open(path).convert("RGBA")
            whole = Image.new("RGBA", opened.size, "white")
            whole.alpha_composite(opened)
            content = io.BytesIO()
            change(whole.convert("RGB"), rng).save(content, "JPEG", quality=quality)
            (folder / f"{path.stem}--{kind}.jpg").write_bytes(content.getvalue())


def group_by_headstart(data: Dataset) -> np.ndarray:
    """(N,) the group of each picture by the links of the checks of copies."""
    outcomes = [check(AuditInput(data=data, folds=5)) for check in load_checks("files") if check.code in CHECKS]
    links = [link for outcome in outcomes for link in outcome.links]
    return find_clusters(len(data.uris), np.array(links, np.int64).reshape(-1, 2))


def group_by_cleanvision(data: Dataset) -> np.ndarray:
    """The same by CleanVision's exact and near duplicates."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=data.root, verbose=False)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    rows = {str(Path(data.root, uri).resolve()): row for row, uri in enumerate(data.uris)}
    sets = [group for name in ("exact_duplicates", "near_duplicates") for group in lab.info[name]["sets"]]
    groups = [[rows[str(Path(path).resolve())] for path in group] for group in sets]
    links = [(group[0], row) for group in groups for row in group[1:]]
    return find_clusters(len(data.uris), np.array(links, np.int64).reshape(-1, 2))


TOOLS = {"headstart": group_by_headstart, "cleanvision": group_by_cleanvision}


def measure_set(name: str, source: Path, scratch: Path) -> Iterator[DefectRow]:
    """The rows of one set."""
    plant(source, scratch / "planted")
    planted, clean = (
        read_dataset(str(folder), ctx=context(scratch / f"run-{at}"))
        for at, folder in enumerate((scratch / "planted", source))
    )
    stems = [uri.rpartition(".")[0].split("--") for uri in planted.uris]
    original = {stem[0]: row for row, stem in enumerate(stems) if len(stem) == 1}
    copies = [(row, original[stem[0]], int(stem[1])) for row, stem in enumerate(stems) if len(stem) > 1]
    for tool, group in TOOLS.items():
        try:
            groups, clean_groups = group(planted), group(clean)
        except ImportError:
            continue
        sizes, clean_sizes = np.bincount(groups)[groups], np.bincount(clean_groups)[clean_groups]
        for kind, title in enumerate(KINDS):
            of_kind = [(row, whole) for row, whole, number in copies if number == kind]
            yield DefectRow(
                check=COPIES[title][0] if kind else "D101",
                defect=f"{name}: {title}",
                tool=tool,
                planted=len(of_kind),
                found=sum(groups[row] == groups[whole] for row, whole in of_kind),
                named=sum(sizes[row] > 1 for row, _ in of_kind),
                clean_named=int((clean_sizes > 1).sum()),
                clean=len(clean.uris),
            )


def measure() -> Iterator[DefectRow]:
    """The rows of every set that is there."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        yield from measure_set("textile", pictures(scratch / "textile", TEXTILE), scratch / "of-textile")
        if STAMPS.is_dir():
            yield from measure_set("stamps", stamps(STAMPS, scratch / "stamps"), scratch / "of-stamps")
