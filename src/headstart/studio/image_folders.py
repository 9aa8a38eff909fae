"""Where pictures come from: folders below a root, and files that a browser sends, each below its own draft folder."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import secrets
import threading
from pathlib import Path
from typing import Any

from headstart.backbones import source_lookup
from headstart.core.errors import DataError, UsageError
from headstart.core.job import READING_SETTINGS, Job, format_flag, list_path_options
from headstart.core.settings import cache_folder
from headstart.core.storage.files import format_printable, translate_disk_errors
from headstart.core.storage.locations.names import is_archive, is_remote, split_archive
from headstart.core.storage.tables import SUFFIXES
from headstart.data.reading.more_labels import add_pictures, require_more_labels
from headstart.data.reading.records import find_used_reader

MAX_FILE, MAX_TOTAL, MAX_FILES, MAX_DEPTH = 100_000_000, 20_000_000_000, 200_000, 8
_SHOWN = 500  # sub-folders in one answer
_COUNTED = 2000  # files looked at to say how many there are
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class ImageFolders:
    """Folders that may be looked into, and the drafts that uploads fill."""

    def __init__(self, root: Path, drafts: Path, runs: Path) -> None:
        self.root, self.drafts, self._runs = root.resolve(), drafts.resolve(), runs.resolve()
        self._draft_sizes: dict[str, list[int]] = {}  # files and bytes of each draft, counted once and then kept up
        self._lock = threading.Lock()
        self._confined = set[tuple[Any, ...]]()  # what was asked of files of labels whose pictures all lie inside

    def require_path(self, path: str, where: str = "DATA", *more_places: Path) -> Path:
        """A path that may be read, links followed; raises `UsageError` where it lies elsewhere, or can be none."""
        try:
            target = (self.root / Path(path).expanduser()).resolve()
            target.exists()
        except (OSError, ValueError, RuntimeError) as err:  # too long, not permitted, a zero byte, nobody's home
            why = getattr(err, "strerror", None) or str(err)
            raise UsageError(f"`{format_printable(path[:100])}` cannot be a path: {why}", where=where) from err
        if not any(target.is_relative_to(place) for place in (self.root, self.drafts, *more_places)):
            hint = f"headstart studio --root {format_printable(str(target.parent))}"
            what = f"`{format_printable(str(target))}` is outside of `{self.root}`, which the studio shows"
            raise UsageError(what, where=where, hint=hint)
        return target

    def require_folder(self, path: str) -> Path:
        """A folder that may be read; raises `UsageError` where it lies elsewhere, `DataError` where it is none."""
        folder = self.require_path(path)
        if not folder.is_dir():
            raise DataError(f"there is no folder `{folder}`", where="DATA", hint="check the spelling, or browse to it")
        return folder

    def require_data(self, path: str) -> str:
        """A folder, table or archive to learn from: no link in a folder leads out; raises as `require_folder`."""
        location = self.require_path(path)
        if location.is_file() or split_archive(str(location)):
            return str(location)
        folder = self.require_folder(path)
        waiting, walked = [folder], set[Path]()
        while waiting:
            place = waiting.pop()
            if place in walked:
                continue
            walked.add(place)
            with contextlib.suppress(PermissionError), os.scandir(place) as entries:
                targets = [self.require_path(e.path) for e in entries if e.is_symlink() or e.is_dir()]
            waiting.extend(target for target in targets if target.is_dir())
        return str(folder)

    def confine_job(self, job: Job) -> Job:
        """A job whose files and folders may all be read, each as its whole path; raises as `require_path`."""
        named = [name for name in list_path_options() if getattr(job, name)]
        paths: dict[str, Any] = {
            name: str(self.require_path(getattr(job, name), format_flag(name), self._runs)) for name in named
        }
        job = dataclasses.replace(job, **paths, backbones=tuple(map(self._confine_backbone, job.backbones)))
        tables = [path for path in (job.data, job.more) if Path(path).is_file() and not is_archive(path)]
        if tables:
            facts = [(path, Path(path).stat().st_mtime_ns, Path(path).stat().st_size) for path in tables]
            key = (*facts, *(getattr(job, name) for name in ("data", *READING_SETTINGS)))
            if key not in self._confined:
                self._require_inside(job)
                self._confined.add(key)
        return job

    def _require_inside(self, job: Job) -> None:
        """Refuse a file of labels that names pictures elsewhere; those that it holds lie in the cache."""
        reader = find_used_reader(job)
        reader.require_readable(job.data, job)
        require_more_labels(job)
        listing = reader.list_pictures(job.data, job, frozenset())
        listing = add_pictures(listing, job) if job.more else listing
        where = Path(job.more or job.data).name
        pictures = [os.path.join(listing.root, uri) for uri in listing.uris]  # noqa: PTH118 - below an archive too
        if is_remote(listing.root):
            raise UsageError(f"its pictures lie at `{listing.root}`, and the studio reads this machine", where=where)
        places = {os.path.dirname(picture) for picture in pictures} | set(filter(os.path.islink, pictures))  # noqa: PTH120
        for place in places:
            self.require_path(place, where, cache_folder())

    def _confine_backbone(self, name: str) -> str:
        text, where = source_lookup.find_path(name), format_flag("backbones")
        if not text:
            return name
        if (here := Path.cwd() / text).exists():  # where the child that reads it would find it
            self.require_path(str(here), where, self._runs)
        target = self.require_path(text, where, self._runs)
        return f"{name.removesuffix(text)}{target}" if target.exists() else name

    def list_folder(self, path: str) -> dict[str, Any]:
        """A folder's sub-folders with how many pictures lie directly in each, and its own."""
        folder = self.require_folder(path)
        try:
            entries = sorted(filter(self._is_shown_folder, os.scandir(folder)), key=lambda e: e.name.casefold())
        except OSError as err:
            raise DataError(f"`{folder}` cannot be read: {err.strerror}", where="DATA") from err
        folders = [
            {"name": e.name, "path": e.path, "pictures": _count_pictures(Path(e.path))} for e in entries[:_SHOWN]
        ]
        files = [e for e in os.scandir(folder) if self._is_shown(e) and e.is_file() and is_data_file(e.name)]
        return {
            "files": [
                {"name": e.name, "path": e.path} for e in sorted(files, key=lambda e: e.name.casefold())[:_SHOWN]
            ],
            "path": str(folder),
            "above": None if folder in (self.root, self.drafts) else str(folder.parent),
            "pictures": _count_pictures(folder),
            "folders": folders,
            "more": max(0, len(entries) - _SHOWN),
        }

    def _is_shown_folder(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_dir() and self._is_shown(entry)

    def _is_shown(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") or format_printable(entry.name) != entry.name:
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(self.root)

    def make_draft(self) -> str:
        """A new, empty draft; its name."""
        name = f"{datetime.date.today().isoformat()}-{secrets.token_hex(4)}"
        with translate_disk_errors(self.drafts):
            (self.drafts / name).mkdir(parents=True)
        return name

    def require_target(self, draft: str, name: str) -> Path:
        """Where a file of a draft goes; raises `UsageError` for a bad name, `DataError` where there is no draft."""
        folder, parts = self._require_draft(draft), name.split("/")
        if len(parts) > MAX_DEPTH or not all(map(_is_plain_name, parts)):
            raise UsageError(f"`{format_printable(name[:200])}` is not a name that a picture can have", where="file")
        path = folder.joinpath(*parts)
        if not path.resolve().is_relative_to(folder):
            raise UsageError(f"`{format_printable(name[:200])}` leads out of its folder", where="file")
        return path

    def reserve_bytes(self, draft: str, count: int) -> None:
        """Note that a draft is to take a file of so many bytes; raises `DataError` where it is full."""
        folder = self._require_draft(draft)
        with self._lock:
            if draft not in self._draft_sizes:
                sizes = [e.stat().st_size for e in folder.rglob("*") if e.is_file()]
                self._draft_sizes[draft] = [len(sizes), sum(sizes)]
            files, total = self._draft_sizes[draft]
            if files >= MAX_FILES or total + count > MAX_TOTAL:
                hint = "put the pictures into a folder of this machine and point to it"
                raise DataError(f"an upload takes {MAX_FILES:,} files and {MAX_TOTAL:,} bytes at most", hint=hint)
            self._draft_sizes[draft] = [files + 1, total + count]

    def find_data(self, draft: str) -> Path:
        """What to learn from: the folder or the file that was dropped, or what was dropped beside each other."""
        folder = self._require_draft(draft)
        entries = list(folder.iterdir())
        is_whole = len(entries) == 1 and (
            is_data_file(entries[0].name) or any(e.is_dir() for e in entries[0].glob("*"))
        )
        return entries[0] if is_whole else folder

    def _require_draft(self, name: str) -> Path:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}", name) or not (self.drafts / name).is_dir():
            raise DataError(f"there is no upload `{format_printable(name[:100])}`", hint="drop the folder again")
        return self.drafts / name


def is_data_file(name: str) -> bool:
    """Whether a file of this name may hold pictures, or name them with their labels."""
    return is_archive(name) or name.lower().endswith((*SUFFIXES, ".json", ".xml"))


def _is_plain_name(part: str) -> bool:
    """Whether one part of a relative path is a plain name on every system."""
    plain = part == part.strip() and part.isprintable() and not set(part) & set('\\:*?"<>|')
    return plain and part.strip(".") != "" and len(part.encode()) <= 200 and not _DEVICES.fullmatch(part)


def _count_pictures(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for _, entry in zip(range(_COUNTED), entries, strict=False))
            return sum(name.lower().endswith(_PICTURES) for name in names)
    except OSError:
        return 0
