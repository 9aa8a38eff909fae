"""WebDataset shards: tar archives in which a picture's label lies beside it, as `0001.jpg` and `0001.cls`."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError, HeadstartError
from headstart.core.job import Job
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations import list_location, read_inside
from headstart.core.storage.locations.names import is_remote, split_archive
from headstart.core.types import SkippedFile
from headstart.data.reading.annotations import Annotations, list_annotated
from headstart.data.reading.folder_layout import find_split
from headstart.data.reading.label_texts import split_labels
from headstart.data.reading.records import Listing
from headstart.images.file_formats import has_picture_suffix

_LABELS = ("cls", "json", "txt")  # looked for in this order
_FIELDS = ("cls", "label", "class", "class_name", "category", "target")  # of a JSON member
_MOST_BYTES = 1_000_000  # of a member with a label


class WebDataset:
    """One shard, or a folder of shards; `train-0001.tar` beside `test-0001.tar` gives the splits."""

    name = "webdataset"
    settings = frozenset({"target", "merge_labels"})

    def recognises(self, location: str) -> bool:
        """By a picture with a label beside it in the first shard."""
        with suppress(HeadstartError, OSError):
            shards = _list_shards(location)
            samples = _group_members(list_location(shards[0]).uris).values() if shards else []
            return any(_find_picture(members) and _find_label(members) for members in samples)
        return False

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse a shard that is cut short."""
        for shard in _list_shards(location):
            list_location(shard)

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """The samples of all shards; a sample without a label is kept apart."""
        root = _make_absolute(location)
        annotations = Annotations(source=Path(root), paths=[], labels=[], numbers=[], base=root, names_classes=True)
        splits = list[str]()
        for shard in _list_shards(location):
            prefix = os.path.relpath(shard, root) + "/" if shard != root else ""
            listing = list_location(shard)
            annotations.skipped += [
                SkippedFile(uri=prefix + row.uri, reason=row.reason, detail=row.detail) for row in listing.skipped
            ]
            split = find_split(re.split(r"[\W\d_]+", Path(shard).name)[0]) or ""
            for key, members in _group_members(listing.uris).items():
                if (picture := _find_picture(members)) is None:
                    detail = f"the sample has no picture: {', '.join(members)}"
                    annotations.skipped.append(SkippedFile(uri=prefix + key, reason="no_path", detail=detail))
                    continue
                annotations.paths.append(prefix + picture)
                annotations.labels.append(_read_labels(shard, members, job))
                splits.append(split)
        annotations.numbers = range(1, len(splits) + 1)
        annotations.splits = splits if all(splits) and "train" in splits else ()
        annotations.notes.append(f"{len(splits):,} samples of WebDataset")
        return list_annotated(annotations, job, leave_out)


def _make_absolute(location: str) -> str:
    return location if is_remote(location) else os.path.abspath(Path(location).expanduser())  # noqa: PTH100 - links stay as they are


def _list_shards(location: str) -> list[str]:
    path = _make_absolute(location)
    if is_remote(path):  # a bucket is not searched for shards
        return [path] if path.endswith(".tar") else []
    if os.path.isdir(path):  # noqa: PTH112
        return [f"{path}/{name}" for name in sorted(os.listdir(path)) if name.endswith(".tar")]  # noqa: PTH208
    return [path] if split_archive(path) == (path, "") and ".tar" in Path(path).name else []


def _group_members(uris: list[str]) -> dict[str, dict[str, str]]:
    """Sample -> what follows the first dot of each of its members' names -> the member's uri."""
    samples = dict[str, dict[str, str]]()
    for uri in uris:
        folder, _, name = uri.rpartition("/")
        stem, _, suffix = name.partition(".")
        samples.setdefault(f"{folder}/{stem}" if folder else stem, {})[suffix.lower()] = uri
    return samples


def _find_picture(members: dict[str, str]) -> str | None:
    """The sample's picture; one with a single suffix, where there are masks such as `seg.png` too."""
    pictures = sorted((suffix.count("."), suffix) for suffix in members if has_picture_suffix(f"picture.{suffix}"))
    return members[pictures[0][1]] if pictures else None


def _find_label(members: dict[str, str]) -> str | None:
    return next((suffix for suffix in _LABELS if suffix in members), None)


def _read_labels(shard: str, members: dict[str, str], job: Job) -> tuple[str, ...]:
    suffix = "json" if job.target and "json" in members else _find_label(members)
    if suffix is None:
        return ()
    path = f"{shard}/{members[suffix]}"
    try:
        text = read_inside(path, lambda head: None, 0, _MOST_BYTES).decode("utf-8-sig").strip()
        value: Any = json.loads(text) if suffix == "json" else text
    except (OSError, ValueError) as err:
        problem = f"the label `{format_printable(path)}` cannot be read: {err}"
        raise DataError(problem, where=format_printable(path)) from err
    if isinstance(value, dict):
        fields = (job.target,) if job.target else _FIELDS
        value = next((value[field] for field in fields if field in value), None)
    return split_labels(value)


PLUGIN = WebDataset()
