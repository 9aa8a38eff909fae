"""Small copies of pictures inside the page, each made once, in parallel, while the rest of the page is written."""

from __future__ import annotations

import base64
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import compress

from headstart.core.settings import count_threads
from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, PixelRanges, format_labels
from headstart.images import thumbnails

SIDE_PX = 104
_QUALITY = 68


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture on the page."""

    name: str  # the file's path below the data set, printable
    file: str  # the last part of it
    label: str  # its class, labels or number
    note: str  # what it is shown for, such as the probability of the answer
    _made: Future[str] | None  # None where pictures are left out

    @property
    def data_url(self) -> str:
        """The picture as a `data:` address; empty when it is left out, or its file cannot be read any more."""
        return self._made.result() if self._made else ""

    @property
    def is_left_out(self) -> bool:
        """Whether the page is to hold no pictures."""
        return self._made is None


@dataclass
class Thumbnails:
    """Makes thumbnails of a data set's pictures; a context manager, for the threads end with it."""

    data: Dataset
    left_out: bool = False
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(count_threads()))
    _made: dict[int, Future[str]] = field(default_factory=dict)

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def make_thumbnail(self, row: int, note: str = "") -> Thumbnail:
        """The thumbnail of a row of the data set."""
        row = int(row)
        uri = self.data.uris[row]
        if row not in self._made and not self.left_out:
            path = os.path.join(self.data.root, uri)  # noqa: PTH118 - names of any bytes
            self._made[row] = self._pool.submit(_encode_thumbnail, path, self.data.reading.ranges)
        label = format_target(self.data, row)
        name, file, label = map(format_printable, (uri, uri.rpartition("/")[2], label))
        return Thumbnail(name=name, file=file, label=label, note=note, _made=self._made.get(row))


def format_target(data: Dataset, row: int) -> str:
    """What a picture's label is: its class, its labels, or its number; `not yet` for a class of -1."""
    target = data.targets[row]
    if data.learning_task.has_classes and int(target) < 0:
        return "not yet"
    if data.learning_task.has_labels:
        return format_labels(tuple(compress(data.class_names, target)))
    return data.class_names[int(target)] if data.learning_task.has_classes else f"{float(target):.5g}"


def _encode_thumbnail(path: str, ranges: PixelRanges) -> str:
    jpeg = thumbnails.make_jpeg_thumbnail(path, SIDE_PX, _QUALITY, ranges)  # empty: the page says that the file is gone
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""
