"""A run in a bucket opened to be read: fetched into the cache once a version, sealed there, and found again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable, make_portable_name
from headstart.core.storage.locations.names import is_remote

_MODEL = "/model"


def locate_run(run: str | os.PathLike[str]) -> Path:
    """The folder of a run on this machine: its own, or that of a copy in the cache of what lies in a bucket now.

    Raises:
        DataError: There is no run at the address, or it is damaged.
        SetupError: The bucket is not there, may not be read, or does not answer.
    """
    place = os.fspath(run)
    return _fetch_run(place.rstrip("/")) if is_remote(place) else Path(place)


def find_manifest_digest(address: str) -> str:
    """SHA-256 of the manifest of the model at an address as it is now; empty where there is none.

    Raises:
        DataError: The index of the run there is damaged.
        SetupError: The bucket is not there, may not be read, or does not answer.
    """
    from headstart.core.run.mirror.run_index import find_index
    from headstart.core.storage.hashing import compute_digest
    from headstart.core.storage.locations.uploads import find_text_object

    run, name = address.rstrip("/").removesuffix(_MODEL), f"{_MODEL[1:]}/manifest.json"
    if (index := find_index(run)) is not None:
        return index.files[name].sha256 if name in index.files else ""
    manifest = find_text_object(f"{run}/{name}") or find_text_object(f"{run}/manifest.json")
    return compute_digest(manifest.text) if manifest else ""


def _fetch_run(address: str) -> Path:
    from headstart.core.run.mirror.run_index import find_index
    from headstart.core.storage.locations.uploads import list_below, require_writable

    require_writable(address, "RUN")
    index = find_index(address)
    if index is None and address.endswith(_MODEL):  # the model folder of a run
        above = find_index(address.removesuffix(_MODEL))
        if above is not None:
            return _fetch_run(address.removesuffix(_MODEL)) / "model"
    if index is not None:
        objects = {name: (entry.object, entry.sha256) for name, entry in index.files.items()}
        return _fetch_objects(address, objects, index.digest)
    facts = list_below(address)
    if not {"format.json", "manifest.json"} & set(facts):
        shown = format_printable(address)
        raise DataError(f"there is no run at `{shown}`", where=shown, hint="headstart fit DATA --out makes one there")
    versions = {name: f"{fact.e_tag} {fact.size_bytes}" for name, fact in facts.items()}
    return _fetch_objects(address, {name: (name, "") for name in facts}, versions)


def _fetch_objects(address: str, objects: Mapping[str, tuple[str, str]], version: object) -> Path:
    """Name -> object below the address and its SHA-256, empty where only the object's metadata have it."""
    from concurrent.futures import ThreadPoolExecutor

    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store
    from headstart.core.storage.hashing import file_digest
    from headstart.core.storage.locations.uploads import download_file

    folder_name = make_portable_name(address.rpartition("/")[2])

    def write(folder: Path) -> None:
        def bring(name: str) -> None:
            place, digest = objects[name]
            download_file(f"{address}/{place}", folder / folder_name, name)
            if digest and file_digest(folder / folder_name / name) != digest:
                shown = format_printable(f"{address}/{place}")
                hint = "run the command that made the run again"
                raise DataError(f"the object `{shown}` is damaged: it has another SHA-256", where=shown, hint=hint)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(bring, objects))

    return Store(cache_folder()).make_entry("runs", {"run": address, "version": version}, write) / folder_name
