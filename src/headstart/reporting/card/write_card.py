"""Card: `README.md` in the run folder, a model card in Hugging Face's format, metadata first.

It is written with every fit from what the folder holds, and names no path of the machine. Two runs of the same job
have the same card, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

from headstart.core.run.context import Context
from headstart.core.storage.files import write_text
from headstart.core.storage.serialization import format_yaml
from headstart.reporting.card.card_data import CardInput, read_card_input
from headstart.reporting.card.card_sections import format_card_body
from headstart.reporting.card.hub_metadata import make_metadata

NAME = "README.md"


def write_card(findings: CardInput | None = None, *, ctx: Context) -> Path:
    """Write `<run>/README.md` from the findings, or from what the run folder holds.

    Raises:
        DataError: The run has not come to its saved model.
        SetupError: The disk refuses.
    """
    path = ctx.run.path / NAME
    write_text(path, format_card(findings or read_card_input(ctx)))
    ctx.console.print_line("card", path.as_posix())
    return path


def format_card(card: CardInput) -> str:
    """The card as text."""
    return f"---\n{format_yaml(make_metadata(card))}---\n\n{format_card_body(card)}"
