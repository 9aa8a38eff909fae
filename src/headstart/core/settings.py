"""Every `HEADSTART_*` environment variable, in one table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable: its name, what it does, and what holds without it."""

    name: str
    help: str
    default: str


SETTINGS = (
    Setting("HEADSTART_CACHE", "Folder of the content-addressed cache.", "the platform's cache folder"),
    Setting("HEADSTART_STATE", "Folder of the records of submitted jobs.", "the platform's state folder"),
    Setting(
        "HEADSTART_WEIGHTS_MIRROR",
        "Folder or http(s) address that holds weight files under their official names.",
        "none: Keras' own addresses",
    ),
    Setting(
        "HEADSTART_SHARED_CACHE",
        "Address in a bucket where machines share vectors of pictures and weights.",
        "none: each machine has its own",
    ),
    Setting("HEADSTART_OFFLINE", "Asks no other machine for anything, as `--offline` does.", "networks are asked"),
    Setting("HEADSTART_THREADS", "Threads for decoding, the engine and the heads.", "all cores of this process"),
    Setting("HEADSTART_API_KEY", "Key that requests to `serve` must carry.", "none: see `--api-key-file`"),
    Setting(
        "HEADSTART_PROGRESS",
        "`lines`: a line of progress a second where no terminal shows it moving.",
        "no lines of progress without a terminal",
    ),
)
INFERENCE_BATCH = 16  # pictures that are decoded and handed to an engine at once


def read_setting(name: str) -> str | None:
    """The variable's text, or None when unset or empty; asking for an unknown name is a KeyError."""
    if name not in {setting.name for setting in SETTINGS}:
        raise KeyError(name)
    return os.environ.get(name) or None


def is_offline() -> bool:
    """Whether no other machine may be asked."""
    return read_setting("HEADSTART_OFFLINE") not in (None, "0")


def cache_folder() -> Path:
    """Where the cache lies."""
    chosen = read_setting("HEADSTART_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("headstart", appauthor=False))


def state_folder() -> Path:
    """Where the records of submitted jobs lie."""
    chosen = read_setting("HEADSTART_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("headstart", appauthor=False))


def count_threads() -> int:
    """Threads to use; raises UsageError where the variable is not a whole number above 0."""
    chosen = read_setting("HEADSTART_THREADS")
    if chosen:
        if not (chosen.isascii() and chosen.isdigit() and int(chosen) > 0):
            raise UsageError(f"HEADSTART_THREADS `{chosen}` is not a whole number above 0")
        return int(chosen)
    return count_cores()


def count_cores() -> int:
    """Cores of this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
