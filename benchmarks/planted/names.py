"""Names that tell which pictures belong together: patients, films and bursts made of real pictures.

A patient is four quarters of a picture, a film six windows that move over it, a burst three shots nearly alike. Planted
are groups. A false alarm is a group that is told of the same pictures with their names dealt anew within the class, and
of the sources (and the digits) under their own names. No other tool looks at names.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import context
from benchmarks.planted import DefectRow
from benchmarks.planted.sources import write_sources
from headstart.data.name_groups import find_name_groups
from headstart.data.reading.read_dataset import read_dataset

EACH = 40  # pictures of a class that become groups
Shots = list[Image.Image]


def _cut_quarters(picture: Image.Image, rng: np.random.Generator) -> Shots:
    width, height = picture.width // 2, picture.height // 2
    return [
        picture.crop((x, y, x + width, y + height))
        for y in (0, picture.height - height)
        for x in (0, picture.width - width)
    ]


def _film(picture: Image.Image, rng: np.random.Generator) -> Shots:
    width, height = round(0.8 * picture.width), round(0.8 * picture.height)
    steps = [(round(0.03 * at * picture.width), round(0.03 * at * picture.height)) for at in range(6)]
    return [picture.crop((x, y, x + width, y + height)) for x, y in steps]


def _burst(picture: Image.Image, rng: np.random.Generator) -> Shots:
    shots = []
    for _ in range(3):
        x, y = (int(rng.integers(0, max(1, side // 50) + 1)) for side in picture.size)
        shot = picture.crop((x, y, x + picture.width - picture.width // 50, y + picture.height - picture.height // 50))
        factor = rng.uniform(0.95, 1.05)
        shots.append(Image.fromarray(np.clip(np.asarray(shot) * factor, 0, 255).astype(np.uint8)))
    return shots


KINDS: dict[str, tuple[Callable[[Image.Image, np.random.Generator], Shots], Callable[[int, int], str]]] = {
    "patients": (_cut_quarters, lambda group, at: f"patient{group:03d}_scan{at}"),
    "patients, two sides": (_cut_quarters, lambda group, at: f"P{group:04d}-{'LR'[at % 2]}-{at // 2}"),
    "video frames": (_film, lambda group, at: f"video{group}_frame{at:04d}"),
    "bursts": (_burst, lambda group, at: f"IMG_202405{1 + group % 28:02d}_{120000 + 7 * group}_BURST{at:03d}"),
}


def plant(source: Path, target: Path, kind: str, *, dealt_anew: bool = False) -> set[frozenset[str]]:
    """Write the groups of a kind, and give the paths of each; `dealt_anew` shuffles the names within a class."""
    rng, (cut, format_name), group = np.random.default_rng(0), KINDS[kind], 0
    groups = set[frozenset[str]]()
    for folder in sorted(source.iterdir()):
        names, shots = list[str](), Shots()
        for file in sorted(folder.iterdir())[:EACH]:
            with Image.open(file) as image:
                cuts = cut(image.convert("RGB"), rng)
            new = [f"{folder.name}/{format_name(group, at)}.png" for at in range(len(cuts))]
            groups.add(frozenset(new))
            names += new
            shots += cuts
            group += 1
        (target / folder.name).mkdir(parents=True)
        for at, shot in zip(rng.permutation(len(names)) if dealt_anew else range(len(names)), shots, strict=True):
            shot.save(target / names[at])
    return groups


def find_groups(root: Path, scratch: Path) -> tuple[set[frozenset[str]], int]:
    """The paths of each group that the names tell, and how many pictures there are."""
    data = read_dataset(str(root), ctx=context(scratch))
    found, members = find_name_groups(data), defaultdict[str, set[str]](set)
    for uri, name in zip(data.uris, found.names if found else (), strict=found is not None):
        members[name].add(uri)
    return {frozenset(uris) for name, uris in members.items() if name}, len(data.uris)


def measure() -> Iterator[DefectRow]:
    """A row for each set and kind."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, source in write_sources(scratch):
            own_names, n = find_groups(source, scratch / f"{name} own")
            for kind in KINDS if name != "digits" else ():  # too small to be cut
                root, control = scratch / f"{name} {kind}", scratch / f"{name} {kind} dealt"
                planted = plant(source, root, kind)
                plant(source, control, kind, dealt_anew=True)
                named, _ = find_groups(root, scratch / f"{name} {kind} read")
                alarms, pictures = find_groups(control, scratch / f"{name} {kind} control")
                yield DefectRow(
                    check="D106",
                    defect=f"{kind}, {name}",
                    tool="headstart",
                    planted=len(planted),
                    found=len(planted & named),
                    named=len(named),
                    clean_named=len(alarms | own_names),
                    clean=pictures + n,
                )
            if name == "digits" and own_names:
                raise AssertionError(f"names of digits tell {len(own_names)} groups")
