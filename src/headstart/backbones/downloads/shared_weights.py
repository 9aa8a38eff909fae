"""Weights that machines share through a bucket: whoever fetches them first puts them there, the others bring them.

An entry of the cache lies below `HEADSTART_SHARED_CACHE` file by file with its seal. What does not fit the seal is not
taken: the weights are fetched from their publisher, and put there anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.console import format_bytes
from headstart.core.errors import DataError, HeadstartError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import SEAL
from headstart.core.storage.hashing import file_digest

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.storage.cache import Store


def pull_weights(backbone: ResolvedBackbone, store: Store, console: Console, *, sharing: bool = False) -> Path:
    """The weights in the store: from the shared cache, else fetched by their source and put there.

    Args:
        backbone: Whose weights.
        store: The cache of this machine.
        console: Where progress goes.
        sharing: Whether weights that are here already are put there, too.

    Raises:
        SetupError: They cannot be had, or the shared cache is set and cannot be read.
    """
    is_here = backbone.source.available(backbone.preset, store)
    if not is_here:
        _bring_weights(backbone, store, console)
    path = backbone.source.pull(backbone.preset, store, console)
    if sharing or not is_here:
        share_weights(backbone, store, console)
    return path


def share_weights(backbone: ResolvedBackbone, store: Store, console: Console) -> None:
    """Put weights that are in the store into the shared cache; where it refuses, say so: they are here all the same."""
    from headstart.core.storage.locations.uploads import upload_folder

    try:
        folder, address = _find_places(backbone, store)
        if address and folder.is_dir() and (count_bytes := upload_folder(folder, address, console, is_shared=True)):
            console.print_line("share", f"{backbone.name}: {format_bytes(count_bytes)} to {address}")
    except HeadstartError as err:
        console.print_warning(f"the weights of `{backbone.name}` are not shared: {err.what} ({err.hint})")


def _bring_weights(backbone: ResolvedBackbone, store: Store, console: Console) -> None:
    from headstart.core.storage.locations.uploads import download_file, find_bytes

    folder, address = _find_places(backbone, store)
    seal = find_bytes(f"{address}/{SEAL}") if address else None
    if seal is None:
        return

    def write(draft: Path) -> None:
        for name, digest in json.loads(seal).items():
            download_file(f"{address}/{name}", draft, name)
            if file_digest(draft / name) != digest:
                raise DataError(f"`{name}` does not fit its seal")

    try:
        store.make_entry(folder.parent.name, folder.name, write)
        console.print_line("fetch", f"{backbone.name} from {address}")
    except (DataError, ValueError, AttributeError, TypeError) as err:  # of the last three: the seal itself is damaged
        console.print_warning(f"the shared weights at {address} are damaged and fetched anew: {err}")


def _find_places(backbone: ResolvedBackbone, store: Store) -> tuple[Path, str]:
    """The entry of the weights in the store, and its address; that is empty where nothing is shared.

    Files of the user's own, and what a hub gives by name, need a description beside them: they are not shared.
    """
    root = read_setting("HEADSTART_SHARED_CACHE")
    if root is None or backbone.source.is_users_own:
        return Path(), ""
    folder = backbone.source.weights_folder(backbone.preset, store)
    if folder is None:
        return Path(), ""
    from headstart.core.storage.locations.uploads import require_writable

    address = require_writable(root, "HEADSTART_SHARED_CACHE")
    return folder, f"{address}/{folder.relative_to(store.root).as_posix()}"
