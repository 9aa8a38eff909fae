"""What is kept of a bug: the traceback and the versions, in a file that the message names."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

from headstart.core.errors import HeadstartError, SetupError
from headstart.core.files import write_text


def save_crash(err: Exception, words: list[str]) -> HeadstartError:
    """Write the traceback beside the user's work, else into the temporary folder, and say where it lies.

    Args:
        err: What nobody expected.
        words: The command line.
    """
    from headstart.kit.provenance import machine, versions

    facts = [f"{name} {value}" for name, value in (machine() | versions()).items()]
    command = f"headstart {' '.join(words)}"
    text = "\n".join([command, *facts, "", *traceback.format_exception(err)])
    fact = f"headstart met a bug of its own: {type(err).__name__}: {err}"
    return HeadstartError(fact, where=_write(text), hint="report it with that file, which has the traceback")


def _write(text: str) -> str:
    name = f"headstart-crash-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            write_text(folder / name, text)
            return str(folder / name)
        except (OSError, SetupError):
            continue
    print(text, file=sys.stderr)  # no place to keep it: better shown than lost
    return "the traceback above, which could not be saved"
