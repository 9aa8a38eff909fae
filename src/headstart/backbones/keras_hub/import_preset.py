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

from headstart.backbones.card_facts import guess_training
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.description import FILES, ImportedBackbone
from headstart.backbones.keras_hub import preset as hub_preset
from headstart.backbones.keras_hub import preset_download, preset_files
from headstart.backbones.keras_hub.preset_download import SOURCE, PublishedPreset
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage.cache import Store
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.hashing import compute_digest, file_digest

_FORMAT = 1  # of what is laid flat; raise when it comes out otherwise
_TEXTS = "preset"  # folder, in the entry, of a preset that reads texts too
_NOTE = "KerasHub's presets carry no licence"
_UNKNOWN = "unknown: see where the weights come from"


def import_published(
    preset: PublishedPreset, facts: Mapping[str, Any], store: Store, console: Console
) -> ImportedBackbone:
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
        preset_download.fetch_preset(preset, folder, store, console)

    return _import_files(place, preset.name, facts, store, console)


def import_folder(path: Path, store: Store, console: Console) -> ImportedBackbone:
    """Take a preset from a folder on this machine and describe it.

    Raises:
        SetupError: KerasHub is missing.
        DataError: As `bring`.
    """

    def place(folder: Path) -> None:
        for name, file in preset_files.list_files(path).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)

    preset_files.list_files(path)
    hub_preset.require_installed()
    return _import_files(place, path.resolve().name, {}, store, console, origin=str(path.resolve()))


def find_imported(text: str, store: Store) -> str:
    """The name under which something was opened before, by path or handle; empty where it never was."""
    names = [
        one
        for one in description.names(SOURCE, store)
        if description.described(SOURCE, one, store).place == compute_digest(text)
    ]
    return names[0] if len(names) == 1 else ""


def find_text_folder(name: str, store: Store) -> Path | None:
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


def _import_files(
    fill: Callable[[Path], None],
    text: str,
    facts: Mapping[str, Any],
    store: Store,
    console: Console,
    *,
    origin: str = "",
) -> ImportedBackbone:
    with translate_disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".tmp-", ignore_cleanup_errors=True) as draft:
        folder = Path(draft)
        fill(folder)
        files = preset_files.list_files(folder)
        digests = {name: file_digest(path) for name, path in files.items() if name != preset_files.METADATA}  # a date
        content = compute_digest([_FORMAT, digests])
        name = text if facts else f"{_plain_name(text)}-{content[:8]}"
        if name in description.names(SOURCE, store):
            earlier = description.described(SOURCE, name, store)
            if earlier.content == content and description.file_of(earlier, store) is not None:
                return earlier
            if earlier.content != content:
                raise _explain_changed(name)
        console.print_line("open", f"{SOURCE}:{name}: laid flat by KerasHub {_keras_hub_version()}, once")
        backbone = _store_flat(folder, files, content, name, facts, origin or text, store, console)
    description.describe(SOURCE, backbone, store)
    registration.tell(backbone, console, SOURCE)
    return backbone


def _plain_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text.partition("://")[2] or text).strip("_") or SOURCE


def _keras_hub_version() -> str:
    return str(getattr(hub_preset.load_keras_hub(), "__version__", ""))


def _explain_changed(name: str) -> DataError:
    return DataError(
        f"what comes as `{SOURCE}:{name}` is not what was first used here",
        hint=f"find out why it changed; to take the new one: headstart backbones remove {SOURCE}:{name}",
    )


def _store_flat(
    folder: Path,
    files: Mapping[str, Path],
    content: str,
    name: str,
    facts: Mapping[str, Any],
    place: str,
    store: Store,
    console: Console,
) -> ImportedBackbone:
    """Lay a gathered preset flat into the store."""
    from headstart.backbones.keras_hub import trunk
    from headstart.networks import flops as cost
    from headstart.networks.formats.keras_writer import write_keras
    from headstart.networks.openvino_conversion import silence_frameworks

    with silence_frameworks():
        preset = hub_preset.open_preset(folder)
        flat = trunk.flatten_backbone(preset.backbone, preset.input, preset.task)
        params, flops = int(flat.model.count_params()), max(1, int(cost.count_flops(flat.model)))
    for note in preset.notes:
        console.print_warning(note)

    def write(draft: Path) -> None:
        with silence_frameworks():
            write_keras(flat.model, draft / FILES["keras"])
        if hasattr(preset.backbone, "text_encoder"):
            for one, file in files.items():
                (draft / _TEXTS / one).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, draft / _TEXTS / one)

    store.make_entry("added", description.address(content), write)
    family = facts.get("family") or preset.kind.removesuffix("Backbone").lower()
    method, domains = guess_training(family, name, facts.get("description", ""))
    return ImportedBackbone(
        name=name,
        kind="keras",
        content=content,
        input=preset.input,
        layout="nhwc",
        scaling=preset.scaling,
        guess=preset.guess,
        cuts=flat.cuts,
        params=params,
        flops=flops,
        bytes=sum(path.stat().st_size for path in files.values()),
        licence=facts.get("licence", _UNKNOWN),
        licence_note=facts.get("licence_note") or _NOTE,
        pretrained_on=facts.get("description") or f"not known: the preset {_plain_name(name)}",
        family=family,
        prior_source="a guess: KerasHub publishes no accuracy of its presets",
        scaled=True,
        place=compute_digest(place),
        method=method,
        domains=domains,
    )
