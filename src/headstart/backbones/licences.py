"""Whether a licence lets anybody use, change and sell: an allow-list of SPDX identifiers, and no guesses.

A text that is no SPDX expression of listed names counts as not permissive: "see the model card" may hide anything.
"""

from __future__ import annotations

import re

PERMISSIVE = frozenset(
    name.lower()
    for name in (
        *("0BSD", "AFL-3.0", "Apache-1.1", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSL-1.0"),
        *("BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear"),
        *("CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"),
        *("ISC", "MIT", "MIT-0", "MS-PL", "NCSA", "PDDL-1.0", "PSF-2.0", "Python-2.0", "Unlicense", "UPL-1.0"),
        *("WTFPL", "X11", "Zlib"),
    )
)


def is_permissive(licence: str) -> bool:
    """Whether a licence allows commercial use and change without passing itself on to what is built with it.

    It is an SPDX identifier or expression, in any case (`MIT OR GPL-3.0-only`): of alternatives one must be permissive,
    of parts all. False for what is no SPDX expression, and for brackets within one. The terms of the training pictures
    are not in it.
    """
    expression = " ".join(licence.split())
    while re.fullmatch(r"\([^()]*\)", expression):
        expression = expression[1:-1].strip()
    choices = re.split(r" or ", expression, flags=re.I)
    return any(all(_is_listed(part) for part in re.split(r" and ", choice, flags=re.I)) for choice in choices)


def _is_listed(part: str) -> bool:
    """Whether one identifier is listed; an exception (`WITH …`) only ever allows more."""
    name, _, exception = part.strip().lower().partition(" with ")
    return name in PERMISSIVE and re.fullmatch(r"[a-z0-9.-]*", exception) is not None
