"""The mirror of weights that `HEADSTART_WEIGHTS_MIRROR` names: a folder of this machine or an http(s) address."""

from __future__ import annotations

import urllib.parse
import urllib.request
from pathlib import Path

from headstart.backbones.downloads.resumable import hide_credentials
from headstart.core.errors import SetupError
from headstart.core.settings import read_setting

_NAME = "HEADSTART_WEIGHTS_MIRROR"


def find_mirror_folder() -> Path | None:
    """The folder that it is; None where there is no mirror, or it is an address."""
    mirror = read_setting(_NAME) or ""
    if mirror.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlparse(mirror).path))
    return Path(mirror).expanduser() if mirror and "://" not in mirror else None


def explain_absent_folder() -> str:
    """That the mirror is a folder which is not there, in one clause; empty where it is there or no folder."""
    place = find_mirror_folder()
    return "" if place is None or place.is_dir() else f"there is no folder `{place}`, which {_NAME} names"


def explain_missing_file(name: str) -> str:
    """Why something is not in the mirror, in one clause."""
    return explain_absent_folder() or f"the mirror `{hide_credentials(read_setting(_NAME) or '')}` does not hold {name}"


def require_readable(place: str) -> None:
    """Refuse a mirror of a kind that nothing here can read, such as a bucket; the hint copies what is wanted.

    Args:
        place: The path of a file in it, or of a folder, which ends in `/`; empty for all of it.

    Raises:
        SetupError: It is of another kind.
    """
    mirror = read_setting(_NAME) or ""
    scheme, _, location = mirror.partition("://")
    if find_mirror_folder() or not location or scheme in ("http", "https"):
        return
    bucket = location.rpartition("@")[2].strip("/") or "BUCKET"
    many = "" if place.rpartition("/")[2] else " --recursive"
    copy = f"copy {f'`{place}`' if place else 'what it holds'} to `weights/{place}`"
    if scheme == "s3":
        copy = f"aws s3 cp{many} s3://{bucket}/{place} weights/{place}"
    raise SetupError(
        f"a mirror of the kind `{scheme}://` cannot be read: {_NAME} is a folder, file:// or http(s)://",
        where=_NAME,
        hint=f"{copy}, then {_NAME}=weights; or name the bucket's https address",
    )
