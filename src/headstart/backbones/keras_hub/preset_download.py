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
from headstart.backbones.keras_hub import preset, preset_files
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable, write_bytes

SOURCE = "keras_hub"
HF, KAGGLE = "hf://", "kaggle://"
_MOST_BYTES = 50_000_000
_TOLD = 200  # characters of somebody else's sentence
_KAGGLE = re.compile(r"kaggle://[\w-]+/[\w.-]+/keras/[\w.-]+(?:/\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A preset that somebody publishes.

    Attributes:
        name: As it was asked for.
        place: Below `keras_hub/` on a mirror.
        handle: `kaggle://…` or `hf://…`.
    """

    name: str
    place: str
    handle: str

    @classmethod
    def of(cls, text: str) -> Wanted:
        """Of a handle.

        Raises:
            UsageError: It is none.
        """
        if text.startswith(HF):
            repo = hub_api.Repository.of(text.removeprefix(HF))
            return cls(name=text, place=repo.preset, handle=text)
        if not _KAGGLE.fullmatch(text):
            hint = "hf://ORG/NAME, or kaggle://ORG/MODEL/keras/VARIANT/VERSION"
            raise UsageError(f"`{format_printable(text)}` is no handle of a preset", hint=hint)
        return cls(name=text, place=text.removeprefix(KAGGLE), handle=text)


Get = Callable[[str, Path, bool], bool]  # file, where to, whether it is large -> whether there is such a file


def gather(wanted: Wanted, folder: Path, store: Store, console: Console) -> str:
    """Bring the files of a preset into a folder.

    Returns:
        Where they came from.

    Raises:
        SetupError: They cannot be had.
        DataError: What came is no preset, or must not be opened.
    """
    origin, get_file = _origin(wanted, store, console)
    hint = (
        f"put its files into FOLDER/{SOURCE}/{wanted.place}/ and set HEADSTART_WEIGHTS_MIRROR=FOLDER; "
        f"or name a folder that save_to_preset wrote: {SOURCE}:PATH"
    )
    try:
        if _whole(get_file, folder):
            return origin
    except SetupError as err:
        raise SetupError(
            f"the preset `{format_printable(wanted.name)}` cannot be had: {err.what}",
            where=err.where,
            hint=err.hint or hint,
        ) from err
    why = mirror.absent() or f"{origin} does not have it"
    raise SetupError(f"the preset `{format_printable(wanted.name)}` cannot be had: {why}", hint=hint)


def _whole(get_file: Get, folder: Path) -> bool:
    """Bring everything; False where there is not even a description."""
    if not get_file(preset_files.CONFIG, folder / preset_files.CONFIG, False):
        return False
    for name in preset_files.SMALL[1:]:
        get_file(name, folder / name, False)
    if (folder / "tokenizer.json").is_file():
        for name in preset_files.ASSETS:
            get_file(f"{preset_files.TOKENIZER}/{name}", folder / preset_files.TOKENIZER / name, False)
    for whole, parts in preset_files.WAYS:
        if get_file(parts, folder / parts, False):
            for name in preset_files.shards(folder / parts):
                if not get_file(name, folder / name, True):
                    raise SetupError(f"`{name}`, which `{parts}` names, is not there")
            return True
        if get_file(whole, folder / whole, True):
            return True
    raise DataError(f"there are no weights: none of {', '.join(name for way in preset_files.WAYS for name in way)}")


def _origin(wanted: Wanted, store: Store, console: Console) -> tuple[str, Get]:
    """Who is asked, in words, and the way to a file; with a mirror nobody else is, as for all weights."""
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    if base:
        mirror.require_readable(f"{SOURCE}/{wanted.place}/")
        return f"the mirror {resumable.shown(base)}", _from_mirror(wanted, base, store, console)
    if wanted.handle.startswith(HF):
        return hub_api.shown(), _from_hf(wanted, store, console)
    return wanted.handle, _from_kaggle(wanted, console)


def _from_mirror(wanted: Wanted, base: str, store: Store, console: Console) -> Get:
    remote = mirror.folder() is None

    def get_file(file: str, target: Path, large: bool) -> bool:
        place = f"{SOURCE}/{wanted.place}/{file}"
        local = next((path for path in weights.places(place) if path.is_file()), None)
        if not (local or remote):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if large:
            return _brought(wanted, place, "", target, store, console)
        if local is None:
            return _small(resumable.below(base, place), target)
        shutil.copyfile(local, target)
        return True

    return get_file


def _from_hf(wanted: Wanted, store: Store, console: Console) -> Get:
    repo = hub_api.Repository.of(wanted.handle.removeprefix(HF))

    def get_file(file: str, target: Path, large: bool) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        if large:
            return _brought(wanted, f"{SOURCE}/{wanted.place}/{file}", repo.address(file), target, store, console)
        return _small(repo.address(file), target)

    return get_file


def _from_kaggle(wanted: Wanted, console: Console) -> Get:
    def get_file(file: str, target: Path, large: bool) -> bool:
        preset.hub()
        from keras_hub.src.utils import preset_utils

        if large:
            console.print_line("fetch", f"{wanted.handle}: {file}, by KerasHub's loader")
        try:
            found = preset_utils.get_file(wanted.handle, file)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, RuntimeError, ImportError) as err:
            raise SetupError(f"{wanted.handle} cannot be reached: {type(err).__name__}: {_reason(err)}") from err
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
        return True

    return get_file


def _reason(err: BaseException) -> str:
    """What the operating system said, below all that was raised on top of it; else the first line, whole words."""
    below: BaseException | None = err
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return format_printable(str(below.strerror))
        below = below.__cause__ or below.__context__
    return format_printable(textwrap.shorten(str(err).strip().partition("\n")[0], _TOLD, placeholder=" …"))


def _brought(wanted: Wanted, place: str, url: str, target: Path, store: Store, console: Console) -> bool:
    official = weights.WeightsFile(name=wanted.name, file=place, url=url, bytes=0, md5="")
    try:
        with weights.turn(official, store, console):
            weights.bring(official, target, store, console)
    except SetupError as err:
        if isinstance(err.__cause__, urllib.error.HTTPError) and err.__cause__.code == 404:
            return False
        raise
    return True


def _small(address: str, target: Path) -> bool:
    """A small file over the network; False where the server has none."""
    try:
        content, _ = resumable.small(address, most_bytes=_MOST_BYTES)
    except urllib.error.HTTPError as err:
        err.close()
        if err.code == 404:
            return False
        raise SetupError(f"{resumable.shown(address)} answers {err.code}") from err
    except (OSError, ValueError, http.client.HTTPException) as err:
        reason = getattr(err, "reason", None) or err
        raise SetupError(f"{resumable.shown(address)}: {format_printable(str(reason)) or type(err).__name__}") from err
    write_bytes(target, content)
    return True
