"""The descriptions of backbones that came from a user's own files, and the copies that they speak of.

A copy is a sealed entry of the store, known by content; its description (`named/<source>/<name>.json`) says how
pictures go in and where features come out, and how each of that is known.
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

_RESTORE_HINTS = {
    SOURCE: "headstart backbones add FILE --name {}",
    HUB: f"headstart backbones pull {HUB}:{{}}",
    KERAS_HUB: f"--backbones {KERAS_HUB}:{{}}, or {KERAS_HUB}:PATH with the preset's folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedBackbone:
    """The description of an added file.

    Attributes:
        name: After the source's prefix.
        kind: `keras`, `lambda` (a trusted Keras file with Python code), `onnx`, `ir` or `saved_model`.
        content: Digest of the bytes of the file and of what belongs to it; the address of the copy.
        layout: Of the file's own input.
        scaling: How its scaling is known, one clause; `guess` where that is one.
        cuts: Where features come out, shallow to deep.
        params: Weights that the cuts need.
        flops: Operations for one picture.
        family: Kind in words, or the family of the backbone that it grew from.
        prior: A guess, or of the backbone that it grew from.
        place: Digest of the path it came from, empty where that does not matter.
        scaled: `input` tells of a scaling that is in the file's own graph already.
        domains: What its training pictures show, as far as it is stated.
    """

    name: str
    kind: str
    content: str
    input: InputSpec
    layout: str
    scaling: str
    guess: bool
    cuts: tuple[cut_points.Cut, ...]
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


def copy_key(content: str) -> dict[str, str]:
    """The key of a copy in the store, under the kind `added`."""
    return {"added": content}


def find_copy(backbone: ImportedBackbone, store: Store) -> Path | None:
    """The copied file; None where the store does not hold it whole."""
    folder = store.find_entry("added", copy_key(backbone.content))
    return None if folder is None else folder / FILES[backbone.kind]


def _description_path(source: str, name: str, store: Store | None, ending: str = ".json") -> Path:
    """Of a description, or with another ending of what lies beside it; a hub's name has a slash, a file's has none."""
    return (store.root if store else cache_folder()) / "named" / source / f"{name.replace('/', '%2F')}{ending}"


def _list_written(source: str, store: Store | None) -> tuple[str, ...]:
    paths = _description_path(source, "*", store).parent.glob("*.json")
    return tuple(sorted(path.stem.replace("%2F", "/") for path in paths))


def list_names(source: str, store: Store | None = None) -> tuple[str, ...]:
    """Names whose descriptions can be read, sorted; of the user's cache without a store."""
    lost = list_damaged(source, store)
    return tuple(name for name in _list_written(source, store) if name not in lost)


def list_damaged(source: str, store: Store | None = None) -> tuple[str, ...]:
    """Names whose descriptions cannot be read, sorted."""
    names = []
    for name in _list_written(source, store):
        try:
            read_description(source, name, store)
        except DataError:
            names.append(name)
    return tuple(names)


def find_by_place(source: str, place: str, store: Store) -> str:
    """The one name that came from a place, by its digest; empty where none did, or several."""
    names = [name for name in list_names(source, store) if read_description(source, name, store).place == place]
    return names[0] if len(names) == 1 else ""


def format_restore_hint(source: str, name: str) -> str:
    """How a name comes back whose description or copy is lost."""
    return _RESTORE_HINTS.get(source, "--backbones run:PATH with the folder of its run copies it again").format(name)


def read_description(source: str, name: str, store: Store | None = None) -> ImportedBackbone:
    """The description of a name; `UsageError` with the nearest where there is none, `DataError` where it is damaged."""
    if name not in _list_written(source, store):
        raise _explain_not_added(source, name, store)
    path = _description_path(source, name, store)
    try:
        facts = path.stat()
        return _read_cached(source, path, (facts.st_ino, facts.st_mtime_ns, facts.st_size))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as err:
        hint = format_restore_hint(source, name)
        if source in (SOURCE, HUB, KERAS_HUB):
            hint += f", or headstart backbones remove {name if source == SOURCE else f'{source}:{name}'}"
        what = f"the description of `{source}:{name}` is damaged: {err!r}"
        raise DataError(what, where=str(path), hint=hint) from err


def find_description(source: str, name: str, store: Store) -> ImportedBackbone | None:
    """The description of a name; None where there is none that can be read."""
    return read_description(source, name, store) if name in list_names(source, store) else None


def _explain_not_added(source: str, name: str, store: Store | None) -> UsageError:
    near = format_nearest(name, _list_written(source, store))
    if source in (HUB, KERAS_HUB):
        return UsageError(f"`{source}:{name}` is not here", hint=near or format_restore_hint(source, name))
    hint = near or f"headstart backbones add FILE --name {cut_points.make_identifier(name)}"
    return UsageError(f"no file was added as `{source}:{name}`", hint=hint)


@functools.lru_cache(maxsize=256)
def _read_cached(source: str, path: Path, state: tuple[int, ...]) -> ImportedBackbone:
    """A description that can be used: `state` tells the file from an earlier one of the same name."""
    backbone = serialization.load_value(ImportedBackbone, path.parent, path.stem)
    if backbone.name.replace("/", "%2F") != path.stem or backbone.kind not in FILES or not backbone.cuts:
        raise ValueError("it is not of this name, of no known kind, or has no feature levels")
    backbone.spec(source)  # its revision cannot be told of what is no number
    return backbone


def write_description(source: str, backbone: ImportedBackbone, store: Store, pictures: Collection[str] = ()) -> None:
    """Write a description into the cache, and the digests of the pictures that the network learnt from."""
    if pictures:
        write_json(_description_path(source, backbone.name, store, PICTURES), sorted(pictures))
    write_json(_description_path(source, backbone.name, store), serialization.as_json(backbone))


def remove_description(name: str, store: Store, source: str = SOURCE) -> None:
    """Take the description of an added file away, damaged or not, but not the copy; `UsageError` where none is."""
    if name not in _list_written(source, store):
        raise _explain_not_added(source, name, store)
    path = _description_path(source, name, store)
    with translate_disk_errors(path):
        _description_path(source, name, store, PICTURES).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def read_training_digests(source: str, name: str) -> frozenset[str]:
    """SHA-256 digests of the pictures that a network of the user's is known to have learnt from."""
    path = _description_path(source, name, None, PICTURES)
    is_ours = path in path.parent.glob(f"*{PICTURES}")  # a name leads nowhere else
    return frozenset(read_json(path)) if is_ours else frozenset()
