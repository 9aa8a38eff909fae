"""Where the files of a KerasHub preset come from: a mirror, else the hub that its handle names.

A mirror (`HEADSTART_WEIGHTS_MIRROR`) holds them below `keras_hub/<preset>/` under KerasHub's own names. Without one,
Hugging Face is asked by this package's own downloads, which go on after a break, and Kaggle by KerasHub's loader.
"""

from __future__ import annotations

import http.client
import re
import shutil
import textwrap
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.backbones.downloads import mirror, resumable, weights
from headstart.backbones.huggingface import hub_api
from headstart.backbones.keras_hub import preset_files
from headstart.backbones.keras_hub.preset import load_keras_hub, require_installed
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable, write_bytes

SOURCE = "keras_hub"
FetchFile = Callable[[str, Path, bool], bool]  # file, target, whether it is large -> whether there is such a file
HF, KAGGLE = "hf://", "kaggle://"
_KAGGLE_ADDRESS = "https://www.kaggle.com"
_MAX_BYTES = 50_000_000
_MAX_REASON = 200  # characters of somebody else's sentence
_KAGGLE = re.compile(r"kaggle://[\w-]+/[\w.-]+/keras/[\w.-]+(?:/\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPreset:
    """A preset by its name as asked for, its place below `keras_hub/` on a mirror, and its `kaggle://` or `hf://`
    handle."""

    name: str
    place: str
    handle: str

    @classmethod
    def parse(cls, text: str) -> PublishedPreset:
        """From a handle; `UsageError` where it is none."""
        if text.startswith(HF):
            repo = hub_api.Repository.parse(text.removeprefix(HF))
            return cls(name=text, place=repo.preset, handle=text)
        if not _KAGGLE.fullmatch(text):
            hint = "hf://ORG/NAME, or kaggle://ORG/MODEL/keras/VARIANT/VERSION"
            raise UsageError(f"`{format_printable(text)}` is no handle of a preset", hint=hint)
        return cls(name=text, place=text.removeprefix(KAGGLE), handle=text)


def find_address(preset: PublishedPreset) -> str:
    """What is asked for the description of a preset, by `fetch_preset`; empty where a mirror on this machine has it.

    Raises:
        SetupError: KerasHub is not installed, or the mirror cannot give it.
    """
    require_installed()
    place = f"{SOURCE}/{preset.place}/{preset_files.CONFIG}"
    if any(path.is_file() for path in weights.local_copies(place)):
        return ""
    url = _KAGGLE_ADDRESS
    if preset.handle.startswith(HF):
        url = hub_api.Repository.parse(preset.handle.removeprefix(HF)).file_address(preset_files.CONFIG)
    return weights.choose_address(
        weights.WeightsFile(name=f"{SOURCE}:{preset.name}", file=place, url=url, bytes=0, md5="")
    )


def fetch_preset(preset: PublishedPreset, folder: Path, store: Store, console: Console) -> str:
    """Bring the files of a preset into a folder, and say where they came from.

    `SetupError` where they cannot be had, `DataError` where what came is no preset, or must not be opened.
    """
    origin, fetch_file = _choose_origin(preset, store, console)
    failure = f"the preset `{format_printable(preset.name)}` cannot be had"
    hint = (
        f"put its files into FOLDER/{SOURCE}/{preset.place}/ and set HEADSTART_WEIGHTS_MIRROR=FOLDER; "
        f"or name a folder that save_to_preset wrote: {SOURCE}:PATH"
    )
    try:
        if _fetch_files(fetch_file, folder):
            return origin
    except SetupError as err:
        raise SetupError(f"{failure}: {err.what}", where=err.where, hint=err.hint or hint) from err
    why = mirror.explain_absent_folder() or f"{origin} does not have it"
    raise SetupError(f"{failure}: {why}", hint=hint)


def _fetch_files(fetch_file: FetchFile, folder: Path) -> bool:
    """Bring everything; False where there is not even a description."""
    if not fetch_file(preset_files.CONFIG, folder / preset_files.CONFIG, False):
        return False
    for name in preset_files.SMALL[1:]:
        fetch_file(name, folder / name, False)
    if (folder / "tokenizer.json").is_file():
        for name in preset_files.ASSETS:
            fetch_file(f"{preset_files.TOKENIZER}/{name}", folder / preset_files.TOKENIZER / name, False)
    for single, index in preset_files.WAYS:
        if fetch_file(index, folder / index, False):
            for name in preset_files.list_shards(folder / index):
                if not fetch_file(name, folder / name, True):
                    raise SetupError(f"`{name}`, which `{index}` names, is not there")
            return True
        if fetch_file(single, folder / single, True):
            return True
    raise DataError(f"there are no weights: none of {', '.join(name for way in preset_files.WAYS for name in way)}")


def _choose_origin(preset: PublishedPreset, store: Store, console: Console) -> tuple[str, FetchFile]:
    """Who is asked, in words, and the way to a file; with a mirror nobody else is, as for all weights."""
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    if base:
        mirror.require_readable(f"{SOURCE}/{preset.place}/")

        def find_address(file: str) -> str:
            is_folder = mirror.find_mirror_folder() is not None
            return "" if is_folder else resumable.join_address(base, f"{SOURCE}/{preset.place}/{file}")

        fetch_file = _fetch_plainly(preset, find_address, "", store, console)
        return f"the mirror {resumable.hide_credentials(base)}", fetch_file
    if preset.handle.startswith(HF):
        repo, token = hub_api.Repository.parse(preset.handle.removeprefix(HF)), hub_api.find_token()
        return hub_api.format_hub_address(), _fetch_plainly(preset, repo.file_address, token, store, console)
    return preset.handle, _fetch_from_kaggle(preset, console)


def _fetch_plainly(
    preset: PublishedPreset, find_address: Callable[[str], str], token: str, store: Store, console: Console
) -> FetchFile:
    """From a folder of this machine, or from an address, which is empty where none is asked."""

    def fetch_file(file: str, target: Path, large: bool) -> bool:
        place, address = f"{SOURCE}/{preset.place}/{file}", find_address(file)
        local = next((path for path in weights.local_copies(place) if path.is_file()), None)
        if not (local or address):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if large:
            file_facts = weights.WeightsFile(name=preset.name, file=place, url=address, bytes=0, md5="", token=token)
            return hub_api.fetch_weights(file_facts, target, store, console)
        if local is None:
            return _fetch_small(preset, address, target, token)
        shutil.copyfile(local, target)
        return True

    return fetch_file


def _fetch_from_kaggle(preset: PublishedPreset, console: Console) -> FetchFile:
    def fetch_file(file: str, target: Path, large: bool) -> bool:
        resumable.require_network(_KAGGLE_ADDRESS)
        load_keras_hub()
        from keras_hub.src.utils import preset_utils

        if large:
            console.print_line("fetch", f"{preset.handle}: {file}, by KerasHub's loader")
        try:
            path = preset_utils.get_file(preset.handle, file)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, RuntimeError, ImportError) as err:
            raise SetupError(f"{preset.handle} cannot be reached: {type(err).__name__}: {_find_reason(err)}") from err
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return True

    return fetch_file


