"""What a result rests on: versions of what computed it, and the machine in words that name no person or place."""

from __future__ import annotations

import platform
from importlib import metadata

from headstart.core.settings import count_cores

ENGINES = ("openvino", "keras", "tensorflow", "jax", "torch")
LIBRARIES = ("headstart", "numpy", "pillow", "scikit-learn", "scipy", "safetensors", "matplotlib", "jinja2")


def find_version(package: str) -> str | None:
    """The installed version of a package, without importing it; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def list_versions(packages: tuple[str, ...] = (*LIBRARIES, *ENGINES)) -> dict[str, str]:
    """Package -> version of those that are installed."""
    return {package: version for package in packages if (version := find_version(package))}


def describe_machine() -> dict[str, str]:
    """System, processor architecture, cores of this process and Python: no host name, no path."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": str(count_cores()),
        "python": platform.python_version(),
    }
