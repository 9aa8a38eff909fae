"""What was asked for, as others may read it: a path tells of the machine, so its last part stands for it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from headstart.core.job import Job


def redact_path(path: str) -> str:
    """A path's last part."""
    return PurePath(path).name or "DATA"


def redact_backbone(name: str) -> str:
    """A backbone as it was asked for; of `run:PATH`, `keras_hub:PATH` and their controls the path's last part."""
    prefix = "random:" if name.startswith("random:") else ""
    source, colon, preset = name.removeprefix(prefix).partition(":")
    local = source == "run" or (
        source == "keras_hub" and not preset.startswith("hf://") and preset != redact_path(preset)
    )
    return f"{prefix}{source}{colon}{redact_path(preset) if local else preset}"


def redact_setting(job: Job, name: str) -> Any:
    """A setting of a job, its paths cut to their last part."""
    value = getattr(job, name)
    if name in ("data", "costs") and value:
        return redact_path(value)
    if name == "backbones":
        return tuple(map(redact_backbone, value))
    if name == "recipe":
        return tuple(
            f"backbone={redact_backbone(part[9:])}" if part.startswith("backbone=") else part for part in value
        )
    return value
