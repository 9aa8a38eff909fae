"""Weights of several backbones in one tar, for a machine without a network: made the same byte for byte every time.

The first member, `manifest.json`, names every file with its length and SHA-256. `unpack` reads the tar as a stream of
bytes: nothing is extracted by tarfile, no member chooses its own place, and nothing comes into the cache before every
byte of every file has been checked. Only files that hold numbers are taken (safetensors, HDF5, OpenVINO IR, JSON): a
pickle is refused by its name and by its first bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.backbones import loading
from headstart.backbones.downloads import pins
from headstart.backbones.imported import description
from headstart.backbones.inventory.bundle_manifest import FORMAT, MANIFEST, Manifest
from headstart.backbones.inventory.cache_inventory import WEIGHTS, weights_folder
from headstart.core.console import Console, Progress, format_bytes
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import SEAL, Store
from headstart.core.storage.files import read_json, translate_disk_errors
from headstart.core.storage.hashing import canonical_json, file_digest
from headstart.networks.formats.safe_formats import leads_elsewhere, require_numbers, require_weights

_BLOCK_BYTES = 1 << 20
_MOST_MANIFEST_BYTES = 4_000_000
_ORIGIN = "origin.json"  # where a file came from, beside it
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


def make(names: Sequence[str], out: Path, store: Store, console: Console) -> dict[str, Any]:
    """Write a pack; weights that are missing are fetched first.

    Args:
        names: Of backbones; order and repetition do not matter.
        out: The tar; it is there whole or not at all.
        store: The cache.
        console: Told of downloads.

    Returns:
        The manifest.

    Raises:
        UsageError: A name is unknown, or its source keeps no weights in the cache.
        DataError: A file holds more than numbers, or is not the one that its publisher pins.
        SetupError: Weights cannot be had, or the disk refuses.
    """
    chosen = sorted({one.name: one for one in map(loading.find, names)}.values(), key=lambda one: one.name)
    folders = [_folder(one, store) for one in chosen]
    for one, folder in zip(chosen, folders, strict=True):
        if store.find_entry(WEIGHTS, folder.name) is None:
            one.source.pull(one.preset, store, console)
        if why := _wrong(one, folder):
            hint = f"copy the file; over there: HEADSTART_WEIGHTS_MIRROR=FOLDER headstart backbones pull {one.name}"
            raise DataError(f"`{one.name}` cannot be bundled: {why}", where=str(folder), hint=hint)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "backbones": [_facts(one, folder) for one, folder in zip(chosen, folders, strict=True)],
        "files": [fact for folder in sorted(set(folders)) for fact in _files(folder)],
    }
    with translate_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_name(f".tmp-{secrets.token_hex(8)}")
        try:
            _write(draft, manifest, store, console)
            os.replace(draft, out)  # noqa: PTH105
        finally:
            draft.unlink(missing_ok=True)
    return manifest


def _folder(one: loading.ResolvedBackbone, store: Store) -> Path:
    if one.seed is not None:
        raise UsageError(f"`{one.name}` has random weights: there is nothing to bundle")
    folder = weights_folder(one, store) if hasattr(one.source, "weights_folder") else None
    if folder is None or folder.parent.name != WEIGHTS:
        hint = description.over_there(one.source.name, one.preset)
        raise UsageError(
            f"`{one.name}` cannot be bundled: its weights come from a file of your own or a hub", hint=hint
        )
    return folder


def _wrong(one: loading.ResolvedBackbone, folder: Path) -> str:
    """Why the files are not the pinned ones; empty where they are, or the source pins none."""
    ask = getattr(one.source, "wrong_weights", None)
    return str(ask(one.preset, folder)) if ask else ""


def _facts(one: loading.ResolvedBackbone, folder: Path) -> dict[str, Any]:
    facts = {name: getattr(one.spec, name) for name in ("name", "revision", "licence", "licence_note", "pretrained_on")}
    return facts | {"entry": f"weights/{folder.name}"}


def _files(folder: Path) -> list[dict[str, Any]]:
    """Path in the pack, length and digest of every file of an entry but its seal, which is made anew over there."""
    seal = read_json(folder / SEAL)
    for name in seal:
        require_weights(name, folder / name, str(folder / name))
    return [
        {"path": f"weights/{folder.name}/{name}", "bytes": (folder / name).stat().st_size, "sha256": seal[name]}
        for name in sorted(seal)
    ]


def _write(draft: Path, manifest: dict[str, Any], store: Store, console: Console) -> None:
    total = sum(fact["bytes"] for fact in manifest["files"])
    counted = console.show_progress("bundle", total, "bytes")
    with tarfile.open(draft, "x:", format=tarfile.PAX_FORMAT) as tar, counted as progress:
        text = (canonical_json(manifest) + "\n").encode("ascii")
        _add(tar, MANIFEST, len(text), io.BytesIO(text))
        for fact in manifest["files"]:
            with (store.root / fact["path"]).open("rb") as handle:
                _add(tar, fact["path"], fact["bytes"], handle)
            progress.count_done(fact["bytes"])


def _add(tar: tarfile.TarFile, name: str, length: int, source: Any) -> None:
    member = tarfile.TarInfo(name)  # no owner, time 0, mode 0644: nothing of this machine
    member.size = length
    tar.addfile(member, source)


def unpack(path: Path, store: Store, console: Console, *, sha256: str = "") -> list[dict[str, Any]]:
    """Check a pack, and only then bring its weights into the cache.

    Args:
        path: The tar.
        store: The cache.
        console: Told what is checked.
        sha256: What the whole tar must have, as `bundle` printed it; empty for no such check.

    Returns:
        `name`, `entry`, `bytes` and `was_here` of each backbone.

    Raises:
        DataError: The pack is missing or damaged, or holds what does not belong there, which is named. Nothing was
            placed.
        SetupError: The disk is full, read-only or not permitted.
    """
    if not path.is_file():
        raise DataError(f"there is no file `{path}`", hint="headstart backbones bundle NAME … -o pack.tar makes one")
    if sha256 and (got := file_digest(path)) != sha256.lower():
        raise DataError(f"the pack's SHA-256 is `{got}`, expected `{sha256}`", where=str(path))
    with translate_disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=store.root, prefix=".tmp-"))
        try:
            manifest = _checked(path, staging, store, console)
            _lay_out(manifest, staging)
            _require_pinned(manifest, staging, path)
            _require_as_here(manifest, store, path)
            pins.require(manifest.unpinned(), store, path)
            console.print_line(
                "unbundle", f"{len(manifest.files)} files, {format_bytes(manifest.bytes())}: every digest is right"
            )
            return _place(manifest, staging, store)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _checked(path: Path, staging: Path, store: Store, console: Console) -> Manifest:
    """Read the whole tar into `staging`, each file under a number of ours, and check everything."""
    try:
        with path.open("rb") as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
            manifest = _manifest(tar, path, store)
            _require_end(path)
            seen: set[str] = set()
            with console.show_progress("unbundle", manifest.bytes(), "bytes") as progress:
                while (member := tar.next()) is not None:
                    _require_listed(member, manifest, seen, path)
                    seen.add(member.name)
                    _require_fact("bytes", member.size, manifest, member.name, path)
                    digest = _copy(tar.extractfile(member), staging / manifest.stem(member.name), member.name, progress)
                    _require_fact("sha256", digest, manifest, member.name, path)
    except (tarfile.TarError, EOFError, ValueError, UnicodeError) as err:
        raise DataError(f"`{path}` is no whole tar: {err}", where=str(path), hint=_AGAIN) from err
    absent = next((name for name in manifest.files if name not in seen), None)
    if absent:
        raise DataError(f"the pack lacks `{absent}`, which its manifest lists", where=str(path), hint=_AGAIN)
    return manifest


_AGAIN = "copy the pack again, or make it again: headstart backbones bundle NAME … -o pack.tar"


def _manifest(tar: tarfile.TarFile, path: Path, store: Store) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or member.type not in _PLAIN or member.size > _MOST_MANIFEST_BYTES:
        raise DataError(f"`{path}` does not begin with `{MANIFEST}`: it is no pack of headstart", where=str(path))
    content = tar.extractfile(member)
    return Manifest.read(content.read() if content else b"", path, store)


def _require_end(path: Path) -> None:
    """A tar ends in two empty blocks; one that was cut off does not."""
    with path.open("rb") as handle:
        length = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, length - 1024))
        if length % 512 or any(handle.read()):
            raise DataError(f"`{path}` is cut off: it has no end", where=str(path), hint=_AGAIN)


def _require_listed(member: tarfile.TarInfo, manifest: Manifest, seen: set[str], path: Path) -> None:
    """Refuse a member by its kind and name; the manifest's own names have been checked."""
    name = member.name
    kinds = [
        (member.issym() or member.islnk(), "is a link"),
        (member.isdir(), "is a folder"),
        (member.isdev(), "is a device or a pipe"),
        (member.type not in _PLAIN or member.issparse(), "is no plain file"),
        (leads_elsewhere(name), "leads elsewhere"),
        (name not in manifest.files, "is not in the manifest"),
        (name in seen, "is there twice"),
    ]
    wrong = next((why for holds, why in kinds if holds), None)
    if wrong:
        raise DataError(f"the member `{name}` of the pack {wrong}; nothing was taken", where=str(path))


