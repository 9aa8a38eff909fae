"""Objects of `s3://`, `gs://`, `az://` and `https://`: listed, and read through a cache that goes by their ETags.

obstore does the talking; it takes credentials and endpoints from the environment variables of each provider, which
nothing here reads, shows or keeps. Requests that fail or are throttled are retried; what then still fails stops the
work with the name of the object, for a set that shrinks with the network could be taken for the whole.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from headstart.core import extras
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.settings import cache_folder, is_offline
from headstart.core.storage.cache import Store
from headstart.core.storage.files import count_free_bytes, format_printable, make_portable_name
from headstart.core.storage.locations.listing import FolderListing, list_names

IN_FLIGHT = 32  # objects that are read at the same time
RETRIES = 5
_BACKOFF = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=8), "base": 2}
_SCHEMES = ("s3", "gs", "az", "https", "http")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, a profile with the extra `aws`, or "
    "AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "GOOGLE_SERVICE_ACCOUNT with the path of a key file, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true",
}
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_ASKS_MACHINE = re.compile(
    r"169\.254\.169\.254|metadata\.google|/latest/|redential"
)  # a cloud's own for its credentials
_OTHER_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint")
_WRONG_KEYS = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_STREAMED = 1_000_000  # bytes from which an object is looked at before all of it is there
_SPARE = 200_000_000  # bytes of the disk that are left free
_AGAIN = "the same command goes on: what was read comes from the cache"

_listed: dict[str, dict[str, bytes]] = {}  # root -> uri -> key of the version that was listed
_fetched: dict[str, str] = {}  # address -> file
_fetching = threading.Lock()


def require_address(address: str, where: str = "DATA") -> str:
    """An address without a slash at its end; `where` is the option that gives it.

    Raises:
        UsageError: It is of no known kind, or holds a password or a query, which would end up in files.
        SetupError: obstore is not installed, or `HEADSTART_OFFLINE` is set.
    """
    scheme, _, place = address.partition("://")
    shown = f"{scheme}://{place.rpartition('@')[2].partition('?')[0]}"
    if scheme not in _SCHEMES:
        hint = ", ".join(f"{name}://" for name in _SCHEMES[:-1])
        raise UsageError(f"`{format_printable(shown)}` is no address that is read", where=where, hint=hint)
    if "@" in place.partition("/")[0] or "?" in place:
        problem = f"`{format_printable(shown)}` was given with a key or a query in it"
        raise UsageError(problem, where=where, hint=format_credentials(scheme))
    if scheme == "http" and urlsplit(address).hostname not in _THIS_MACHINE:
        raise UsageError(f"`{format_printable(shown)}` can be changed on its way", where=where, hint="use https://")
    address = address.rstrip("/")
    if not place.strip("/"):
        raise UsageError(f"`{format_printable(shown)}` names no bucket", where=where, hint=f"{scheme}://BUCKET/FOLDER")
    open_store(*split_address(address))
    return address


def list_objects(root: str) -> FolderListing:
    """Everything below an address, as `list_location` gives files; remembers which version of each object there was.

    Raises:
        DataError: There is nothing below it.
        SetupError: It may not be listed, or the store does not answer.
    """
    import obstore

    base, prefix = split_address(root)
    sizes, keys = dict[str, int](), dict[str, bytes]()
    try:
        for part in obstore.list(open_store(base, prefix), prefix=prefix or None, chunk_size=1000):
            for facts in part:
                name = facts["path"][len(prefix) :].lstrip("/")
                if name:
                    sizes[name], keys[name] = facts["size"], _make_key(root, name, facts)
    except Exception as err:  # of many kinds, by the language below
        _raise_listing_error(err, root)
    listing = list_names(sizes)
    folders = set(listing.folders)
    listing.uris = [name for name in listing.uris if sizes[name] or name not in folders]  # what stands for a folder
    if not listing.uris and not listing.skipped:
        problem = f"there is nothing below `{format_printable(root)}`"
        raise DataError(problem, where=format_printable(root), hint="check the spelling of bucket and folder")
    _listed[root] = keys
    return listing


def read_object(address: str, accept: Callable[[bytes], object], head_bytes: int, limit_bytes: int) -> bytes:
    """An object's bytes, from the cache where that version is there; otherwise as `read_inside`.

    Raises:
        OSError: It is not there, may not be read, or has too many bytes.
        SetupError: The store does not answer, or throttles for long.
    """
    file = _cache_file(_find_listed_key(address) or _ask_key(address))
    head_file = file.with_suffix(".head")  # of what was refused by its head
    if (head := _load(head_file)) is not None:
        accept(head)
    if (content := _load(file)) is not None:
        accept(content[:head_bytes])
        return content
    with _translating(address):
        chunks, size_bytes = _start_download(address)
        if size_bytes > limit_bytes:
            raise OSError(f"{size_bytes:,} bytes are more than {limit_bytes:,}")
        parts = [next(chunks, b"")]
        try:
            accept(parts[0][:head_bytes])
        except Exception:
            _save(head_file, parts[0][:head_bytes])
            raise
        content = b"".join([*parts, *chunks])
    if len(content) != size_bytes:
        raise OSError(f"the store gave {len(content):,} of {size_bytes:,} bytes")
    _save(file, content)
    return content


def fetch_file(address: str) -> str:
    """Where an object lies on this machine, once it was fetched whole into the cache, under its own name.

    Raises:
        DataError: It is not there.
        SetupError: It may not be read, the store does not answer, or the disk has no room for it.
    """
    with _fetching:
        if address not in _fetched:
            _fetched[address] = _fetch(address)
        return _fetched[address]


def forget_versions() -> None:
    """Ask the stores anew which versions there are."""
    _listed.clear()
    _fetched.clear()


def _fetch(address: str) -> str:
    name = make_portable_name(address.rpartition("/")[2])

    def write(folder: Path) -> None:
        with _translating(address), (folder / name).open("wb") as out:
            chunks, size_bytes = _start_download(address)
            if size_bytes + _SPARE > count_free_bytes(folder):
                problem = f"`{format_printable(address)}` has {size_bytes:,} bytes, more than the disk has room for"
                raise SetupError(problem, where=str(folder), hint="set HEADSTART_CACHE to a folder on a larger disk")
            for chunk in chunks:
                out.write(chunk)

    try:
        return str(Store(cache_folder()).make_entry("fetched", _ask_key(address).hex(), write) / name)
    except FileNotFoundError as err:
        problem = f"there is no object `{format_printable(address)}`"
        raise DataError(problem, where=format_printable(address), hint="check the spelling") from err
    except PermissionError as err:
        raise _make_permission_error(address) from err


def split_address(address: str) -> tuple[str, str]:
    """`s3://bucket` and the path in it."""
    scheme, _, place = address.partition("://")
    host, _, path = place.partition("/")
    return f"{scheme}://{host}", path


def open_store(base: str, path: str) -> Any:
    """The store behind `s3://bucket`, as the environment says."""
    scheme = base.partition("://")[0]
    endpoint = next((value for name in _ENDPOINTS.get(scheme, ()) if (value := os.environ.get(name))), "")
    host = urlsplit(endpoint or base).hostname
    if is_offline() and host not in _THIS_MACHINE:
        problem, hint = (
            f"{base} is not asked: HEADSTART_OFFLINE is set",
            "leave out --offline, or unset HEADSTART_OFFLINE",
        )
        raise SetupError(problem, where=format_printable(f"{base}/{path}"), hint=hint)
    extras.require_extra("cloud", f"reading {scheme}://")
    return _make_store(base, endpoint)


@functools.lru_cache(maxsize=64)
def _make_store(base: str, endpoint: str) -> Any:
    from obstore.store import from_url

    make_store: Any = from_url  # the type of each provider is its own
    options = {
        "timeout": timedelta(seconds=60),
        "connect_timeout": timedelta(seconds=5),
        "allow_http": (endpoint or base).startswith("http://"),  # which somebody wrote
    }
    retries = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=60), "backoff": _BACKOFF}
    own = {"checksum_algorithm": "SHA256", **_find_aws_profile()} if base.startswith("s3:") else {}
    try:
        return make_store(base, client_options=options, retry_config=retries, **own)
    except Exception:
        raise _make_credentials_error(base) from None


def _find_aws_profile() -> dict[str, Any]:
    """Credentials of AWS's own files (a profile, single sign-on), read by boto3; empty where variables have them."""
    from importlib.util import find_spec

    places = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    files = [Path(os.environ.get(name, default)).expanduser() for name, default in places.items()]
    has_variables = any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"))
    if has_variables or find_spec("boto3") is None or not any(file.is_file() for file in files):
        return {}
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return {"credential_provider": Boto3CredentialProvider()}
    except (BotoCoreError, ValueError):  # no such profile, or none with a key: the caller names what to set
        return {}


