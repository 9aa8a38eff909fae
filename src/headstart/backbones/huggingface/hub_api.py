"""The Hugging Face hub: addresses, what it says of one repository, and lists of many. Nothing of a repository is run.

`HF_ENDPOINT`, the hub's own variable, names another address of the hub. `HEADSTART_WEIGHTS_MIRROR` comes before it: a
folder or address that holds `huggingface/<org>/<name>/…` (with `@<revision>` behind the name where one is asked for),
the files as the hub has them, and if you like `api.json`, the hub's own answer about the repository.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from headstart.backbones import card_facts, remote_index
from headstart.backbones.downloads import mirror, resumable, weights
from headstart.backbones.remote_index import Entry, text
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.files import format_printable

SOURCE = "huggingface"
API = "api.json"
_HUB = "https://huggingface.co"
_MOST_FACTS, _MOST_PAGE = 4_000_000, 30_000_000
_MOST_PAGES = 20
_PAGE = 500
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
ONNX = ("onnx/vision_model.onnx", "onnx/model.onnx", "model.onnx")
_IMAGES = ("image-classification", "image-feature-extraction", "zero-shot-image-classification")
# source of the index -> what is asked of the hub's list of models
_LISTS = (
    (SOURCE, {"filter": ["onnx", "image-classification"]}),
    (SOURCE, {"filter": ["onnx", "image-feature-extraction"]}),
    ("keras_hub", {"author": "keras", "filter": ["keras-hub"]}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One repository in one revision.

    Attributes:
        name: `org/name`.
        revision: As asked for; empty for the newest.
    """

    name: str
    revision: str

    @classmethod
    def of(cls, preset: str) -> Repository:
        """Of `org/name` or `org/name@revision`.

        Raises:
            UsageError: It is no such name.
        """
        name, at, revision = preset.partition("@")
        if not remote_index.proper(f"{SOURCE}:{name}") or (at and not proper_revision(revision)):
            raise UsageError(
                f"`{format_printable(preset)}` is no name on the hub",
                hint="huggingface:ORG/NAME, or with a branch, tag or commit huggingface:ORG/NAME@REVISION",
            )
        return cls(name=name, revision=revision)

    @property
    def preset(self) -> str:
        """`org/name` or `org/name@revision`."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def place(self, file: str) -> str:
        """Of a file on a mirror."""
        return f"{SOURCE}/{self.preset}/{file}"

    def address(self, file: str, commit: str = "") -> str:
        """Of a file on the hub, in the commit that the hub named."""
        return f"{hub()}/{self.name}/resolve/{commit or self.revision or 'main'}/{urllib.parse.quote(file)}"


def proper_revision(text: str) -> bool:
    """Whether a branch, tag or commit is one that an address can hold."""
    return _REVISION.fullmatch(text) is not None and ".." not in text


def hub() -> str:
    """The hub's address, as it is asked."""
    return (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")


def shown() -> str:
    """The hub's address, as it is told: without a user and password."""
    return resumable.shown(hub())


# ---------------------------------------------------------------- one repository


def small_file(repo: Repository, file: str, address: str) -> bytes | None:
    """A small file, from the mirror or else from an address of the hub; None where there is none.

    Raises:
        SetupError: It cannot be had.
    """
    for path in weights.places(repo.place(file)):
        if path.is_file():
            return _local(path)
    mirror.require_readable(repo.place(""))
    if mirror.folder() is not None:
        return None
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    try:
        where = resumable.below(base, repo.place(file)) if base else address
        return resumable.small(where, most_bytes=_MOST_FACTS)[0]
    except urllib.error.HTTPError as err:
        err.close()
        if err.code == 404 and err.headers.get("X-Error-Code") in (None, "EntryNotFound"):
            return None
        raise refused(repo, err) from err
    except (OSError, ValueError, HTTPException) as err:
        raise unreachable(f"`{SOURCE}:{repo.preset}` cannot be had", err) from err


def _local(path: Path) -> bytes:
    if path.stat().st_size > _MOST_FACTS:
        raise SetupError(f"`{path.name}` is too large for what it is", where=str(path))
    return path.read_bytes()


def facts_of(repo: Repository) -> dict[str, Any]:
    """What the hub says of a repository: its commit, files with digests, card and tags. Empty where a mirror has none.

    Raises:
        SetupError: The hub cannot be reached, or has no such repository for us.
    """
    revision = urllib.parse.quote(repo.revision or "main")
    content = small_file(repo, API, f"{hub()}/api/models/{repo.name}/revision/{revision}?blobs=true")
    if content is None:
        if read_setting("HEADSTART_WEIGHTS_MIRROR"):
            return {}
        raise SetupError(f"the hub has no repository `{repo.preset}`", hint=f"look at {shown()}/{repo.name}")
    found = as_json(content)
    if not isinstance(found, dict):
        raise SetupError(f"what the hub says of `{repo.preset}` cannot be read")
    return found


def as_json(content: bytes) -> Any:
    """What JSON says; None where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def refused(repo: Repository, err: urllib.error.HTTPError) -> SetupError:
    """Why the hub gives no file, by its own code where it tells one."""
    code = str(err.headers.get("X-Error-Code") or "")
    why = {
        "GatedRepo": "is gated: its publisher asks for an account and an agreement first",
        "RepoNotFound": "does not exist, or is private",
        "RevisionNotFound": f"has no revision `{repo.revision or 'main'}`",
    }.get(code)
    if why is None:
        closed = err.code in (401, 403)
        why = f"is gated, private or does not exist (HTTP {err.code})" if closed else f"cannot be had (HTTP {err.code})"
    hint = (
        f"fetch its files with your own account at {shown()}/{repo.name}, put them into FOLDER/{repo.place('')} "
        "and set HEADSTART_WEIGHTS_MIRROR=FOLDER"
    )
    return SetupError(f"`{SOURCE}:{repo.preset}` {why}", hint=hint)


def unreachable(what: str, err: Exception) -> SetupError:
    """Something that a network or a mirror is needed for cannot be had."""
    reason = getattr(err, "reason", None) or err
    return SetupError(
        f"{what}: {format_printable(str(reason)) or type(err).__name__}",
        hint="look at the network, or set HEADSTART_WEIGHTS_MIRROR to a folder or an address that holds it",
    )


def files_in(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """File -> its `bytes` and `sha256`, as far as the hub tells them; large files alone have a digest."""
    found: dict[str, dict[str, Any]] = {}
    siblings = facts.get("siblings")
    for one in siblings if isinstance(siblings, list) else []:
        if isinstance(one, dict) and isinstance(one.get("rfilename"), str):
            lfs = one.get("lfs")
            large: dict[str, Any] = lfs if isinstance(lfs, dict) else {}
            length, sha256 = large.get("size", one.get("size")), str(large.get("sha256") or large.get("oid") or "")
            found[one["rfilename"]] = {
                "bytes": length if isinstance(length, int) and length > 0 else 0,
                "sha256": sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else "",
            }
    return found


# ---------------------------------------------------------------- lists


def collected(console: Any) -> tuple[list[Entry], int]:
    """What the hub's lists have for us, and how many of their rows were left out: no ONNX file, or no proper name.

    Raises:
        SetupError: The hub cannot be reached, or sends what is no list.
    """
    found: dict[str, Entry] = {}
    left = 0
    for source, asked in _LISTS:
        for row in _rows(asked, console):
            entry = _entry(source, row)
            if entry is None:
                left += 1
            else:
                found.setdefault(entry.name, entry)
    if not found:
        raise SetupError(f"the lists of {shown()} hold nothing that headstart knows how to use")
    return list(found.values()), left


def _rows(asked: Mapping[str, Any], console: Any) -> Iterator[Any]:
    """All rows of a list, page by page; a list that has no end is cut, which is said."""
    query = {**asked, "sort": "downloads", "direction": -1, "limit": _PAGE, "full": "true", "config": "true"}
    query["cardData"] = "true"
    address = f"{hub()}/api/models?{urllib.parse.urlencode(query, doseq=True)}"
    for _ in range(_MOST_PAGES):
        try:
            content, headers = resumable.small(address, most_bytes=_MOST_PAGE)
            rows = as_json(content)
            if not isinstance(rows, list):
                raise ValueError("it sends no list of models")
            yield from rows
            following = _next(address, headers.get("Link") or "")
        except (OSError, ValueError, HTTPException) as err:
            raise unreachable(f"the hub's list cannot be had from {resumable.shown(address)}", err) from err
        if not following:
            return
        address = following
    console.print_warning(f"the hub's list of {asked} is longer than {_MOST_PAGES} pages: its end is left out")


def _next(address: str, link: str) -> str:
    """Address of the next page; it must be of the same server."""
    found = re.search(r'<([^>]+)>\s*;[^,]*rel="?next"?', link)
    if not found:
        return ""
    here, there = urllib.parse.urlsplit(address), urllib.parse.urlsplit(urllib.parse.urljoin(address, found[1]))
    if _server(here) != _server(there):
        raise ValueError(f"its next page leads to another server, {format_printable(there.hostname or '')}")
    return str(there._replace(netloc=here.netloc).geturl())  # a link tells no password


def _server(address: urllib.parse.SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or {"http": 80, "https": 443}.get(address.scheme)


def _entry(source: str, row: Any) -> Entry | None:
    """A row of the hub's list as an entry; None for what cannot be one of our backbones."""
    if not isinstance(row, dict) or row.get("private") or row.get("disabled"):
        return None
    full = str(row.get("id") or row.get("modelId") or "")
    name = f"{source}:{full if source == SOURCE else full.partition('/')[2]}"
    tags = row["tags"] if isinstance(row.get("tags"), list) else []
    task = row.get("pipeline_tag") or next((one for one in tags if one in _IMAGES), None)
    if not remote_index.proper(name) or task not in _IMAGES:
        return None
    if source == SOURCE and not any(file in files_in(row) for file in ONNX):
        return None
    card = row["cardData"] if isinstance(row.get("cardData"), dict) else {}
    said = card_facts.read(card, tags, row["config"] if isinstance(row.get("config"), dict) else None)
    return Entry(
        name=name,
        family=said.family,
        revision=text(row.get("sha")),
        licence=said.licence,
        pretrained_on=said.pretrained_on,
        method=said.method,
        domains=said.domains,
        task=text(task),
        gated=bool(row.get("gated")),
        updated=text(str(row.get("lastModified") or "")[:10]),
    )
