"""From a matplotlib figure to a piece of a page, coloured by the page.

matplotlib draws with stand-in colours that become CSS variables (`--chart-ink`, …), so that one picture serves light
and dark; words stay text in the page's own font; nothing points outside. The same data gives the same bytes: no
date, no random names. Only figure objects are used, never pyplot, and no setting of the process is changed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, _DPI = 480, 300, 72  # px at 72 dots an inch, so that a point is a pixel
BOX = (0.135, 0.145, 0.85, 0.825)  # of the axes: left, bottom, width, height as parts of the picture
_ROLE_NAMES = ("ink", "muted", "grid", "accent", "second", "paper", *(f"class{number}" for number in range(8)))
ROLES = {role: f"#0{i:x}0{i:x}0{i:x}" for i, role in enumerate(_ROLE_NAMES, 1)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11.0,
    "grid.color": ROLES["grid"],
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), ROLES["ink"]),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), ROLES["muted"]),
    **dict.fromkeys(("axes.linewidth", "grid.linewidth"), 0.8),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.formatter.use_mathtext"), False),
    **dict.fromkeys(("svg.image_inline", "axes.grid", "axes.axisbelow", "axes.unicode_minus"), True),
}


def draw_svg(draw: Callable[[Axes], None], name: str, title: str) -> str:
    """An `<svg>` element; `draw` puts the data into the axes in the colours of `ROLES`."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_axes(BOX)
        axes.patch.set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return _for_page(out.getvalue(), name, title)


def _for_page(text: str, name: str, title: str) -> str:
    """Only the `<svg>` element, its names unique on the page, its colours variables, no address of anything outside."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href=", "href=")
    for role, stand_in in ROLES.items():
        text = text.replace(stand_in, f"var(--chart-{role})")
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would speak for the whole page
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">'
    return re.sub(r"<svg[^>]*>", lambda _: f"{head}<title>{escape(title)}</title>", text, count=1).strip()