def _start_download(address: str) -> tuple[Iterator[bytes], int]:
    import obstore

    base, path = split_address(address)
    answer = obstore.get(open_store(base, path), path)
    size_bytes = answer.meta["size"]
    if size_bytes < _STREAMED:
        return iter([bytes(answer.bytes())]), size_bytes
    return map(bytes, answer.stream(min_chunk_size=_STREAMED)), size_bytes


def _ask_key(address: str) -> bytes:
    import obstore

    base, path = split_address(address)
    with _translating(address):
        return _make_key(base, path, obstore.head(open_store(base, path), path))


def _make_key(root: str, name: str, facts: Any) -> bytes:
    version = facts["e_tag"] or facts["last_modified"]
    return hashlib.sha256(f"{root}/{name}\0{version}\0{facts['size']}".encode("utf-8", "surrogateescape")).digest()


def _find_listed_key(address: str) -> bytes | None:
    for root, keys in _listed.items():
        if address.startswith(f"{root}/") and (key := keys.get(address[len(root) + 1 :])):
            return key
    return None


def _cache_file(key: bytes) -> Path:
    text = key.hex()
    return cache_folder() / "objects" / text[:2] / text


def _load(file: Path) -> bytes | None:
    """What was saved, which counts as used now; None where nothing was, or it is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    content, digest = content[:-32], content[-32:]
    return content if hashlib.sha256(content).digest() == digest else None


def _save(file: Path, content: bytes) -> None:
    """Save content with its digest at its end; not where the disk is nearly full."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        if count_free_bytes(file.parent) < len(content) + _SPARE:
            return
        draft = file.with_name(f".tmp-{threading.get_ident()}-{os.getpid()}-{file.name}")
        try:
            draft.write_bytes(content + hashlib.sha256(content).digest())
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _translating(address: str) -> Iterator[None]:
    """Errors of obstore in our words; theirs may hold addresses that are signed."""
    try:
        yield
    except Exception as err:
        if not type(err).__module__.startswith("obstore") and not isinstance(err, FileNotFoundError | PermissionError):
            raise
        _raise_reading_error(err, address)


