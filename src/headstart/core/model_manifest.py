"""What a saved model is made of: `manifest.json` names every other file with its digest.

The folder holds a sub-folder a trunk with its OpenVINO files, and the arrays of the head and of uncertainty as
safetensors. Paths are relative with forward slashes, so a folder made on one system loads on another. Reading checks
the format's version, that every path stays inside the folder, and that every file, the manifest included, is as it
was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.storage.files import read_json, require_format, write_json
from headstart.core.storage.hashing import compute_digest, file_digest, to_plain
from headstart.core.types import TASKS, Feature, FeatureLevel, InputSpec

FORMAT = 2  # 1 had no uncertainty; what it wrote is read for good
NAME = "manifest"
_AGAIN = "copy the whole model folder again, or export it again with the `headstart fit` that made the run"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkEntry:
    """A frozen trunk."""

    name: str  # `source:preset`
    revision: str  # of the weights, graph and pooling
    input: InputSpec  # how a picture becomes its input
    depths: tuple[FeatureLevel, ...]  # outputs of the graph, in their order
    precision: str  # `f32` or `int8`
    licence: str  # of the weights
    licence_note: str  # what else to know, or empty
    ir: str  # path of the OpenVINO `.xml`
    files: Mapping[str, str]  # path -> SHA-256 of everything the trunk needs


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEntry:
    """The fitted head: which plugin made it, how it answers, its arrays and their SHA-256."""

    name: str
    kind: str
    arrays: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How probabilities become an answer; `costs` (C, C) are of answering column for row, None where all are equal."""

    positive: str  # class of interest, or empty
    threshold: float | None  # probability of `positive` from which it is answered; None takes the likeliest class
    costs: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Temperature by which log probabilities are divided; 1.0 leaves them as they are."""

    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyEntry:
    """What the model promises of its sets of plausible classes, and when it declines to answer."""

    coverage: float  # share of pictures whose true class is in their set, as asked for
    promise: float  # the share that theory guarantees; 0 where nothing is
    score: str  # as `UncertaintyReport.score`: by which the sets, or the intervals of numbers, are made
    kept: float  # share of known pictures, at least, whose true class the test of plausibility keeps
    novelty: str  # one of `headstart.uncertainty.ood_detection.METHODS`, or empty where nothing measures it
    neighbour: int  # which nearest reference tells the distance
    limit: float  # distance beyond which the model declines
    familiar: float  # share of known pictures that lie within the limit, as promised
    arrays: str  # path of a safetensors file; see `headstart.uncertainty.selective_prediction.measure_uncertainty`
    sha256: str  # its digest
    ordered: bool = False  # whether classes between two plausible ones are plausible too


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A saved model."""

    format: int  # version of this layout
    headstart: str  # version that wrote it
    task: str  # one of `headstart.core.types.TASKS`
    class_names: tuple[str, ...]  # C names, in the order of the probabilities; the one of a number
    trunks: tuple[TrunkEntry, ...]  # each once
    features: tuple[Feature, ...]  # the head's input, concatenated in this order
    head: HeadEntry
    decision: Decision
    calibration: Calibration
    resize_reason: str = ""  # why the trunks' `input.resize` is what it is; empty for what each backbone does itself
    doubt: UncertaintyEntry | None = None  # when to decline; None for a model that always answers, as all of format 1

    def list_files(self) -> dict[str, str]:
        """Path -> SHA-256 of every file besides the manifest."""
        digests = {path: value for trunk in self.trunks for path, value in trunk.files.items()}
        digests |= {self.head.arrays: self.head.sha256}
        return digests if self.doubt is None else digests | {self.doubt.arrays: self.doubt.sha256}


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` with its own digest; last of all, so that a folder with it is whole."""
    content = to_plain(manifest)
    write_json(folder / f"{NAME}.json", content | {"digest": compute_digest(content)})


def read_manifest(folder: Path) -> Manifest:
    """Read and check a model folder.

    Raises:
        DataError: There is no model, a newer version wrote it, or a file is missing or not as it was written.
    """
    path = folder / f"{NAME}.json"
    if not path.is_file():
        hint = "headstart fit DATA --out RUN makes one"
        raise DataError(f"there is no model in `{folder}`", where=str(path), hint=hint)
    try:
        content = read_json(path)
        require_format(content["format"], FORMAT, f"the model `{folder}`")
        if content.pop("digest") != compute_digest(content):
            raise DataError(f"`{path}` was changed after it was written", where=str(path), hint=_AGAIN)
        manifest = serialization.load_value(Manifest, folder, NAME)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError(f"`{path}` is not a model's manifest: {err!r}", where=str(path), hint=_AGAIN) from err
    require_files(manifest, folder)
    if fault := _find_contradiction(manifest):
        raise DataError(f"`{path}` contradicts itself: {fault}", where=str(path), hint=_AGAIN)
    return manifest


def _find_contradiction(manifest: Manifest) -> str:
    """What in a manifest does not fit the rest of it, empty where all does: its digest may be a forger's own."""
    rule, n_classes = manifest.decision, len(manifest.class_names)
    outputs = {(trunk.name, level.name) for trunk in manifest.trunks for level in trunk.depths}
    if missing := [f"{f.backbone}@{f.depth}" for f in manifest.features if (f.backbone, f.depth) not in outputs]:
        return f"no trunk has the feature `{missing[0]}`"
    if manifest.task not in TASKS:
        return f"this version knows no task `{manifest.task}`"
    if rule.positive and rule.positive not in manifest.class_names:
        return f"no class is named `{rule.positive}`"
    if rule.costs is not None and [len(row) for row in rule.costs] != [n_classes] * n_classes:
        return f"the costs are not of {n_classes} classes"
    return "" if n_classes and manifest.features else "it has no classes or no features"


def require_files(manifest: Manifest, folder: Path) -> None:
    """Refuse files that are missing, changed, outside the folder or without a digest: one DataError with all."""
    digests = manifest.list_files()
    faults = [f"`{path}` {fault}" for path, value in digests.items() if (fault := _find_fault(folder, path, value))]
    graphs = [path for trunk in manifest.trunks for path in (trunk.ir, f"{trunk.ir.removesuffix('.xml')}.bin")]
    faults += [f"`{path}` has no digest" for path in graphs if path not in digests]
    if faults:
        raise DataError(f"the model is damaged: {', '.join(faults)}", where=str(folder), hint=_AGAIN)


def _find_fault(folder: Path, path: str, value: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path:
        return "lies outside the folder"
    if not (folder / pure).is_file():
        return "is missing"
    return "" if file_digest(folder / pure) == value else "is not as it was written"


def entry_files(folder: Path, below: str) -> dict[str, str]:
    """Path relative to `folder` -> SHA-256 of the files in its sub-folder `below`."""
    files = sorted(p for p in (folder / below).iterdir() if p.is_file())
    return {f"{below}/{p.name}": file_digest(p) for p in files}
