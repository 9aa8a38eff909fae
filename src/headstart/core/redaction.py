"""What was asked for, as others may read it: a path tells of the machine, so its last part stands for it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from headstart.core.job import Job


def folder(path: str) -> str:
    """A path's last part."""
    return PurePath(path).name or "DATA"


def backbone(name: str) -> str:
    """A backbone as it was asked for; of `run:PATH`, `keras_hub:PATH` and their random twins the path's last part."""
    twin = "random:" if name.startswith("random:") else ""
    source, colon, preset = name.removeprefix(twin).partition(":")
    local = source == "run" or (source == "keras_hub" and not preset.startswith("hf://") and preset != folder(preset))
    return f"{twin}{source}{colon}{folder(preset) if local else preset}"


def setting(job: Job, name: str) -> Any:
    """A setting of a job, its paths cut to their last part."""
    value = getattr(job, name)
    if name in ("data", "costs") and value:
        return folder(value)
    if name == "backbones":
        return tuple(map(backbone, value))
    if name == "recipe":
        return tuple(f"backbone={backbone(part[9:])}" if part.startswith("backbone=") else part for part in value)
    return value