def _raise_reading_error(err: Exception, address: str) -> NoReturn:
    kind = find_error_kind(err)
    if kind == "missing":
        raise FileNotFoundError("the object is not there") from None
    if kind == "permission":
        raise PermissionError("reading it is not permitted") from None
    raise make_store_error(kind, err, address, f"`{format_printable(address)}` cannot be read") from None


def _raise_listing_error(err: Exception, root: str) -> NoReturn:
    kind, shown = find_error_kind(err), format_printable(root)
    if isinstance(err, DataError | SetupError):
        raise err
    if kind == "missing":
        hint = "check the spelling of bucket and folder"
        raise DataError(f"there is no `{shown}`", where=shown, hint=hint) from None
    if kind == "permission":
        raise _make_permission_error(root) from None
    raise make_store_error(kind, err, root, f"`{shown}` cannot be listed") from None


def find_error_kind(err: Exception) -> str:
    """What an error of obstore means: `missing`, `permission`, `throttling`, `region`, `credentials` or `network`."""
    text = str(err)
    if _OTHER_REGION.search(text):
        return "region"
    if _WRONG_KEYS.search(text):
        return "keys"
    status = match[1] if (match := re.search(r"status code: (\d{3})", text)) else ""
    by_status = {"404": "missing", "401": "permission", "403": "permission", "429": "throttling", "503": "throttling"}
    if isinstance(err, FileNotFoundError):
        return "missing"
    if isinstance(err, PermissionError) or type(err).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return "permission"
    if _ASKS_MACHINE.search(text):
        return "credentials"
    return by_status.get(status, "region" if status == "301" else "refusal" if status else "network")


def make_store_error(kind: str, err: Exception, address: str, problem: str) -> SetupError:
    """The error of a kind that `find_error_kind` gives, with what to do."""
    base, shown = split_address(address)[0], format_printable(address)
    if kind == "credentials":
        return _make_credentials_error(base)
    if kind == "throttling":
        problem, hint = f"{problem}: {base} asks for fewer requests, also after {RETRIES} retries", _AGAIN
    elif base.startswith("http") and kind == "refusal":
        hint = "only a server that speaks WebDAV lists its files: name a table or an archive there"
    elif kind == "region":
        region = match[1] if (match := _REGION.search(str(err))) else "…"
        problem, hint = f"{problem}: the bucket lies in another region", f"set AWS_REGION={region}"
    elif kind == "keys":
        problem, hint = f"{problem}: its credentials are wrong or too old", format_credentials(base)
    elif kind == "refusal":
        status = re.search(r"status code: (\d{3}[\w ]*)", str(err))
        problem, hint = f"{problem}: {base} answers {status[1].strip() if status else 'an error'}", _AGAIN
    else:
        problem = f"{problem}: {base} does not answer"
        hint = f"check the network and the endpoint's environment variable; {_AGAIN}"
    return SetupError(problem, where=shown, hint=hint)


def _make_permission_error(address: str) -> SetupError:
    base, shown = split_address(address)[0], format_printable(address)
    return SetupError(f"reading `{shown}` is not permitted", where=shown, hint=format_credentials(base))


def _make_credentials_error(base: str) -> SetupError:
    return SetupError(f"there are no credentials for {base}", where=base, hint=format_credentials(base))


def format_credentials(base: str) -> str:
    """What to set so that a bucket may be used."""
    variables = _CREDENTIALS.get(base.partition("://")[0])
    return f"set the environment variables {variables}" if variables else "give an address that needs no credentials"
