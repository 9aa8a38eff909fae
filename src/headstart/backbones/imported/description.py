"""The descriptions of backbones that came from a user's own files, and the copies that they speak of.

A copy is a sealed entry of the store, known by content; its description (`named/<source>/<name>.json`) says how
pictures go in and where features come out, and how each of that is known. `headstart.backbones.imported.registration`
writes them.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.settings import cache_folder
from headstart.core.storage import serialization
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, translate_disk_errors, write_json
from headstart.core.storage.hashing import compute_digest
from headstart.core.types import BackboneSpec, InputSpec
from headstart.networks import cut_points
from headstart.networks.cut_points import Cut

SOURCE, HUB, KERAS_HUB = "saved_file", "huggingface", "keras_hub"
PICTURES = ".pictures"  # ending of the file beside a description
_FORMAT = 1  # of the description; raise when cuts or scaling are found otherwise
FILES = {"keras": "model.keras"} | dict.fromkeys(("lambda", "onnx", "ir", "saved_model"), "model.xml")
WORDS = {
    "keras": "Keras file",
    "lambda": "Keras file with code",
    "onnx": "ONNX file",
    "ir": "OpenVINO IR",
    "saved_model": "TensorFlow SavedModel",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedBackbone:
    """The description of an added file.

    Attributes:
        name: After the source's prefix.
        kind: `keras`, `lambda` (a trusted Keras file with Python code), `onnx`, `ir` or `saved_model`.
        content: Digest of the bytes of the file and of what belongs to it; the address of the copy.
        input: How pictures go in.
        layout: Of the file's own input.
        scaling: How its scaling is known, one clause.
        guess: The scaling is a guess.
        cuts: Where features come out, shallow to deep.
        params: Weights that the cuts need.
        flops: Operations for one picture.
        bytes: Of what is kept of it.
        licence: As the user says.
        licence_note: What else to know.
        pretrained_on: What is known of it.
        family: Kind in words, or the family of the backbone that it grew from.
        prior: A guess, or of the backbone that it grew from.
        prior_source: Where that comes from.
        place: Digest of the path it came from, empty where that does not matter.
        scaled: `input` tells of a scaling that is in the file's own graph already.
        method: How it was trained, as far as it is stated.
        domains: What its training pictures show, as far as it is stated.
    """

    name: str
    kind: str
    content: str
    input: InputSpec
    layout: str
    scaling: str
    guess: bool
    cuts: tuple[Cut, ...]
    params: int
    flops: int
    bytes: int
    licence: str
    licence_note: str
    pretrained_on: str
    family: str
    prior: float = 0.5
    prior_source: str = "a guess: nothing is published of a file of your own"
    scaled: bool = False
    place: str = ""
    method: str = "not stated"
    domains: tuple[str, ...] = ()

    def spec(self, source: str) -> BackboneSpec:
        """As any backbone is described."""
        facts = compute_digest([_FORMAT, self.input, self.layout, self.cuts])
        return BackboneSpec(
            name=f"{source}:{self.name}",
            family=self.family,
            revision=f"{_FORMAT}-{self.content[:12]}-{facts[:8]}",
            input=self.input,
            depths=tuple(cut.level for cut in self.cuts),
            params=self.params,
            flops=self.flops,
            licence=self.licence,
            licence_note=self.licence_note,
            pretrained_on=self.pretrained_on,
            download_bytes=self.bytes,
            prior=self.prior,
            prior_source=self.prior_source,
            method=self.method,
            domains=self.domains,
        )


def address(content: str) -> dict[str, str]:
    """The key of a copy in the store, under the kind `added`."""
    return {"added": content}


def file_of(found: ImportedBackbone, store: Store) -> Path | None:
    """The copied file; None where the store does not hold it whole."""
    folder = store.find_entry("added", address(found.content))
    return None if folder is None else folder / FILES[found.kind]


# ---------------------------------------------------------------- names


def _folder(source: str, store: Store | None) -> Path:
    return (store.root if store else cache_folder()) / "named" / source


def _stem(name: str) -> str:
    """Of the files of a name: a name on a hub has a slash, which no file's name can have."""
    return name.replace("/", "%2F")


