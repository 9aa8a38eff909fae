"""What `doctor` looks at; no framework is imported, no address is asked, no secret is shown.

Where a GPU's driver is here, a process of its own asks Keras' backend what it sees.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from headstart.backbones.downloads import mirror
from headstart.backbones.downloads.resumable import hide_credentials
from headstart.backbones.huggingface import hub_api
from headstart.core import provenance, settings
from headstart.core.errors import SetupError, format_nearest
from headstart.core.extras import format_install_command
from headstart.core.storage.files import count_free_bytes
from headstart.networks import devices

_ASK_S = 120.0
_ASK_GPUS = "from headstart.networks import devices; print(devices.format_gpus())"


def check_machine() -> dict[str, Any]:
    """All findings as plain JSON; `missing` holds what is needed and not there, with what to do."""
    needed, extras = read_requirements()
    packages = {name: _format_state(name, minimum) for name, minimum in needed.items()}
    cache, unwritable = check_cache()
    openvino = provenance.find_version("openvino")
    without = "Keras, since OpenVINO is not installed; predict needs OpenVINO"
    missing = [
        {"what": f"{name}: {state}", "fix": f'python -m pip install "{name}>={needed[name]}"'}
        for name, state in packages.items()
        if not state[0].isdigit() or "needs" in state
    ]
    return {
        "machine": provenance.describe_machine() | {"threads": str(settings.count_threads())},
        "packages": {"headstart": provenance.find_version("headstart") or "not installed", **packages},
        "extras": {name: _format_extra(name, parts) for name, parts in extras.items()},
        "engine": {"inference": f"OpenVINO {openvino}" if openvino else without, "training": describe_training()},
        "gpu": describe_gpus(),
        "cache": cache,
        "settings": list_variables(),
        "weights": list_weights(),
        "missing": missing + unwritable + check_mirror(),
    }


def read_requirements() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Needed package -> least version, and extra -> its packages, as this installation declares them."""
    needed: dict[str, str] = {}
    extras: dict[str, list[str]] = {}
    for text in metadata.requires("headstart") or ():
        match = re.match(r"([\w.-]+)[^;>]*(?:>=([\d.]+))?[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?", text)
        if match and match[3]:
            extras.setdefault(match[3], []).append(match[1])
        elif match:
            needed[match[1]] = match[2] or "0"
    return needed, extras


def _format_state(name: str, minimum: str) -> str:
    version = provenance.find_version(name)
    if version is None:
        return "not installed"
    return version if _version_numbers(version) >= _version_numbers(minimum) else f"{version}, needs {minimum} or newer"


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _format_extra(name: str, packages: list[str]) -> str:
    versions = {package: provenance.find_version(package) for package in packages}
    if None in versions.values():
        return f"not installed (optional): {format_install_command(name)}"
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def describe_training() -> str:
    """Keras' backend as it would be chosen: the variable, Keras' own file, else TensorFlow."""
    keras = provenance.find_version("keras")
    if not keras:
        return f"none, which predict and serve do not need: {format_install_command('fit')}"
    name = os.environ.get("KERAS_BACKEND")
    if not name:
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        with contextlib.suppress(ValueError, OSError, AttributeError):
            name = json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
    name = name or "tensorflow"
    return f"Keras {keras} on {name} {provenance.find_version(name) or '(not installed)'}"


def describe_gpus() -> dict[str, str]:
    """Driver, and the GPUs that Keras' backend can use with the arithmetic they train in, or why there are none."""
    driver = devices.find_driver()
    if not driver:
        visible = devices.list_gpus()
        return {"driver": "none", "not used": visible.reason}
    try:
        answer = subprocess.run([sys.executable, "-c", _ASK_GPUS], capture_output=True, timeout=_ASK_S, check=True)
        return {"driver": driver, **json.loads(answer.stdout)}
    except (OSError, ValueError, subprocess.SubprocessError) as err:
        return {"driver": driver, "not used": f"Keras' backend could not be asked: {type(err).__name__}"}


def check_cache() -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The cache's folder, bytes and free space, and what stands in the way of writing to it."""
    folder = settings.cache_folder()
    facts = {"folder": str(folder), "bytes": 0, "free_bytes": 0}
    fix = "set HEADSTART_CACHE to another folder"
    try:
        nearest_there = next(path for path in (folder, *folder.parents) if path.exists())
        facts["free_bytes"] = count_free_bytes(folder)
        facts["bytes"] = _count_bytes(str(folder)) if folder.is_dir() else 0
    except OSError as err:
        return facts, [{"what": f"the cache `{folder}` cannot be read: {err.strerror}", "fix": fix}]
    if nearest_there.is_dir() and os.access(nearest_there, os.W_OK):
        return facts, []
    return facts, [{"what": f"the cache `{folder}` cannot be written", "fix": fix}]


def check_mirror() -> list[dict[str, str]]:
    """A mirror that can give nothing: a folder that is not there, or an address of a kind that nothing here reads."""
    try:
        mirror.require_readable("")
    except SetupError as err:
        return [{"what": err.what, "fix": err.hint or ""}]
    why = mirror.explain_absent_folder()
    return [{"what": why, "fix": "make it, name another, or unset HEADSTART_WEIGHTS_MIRROR"}] if why else []


def _count_bytes(folder: str) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _count_bytes(entry.path)
            elif entry.is_file(follow_symlinks=False):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def list_variables() -> dict[str, str]:
    """Every setting and the hub's own: its value, or what holds without it; unknown ones by name, passwords never."""
    settings_by_name = {setting.name: setting for setting in settings.SETTINGS}
    values = {
        name: hide_credentials(settings.read_setting(name) or "") or f"{setting.default} (not set)"
        for name, setting in settings_by_name.items()
    }
    values["HF_ENDPOINT"] = hub_api.format_hub_address() + ("" if os.environ.get("HF_ENDPOINT") else " (not set)")
    for name in sorted(os.environ):
        if name.startswith("HEADSTART_") and name not in settings_by_name:
            values[name] = f"unknown, ignored; {format_nearest(name, settings_by_name)}".rstrip("; ")
    return values


def list_weights() -> dict[str, bool]:
    """Backbone -> whether its weights are here."""
    from headstart.backbones import loading
    from headstart.core.storage.cache import Store

    store = Store(settings.cache_folder())
    try:
        backbones = map(loading.find_backbone, loading.list_backbones())
        return {backbone.name: bool(backbone.source.available(backbone.preset, store)) for backbone in backbones}
    except PermissionError:  # told of the cache
        return {}
