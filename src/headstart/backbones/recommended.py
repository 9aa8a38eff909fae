"""The short list of public backbones that `auto` may fetch: one table, `recommended.toml`, with its sources."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Why a backbone is on the list.

    Attributes:
        name: `source:preset`.
        kind: What it is, in a few words.
        transfer: What was published of it on other pictures than those it learnt from, and `source` where.
        spec: What is known of it before it is here, where its source has no table of that: `side` px of its pictures,
            `params`, `flops`, `depths` with their widths, `prior` and `prior_source`.
    """

    name: str
    kind: str
    transfer: str
    source: str
    spec: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def list_recommendations() -> Mapping[str, Recommendation]:
    """Every recommendation by the backbone's name, in the order of the table."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return {row["name"]: Recommendation(**row) for row in tomllib.load(file)["backbone"]}
