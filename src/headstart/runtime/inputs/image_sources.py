"""What the user names -> pictures in a fixed order: files, folders, patterns, archives and tables of paths.

Everything is streamed: the first picture is answered before the last one is found, and memory does not grow with their
number. A name that leads to nothing keeps its place with the reason.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from headstart.core.errors import DataError, UsageError
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs import archives, path_tables
from headstart.runtime.inputs.decoded_batches import Content, Source, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A name on the command line.

    Attributes:
        text: As given.
        pattern: Whether `*`, `?`, `[…]` and `**` may stand for names; not for names that a program lists.
    """

    text: str
    pattern: bool = True


def sources(names: Iterable[Named], *, column: str | None = None, root: Path | None = None) -> Iterator[Source]:
    """Pictures, in the order of their names.

    Args:
        names: Files, folders, patterns, archives and tables; consumed as needed.
        column: Of paths in tables; a usual one when None.
        root: Where relative paths of tables start; the table's folder when None.

    Raises:
        DataError: A table cannot be read or has no such column.
        SetupError: A table is Parquet, and pyarrow is not installed.
    """
    for name in names:
        path = Path(name.text)
        if name.pattern and glob.has_magic(name.text) and not os.path.lexists(path):
            yield from _matching(name.text)
        elif path_tables.is_table(path) and not path.is_dir():
            yield from path_tables.rows(path, path_tables.column_of(path, column), root)
        elif archives.is_archive(path) and not path.is_dir():
            yield from archives.members(path)
        else:
            yield from walk([path])


def check(words: Iterable[str], *, column: str | None, root: Path | None) -> None:
    """Look at the tables before anything is answered.

    Raises:
        UsageError: A column or root is given, and there is no table.
        DataError: A table cannot be read or has no such column.
        SetupError: A table is Parquet, and pyarrow is not installed.
    """
    found = [path for path in map(Path, words) if path_tables.is_table(path) and not path.is_dir()]
    for path in found:
        path_tables.column_of(path, column)
    if not found and (column is not None or root is not None):
        asked = "--column" if column is not None else "--root"
        known = ", ".join(path_tables.SUFFIXES)
        raise UsageError(f"`{asked}` is for tables, and no FILE is one", where=asked, hint=f"tables end in {known}")
    if root is not None and not root.is_dir():
        raise DataError(f"there is no folder `{root}`", where="--root")


# ---------------------------------------------------------------- patterns


def _matching(pattern: str) -> Iterator[Source]:
    """What matches a pattern, in sorted order; a folder that does is walked. Where nothing does, a row says so."""
    fixed, parts = _split(pattern)
    found = False
    for path in _below(fixed, tuple(parts)):
        found = True
        if path.is_dir():
            yield from walk([path])
        else:
            yield path
    if not found:
        yield Content(pattern, PictureError("unreadable", "nothing matches this pattern"))


def _split(pattern: str) -> tuple[Path, list[str]]:
    """The folder before the first part with a `*`, `?` or `[`, and the parts from there."""
    parts = Path(pattern).parts
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), list(parts[first:])


def _below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Paths below a folder that match all parts; each once, hidden ones only where the pattern has the dot."""
    tail = parts
    while len(tail) > 1 and tail[0] == tail[1] == "**":
        tail = tail[1:]  # one says as much as two
    if tail == ("**",):
        yield folder
        return
    deep = tail[0] == "**"
    wanted = tail[1:] if deep else tail
    for entry in _entries(folder):
        path, is_folder = folder / entry.name, _is_folder(entry, links=not deep)
        here = _fits(entry.name, wanted[0])
        if here and len(wanted) == 1:
            yield path
        elif is_folder and deep:
            yield from _either(path, tail, wanted[1:] if here else ())
        elif is_folder and here:
            yield from _below(path, wanted[1:])


def _either(path: Path, deeper: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Path]:
    """What matches below a folder that `**` may pass, or that is itself the part after `**`; each once, sorted."""
    if not after:
        if not path.name.startswith("."):
            yield from _below(path, deeper)
        return
    both = {*_below(path, after), *(() if path.name.startswith(".") else _below(path, deeper))}
    yield from sorted(both, key=os.fsencode)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str], *, links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError:
        return False  # links in a circle


def _fits(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return _compiled(part).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _compiled(part: str) -> re.Pattern[str]:
    import fnmatch

    return re.compile(fnmatch.translate(part), re.DOTALL)