def _find_reason(err: BaseException) -> str:
    """What the operating system said, below all that was raised on top of it; else the first line, whole words."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return format_printable(str(cause.strerror))
        cause = cause.__cause__ or cause.__context__
    return format_printable(textwrap.shorten(str(err).strip().partition("\n")[0], _MAX_REASON, placeholder=" …"))


def _fetch_small(preset: PublishedPreset, address: str, target: Path, token: str) -> bool:
    """A small file over the network; False where the server has none."""
    try:
        content, _ = resumable.download_small(address, most_bytes=_MAX_BYTES, token=token)
    except urllib.error.HTTPError as err:
        err.close()
        if err.code == 404:
            return False
        if err.code in (401, 403) and address.startswith(hub_api.hub_address()):
            repo = hub_api.Repository.parse(preset.handle.removeprefix(HF))
            raise hub_api.explain_refusal(repo, err.code, err.headers.get("X-Error-Code")) from err
        raise SetupError(f"{resumable.hide_credentials(address)} answers {err.code}") from err
    except (OSError, ValueError, http.client.HTTPException) as err:
        reason = getattr(err, "reason", None) or err
        what = f"{resumable.hide_credentials(address)}: {format_printable(str(reason)) or type(err).__name__}"
        raise SetupError(what) from err
    write_bytes(target, content)
    return True
