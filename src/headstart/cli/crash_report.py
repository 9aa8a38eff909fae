"""What is kept of a bug: the traceback and the versions, in a file that the message names."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from headstart.core.errors import HeadstartError


def save_crash(err: Exception, arguments: list[str]) -> HeadstartError:
    """Write the traceback beside the user's work, else into the temporary folder, and say where it lies."""
    from headstart.core.provenance import describe_machine, list_versions

    facts = [f"{name} {value}" for name, value in (describe_machine() | list_versions()).items()]
    command = f"headstart {' '.join(arguments)}"
    text = "\n".join([command, *facts, "", *traceback.format_exception(err)])
    fact = f"headstart met a bug of its own: {type(err).__name__}: {err}"
    return HeadstartError(fact, where=_write_crash(text), hint="report it with that file, which has the traceback")


def _write_crash(text: str) -> str:
    stem = f"headstart-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            return str(write_new(folder, stem, text))
        except OSError:
            continue
    print(text, file=sys.stderr)  # no place to keep it: better shown than lost
    return "the traceback above, which could not be saved"


def write_new(folder: Path, stem: str, text: str) -> Path:
    """Write `<stem>.txt`, or the first of `<stem>-2.txt`, … that is not there yet: no other crash is overwritten."""
    for number in itertools.count(1):
        path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
        with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
            return path
    raise AssertionError("numbers do not end")
