"""A frozen ONNX export from the Hugging Face hub as a trunk: fetched, checked, and then treated as a file of your own.

What goes in and how comes from `preprocessor_config.json` and the graph, licence and training from the model card. No
code of the repository is run and no pickle is opened: three kinds of files are read, ONNX, JSON and the card's text.
"""

from __future__ import annotations

import re
import tempfile
import urllib.error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones import card_facts
from headstart.backbones.card_facts import Card
from headstart.backbones.downloads import mirror, resumable, weights
from headstart.backbones.downloads.weights import WeightsFile
from headstart.backbones.huggingface import hub_api, preprocessor_config
from headstart.backbones.huggingface.hub_api import Repository
from headstart.backbones.huggingface.preprocessor_config import Asked
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.description import HUB, ImportedBackbone
from headstart.backbones.imported.registration import ImportRequest
from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, SetupError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable, translate_disk_errors
from headstart.core.storage.hashing import compute_digest
from headstart.networks.formats import onnx_external_data

_TOLD = 8  # files of a repository that an error names
_LAYOUT = "nchw"  # of what PyTorch exports, whose shapes are often left open


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a repository says of itself: its files, the commit, what it asks of pictures and how it was made."""

    files: dict[str, dict[str, Any]]
    commit: str
    asked: Asked
    card: Card

    @property
    def place(self) -> str:
        """What tells a copy of this commit from others; empty where the commit is not told."""
        return compute_digest(["hub", self.commit]) if self.commit else ""


def bring(repo: Repository, store: Store, console: Console, wish: ImportRequest | None = None) -> ImportedBackbone:
    """Fetch a repository's network into the cache and describe it.

    Args:
        repo: Which.
        store: The cache.
        console: Told of sources, progress, and of what is guessed or only nearly so.
        wish: What the user says of input, scaling, depths and licence; `file` and `name` are not looked at. None
            leaves a description that is there as it is.

    Raises:
        SetupError: It cannot be had: no network, gated, cut off, or another file than the hub's digest says.
        DataError: It has no ONNX file, or one that is no network that takes pictures.
        UsageError: A wish does not fit the file, or the name has other content already.
    """
    told = _told(repo)
    before = description.described(HUB, repo.preset, store) if repo.preset in description.names(HUB, store) else None
    made = _same(before, told, wish, store) if before else None
    if made is None:
        made = _fetched(repo, told, wish, store, console)
    if wish is None and before is not None:
        return before
    made = replace(_described(made, told.card, wish), place=told.place)
    description.describe(HUB, made, store)
    registration.tell(made, console, HUB)
    for note in told.asked.notes:
        console.print_warning(note)
    if not told.asked.size_px:
        console.print_warning(
            f"no preprocessor_config.json says how pictures are cut: {made.input.size_px} px; set it with --size"
        )
    return made


def _same(before: ImportedBackbone, told: _Told, wish: ImportRequest | None, store: Store) -> ImportedBackbone | None:
    """The copy that is here, if it is of the very commit that the hub names, as the wish has it; else None."""
    if not told.place or before.place != told.place:
        return None
    found = registration.looked_again(before, _wish(wish, told.asked, Path(before.name)), store)
    return None if found is None else replace(found, bytes=before.bytes)


def _fetched(
    repo: Repository, told: _Told, wish: ImportRequest | None, store: Store, console: Console
) -> ImportedBackbone:
    with translate_disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".tmp-", ignore_cleanup_errors=True) as folder:
        path, count = _network(repo, told, Path(folder), store, console)
        made = registration.brought(_wish(wish, told.asked, path), "onnx", repo.preset, store, HUB)
    return replace(made, bytes=count)


def _told(repo: Repository) -> _Told:
    facts = hub_api.facts_of(repo)
    commit = str(facts.get("sha") or "")
    commit = commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""
    files = hub_api.files_in(facts)
    config, processor = (_facts(repo, file, files, commit) for file in ("config.json", "preprocessor_config.json"))
    if not processor:  # newer transformers write all processors of a repository into one file
        processor = _dict(_facts(repo, "processor_config.json", files, commit).get("image_processor"))
    card = facts.get("cardData")
    if not isinstance(card, dict):
        readme = _small(repo, "README.md", files, commit)
        card = card_facts.front_matter(readme.decode("utf-8", "replace")) if readme else {}
    tags = facts.get("tags")
    said = card_facts.read(card, tags if isinstance(tags, list) else [], config or _dict(facts.get("config")))
    return _Told(files=files, commit=commit, asked=preprocessor_config.read(processor, config), card=said)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _small(repo: Repository, file: str, files: Mapping[str, Any], commit: str) -> bytes | None:
    """A small file; None where the repository has none."""
    if files and file not in files:
        return None
    return hub_api.small_file(repo, file, repo.address(file, commit))


def _facts(repo: Repository, file: str, files: Mapping[str, Any], commit: str) -> dict[str, Any]:
    content = _small(repo, file, files, commit)
    found = hub_api.as_json(content) if content is not None else {}
    if not isinstance(found, dict):
        where = resumable.shown(repo.address(file, commit))
        raise DataError(f"`{file}` of `{HUB}:{repo.preset}` cannot be read", where=where)
    return found


# ---------------------------------------------------------------- files


def _network(repo: Repository, told: _Told, folder: Path, store: Store, console: Console) -> tuple[Path, int]:
    """The ONNX file in `folder`, the files with its weights beside it; and how many bytes that is."""
    for file in hub_api.ONNX:
        if told.files and file not in told.files:
            continue
        path = folder / Path(file).name
        if _one(repo, file, told, path, store, console):
            for name in onnx_external_data.beside(path):
                part = path.parent / name
                with translate_disk_errors(part):
                    part.parent.mkdir(parents=True, exist_ok=True)
                near = "/".join((*file.split("/")[:-1], name))
                if not _one(repo, near, told, part, store, console):
                    raise DataError(
                        f"`{file}` keeps weights in `{format_printable(name)}`, which `{HUB}:{repo.preset}` lacks"
                    )
            return path, sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    raise _no_network(repo, tuple(told.files) or tuple(_on_mirror(repo)))


def _one(repo: Repository, file: str, told: _Told, target: Path, store: Store, console: Console) -> bool:
    """Whether there is such a file; it is at `target` then.

    Raises:
        SetupError: It cannot be had, though nothing says that it is not there.
    """
    known = told.files.get(file, {"bytes": 0, "sha256": ""})
    wanted = WeightsFile(
        name=f"{HUB}:{repo.preset}",
        file=repo.place(file),
        url=repo.address(file, told.commit),
        bytes=known["bytes"],
        md5="",
        sha256=known["sha256"],
        publisher="the hub",
        raw=not file.endswith(".onnx"),
    )
    if mirror.folder() is not None and not any(path.is_file() for path in weights.places(wanted.file)):
        return False
    try:
        with weights.turn(wanted, store, console):
            weights.bring(wanted, target, store, console)
    except SetupError as err:
        cause = err.__cause__
        if not isinstance(cause, urllib.error.HTTPError):
            raise
        if cause.code == 404:
            return False
        raise hub_api.refused(repo, cause) from err
    return True


def _on_mirror(repo: Repository) -> Iterator[str]:
    """Files of a repository on a mirror that is a folder."""
    for place in weights.places(repo.place("")):
        if place.is_dir():
            yield from (one.relative_to(place).as_posix() for one in sorted(place.rglob("*")) if one.is_file())


def _no_network(repo: Repository, files: tuple[str, ...]) -> HeadstartError:
    """That there is no network that can be read, and what there is instead."""
    if not files and read_setting("HEADSTART_WEIGHTS_MIRROR"):
        return SetupError(
            f"`{HUB}:{repo.preset}` cannot be had: {mirror.lacks('it')}",
            hint=f"put its files below `{repo.place('')}` there: {', '.join(hub_api.ONNX)}, "
            "preprocessor_config.json, …",
        )
    others = [one for one in files if one.endswith(".onnx")]
    first = others or [one for one in files if not one.startswith(".")]
    named = ", ".join(f"`{format_printable(one)}`" for one in first[:_TOLD]) + (", …" if len(first) > _TOLD else "")
    what = f"`{HUB}:{repo.preset}` has none of {', '.join(hub_api.ONNX)}"
    hint = (
        "fetch one of them, and add it: headstart backbones add FILE"
        if others
        else f"optimum-cli export onnx --model {repo.name} FOLDER; then: headstart backbones add FOLDER/model.onnx"
    )
    return DataError(f"{what}; it has {named}" if first else what, hint=hint)


# ---------------------------------------------------------------- description


def _wish(wish: ImportRequest | None, asked: Asked, path: Path) -> ImportRequest:
    """What the repository asks for, and over it what the user says."""
    given = wish or ImportRequest(file=path)
    own = given.scale is not None or given.mean or given.std
    return replace(
        given,
        file=path,
        scale=asked.scale if given.scale is None else given.scale,
        mean=given.mean or asked.mean,
        std=given.std or asked.std,
        channels=given.channels or asked.channels,
        resize=given.resize or asked.resize,
        interpolation=given.interpolation or asked.interpolation,
        crop_fraction=given.crop_fraction or asked.crop_fraction,
        told="given" if own else "by its preprocessor_config.json",
        usual_px=asked.size_px or registration.SIZE_PX,
        usual_layout=_LAYOUT,
    )


def _described(made: ImportedBackbone, card: Card, wish: ImportRequest | None) -> ImportedBackbone:
    said = wish.licence if wish else ""
    return replace(
        made,
        licence=said or card.licence,
        licence_note="" if said else "as its card on the hub states it",
        pretrained_on=card.pretrained_on,
        family=card.family if card.family != "not stated" else made.family,
        prior=card.prior or made.prior,
        prior_source=card.prior_source or "a guess: its card states no ImageNet accuracy",
        method=card.method,
        domains=card.domains,
    )
