"""What travels with a job into the bucket: its files, by their content and so only once, and its code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.core.storage.locations import uploads
from headstart.remote.code_package import build_code_package

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.remote.job_file import JobFile


def locate_inputs(base: str, places: Mapping[str, Path]) -> str:
    """The address of files and folders below `base`, under a name that their content gives; empty where none travel.

    Args:
        base: The address of all jobs.
        places: Path there -> file or folder here.
    """
    if not places:
        return ""
    contents = {
        f"{place}/{file.relative_to(path).as_posix()}" if path.is_dir() else place: file_digest(file)
        for place, path in places.items()
        for file in _list_files(path)
    }
    return f"{base}/inputs/{compute_digest(contents)[:24]}"


def upload_inputs(address: str, places: Mapping[str, Path], console: Console) -> None:
    """Put files and folders at their address. Where that fails, what is there stays: other jobs may read it."""
    for place, path in places.items():
        if path.is_dir():
            uploads.upload_folder(path, f"{address}/{place}", console, is_shared=True)
        else:
            uploads.upload_file(path, f"{address}/{place}")


def upload_code(address: str, content: JobFile, console: Console) -> None:
    """Put headstart itself, the versions of its packages, the job and the start script at an address."""
    with tempfile.TemporaryDirectory() as folder:
        uploads.upload_folder(build_code_package(Path(folder), content), address, console)


def _list_files(path: Path) -> list[Path]:
    return uploads.list_files(path) if path.is_dir() else [path]
