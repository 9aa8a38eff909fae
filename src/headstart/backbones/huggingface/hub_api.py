"""The Hugging Face hub through `huggingface_hub`: addresses, and what it says of one repository.

`HF_ENDPOINT` names another address of the hub. `HEADSTART_WEIGHTS_MIRROR` comes before it: a folder or address that
holds `huggingface/<org>/<name>/…` (with `@<revision>` behind the name where one is asked for), the files as the hub has
them, and if you like `api.json`, the hub's own answer about the repository.

Files come by headstart's own downloads. Those of `huggingface_hub` 2.4 keep nothing of a file that breaks off, compare
no SHA-256, read no plain folder of files, and take 2.0 to 2.5 s for 200 MB from this machine instead of 1.0 to 1.2 s.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import urllib.error
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from headstart.backbones import remote_index
from headstart.backbones.downloads import mirror, resumable, weights
from headstart.core import extras
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import read_setting
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable

SOURCE = "huggingface"
ONNX = ("onnx/vision_model.onnx", "onnx/model.onnx", "model.onnx")
TIMEOUT_S = 10
_HUB = "https://huggingface.co"
_MAX_BYTES = 4_000_000  # of a small file
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One repository, `org/name`, in the revision asked for; that is empty for the newest."""

    name: str
    revision: str

    @classmethod
    def parse(cls, preset: str) -> Repository:
        """From `org/name` or `org/name@revision`; `UsageError` where it is no such name."""
        name, at_sign, revision = preset.partition("@")
        proper_revision = _REVISION.fullmatch(revision) is not None and ".." not in revision
        if not remote_index.is_proper_name(f"{SOURCE}:{name}") or (at_sign and not proper_revision):
            hint = "huggingface:ORG/NAME, or with a branch, tag or commit huggingface:ORG/NAME@REVISION"
            raise UsageError(f"`{format_printable(preset)}` is no name on the hub", hint=hint)
        return cls(name=name, revision=revision)

    @property
    def preset(self) -> str:
        """`org/name` or `org/name@revision`."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def mirror_path(self, file: str) -> str:
        """Where a file lies on a mirror."""
        return f"{SOURCE}/{self.preset}/{file}"

    def file_address(self, file: str, commit: str = "") -> str:
        """Address of a file on the hub, in the commit that the hub named."""
        return f"{hub_address()}/{self.name}/resolve/{commit or self.revision or 'main'}/{urllib.parse.quote(file)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """A file as the hub lists it: its length (0 where it is not told) and SHA-256 (large files alone have one)."""

    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFacts:
    """What the hub says of a repository, `card` None where unknown; nothing where a mirror has no `api.json`."""

    commit: str = ""
    files: Mapping[str, RepositoryFile] = field(default_factory=dict)
    card: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def hub_address() -> str:
    """The hub's address, as it is asked."""
    return (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")


def format_hub_address() -> str:
    """The hub's address without a user and password."""
    return resumable.hide_credentials(hub_address())


@contextlib.contextmanager
def open_client() -> Iterator[Any]:
    """The module `huggingface_hub`, without telemetry and words of its own on stderr; `SetupError` without it."""
    extras.require_extra("hub", "asking the Hugging Face hub")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when it is first imported
    import huggingface_hub.errors

    verbosity = huggingface_hub.logging.get_verbosity()
    huggingface_hub.logging.set_verbosity(logging.ERROR)
    try:
        yield huggingface_hub
    finally:
        huggingface_hub.logging.set_verbosity(verbosity)


def network_error(client: Any) -> type[Exception]:
    """What the HTTP library below `huggingface_hub` raises without a network; which library that is varies."""
    http_library_error: type[Exception] = client.errors.HfHubHTTPError.__bases__[0]
    return http_library_error


def find_token() -> str:
    """The user's token for the hub (`HF_TOKEN`, or of `hf auth login`), where it may be sent; empty without one."""
    with open_client() as client:
        return str(client.utils.build_hf_headers().get("authorization", "")).removeprefix("Bearer ")


def fetch_facts(repo: Repository) -> RepositoryFacts:
    """What the hub says of a repository: commit, files with digests, card and tags; empty where a mirror has none.

    `SetupError` where the hub cannot be reached, or has no such repository for us.
    """
    on_mirror, content = _read_mirror_file(repo, "api.json")
    if on_mirror and content is None:
        return RepositoryFacts()
    if content is None:
        resumable.require_network(hub_address())
    with open_client() as client:
        http_error = client.errors.HfHubHTTPError
        try:
            if content is not None:
                info = client.ModelInfo(**json.loads(content))
            else:
                api = client.HfApi(endpoint=hub_address())
                revision = repo.revision or "main"
                info = api.model_info(repo.name, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
            return read_model_info(info)
        except http_error as err:
            raise explain_refusal(repo, err.response.status_code, err.response.headers.get("X-Error-Code")) from err
        except network_error(client) as err:
            raise unreachable(f"`{SOURCE}:{repo.preset}` cannot be had", err) from err
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise SetupError(f"what the hub says of `{repo.preset}` cannot be read: {type(err).__name__}") from err


def read_model_info(info: Any) -> RepositoryFacts:
    """Of a `huggingface_hub.ModelInfo`."""
    commit = str(info.sha or "")
    return RepositoryFacts(
        commit=commit if re.fullmatch(r"[0-9a-f]{40}", commit) else "",
        files={sibling.rfilename: _read_file_facts(sibling) for sibling in info.siblings or ()},
        card=info.card_data.to_dict() if info.card_data else None,
        tags=tuple(tag for tag in info.tags or () if isinstance(tag, str)),
        config=info.config if isinstance(info.config, dict) else {},
    )


def _read_file_facts(sibling: Any) -> RepositoryFile:
    sha256 = str(sibling.lfs.sha256) if sibling.lfs else ""
    length = sibling.lfs.size if sibling.lfs else sibling.size
    return RepositoryFile(
        bytes=length if isinstance(length, int) and length > 0 else 0,
        sha256=sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else "",
    )


def fetch_small_file(repo: Repository, file: str, commit: str = "") -> bytes | None:
    """A small file, from the mirror or else from the hub; None where there is none, `SetupError` without access."""
    on_mirror, content = _read_mirror_file(repo, file)
    return content if on_mirror else _ask(repo, repo.file_address(file, commit), find_token())


def _read_mirror_file(repo: Repository, file: str) -> tuple[bool, bytes | None]:
    """Whether a mirror or Keras' cache is asked instead of the hub, and the file's bytes; None where it has none."""
    path = repo.mirror_path(file)
    for local in weights.local_copies(path):
        if local.is_file():
            if local.stat().st_size > _MAX_BYTES:
                raise SetupError(f"`{local.name}` is too large for what it is", where=str(local))
            return True, local.read_bytes()
    mirror.require_readable(repo.mirror_path(""))
    base = read_setting("HEADSTART_WEIGHTS_MIRROR") or ""
    if not base:
        return False, None
    return True, None if mirror.find_mirror_folder() is not None else _ask(repo, resumable.join_address(base, path))


def _ask(repo: Repository, address: str, token: str = "") -> bytes | None:
    try:
        return resumable.download_small(address, most_bytes=_MAX_BYTES, token=token)[0]
    except urllib.error.HTTPError as err:
        err.close()
        code = err.headers.get("X-Error-Code")
        if err.code == 404 and code in (None, "EntryNotFound"):
            return None
        raise explain_refusal(repo, err.code, code) from err
    except (OSError, ValueError, HTTPException) as err:
        raise unreachable(f"`{SOURCE}:{repo.preset}` cannot be had", err) from err


def fetch_weights(weights_file: weights.WeightsFile, target: Path, store: Store, console: Console) -> bool:
    """Whether there is such a file; it is at `target` then."""
    try:
        with weights.take_turn(weights_file, store, console):
            weights.fetch_weights(weights_file, target, store, console)
    except SetupError as err:
        if isinstance(err.__cause__, urllib.error.HTTPError) and err.__cause__.code == 404:
            return False
        raise
    return True


def explain_refusal(repo: Repository, status: int, code: str | None) -> SetupError:
    """Why the hub gives no file: by its own code (`X-Error-Code`) where it tells one, else by the HTTP status."""
    reasons = {
        "GatedRepo": "is gated: its publisher asks for an account and an agreement first",
        "RepoNotFound": "does not exist, or is private",
        "RevisionNotFound": f"has no revision `{repo.revision or 'main'}`",
    }
    closed = "is gated, private or does not exist" if status in (401, 403, 404) else "cannot be had"
    hint = (
        f"look at {format_hub_address()}/{repo.name}, agree to its terms and run `hf auth login`; or fetch its "
        f"files, put them into FOLDER/{repo.mirror_path('')} and set HEADSTART_WEIGHTS_MIRROR=FOLDER"
    )
    why = reasons.get(code or "") or f"{closed} (HTTP {status})"
    return SetupError(f"`{SOURCE}:{repo.preset}` {why}", hint=hint)


def unreachable(what: str, err: Exception) -> SetupError:
    """Something that a network or a mirror is needed for cannot be had."""
    reason = getattr(err, "reason", None) or err
    hint = "look at the network, or set HEADSTART_WEIGHTS_MIRROR to a folder or an address that holds it"
    return SetupError(f"{what}: {format_printable(str(reason)) or type(err).__name__}", hint=hint)
