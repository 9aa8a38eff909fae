"""Values as YAML, for files that others read: in their own order, in UTF-8, each text on one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def format_yaml(value: Mapping[str, Any]) -> str:
    """A value of plain texts, numbers, lists and dicts in block form, ending in a line break."""
    from yaml import safe_dump

    return str(safe_dump(value, sort_keys=False, allow_unicode=True, width=math.inf))
