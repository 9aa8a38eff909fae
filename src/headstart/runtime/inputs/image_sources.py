"""What the user names -> pictures in a fixed order: files, folders, patterns, archives and tables of paths.

Everything is streamed: memory does not grow with their number. A name that leads to nothing keeps its place with the
reason.
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
from headstart.core.storage import tables
from headstart.core.storage.locations import forget_versions, localize, require_address
from headstart.core.storage.locations.names import is_archive, is_remote, split_archive
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs import archives, path_tables, remote_sources
from headstart.runtime.inputs.decoded_batches import Content, Source, list_entries, walk_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSource:
    """A name on the command line; `pattern` says whether `*`, `?`, `[…]` and `**` in it may stand for names."""

    text: str
    pattern: bool = True


def read_sources(
    names: Iterable[NamedSource], *, column: str | None = None, root: Path | None = None
) -> Iterator[Source]:
    """Pictures, in the order of their names.

    Args:
        column: Of paths in tables; the first of `path_tables.COLUMNS` when None.
        root: Where relative paths of tables start; the table's folder when None.

    Raises:
        DataError: A table cannot be read or has no such column.
        SetupError: A table is Parquet, and pyarrow is not installed.
    """
    for name in names:
        path = Path(name.text)
        if is_remote(name.text):
            yield from _read_remote(name.text, column, root)
        elif (split := split_archive(name.text)) and split[1]:
            yield from remote_sources.read_location(name.text)
        elif name.pattern and glob.has_magic(name.text) and not os.path.lexists(path):
            yield from _match_pattern(name.text)
        elif tables.is_table(path) and not path.is_dir():
            yield from path_tables.read_rows(path, path_tables.find_column(path, column), str(root or path.parent))
        elif is_archive(path.name) and not path.is_dir():
            yield from archives.read_members(path)
        else:
            yield from walk_paths([path])


def require_readable_tables(names: Iterable[str], *, column: str | None, root: Path | None) -> None:
    """Look at the tables before anything is answered.

    Raises:
        UsageError: A column or root is given, and there is no table.
        DataError: A table cannot be read or has no such column.
        SetupError: A table is Parquet, and pyarrow is not installed.
    """
    table_names = [name for name in names if tables.is_table(path := Path(name)) and not path.is_dir()]
    for name in table_names:
        path_tables.find_column(Path(localize(require_address(name)) if is_remote(name) else name), column)
    if not table_names and (column is not None or root is not None):
        option = "--column" if column is not None else "--root"
        hint = f"tables end in {', '.join(tables.SUFFIXES)}"
        raise UsageError(f"`{option}` is for tables, and no FILE is one", where=option, hint=hint)
    if root is not None and not root.is_dir():
        raise DataError(f"there is no folder `{root}`", where="--root")


def _read_remote(address: str, column: str | None, root: Path | None) -> Iterator[Source]:
    """Pictures at an address; relative paths of a table start from `root`, or its own folder there."""
    forget_versions()
    if not tables.is_table(Path(address)):
        yield from remote_sources.read_location(address)
        return
    table = Path(localize(require_address(address)))
    base = str(root) if root else address.rpartition("/")[0]
    yield from remote_sources.fetch_ahead(path_tables.read_rows(table, path_tables.find_column(table, column), base))


def _match_pattern(pattern: str) -> Iterator[Source]:
    """What matches a pattern, in sorted order; a folder that does is walked. Where nothing does, a row says so."""
    parts = Path(pattern).parts
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    any_match = False
    for path in _walk_matches(Path(*parts[:first]), parts[first:]):
        any_match = True
        yield from walk_paths([path])
    if not any_match:
        yield Content(pattern, PictureError("unreadable", "nothing matches this pattern"))


def _walk_matches(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Paths below a folder that match all parts; each once, hidden ones only where the pattern has the dot."""
    tail = parts
    while len(tail) > 1 and tail[0] == tail[1] == "**":
        tail = tail[1:]  # one says as much as two
    if tail == ("**",):
        yield folder
        return
    deep = tail[0] == "**"
    pattern_parts = tail[1:] if deep else tail
    try:
        entries = list_entries(folder)
    except OSError:
        return
    for entry in entries:
        path, is_folder = folder / entry.name, _is_folder(entry, links=not deep)
        matches = _matches_part(entry.name, pattern_parts[0])
        if matches and len(pattern_parts) == 1:
            yield path
        elif is_folder and deep:
            yield from _walk_both(path, tail, pattern_parts[1:] if matches else ())
        elif is_folder and matches:
            yield from _walk_matches(path, pattern_parts[1:])


def _walk_both(path: Path, deeper: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Path]:
    """What matches below a folder that `**` may pass, or that is itself the part after `**`; each once, sorted."""
    if not after:
        if not path.name.startswith("."):
            yield from _walk_matches(path, deeper)
        return
    both = {*_walk_matches(path, after), *(() if path.name.startswith(".") else _walk_matches(path, deeper))}
    yield from sorted(both, key=os.fsencode)


def _is_folder(entry: os.DirEntry[str], *, links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError:
        return False  # links in a circle


def _matches_part(name: str, part: str) -> bool:
    is_hidden = name.startswith(".") and not part.startswith(".")
    return not is_hidden and _compile_part(part).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _compile_part(part: str) -> re.Pattern[str]:
    import fnmatch

    return re.compile(fnmatch.translate(part), re.DOTALL)
