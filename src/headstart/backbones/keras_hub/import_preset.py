"""A KerasHub preset as a backbone: fetched or copied, laid flat into a `.keras` file in the cache, and described.

From then on it is used as any Keras file of the user's own is, without KerasHub. Presets of pictures and texts (CLIP,
SigLIP) keep their own files beside it, for the half that reads texts.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headstart.backbones.card_facts import told_by_words
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.description import FILES, ImportedBackbone
from headstart.backbones.keras_hub import preset as hub_preset
from headstart.backbones.keras_hub import preset_download, preset_files
from headstart.backbones.keras_hub.preset_download import SOURCE, Wanted
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage.cache import Store
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.hashing import compute_digest, file_digest

_FORMAT = 1  # of what is laid flat; raise when it comes out otherwise
_TEXTS = "preset"  # folder, in the entry, of a preset that reads texts too
_NOTE = "KerasHub's presets carry no licence"
_UNKNOWN = "unknown: see where the weights come from"


def bring(wanted: Wanted, known: Mapping[str, Any], store: Store, console: Console) -> ImportedBackbone:
    """Fetch a published preset and describe it.

    Args:
        wanted: Which.
        known: What the index of presets says of it; empty for one that is not in it.
        store: The cache.
        console: Told of sources, progress, and of what is guessed or only nearly so.

    Raises:
        SetupError: KerasHub is missing, or the preset cannot be had.
        DataError: It is no preset that takes pictures, or must not be opened.
    """
    hub_preset.require_installed()

    def place(folder: Path) -> None:
        preset_download.gather(wanted, folder, store, console)

    return _made(place, wanted.name, known, store, console)


def copy(path: Path, store: Store, console: Console) -> ImportedBackbone:
    """Take a preset from a folder on this machine and describe it.

    Raises:
        SetupError: KerasHub is missing.
        DataError: As `bring`.
    """

    def place(folder: Path) -> None:
        for name, file in preset_files.files_of(path).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)

    preset_files.files_of(path)
    hub_preset.require_installed()
    return _made(place, path.resolve().name, {}, store, console, place_of=str(path.resolve()))


def remembered(text: str, store: Store) -> str:
    """The name under which something was opened before, by path or handle; empty where it never was."""
    known = [
        one
        for one in description.names(SOURCE, store)
        if description.described(SOURCE, one, store).place == compute_digest(text)
    ]
    return known[0] if len(known) == 1 else ""


def texts_of(name: str, store: Store) -> Path | None:
    """The folder with the files of a preset that reads texts too, to be opened by `hub_preset`.

    Args:
        name: After `keras_hub:`.
        store: The cache.

    Returns:
        None where the preset reads no texts, or its copy is not in the store whole.
    """
    file = description.file_of(description.described(SOURCE, name, store), store)
    folder = file.parent / _TEXTS if file else None
    return folder if folder and folder.is_dir() else None


def _made(
    place: Callable[[Path], None],
    text: str,
    known: Mapping[str, Any],
    store: Store,
    console: Console,
    *,
    place_of: str = "",
) -> ImportedBackbone:
    with translate_disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".tmp-", ignore_cleanup_errors=True) as here:
        folder = Path(here)
        place(folder)
        files = preset_files.files_of(folder)
        known_by = {name: file_digest(path) for name, path in files.items() if name != preset_files.METADATA}  # a date
        content = compute_digest([_FORMAT, known_by])
        name = text if known else f"{_plain(text)}-{content[:8]}"
        if name in description.names(SOURCE, store):
            before = description.described(SOURCE, name, store)
            if before.content == content and description.file_of(before, store) is not None:
                return before
            if before.content != content:
                raise _another(name)
        console.print_line("open", f"{SOURCE}:{name}: laid flat by KerasHub {_version()}, once")
        made = _laid(folder, files, content, name, known, place_of or text, store, console)
    description.describe(SOURCE, made, store)
    registration.tell(made, console, SOURCE)
    return made


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text.partition("://")[2] or text).strip("_") or SOURCE


def _version() -> str:
    return str(getattr(hub_preset.hub(), "__version__", ""))


def _another(name: str) -> DataError:
    return DataError(
        f"what comes as `{SOURCE}:{name}` is not what was first used here",
        hint=f"find out why it changed; to take the new one: headstart backbones remove {SOURCE}:{name}",
    )


def _laid(
    folder: Path,
    files: Mapping[str, Path],
    content: str,
    name: str,
    known: Mapping[str, Any],
    place: str,
    store: Store,
    console: Console,
) -> ImportedBackbone:
    """Lay a gathered preset flat into the store."""
    from headstart.backbones.keras_hub import trunk
    from headstart.networks import flops as cost
    from headstart.networks.formats.keras_writer import write_keras
    from headstart.networks.openvino_conversion import quiet

    with quiet():
        preset = hub_preset.opened(folder)
        laid = trunk.lay(preset.backbone, preset.input, preset.task)
        params, flops = int(laid.model.count_params()), max(1, int(cost.flops(laid.model)))
    for note in preset.notes:
        console.print_warning(note)

    def write(draft: Path) -> None:
        with quiet():
            write_keras(laid.model, draft / FILES["keras"])
        if hasattr(preset.backbone, "text_encoder"):
            for one, file in files.items():
                (draft / _TEXTS / one).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, draft / _TEXTS / one)

    store.make_entry("added", description.address(content), write)
    family = known.get("family") or preset.kind.removesuffix("Backbone").lower()
    method, domains = told_by_words(family, name, known.get("description", ""))
    return ImportedBackbone(
        name=name,
        kind="keras",
        content=content,
        input=preset.input,
        layout="nhwc",
        scaling=preset.told,
        guess=preset.guess,
        cuts=laid.cuts,
        params=params,
        flops=flops,
        bytes=sum(path.stat().st_size for path in files.values()),
        licence=known.get("licence", _UNKNOWN),
        licence_note=known.get("licence_note") or _NOTE,
        pretrained_on=known.get("description") or f"not known: the preset {_plain(name)}",
        family=family,
        prior_source="a guess: KerasHub publishes no accuracy of its presets",
        scaled=True,
        place=compute_digest(place),
        method=method,
        domains=domains,
    )
