"""Dicts, lists, texts and numbers as YAML, for files that others read; JSON's texts and numbers are YAML too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def yaml(value: Mapping[str, Any] | list[Any], depth: int = 0) -> str:
    """A value in block form, ending in a line break.

    Args:
        value: With keys that need no quotes; no empty dict or list inside.
        depth: Of what it is part of.
    """
    indent, lines = "  " * depth, []
    pairs = value.items() if isinstance(value, Mapping) else ((None, one) for one in value)
    for key, one in pairs:
        head = f"{indent}-" if key is None else f"{indent}{key}:"
        if isinstance(one, Mapping) and key is None:
            lines.append(f"{head} {yaml(one, depth + 1)[len(indent) + 2 :]}")
        elif isinstance(one, Mapping | list):
            lines.append(f"{head}\n{yaml(one, depth + 1)}")
        else:
            lines.append(f"{head} {_scalar(one)}\n")
    return "".join(lines)


def _scalar(one: Any) -> str:
    text = json.dumps(one, ensure_ascii=False)
    if isinstance(one, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # a number in YAML 1.1 too
    return text
