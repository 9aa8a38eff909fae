"""Training pictures that a run keeps to compare with: vectors and small copies, so that no data set is needed later.

`explain/` in a run folder holds `examples.json`, `vectors.npy` (M, D) float16 of length 1, `scale.npy` (2, D) float32
and `thumbnails.bin`, JPEG after JPEG. `examples.json` names the model, and the digest of each file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.storage.files import read_json, write_bytes, write_json
from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.core.storage.unpacking import load_array

FORMAT = 1
FOLDER, NAME = "explain", "examples"
VECTORS, SCALE, THUMBNAILS = "vectors.npy", "scale.npy", "thumbnails.bin"
_AGAIN = "run the `headstart fit` that made the run again: what is cached is not done again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleEntry:
    """A kept picture."""

    uri: str  # in the data set
    class_name: str  # its label, or labels as a table has them
    start: int  # of its JPEG in `thumbnails.bin`
    stop: int  # its end; `start` where it could not be read any more or none are kept
    prototype: int = 0  # 1 for the picture that stands best for its class, 2 … for those that add most to it; else 0
    stands_for: str = ""  # that class, or the rarest of its labels; empty in runs of earlier versions

    @property
    def stratum(self) -> str:
        """What a prototype stands for."""
        return self.stands_for or self.class_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleIndex:
    """What `examples.json` says."""

    format: int  # version of this layout
    model: str  # SHA-256 of the manifest of the model whose features these are
    entries: tuple[ExampleEntry, ...]  # M, in the order of the vectors
    files: Mapping[str, str]  # name -> SHA-256


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A training picture like the one asked about."""

    uri: str  # in the data set
    class_name: str  # its label
    similarity: float  # cosine of the standardised features, -1..1
    thumbnail: bytes | None  # JPEG of at most 96 px; None where it could not be read or none are kept


class ExampleStore:
    """Kept training pictures, read and checked."""

    def __init__(self, folder: Path, index: ExampleIndex) -> None:
        self.index = index
        self._vectors = load_array(folder / VECTORS).astype(np.float32)
        self._centre, self._factor = load_array(folder / SCALE)
        self._thumbnails = (folder / THUMBNAILS).read_bytes()

    def similarities(self, features: np.ndarray) -> np.ndarray:
        """(D,) raw features -> (M,) cosines."""
        cosines: np.ndarray = self._vectors @ standardise(features[None], self._centre, self._factor)[0]
        return cosines

    def find_nearest(self, features: np.ndarray, count: int) -> tuple[Neighbour, ...]:
        """The pictures most like one, the likest first."""
        similarities = self.similarities(features)
        return tuple(self._make_neighbour(at, similarities) for at in np.argsort(-similarities, kind="stable")[:count])

    def list_prototypes(self, class_name: str, features: np.ndarray) -> tuple[Neighbour, ...]:
        """The pictures that stand for a class, the best first, with their likeness to one picture."""
        similarities = self.similarities(features)
        positions = [
            at for at, entry in enumerate(self.index.entries) if entry.prototype and entry.stratum == class_name
        ]
        return tuple(
            self._make_neighbour(at, similarities)
            for at in sorted(positions, key=lambda at: self.index.entries[at].prototype)
        )

    def _make_neighbour(self, at: int, similarities: np.ndarray) -> Neighbour:
        entry = self.index.entries[at]
        jpeg = self._thumbnails[entry.start : entry.stop] or None
        value = float(np.clip(similarities[at], -1, 1))
        return Neighbour(uri=entry.uri, class_name=entry.class_name, similarity=value, thumbnail=jpeg)


def standardise(features: np.ndarray, centre: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(B, D) raw features -> (B, D) float32 rows of length 1, each column around 0 with spread 1 before."""
    scaled = (np.asarray(features, np.float32) - centre) * factor
    unit: np.ndarray = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def write_examples(folder: Path, model: Path, entries: tuple[ExampleEntry, ...], contents: Mapping[str, bytes]) -> None:
    """Write the files, then `examples.json`; last of all, so that a folder with it is whole."""
    for name in sorted(contents):
        write_bytes(folder / name, contents[name])
    files = {name: file_digest(folder / name) for name in sorted(contents)}
    index = ExampleIndex(format=FORMAT, model=file_digest(model / "manifest.json"), entries=entries, files=files)
    content = serialization.as_json(index)
    write_json(folder / f"{NAME}.json", content | {"digest": compute_digest(content)})


def read_examples(folder: Path, model: Path) -> ExampleStore | str:
    """The kept pictures, or in a sentence why there are none.

    Raises:
        DataError: What is kept is damaged.
    """
    path = folder / f"{NAME}.json"
    if not path.is_file():
        return (
            "this model keeps no training pictures to compare with: its run is older, or the folder `explain` is gone"
        )
    try:
        content = read_json(path)
        if content["format"] > FORMAT:
            return "a newer version of headstart wrote the kept training pictures"
        if content.pop("digest") != compute_digest(content):
            raise DataError(f"`{path}` was changed after it was written", where=str(path), hint=_AGAIN)
        index = serialization.load_value(ExampleIndex, folder, NAME)
        digests = dict.fromkeys((VECTORS, SCALE, THUMBNAILS), "") | dict(index.files)
        wrong = [name for name, file_sha256 in digests.items() if not _is_intact(folder, name, file_sha256)]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError(f"`{path}` is damaged: {err!r}", where=str(path), hint=_AGAIN) from err
    if wrong:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise DataError(f"the kept training pictures are damaged: {names}", where=str(folder), hint=_AGAIN)
    if index.model != file_digest(model / "manifest.json"):
        return "the kept training pictures belong to another model"
    return ExampleStore(folder, index)


def _is_intact(folder: Path, name: str, sha256: str) -> bool:
    return Path(name).name == name and (folder / name).is_file() and file_digest(folder / name) == sha256
