"""A KerasHub preset as a backbone: fetched or copied, laid flat into a `.keras` file in the cache, and described.

From then on it is used as any Keras file of the user's own is, without KerasHub. Presets of pictures and texts (CLIP,
SigLIP) keep their own files beside it, for the half that reads texts.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headstart.backbones.card_facts import Facts, guess_training
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.description import ImportedBackbone
from headstart.backbones.imported.file_copy import temporary_folder
from headstart.backbones.keras_hub import preset as hub_preset
from headstart.backbones.keras_hub import preset_download, preset_files
from headstart.backbones.keras_hub.preset_download import SOURCE, PublishedPreset
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import compute_digest, file_digest

_FORMAT = 1  # of what is laid flat; raise when it comes out otherwise
_TEXTS = "preset"  # folder, in the entry, of a preset that reads texts too


def import_published(preset: PublishedPreset, facts: Facts, store: Store, console: Console) -> ImportedBackbone:
    """Fetch a published preset and describe it; `facts` are those of the index of presets, empty where it is not in it.

    `SetupError` where KerasHub is missing or the preset cannot be had, `DataError` where it takes no pictures or must
    not be opened.
    """
    hub_preset.require_installed()
    with temporary_folder(store) as folder:
        preset_download.fetch_preset(preset, folder, store, console)
        return _import_files(folder, preset.name, facts, preset.name, store, console)


def import_folder(path: Path, store: Store, console: Console) -> ImportedBackbone:
    """Take a preset from a folder on this machine and describe it; errors are those of `import_published`."""
    files = preset_files.list_files(path)
    hub_preset.require_installed()
    with temporary_folder(store) as folder:
        _copy_files(files, folder)
        return _import_files(folder, path.resolve().name, {}, str(path.resolve()), store, console)


def find_imported(origin: str, store: Store) -> str:
    """The name under which a path or handle was opened before; empty where it never was."""
    return description.find_by_place(SOURCE, compute_digest(origin), store)


def find_text_folder(name: str, store: Store) -> Path | None:
    """The folder with the files of a preset that reads texts too; None without them, or where the copy is damaged."""
    file = description.find_copy(description.read_description(SOURCE, name, store), store)
    folder = file.parent / _TEXTS if file else None
    return folder if folder and folder.is_dir() else None


def _copy_files(files: Mapping[str, Path], folder: Path) -> None:
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)


def _import_files(
    folder: Path, text: str, facts: Facts, origin: str, store: Store, console: Console
) -> ImportedBackbone:
    files = preset_files.list_files(folder)
    digests = {name: file_digest(path) for name, path in files.items() if name != preset_files.METADATA}  # a date
    content = compute_digest([_FORMAT, digests, *([facts["side"]] if facts.get("side") else [])])
    name = text if facts else f"{_plain_name(text)}-{content[:8]}"
    earlier = description.find_description(SOURCE, name, store)
    if earlier and earlier.content != content:
        hint = f"find out why it changed; to take the new one: headstart backbones remove {SOURCE}:{name}"
        raise DataError(f"what comes as `{SOURCE}:{name}` is not what was first used here", hint=hint)
    if earlier and description.find_copy(earlier, store) is not None:
        return earlier
    version = hub_preset.load_keras_hub().__version__
    console.print_line("open", f"{SOURCE}:{name}: laid flat by KerasHub {version}, once")
    backbone = _store_flat(folder, files, content, name, facts, store, console)
    backbone = replace(backbone, place=compute_digest(origin))
    description.write_description(SOURCE, backbone, store)
    registration.print_description(backbone, console, SOURCE)
    return backbone


def _plain_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text.partition("://")[2] or text).strip("_") or SOURCE


def _store_flat(
    folder: Path, files: Mapping[str, Path], content: str, name: str, facts: Facts, store: Store, console: Console
) -> ImportedBackbone:
    from headstart.backbones.keras_hub import trunk
    from headstart.networks import flops as cost
    from headstart.networks.formats.keras_writer import write_keras
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():
        preset = hub_preset.open_preset(folder, facts.get("side", 0))
        model, cuts = trunk.flatten_backbone(preset.backbone, preset.input, preset.task)
        params, flops = int(model.count_params()), max(1, int(cost.count_flops(model)))
    for note in preset.notes:
        console.print_warning(note)

    def write(draft: Path) -> None:
        with silence_frameworks():
            write_keras(model, draft / description.FILES["keras"])
        if hasattr(preset.backbone, "text_encoder"):
            _copy_files(files, draft / _TEXTS)

    store.make_entry("added", description.copy_key(content), write)
    family = facts.get("family") or type(preset.backbone).__name__.removesuffix("Backbone").lower()
    method, domains = guess_training(family, name, facts.get("description", ""))
    return ImportedBackbone(
        name=name,
        kind="keras",
        content=content,
        input=preset.input,
        layout="nhwc",
        scaling=preset.scaling,
        guess=preset.guess,
        cuts=cuts,
        params=params,
        flops=flops,
        bytes=sum(path.stat().st_size for path in files.values()),
        licence=facts.get("licence", "unknown: see where the weights come from"),
        licence_note=facts.get("licence_note") or "KerasHub's presets carry no licence",
        pretrained_on=facts.get("description") or f"not known: the preset {_plain_name(name)}",
        family=family,
        prior_source="a guess: KerasHub publishes no accuracy of its presets",
        scaled=True,
        method=method,
        domains=domains,
    )
