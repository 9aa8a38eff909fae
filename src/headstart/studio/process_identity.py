"""Whether a process is still the one that was started: its number may have been given to another since."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def find_birth(pid: int) -> str:
    """When a process began, as the system counts it; empty where that is unknown."""
    return "".join(_read_stat(pid)[19:20])


def is_alive(pid: int, birth: str) -> bool:
    """Whether the process that began at `birth` is at work; one that ended and was not collected yet is not."""
    if sys.platform == "win32":
        listing = subprocess.run(["tasklist", "/FI", f"PID eq {pid}", "/NH"], capture_output=True, text=True)
        return str(pid) in listing.stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return birth == ""
    return _read_stat(pid)[:1] != ["Z"] and (not birth or find_birth(pid) == birth)


def _read_stat(pid: int) -> list[str]:
    """Fields of `/proc/PID/stat` after the process's name, the state first; none where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
