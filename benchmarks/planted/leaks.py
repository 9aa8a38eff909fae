"""Leaks across given splits: copies of training pictures in the test, and patients on both sides whom names tell.

Copies are those of `duplicates` but the cropped ones; a pair is planted where its copy lies on the other side. Patients
are those of `names`, their pictures dealt to `train` and `test` at random: D106 gives the expression, D105 then names
who straddles. Clean are the same files, each copy and patient on one side.
Counted are pictures; no peer looks at splits.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common import context
from benchmarks.planted import DefectRow, duplicates, names
from benchmarks.planted.sources import write_sources
from headstart.core.picture_settings import BY_NAME
from headstart.core.types import AuditInput, Dataset
from headstart.data.checks import d104_across_splits, d105_groups
from headstart.data.name_groups import find_name_groups
from headstart.data.reading.read_dataset import read_dataset

SHARE = 0.2  # of the pictures are the test
SEEN = [kind for kind, title in enumerate(duplicates.KINDS) if not title.startswith("cropped")]


def list_warned(check, data: Dataset) -> set[str]:
    """The files that warnings of a check are about."""
    findings = check(AuditInput(data=data, folds=5)).findings
    return {data.uris[row] for finding in findings if finding.severity == "warning" for row in finding.rows}


def plant_copies(source: Path, scratch: Path) -> tuple[Dataset, Dataset, set[str]]:
    """A set with copies across splits, the same without, and the paths of both pictures of each pair."""
    duplicates.plant(source, scratch / "copies")
    data = read_dataset(str(scratch / "copies"), ctx=context(scratch / "run"))
    stems = [uri.rpartition(".")[0].split("--") for uri in data.uris]
    rng, leaked = np.random.default_rng(0), {stem[0] for stem in stems if len(stem) > 1 and int(stem[1]) in SEEN}
    is_test = {original: rng.random() < SHARE for original in sorted({stem[0] for stem in stems})}
    clean, planted = (
        replace(data, split=tuple("test" if test else "train" for test in sides))
        for sides in (
            [is_test[stem[0]] for stem in stems],
            [is_test[stem[0]] != (len(stem) > 1 and stem[0] in leaked) for stem in stems],
        )
    )
    return planted, clean, {uri for uri, stem in zip(data.uris, stems, strict=True) if stem[0] in leaked}


def deal_patients(source: Path, target: Path, *, whole: bool) -> set[str]:
    """Write patients into `train` and `test`, at random or each whole; the paths of those on both sides."""
    patients, rng, straddling = names.plant(source, target / "made", "patients"), np.random.default_rng(0), set[str]()
    for patient in sorted(map(sorted, patients)):
        sides = np.where(rng.random(1 if whole else len(patient)) < SHARE, "test", "train").tolist()
        uris = [f"{side}/{uri}" for side, uri in zip(sides * len(patient), patient, strict=False)]
        for uri, made in zip(uris, patient, strict=True):
            (target / "split" / uri).parent.mkdir(parents=True, exist_ok=True)
            (target / "made" / made).rename(target / "split" / uri)
        straddling |= {*uris} if len({*sides}) > 1 else set()
    return straddling


def name_straddling(root: Path, scratch: Path) -> tuple[set[str], int]:
    """The files that D105 names with the groups of D106, and how many files there are."""
    data = read_dataset(str(root), ctx=context(scratch / "names"))
    groups = find_name_groups(data)
    if groups is None:
        return set(), len(data.uris)
    with_groups = read_dataset(str(root), ctx=context(scratch / "groups", group=BY_NAME + groups.pattern))
    return list_warned(d105_groups.PLUGIN, with_groups), len(data.uris)


def measure() -> Iterator[DefectRow]:
    """Two rows for each set."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, source in write_sources(scratch):
            if name == "digits":  # too small to be cut
                continue
            planted_data, clean_data, leaked = plant_copies(source, scratch / f"{name} copies")
            named, alarms = (list_warned(d104_across_splits.PLUGIN, data) for data in (planted_data, clean_data))
            yield _make_row("D104", f"{name}: copies in the test", leaked, named, alarms, len(clean_data.uris))
            straddling = deal_patients(source, scratch / f"{name} dealt", whole=False)
            deal_patients(source, scratch / f"{name} whole", whole=True)
            named, _ = name_straddling(scratch / f"{name} dealt/split", scratch / f"{name} dealt")
            alarms, n = name_straddling(scratch / f"{name} whole/split", scratch / f"{name} whole")
            yield _make_row("D106, D105", f"{name}: patients on both sides", straddling, named, alarms, n)


def _make_row(check: str, defect: str, planted: set[str], named: set[str], alarms: set[str], clean: int) -> DefectRow:
    return DefectRow(
        check=check,
        defect=defect,
        tool="headstart",
        planted=len(planted),
        found=len(planted & named),
        named=len(named),
        clean_named=len(alarms),
        clean=clean,
    )
