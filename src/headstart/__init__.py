"""headstart: transfer learning that a person can trust. Public names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
_PUBLIC = {
    "fit": "headstart.api.commands",
    "audit": "headstart.api.commands",
    "embed": "headstart.api.commands",
    "rank": "headstart.api.commands",
    "evaluate": "headstart.api.commands",
    "report": "headstart.api.commands",
    "demo": "headstart.api.commands",
    "zeroshot": "headstart.api.zeroshot",
    "export": "headstart.api.actions",
    "drift": "headstart.api.actions",
    "explain": "headstart.api.actions",
    "suggest": "headstart.api.actions",
    "predict": "headstart.api.actions",
    "compare": "headstart.api.actions",
    "load": "headstart.api.run",
    "Run": "headstart.api.run",
    "Job": "headstart.core.job",
    "Recipe": "headstart.core.recipe",
    "HeadstartError": "headstart.core.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
