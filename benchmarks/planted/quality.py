"""Pictures that are blurred, dark, overexposed, long or tiny, and files with a wrong suffix: 5 % of each kind in a set
of 400 real pictures. Radii of blur are for 224 px of the shorter side. CleanVision is asked of the same files.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.common import context
from benchmarks.planted import DefectRow
from benchmarks.planted.sources import write_sources
from headstart.core.types import AuditInput
from headstart.data.audit import load_checks
from headstart.data.reading.read_dataset import read_dataset

Sets = dict[str, set[str]]  # kind of defect -> relative paths
PICTURES, SHARE = 400, 0.05  # of each set, and of these with each kind of defect
SIDE_PX = 224


def _blur(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius * min(picture.size) / SIDE_PX))


def _scale(picture: Image.Image, factor: float) -> Image.Image:
    return picture.point(lambda level: min(255, round(level * factor)))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blur 3 px": lambda picture: _blur(picture, 3),
    "blur 6 px": lambda picture: _blur(picture, 6),
    "dark x 0.1": lambda picture: _scale(picture, 0.1),
    "overexposed x 3": lambda picture: _scale(picture, 3),
    "aspect 1 : 4": lambda picture: picture.resize((picture.width, max(1, picture.width // 4))),
    "5 times smaller": lambda picture: picture.resize((max(1, picture.width // 5), max(1, picture.height // 5))),
    "wrong suffix": lambda picture: picture,
}
# Check, part of its sentence, and CleanVision's word for the same.
CHECKS = {
    "blur 3 px": ("D011", "blurred", "blurry"),
    "blur 6 px": ("D011", "blurred", "blurry"),
    "dark x 0.1": ("D012", "dark", "dark"),
    "overexposed x 3": ("D012", "overexposed", "light"),
    "aspect 1 : 4": ("D006", "times the other", "odd_aspect_ratio"),
    "5 times smaller": ("D006", "more or fewer pixels", "odd_size"),
    "wrong suffix": ("D010", "suffix", ""),
}
SENSELESS = {"digits": {"blur 3 px", "blur 6 px", "overexposed x 3", "5 times smaller"}}  # in white strokes of 8 px


def plant(source: Path, target: Path, name: str) -> Sets:
    """A copy with each kind of defect in pictures of its own; their relative paths."""
    shutil.copytree(source, target)
    files = np.random.default_rng(0).permutation(sorted(file for file in target.rglob("*") if file.is_file()))
    each, planted = round(len(files) * SHARE), dict[str, set[str]]()
    for number, kind in enumerate(sorted(EDITS.keys() - SENSELESS.get(name, set()))):
        chosen: list[Path] = list(files[number * each : (number + 1) * each])
        for at, file in enumerate(chosen):
            with Image.open(file) as image:
                picture = EDITS[kind](image.convert("RGB"))
            if kind == "wrong suffix":
                other = ".png" if file.suffix == ".jpg" else ".jpg"
                chosen[at] = file.rename(file.with_suffix(other))
            else:
                picture.save(file, **({"quality": 92} if file.suffix == ".jpg" else {}))
        planted[kind] = {file.relative_to(target).as_posix() for file in chosen}
    return planted


def find_by_headstart(root: Path, scratch: Path) -> Sets:
    """What the checks name."""
    data = read_dataset(str(root), ctx=context(scratch))
    checks = {check.code: check for check in load_checks("files")}
    outcomes = {code: checks[code](AuditInput(data=data, folds=5)) for code, _, _ in CHECKS.values()}
    return {
        kind: {data.uris[row] for f in outcomes[code].findings if part in f.sentence for row in f.rows}
        for kind, (code, part, _) in CHECKS.items()
    }


def find_by_cleanvision(root: Path, scratch: Path) -> Sets:
    """What CleanVision 0.3.7 calls an issue, by its own thresholds."""
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=sorted(str(file) for file in root.rglob("*") if file.is_file()))
    lab.find_issues({word: {} for _, _, word in CHECKS.values() if word}, n_jobs=1, verbose=False)
    named = {}
    for kind, (_, _, word) in CHECKS.items():
        if word:
            flagged = lab.issues.index[lab.issues[f"is_{word}_issue"]]
            named[kind] = {Path(file).relative_to(root).as_posix() for file in flagged}
    return named


def measure() -> Iterator[DefectRow]:
    """A row for each set, kind of defect and tool."""
    tools: dict[str, Callable[[Path, Path], Sets]] = {"headstart": find_by_headstart}
    try:
        import cleanvision  # noqa: F401

        tools["cleanvision"] = find_by_cleanvision
    except ImportError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, source in write_sources(scratch):
            clean, root = scratch / f"{name} clean", scratch / f"{name} planted"
            files = np.random.default_rng(0).permutation(sorted(file for file in source.rglob("*") if file.is_file()))
            for file in files[:PICTURES]:
                (clean / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, clean / file.parent.name)
            planted = plant(clean, root, name)
            for tool, find in tools.items():
                named, alarms = find(root, scratch / f"{name} read"), find(clean, scratch / f"{name} clean read")
                for kind in filter(named.__contains__, planted):
                    code, part, _ = CHECKS[kind]
                    meant = set().union(*(planted[other] for other in planted if CHECKS[other][:2] == (code, part)))
                    found = planted[kind] & named[kind]
                    yield DefectRow(
                        check=code,
                        defect=f"{kind}, {name}",
                        tool=tool,
                        planted=len(planted[kind]),
                        found=len(found),
                        named=len(found) + len(named[kind] - meant),
                        clean_named=len(alarms[kind]),
                        clean=min(len(files), PICTURES),
                    )
