"""Settings of a job that say how pictures are read: a window of values, a slice or frame, groups by path."""

from __future__ import annotations

import re

from headstart.core.errors import UsageError

WINDOWS = {  # center and width in Hounsfield units, as radiologists commonly use them
    "brain": (40, 80),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "abdomen": (50, 400),
    "liver": (30, 150),
    "bone": (400, 1800),
}
PLANES = ("sagittal", "coronal", "axial")  # in the order of the axes that stand upright on them: right, front, up
BY_NAME = "name:"  # before the regular expression of a group
_WHERE = ("first", "middle", "last")


def parse_window(text: str) -> str:
    """`CENTER,WIDTH` of a window as it is asked for: a preset's name, two numbers, `none`, or empty for the file's own.

    Raises:
        UsageError: It is none of these.
    """
    if text in ("", "none"):
        return text
    parts = WINDOWS[text] if text in WINDOWS else text.split(",")
    try:
        center, width = map(float, parts)
        if not 0 < width < 1e9 or not abs(center) < 1e9:
            raise ValueError
    except ValueError:
        hint = f"write CENTER,WIDTH, none or one of {', '.join(WINDOWS)}"
        raise UsageError(f"`{text}` is no window", where="--window", hint=hint) from None
    return f"{center:g},{width:g}"


def require_slice(text: str) -> None:
    """Refuse what is no `[PLANE:]PLACE`; empty is `axial:middle`.

    Raises:
        UsageError: There is no such plane, or the place is no word and no number from 1.
    """
    plane, _, place = (text or "middle").rpartition(":")
    if (plane or "axial") not in PLANES or not (place in _WHERE or (place.isdecimal() and int(place) > 0)):
        hint = f"write {', '.join(_WHERE)} or a number from 1, after axial:, coronal: or sagittal: for NIfTI"
        raise UsageError(f"`{text}` is no slice", where="--slice", hint=hint)


def parse_group_pattern(text: str) -> re.Pattern[str] | None:
    """The regular expression of `name:REGEX`, whose first bracket is a path's group; None for the name of a column.

    Raises:
        UsageError: It is no regular expression, or has no bracket.
    """
    if not text.startswith(BY_NAME):
        return None
    hint = "write name:REGEX with a bracket around what pictures of one group share, such as name:(patient[0-9]+)_"
    try:
        pattern = re.compile(text.removeprefix(BY_NAME))
    except re.error as err:
        raise UsageError(f"`{text}` is no regular expression: {err}", where="--group", hint=hint) from None
    if not pattern.groups:
        raise UsageError(f"`{text}` has no bracket", where="--group", hint=hint)
    return pattern


PARSERS = {"window": parse_window, "slice": require_slice, "group": parse_group_pattern}
