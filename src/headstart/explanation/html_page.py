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


def require_free(folder: Path) -> None:
    """Refuse a folder with files that no explanation wrote.

    Raises:
        UsageError: It is not empty, and its `index.html` is not of a `Page`.
    """
    page = folder / "index.html"
    if list_visible_names(folder) and not (
        page.is_file() and _GENERATOR.encode() in page.read_bytes()[: len(_HEAD) * 2]
    ):
        told = f"the folder `{folder}` is not empty, and no explanation made it"
        raise UsageError(told, where="--out", hint="name a new or an empty folder with `--out`")


class Page:
    """Collects explanations."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def add(self, one: Explanation, file: str) -> None:
        """Add an explanation whose overlay is the file beside the page."""
        told = one.prediction
        chance = told.probabilities.get(one.class_name, 0.0)
        lines = [f"<h2>{_text(told.answer)}</h2><p>{_text(one.uri)}</p>"]
        lines += [f"<p>{_text(reason)}</p>" for reason in told.reasons]
        lines.append(f"<p>Map of {_text(one.class_name)} ({chance:.3f}), by {NAMES[one.method]}: {_text(one.why)}.</p>")
        if one.compared:
            lines.append(f"<p>{_text(one.compared)}</p>")
        if one.neighbours:
            lines.append(f"<p>It looks like these:</p>{_pictures(one.neighbours, likeness=True)}")
        if one.prototypes:
            lines.append(f"<p>Pictures that stand for {_text(one.class_name)}:</p>{_pictures(one.prototypes)}")
        alt = f"Heat map of {one.class_name} on {Path(one.uri).name}"
        image = f'<img src="{quote(file)}" alt="{_text(alt)}">'
        self._parts.append(f"<article>{image}<div>{''.join(lines)}</div></article>\n")

    def write(self, path: Path) -> None:
        """Write the page."""
        write_text(path, f"{_HEAD}{''.join(self._parts)}</main></body></html>\n")


def _pictures(shown: Iterable[Neighbour], *, likeness: bool = False) -> str:
    found = []
    for one in shown:
        jpeg = base64.b64encode(one.thumbnail).decode("ascii") if one.thumbnail else ""
        image = f'<img src="data:image/jpeg;base64,{jpeg}" alt="">' if jpeg else ""
        value = f", {one.similarity:.2f}" if likeness else ""
        found.append(f"<li>{image}{_text(one.class_name)}{value}<br>{_text(Path(one.uri).name)}</li>")
    return f"<ul>{''.join(found)}</ul>"


def _text(value: str) -> str:
    return escape(format_printable(value))
