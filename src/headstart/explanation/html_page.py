"""Explanations side by side: one page that needs nothing but the pictures beside it. The standard library only."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from headstart.core.errors import UsageError
from headstart.core.storage.files import format_printable, list_visible_names, write_text
from headstart.explanation.example_store import Neighbour
from headstart.explanation.explain_image import NAMES, Explanation

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
article { display: flex; flex-wrap: wrap; gap: 1.2rem; padding: 1.2rem 0; border-top: 1px solid #8886; }
article > img { width: 18rem; max-width: 100%; height: auto; align-self: flex-start; }
article > div { flex: 1 1 20rem; min-width: 0; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0; } p { margin: 0.3rem 0; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.7rem; padding: 0; margin: 0.3rem 0; }
li { width: 6.4rem; font-size: 0.75rem; line-height: 1.35; } li img { display: block; max-width: 6rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data: file:"
_GENERATOR = '<meta name="generator" content="headstart explain">'  # tells our folders from others
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">{_GENERATOR}
<title>Explained</title><style>{_STYLE}</style></head><body><main><h1>Why the model answers so</h1>
<p>Warm is what speaks for the class, relative to the strongest place of the picture; dark is what the model does not
see.</p>
"""


def require_own_folder(folder: Path) -> None:
    """Refuse a folder with files that no explanation wrote.

    Raises:
        UsageError: It is not empty, and its `index.html` is not of an `ExplanationPage`.
    """
    page = folder / "index.html"
    if list_visible_names(folder) and not (
        page.is_file() and _GENERATOR.encode() in page.read_bytes()[: len(_HEAD) * 2]
    ):
        message = f"the folder `{folder}` is not empty, and no explanation made it"
        raise UsageError(message, where="--out", hint="name a new or an empty folder with `--out`")


class ExplanationPage:
    """Collects explanations."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def add_explanation(self, explanation: Explanation, file: str) -> None:
        """Add an explanation whose overlay is the file beside the page."""
        prediction = explanation.prediction
        name, why = _escape_text(explanation.class_name), _escape_text(explanation.why)
        chance = prediction.probabilities.get(explanation.class_name, 0.0)
        lines = [f"<h2>{_escape_text(prediction.answer)}</h2>"]
        lines += [f"<p>{_escape_text(text)}</p>" for text in (explanation.uri, *prediction.reasons)]
        lines.append(f"<p>Map of {name} ({chance:.3f}), by {NAMES[explanation.method]}: {why}.</p>")
        if explanation.compared:
            lines.append(f"<p>{_escape_text(explanation.compared)}</p>")
        if explanation.neighbours:
            lines.append(f"<p>It looks like these:</p>{_format_pictures(explanation.neighbours, likeness=True)}")
        if explanation.prototypes:
            lines.append(f"<p>Pictures that stand for {name}:</p>{_format_pictures(explanation.prototypes)}")
        alt = f"Heat map of {explanation.class_name} on {Path(explanation.uri).name}"
        image = f'<img src="{quote(file)}" alt="{_escape_text(alt)}">'
        self._parts.append(f"<article>{image}<div>{''.join(lines)}</div></article>\n")

    def write_page(self, path: Path) -> None:
        """Write the page."""
        write_text(path, f"{_HEAD}{''.join(self._parts)}</main></body></html>\n")


def _format_pictures(shown: Iterable[Neighbour], *, likeness: bool = False) -> str:
    items = []
    for neighbour in shown:
        jpeg = base64.b64encode(neighbour.thumbnail).decode("ascii") if neighbour.thumbnail else ""
        image = f'<img src="data:image/jpeg;base64,{jpeg}" alt="">' if jpeg else ""
        value = f", {neighbour.similarity:.2f}" if likeness else ""
        items.append(
            f"<li>{image}{_escape_text(neighbour.class_name)}{value}<br>{_escape_text(Path(neighbour.uri).name)}</li>"
        )
    return f"<ul>{''.join(items)}</ul>"


def _escape_text(value: str) -> str:
    return escape(format_printable(value))
