"""A frozen ONNX export from the Hugging Face hub as a backbone: fetched, checked, then treated as a file of your own.

What goes in and how comes from `preprocessor_config.json` and the graph, licence and training from the model card. Only
ONNX, JSON and the card's text are read: no code of the repository is run and no pickle is opened.
"""

from __future__ import annotations

import json
import urllib.error
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones import card_facts
from headstart.backbones.downloads import mirror, resumable, weights
from headstart.backbones.huggingface import hub_api, preprocessor_config
from headstart.backbones.huggingface.hub_api import Repository, RepositoryFacts, RepositoryFile
from headstart.backbones.huggingface.preprocessor_config import PreprocessingFacts
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.description import HUB, ImportedBackbone
from headstart.backbones.imported.file_copy import temporary_folder
from headstart.backbones.imported.registration import ImportRequest
from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, SetupError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable, translate_disk_errors
from headstart.core.storage.hashing import compute_digest
from headstart.networks.formats import onnx_external_data

_MAX_NAMED = 8  # files of a repository that an error names
_LAYOUT = "nchw"  # of what PyTorch exports, whose shapes are often left open


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelFacts:
    """What a repository says of itself: its files, what it asks of pictures and how it was trained."""

    hub: RepositoryFacts
    preprocessing: PreprocessingFacts
    card: card_facts.CardFacts

    @property
    def place(self) -> str:
        """Tells a copy of this commit from others; empty where the commit is not known."""
        return compute_digest(["hub", self.hub.commit]) if self.hub.commit else ""


def import_repository(
    repo: Repository, store: Store, console: Console, request: ImportRequest | None = None
) -> ImportedBackbone:
    """Fetch a repository's network into the cache and describe it.

    Args:
        request: What the user says of input, scaling, feature levels and licence; `file` and `name` are not looked at.
            None leaves an existing description as it is.

    Raises:
        SetupError: It cannot be had: no network, gated, cut off, or another file than the hub's digest says.
        DataError: It has no ONNX file, or one that is no network that takes pictures.
        UsageError: The request does not fit the file, or the name has other content already.
    """
    facts = _read_model_facts(repo)
    earlier = description.find_description(HUB, repo.preset, store)
    backbone = _reuse_copy(earlier, facts, request, store) if earlier else None
    if backbone is None:
        with temporary_folder(store) as folder:
            path, total_bytes = _fetch_files(repo, facts.hub, folder, store, console)
            full_request = _complete_request(request, facts.preprocessing, path)
            backbone = registration.import_file(full_request, "onnx", repo.preset, store, HUB)
        backbone = replace(backbone, bytes=total_bytes)
    if request is None and earlier is not None:
        return earlier
    backbone = replace(_add_card_facts(backbone, facts.card, request), place=facts.place)
    description.write_description(HUB, backbone, store)
    registration.print_description(backbone, console, HUB)
    for note in facts.preprocessing.notes:
        console.print_warning(note)
    if not facts.preprocessing.size_px:
        size_px = backbone.input.size_px
        unknown = "no preprocessor_config.json says how pictures are cut"
        console.print_warning(f"{unknown}: {size_px} px; set it with --size")
    return backbone


def _reuse_copy(
    earlier: ImportedBackbone, facts: _ModelFacts, request: ImportRequest | None, store: Store
) -> ImportedBackbone | None:
    """The copy in the cache as the request has it, if it is of the very commit that the hub names; else None."""
    if not facts.place or earlier.place != facts.place:
        return None
    request = _complete_request(request, facts.preprocessing, Path(earlier.name))
    backbone = registration.inspect_again(earlier, request, store)
    return None if backbone is None else replace(backbone, bytes=earlier.bytes)


def _read_model_facts(repo: Repository) -> _ModelFacts:
    hub = hub_api.fetch_facts(repo)
    config = _read_json(repo, "config.json", hub)
    processor = _read_json(repo, "preprocessor_config.json", hub)
    if not processor:  # newer transformers write all processors of a repository into one file
        image_processor = _read_json(repo, "processor_config.json", hub).get("image_processor")
        processor = image_processor if isinstance(image_processor, dict) else {}
    card = hub.card
    if card is None:
        readme = _fetch_small(repo, "README.md", hub)
        card = card_facts.parse_front_matter(readme.decode("utf-8", "replace")) if readme else {}
    return _ModelFacts(
        hub=hub,
        preprocessing=preprocessor_config.read_preprocessing(processor, config),
        card=card_facts.read_card(card, hub.tags, config or hub.config),
    )


def _fetch_small(repo: Repository, file: str, hub: RepositoryFacts) -> bytes | None:
    return None if hub.files and file not in hub.files else hub_api.fetch_small_file(repo, file, hub.commit)


def _read_json(repo: Repository, file: str, hub: RepositoryFacts) -> dict[str, Any]:
    content = _fetch_small(repo, file, hub)
    try:
        facts = {} if content is None else json.loads(content)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        address = resumable.hide_credentials(repo.file_address(file, hub.commit))
        raise DataError(f"`{file}` of `{HUB}:{repo.preset}` cannot be read", where=address)
    return facts