def _require_fact(fact: str, found: int | str, manifest: Manifest, name: str, path: Path) -> None:
    wanted = manifest.files[name][fact]
    if found != wanted:
        word = {"bytes": "length", "sha256": "SHA-256"}[fact]
        what = f"the {word} of `{name}` is `{found}`, the manifest says `{wanted}`; nothing was taken"
        raise DataError(what, where=str(path), hint=_AGAIN)


def _copy(source: Any, target: Path, name: str, progress: Progress) -> str:
    """Copy one file's bytes, refuse what are no numbers, and give the SHA-256."""
    digest = hashlib.sha256()
    with target.open("xb") as out:
        block = source.read(_BLOCK_BYTES)
        require_numbers(name, block[:16], name)
        while block:
            digest.update(block)
            out.write(block)
            progress.count_done(len(block))
            block = source.read(_BLOCK_BYTES)
    require_weights(name, target, name)
    return digest.hexdigest()


def _lay_out(manifest: Manifest, staging: Path) -> None:
    """Give the checked files of each entry their names, in a folder of the entry's name."""
    for entry, names in manifest.entries().items():
        folder = staging / entry.rpartition("/")[2]
        folder.mkdir()
        for name in names:
            os.replace(staging / manifest.stem(name), folder / name.rpartition("/")[2])  # noqa: PTH105


