"""What readers of labelling tools share: one file, known by its suffix and first character, read as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.core.storage.files import format_printable
from headstart.data.reading.annotations import Annotations, find_base, list_annotated
from headstart.data.reading.records import Listing

_HEAD = 100  # bytes, of which the first that is no space tells the form


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationReader:
    """A reader of one form of file."""

    name: str
    form: str  # as messages call it
    suffix: str
    first: str  # character
    settings: frozenset[str]
    read: Callable[[Path, Job], Annotations]  # may raise what a file of another form makes it raise

    def recognises(self, location: str) -> bool:
        """By suffix and first character."""
        path = Path(location).expanduser()
        if path.suffix.lower() != self.suffix or not path.is_file():
            return False
        with path.open("rb") as handle:
            return handle.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(self.first.encode())

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse a folder of pictures that is not there."""
        find_base(Path(location).expanduser(), job)

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """The pictures that the file names."""
        path = Path(location).expanduser()
        try:
            annotations = self.read(path, job)
        except (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError) as err:
            why = f"there is no {err}" if isinstance(err, KeyError) else getattr(err, "strerror", None) or str(err)
            problem = f"`{format_printable(path.name)}` cannot be read as {self.form}: {why}"
            raise DataError(problem, where=format_printable(str(path))) from err
        return list_annotated(annotations, job, leave_out)