def _fetch_files(
    repo: Repository, hub: RepositoryFacts, folder: Path, store: Store, console: Console
) -> tuple[Path, int]:
    for file in hub_api.ONNX:
        if hub.files and file not in hub.files:
            continue
        path = folder / Path(file).name
        if not _fetch_file(repo, file, hub, path, store, console):
            continue
        for name in onnx_external_data.list_external_files(path):
            part = path.parent / name
            with translate_disk_errors(part):
                part.parent.mkdir(parents=True, exist_ok=True)
            if not _fetch_file(repo, "/".join((*file.split("/")[:-1], name)), hub, part, store, console):
                what = f"`{file}` keeps weights in `{format_printable(name)}`, which `{HUB}:{repo.preset}` lacks"
                raise DataError(what)
        return path, sum(part.stat().st_size for part in folder.rglob("*") if part.is_file())
    mirrored = (
        path.relative_to(copy).as_posix()
        for copy in weights.local_copies(repo.mirror_path(""))
        for path in sorted(copy.rglob("*"))
        if path.is_file()
    )
    raise _explain_no_network(repo, tuple(hub.files) or tuple(mirrored))


def _fetch_file(
    repo: Repository, file: str, hub: RepositoryFacts, target: Path, store: Store, console: Console
) -> bool:
    """Whether there is such a file; it is at `target` then."""
    listed = hub.files.get(file, RepositoryFile())
    weights_file = weights.WeightsFile(
        name=f"{HUB}:{repo.preset}",
        file=repo.mirror_path(file),
        url=repo.file_address(file, hub.commit),
        bytes=listed.bytes,
        md5="",
        sha256=listed.sha256,
        publisher="the hub",
        raw=not file.endswith(".onnx"),
        token="" if read_setting("HEADSTART_WEIGHTS_MIRROR") else hub_api.find_token(),
    )
    is_local = any(path.is_file() for path in weights.local_copies(weights_file.file))
    if mirror.find_mirror_folder() is not None and not is_local:
        return False
    try:
        return hub_api.fetch_weights(weights_file, target, store, console)
    except SetupError as err:
        cause = err.__cause__
        if isinstance(cause, urllib.error.HTTPError):
            raise hub_api.explain_refusal(repo, cause.code, cause.headers.get("X-Error-Code")) from err
        raise


def _explain_no_network(repo: Repository, files: tuple[str, ...]) -> HeadstartError:
    if not files and read_setting("HEADSTART_WEIGHTS_MIRROR"):
        names = ", ".join((*hub_api.ONNX, "preprocessor_config.json", "…"))
        hint = f"put its files below `{repo.mirror_path('')}` there: {names}"
        return SetupError(f"`{HUB}:{repo.preset}` cannot be had: {mirror.explain_missing_file('it')}", hint=hint)
    other_networks = [file for file in files if file.endswith(".onnx")]
    others = other_networks or [file for file in files if not file.startswith(".")]
    listing = ", ".join(f"`{format_printable(file)}`" for file in others[:_MAX_NAMED])
    listing += ", …" if len(others) > _MAX_NAMED else ""
    what = f"`{HUB}:{repo.preset}` has none of {', '.join(hub_api.ONNX)}"
    hint = (
        "fetch one of them, and add it: headstart backbones add FILE"
        if other_networks
        else f"optimum-cli export onnx --model {repo.name} FOLDER; then: headstart backbones add FOLDER/model.onnx"
    )
    return DataError(f"{what}; it has {listing}" if others else what, hint=hint)


def _complete_request(request: ImportRequest | None, facts: PreprocessingFacts, path: Path) -> ImportRequest:
    request = request or ImportRequest(file=path)
    users_scaling = request.scale is not None or request.mean or request.std
    return replace(
        request,
        file=path,
        scale=facts.scale if request.scale is None else request.scale,
        mean=request.mean or facts.mean,
        std=request.std or facts.std,
        channels=request.channels or facts.channels,
        resize=request.resize or facts.resize,
        interpolation=request.interpolation or facts.interpolation,
        crop_fraction=request.crop_fraction or facts.crop_fraction,
        scaling_source="given" if users_scaling else "by its preprocessor_config.json",
        usual_px=facts.size_px or registration.SIZE_PX,
        usual_layout=_LAYOUT,
    )


def _add_card_facts(
    backbone: ImportedBackbone, card: card_facts.CardFacts, request: ImportRequest | None
) -> ImportedBackbone:
    users_licence = request.licence if request else ""
    return replace(
        backbone,
        licence=users_licence or card.licence,
        licence_note="" if users_licence else "as its card on the hub states it",
        pretrained_on=card.pretrained_on,
        family=card.family if card.family != "not stated" else backbone.family,
        prior=card.prior or backbone.prior,
        prior_source=card.prior_source or "a guess: its card states no ImageNet accuracy",
        method=card.method,
        domains=card.domains,
    )
