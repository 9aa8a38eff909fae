"""What a cloud that serves finished runs must be able to do.

One file of `remote/endpoints/` ends in `PLUGIN = …`. The container is an image with headstart as its entry point, which
answers by the cloud's own contract (`headstart.serving.hosting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headstart.core.errors import UsageError, format_nearest
from headstart.remote.target import TargetOption

if TYPE_CHECKING:
    from headstart.core.console import Console


class EndpointHost(Protocol):
    """A cloud that serves a finished run."""

    name: str
    extra: str  # of `core.extras.EXTRAS`
    options: tuple[TargetOption, ...]

    def deploy(self, run: Path, name: str, options: Mapping[str, str], console: Console) -> dict[str, str]:
        """Serve a run and wait until it answers; how to ask it. Where that fails, what was made is removed."""

    def remove(self, name: str, options: Mapping[str, str], console: Console) -> None:
        """Stop serving, and remove all that `deploy` made."""


def complete_options(
    options: Mapping[str, str], known: tuple[TargetOption, ...], *, required: bool = True
) -> dict[str, str]:
    """Options with their defaults.

    Raises:
        UsageError: One is not known; or, where that is asked for, a required one is missing.
    """
    names = [option.name for option in known]
    for name in options:
        if name not in names:
            hint = format_nearest(name, names) or f"known: {', '.join(names)}"
            raise UsageError(f"there is no option `{name}`", where="--on-option", hint=hint)
    missing = [option for option in known if option.required and not options.get(option.name)]
    if missing and required:
        hint = " ".join(f"--on-option {option.name}=…" for option in missing)
        raise UsageError(
            f"{', '.join(option.name for option in missing)} must be named", where="--on-option", hint=hint
        )
    return {option.name: options.get(option.name) or option.default for option in known}
