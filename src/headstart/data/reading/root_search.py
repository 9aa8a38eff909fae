"""Where the relative paths of a file of labels start, tried on a sample; where else they would exist, if nowhere there.

Paths may lack their suffix, or have backslashes or stray spaces: what makes the sample exist is done to all, and told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from headstart.core.errors import DataError
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote, split_archive
from headstart.images.file_formats import SUFFIXES

_SAMPLE = 100  # paths that are looked for
_BESIDE = 50  # sub-folders that are tried


class MissingPicturesError(DataError):
    """No path of a sample leads to a file; `elsewhere` is a folder from where one would, empty where none was seen."""

    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class PictureRoot:
    """A root below which all pictures lie."""

    path: str  # absolute, or the address of a store
    base: str  # where relative paths start
    uris: Sequence[str]  # the paths relative to the root, `/` between parts
    notes: tuple[str, ...] = ()


def find_root(paths: Sequence[str], base: str, source: str, *, trim: bool = False) -> PictureRoot:
    """Where pictures lie: below `base`, or below the folder that all share where paths lead out of it.

    With `trim` paths may begin with folders of another machine, which are left out.

    Raises:
        MissingPicturesError: No path of a sample leads to a file; the hint names a folder where they would.
    """
    if all(map(is_remote, paths)):
        first, last = min(paths), max(paths)
        alike = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        root = first[:alike].rpartition("/")[0]
        return PictureRoot(root, root, [path[len(root) + 1 :] for path in paths])
    repair, note = None, ""
    if Path(base).is_dir():
        sample = list(dict.fromkeys(paths[:: max(1, len(paths) // _SAMPLE)]))
        repair, note = next(_find_repairs(sample, base, trim=trim), (None, ""))
        if not note and not _any_exists(sample, base):
            _raise_elsewhere(sample, Path(base), source)
    paths = paths if repair is None else list(map(repair, paths))
    is_plain = list(map(_is_plain, paths))
    places = {
        "" if plain else os.path.dirname(_locate(base, path))  # noqa: PTH120
        for path, plain in zip(paths, is_plain, strict=True)
    }
    root = base if is_remote(base) else os.path.commonpath([place or base for place in places])
    uris = [
        path if plain and root == base else os.path.relpath(_locate(base, path), root)
        for path, plain in zip(paths, is_plain, strict=True)
    ]
    return PictureRoot(root, base, uris, (note,) if note else ())


def _is_plain(path: str) -> bool:
    """Whether a path lies below its base for sure, and is written in the one usual way."""
    return path[:1] not in ("/", ".") and "/." not in path and "//" not in path


def _locate(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path))  # noqa: PTH118 - any bytes


def _any_exists(paths: Sequence[str], base: str) -> bool:
    full_paths = (os.path.join(base, path) for path in paths)  # noqa: PTH118 - any bytes
    return any(os.path.lexists(path) or split_archive(path) for path in full_paths)


def _find_repairs(sample: Sequence[str], base: str, *, trim: bool) -> Iterator[tuple[Callable[[str], str], str]]:
    """Ways to write paths that exist, where none does as it is written."""
    if _any_exists(sample, base):
        return
    repairs: list[tuple[Callable[[str], str], str]] = [
        (str.strip, "paths have stray spaces, which are left out"),
        (lambda path: path.strip().replace("\\", "/"), "paths have backslashes, read as /"),
        *((_make_suffix_repair(suffix), f"paths have no suffix; `{suffix}` is added") for suffix in _list_suffixes()),
    ]
    if trim and (cut := _find_leading_parts(sample[0], Path(base))):
        note = f"paths begin with `{format_printable(cut)}`, which is left out"
        repairs.append((lambda path: path.replace("\\", "/").removeprefix(cut), note))
    for repair, note in repairs:
        if _any_exists([repair(path) for path in sample], base):
            yield repair, note


def _list_suffixes() -> list[str]:
    return [written for suffix in sorted(SUFFIXES) for written in (suffix, suffix.upper())]


def _make_suffix_repair(suffix: str) -> Callable[[str], str]:
    return lambda path: path.strip() + suffix


def _raise_elsewhere(sample: Sequence[str], base: Path, source: str) -> NoReturn:
    shown = ", ".join(f"`{format_printable(path)}`" for path in sample[:3])
    place = f"`{format_printable(str(base))}`, where `{format_printable(Path(source).name)}` says"
    problem = f"none of the pictures is below {place}: {shown}"
    below = sorted(path for path in base.iterdir() if path.is_dir())[:_BESIDE]
    places = (*base.parents[:3], *below, Path.cwd(), *(path.parent for path in below))
    elsewhere = next((place for place in places if _any_exists(sample, str(place))), None)
    hint = "--images names the folder where the paths start"
    if elsewhere is not None:
        hint = f"--images {format_printable(str(elsewhere))} makes them exist"
    elif (cut := _find_leading_parts(sample[0], base)) is not None:
        hint = f"--images {format_printable(str(base))} leaves out `{format_printable(cut)}` at their beginning"
    error = MissingPicturesError(problem, where=format_printable(source), hint=hint)
    error.elsewhere = "" if elsewhere is None else str(elsewhere)
    raise error


def _find_leading_parts(path: str, base: Path) -> str | None:
    """The beginning of a path without which it exists below a folder: of the machine where the table was written."""
    parts = path.replace("\\", "/").split("/")
    cuts = (number for number in range(1, len(parts)) if (base / "/".join(parts[number:])).exists())
    number = next(cuts, None)
    return None if number is None else "/".join(parts[:number]) + "/"