def _require_pinned(manifest: Manifest, staging: Path, path: Path) -> None:
    """A pack may be true to its own manifest and yet hold other weights than those of the name."""
    for one in manifest.backbones:
        if why := _wrong(loading.find(one["name"]), staging / one["entry"].rpartition("/")[2]):
            what = f"the pack does not hold the weights of `{one['name']}`: {why}; nothing was taken"
            raise DataError(what, where=str(path))


def _require_as_here(manifest: Manifest, store: Store, path: Path) -> None:
    """What is in the cache already must be what the pack holds; where a file once came from may differ."""
    for one in manifest.backbones:
        entry = one["entry"]
        folder = store.find_entry(WEIGHTS, entry.rpartition("/")[2])
        if folder is None:
            continue
        packed = {name.rpartition("/")[2]: manifest.files[name]["sha256"] for name in manifest.entries()[entry]}
        here = read_json(folder / SEAL)
        names = sorted((packed | here).keys() - {_ORIGIN})
        other = next((name for name in names if packed.get(name) != here.get(name)), None)
        if other:
            raise DataError(
                f"`{other}` of `{one['name']}` is in the cache already, with other bytes; nothing was taken",
                where=str(path),
                hint=f"find out which is right; to take that of the pack, delete `{folder}` first",
            )


def _place(manifest: Manifest, staging: Path, store: Store) -> list[dict[str, Any]]:
    placed = {}
    for entry, names in manifest.entries().items():
        key = entry.rpartition("/")[2]
        here = store.find_entry(WEIGHTS, key) is not None

        def write(draft: Path, laid: Path = staging / key) -> None:
            for file in laid.iterdir():
                os.replace(file, draft / file.name)  # noqa: PTH105

        store.make_entry(WEIGHTS, key, write)
        length = sum(manifest.files[name]["bytes"] for name in names)
        placed[entry] = {"entry": entry, "bytes": length, "was_here": here}
    for file, sha256 in manifest.unpinned().items():
        pins.note(file, sha256, store)
    return [{"name": one["name"], **placed[one["entry"]]} for one in manifest.backbones]
