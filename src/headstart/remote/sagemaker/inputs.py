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


def upload_inputs(base: str, places: Mapping[str, Path], console: Console) -> tuple[str, bool]:
    """Put files and folders below `base`, under a name that their content gives.

    Args:
        base: The address of all inputs.
        places: Path there -> file or folder here.
        console: Told of progress.

    Returns:
        The address, empty where nothing travels; and whether nothing lay there before.
    """
    if not places:
        return "", False
    contents = {
        f"{place}/{file.relative_to(path).as_posix()}" if path.is_dir() else place: file_digest(file)
        for place, path in places.items()
        for file in _list_files(path)
    }
    address = f"{base}/inputs/{compute_digest(contents)[:24]}"
    is_new = not uploads.exists_below(address)
    for place, path in places.items():
        if path.is_dir():
            uploads.upload_folder(path, f"{address}/{place}", console)
        else:
            uploads.upload_file(path, f"{address}/{place}")
    return address, is_new


def upload_code(address: str, content: JobFile, console: Console) -> None:
    """Put headstart itself, the versions of its packages, the job and the start script at an address."""
    with tempfile.TemporaryDirectory() as folder:
        uploads.upload_folder(build_code_package(Path(folder), content), address, console)


def _list_files(path: Path) -> list[Path]:
    return uploads.list_files(path) if path.is_dir() else [path]