def names(source: str, store: Store | None = None) -> tuple[str, ...]:
    """Names whose descriptions can be read, sorted; of the user's cache without a store."""
    lost = damaged(source, store)
    return tuple(name for name in _written(source, store) if name not in lost)


def damaged(source: str, store: Store | None = None) -> tuple[str, ...]:
    """Names whose descriptions cannot be read, sorted."""
    found = []
    for name in _written(source, store):
        try:
            described(source, name, store)
        except DataError:
            found.append(name)
    return tuple(found)


def _written(source: str, store: Store | None) -> tuple[str, ...]:
    return tuple(sorted(path.stem.replace("%2F", "/") for path in _folder(source, store).glob("*.json")))


def again(source: str, name: str) -> str:
    """How a name comes back whose description or copy is lost."""
    if source == HUB:
        return f"headstart backbones pull {HUB}:{name}"
    if source == KERAS_HUB:
        return f"--backbones {KERAS_HUB}:{name}, or {KERAS_HUB}:PATH with the preset's folder"
    if source != SOURCE:
        return "--backbones run:PATH with the folder of its run copies it again"
    return f"headstart backbones add FILE --name {name}"


def described(source: str, name: str, store: Store | None = None) -> ImportedBackbone:
    """The description of a name.

    Raises:
        UsageError: There is none; the nearest are named.
        DataError: It is damaged.
    """
    folder = _folder(source, store)
    if name not in _written(source, store):
        raise _not_added(source, name, store)
    path = folder / f"{_stem(name)}.json"
    try:
        facts = path.stat()
        return _read(source, path, (facts.st_ino, facts.st_mtime_ns, facts.st_size))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as err:
        removed = name if source == SOURCE else f"{source}:{name}" if source in (HUB, KERAS_HUB) else ""
        hint = again(source, name) + (f", or headstart backbones remove {removed}" if removed else "")
        raise DataError(
            f"the description of `{source}:{name}` is damaged: {err!r}", where=str(path), hint=hint
        ) from err


def _not_added(source: str, name: str, store: Store | None) -> UsageError:
    near = format_nearest(name, _written(source, store))
    if source in (HUB, KERAS_HUB):
        return UsageError(f"`{source}:{name}` is not here", hint=near or again(source, name))
    hint = near or f"headstart backbones add FILE --name {cut_points.make_identifier(name)}"
    return UsageError(f"no file was added as `{source}:{name}`", hint=hint)


@functools.lru_cache(maxsize=256)
def _read(source: str, path: Path, state: tuple[int, ...]) -> ImportedBackbone:
    """A description that can be used: `state` tells the file from an earlier one of the same name."""
    found = serialization.load_value(ImportedBackbone, path.parent, path.stem)
    if _stem(found.name) != path.stem or found.kind not in FILES or not found.cuts:
        raise ValueError("it is not of this name, of no known kind, or has no depths")
    found.spec(source)  # its revision cannot be told of what is no number
    return found


def remove(name: str, store: Store, source: str = SOURCE) -> None:
    """Take the description of an added file away, damaged or not; the copy is left to `backbones prune`.

    Raises:
        UsageError: No file was added under this name.
    """
    if name not in _written(source, store):
        raise _not_added(source, name, store)
    path = _folder(source, store) / f"{_stem(name)}.json"
    with translate_disk_errors(path):
        path.with_name(f"{_stem(name)}{PICTURES}").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def beside(source: str, name: str, ending: str, store: Store | None = None) -> Path | None:
    """The file with another ending beside a description; None where there is none. A name leads nowhere else."""
    path = _folder(source, store) / f"{_stem(name)}{ending}"
    return path if path in _folder(source, store).glob(f"*{ending}") else None


def learnt_from(source: str, name: str) -> frozenset[str]:
    """SHA-256 digests of the pictures that a network of the user's is known to have learnt from."""
    path = beside(source, name, PICTURES)
    return frozenset(read_json(path)) if path else frozenset()


def describe(source: str, found: ImportedBackbone, store: Store, pictures: Collection[str] = ()) -> None:
    """Write a description into the cache, and the digests of the pictures that the network learnt from."""
    if pictures:
        write_json(_folder(source, store) / f"{_stem(found.name)}{PICTURES}", sorted(pictures))
    write_json(_folder(source, store) / f"{_stem(found.name)}.json", serialization.as_json(found))
