"""Libraries that read pictures warn of whatever is odd in a file: off the terminal and out of the logs.

What they say may repeat a patient's data; what matters of it is told as the reason why a file is skipped.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_FILTER: Any = ("ignore", None, Warning, re.compile(r"(PIL|pydicom|nibabel|rasterio)(\.|$)"), 0)
_PYDICOM, _NIBABEL = logging.getLogger("pydicom"), logging.getLogger("nibabel.global")
_lock = threading.Lock()
_readers: list[int] = []


@contextlib.contextmanager
def silence_readers() -> Iterator[None]:
    """Hold warnings back while any thread reads; `warnings.catch_warnings` is not safe with threads."""
    with _lock:
        if not _readers:
            warnings.filters.insert(0, _FILTER)  # type: ignore[attr-defined]
            _set_logging(heard=False)
        _readers.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _readers.pop()
            if not _readers:
                _set_logging(heard=True)
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_FILTER)  # type: ignore[attr-defined]


def _set_logging(*, heard: bool) -> None:
    _PYDICOM.propagate = heard  # its own handler does nothing, and those below hand on to it
    _NIBABEL.disabled = not heard
