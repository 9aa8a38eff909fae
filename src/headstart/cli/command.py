"""The protocol of a command of the command line."""

from __future__ import annotations

from typing import Any, Protocol


class Command(Protocol):
    """A file in `headstart.cli`: its docstring's first line is its help."""

    name: str
    interruption_note: str  # what Ctrl-C leaves behind, as the end of a sentence

    def configure(self, parser: Any) -> None:
        """Add the command's options."""

    def __call__(self, args: Any) -> int:
        """Run and return the exit code."""
