"""The suggested pictures on one page that needs no other file. The standard library and Pillow only."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from headstart.core.storage.files import format_printable, write_text
from headstart.core.types import PRESENT, PixelRanges, Prediction
from headstart.core.types.prediction import format_labels
from headstart.images.thumbnails import make_jpeg_thumbnail
from headstart.labelling.suggestions import Suggestion

SIDE_PX, QUALITY = 192, 80
LIKELIEST = 2  # classes that are named
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
ol { list-style: none; padding: 0; display: grid; gap: 1rem; }
ol { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
li { overflow-wrap: anywhere; font-size: 0.85rem; } img { display: block; max-width: 100%; height: auto; }
h1 { font-size: 1.5rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_contact_sheet(suggestions: Sequence[Suggestion], path: Path, ranges: PixelRanges) -> None:
    """Each picture with its name, what the model takes it for, and how unsure it is."""
    items = "".join(_format_item(number, each, ranges) for number, each in enumerate(suggestions, 1))
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>Label these next</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Label these {len(suggestions):,} next</h1>"
        f"<p>The model is least sure of them, and no two are alike.</p><ol>{items}</ol></main></body></html>\n",
    )


def _format_item(number: int, suggestion: Suggestion, ranges: PixelRanges) -> str:
    prediction = suggestion.prediction
    jpeg = make_jpeg_thumbnail(prediction.uri, SIDE_PX, QUALITY, ranges)
    name = escape(format_printable(Path(prediction.uri).name))
    image = f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}" alt="{name}">' if jpeg else ""
    return f"<li>{image}{number}. {name}<br>{escape(describe_answer(prediction))}</li>"


def describe_answer(prediction: Prediction) -> str:
    """`cat 0.51, dog 0.43`: the likeliest classes; the number; or the labels, and those that are least sure."""
    if prediction.number is not None:
        return f"{prediction.number:.4g}"
    p = prediction.probabilities
    order = sorted(p, key=lambda name: -p[name] if prediction.labels is None else abs(p[name] - PRESENT))
    likeliest = ", ".join(f"{format_printable(name)} {p[name]:.2f}" for name in order[:LIKELIEST])
    if prediction.labels is None:
        return likeliest
    return f"{format_printable(format_labels(prediction.labels))}; least sure: {likeliest}"
