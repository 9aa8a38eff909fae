"""The best recipes of earlier runs on the same pictures, kept in the cache: where the next search begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from headstart.core import recipe as recipes
from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json

KEPT = 3


def _file(store: Store, digest: str) -> Path:
    return store.root / "recipes" / f"{digest}.json"


def remembered(store: Store, digest: str) -> list[dict[str, Any]]:
    """Recipes as plain values, the latest first; what cannot be read, or has fields of another version, is passed over.

    Args:
        store: The cache.
        digest: Of the data set.
    """
    try:
        found = [dict(one) for one in read_json(_file(store, digest))]
    except (OSError, ValueError, TypeError):
        return []
    return [one for one in found if _readable(one)][:KEPT]


def _readable(one: dict[str, Any]) -> bool:
    try:
        recipes.make(one)
    except UsageError:
        return False
    return True


def remember(store: Store, digest: str, recipe: Recipe) -> None:
    """Put a recipe in front of those kept for these pictures."""
    new = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(recipe).items()}
    kept = [one for one in remembered(store, digest) if one != new]
    path = _file(store, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [new, *kept][:KEPT])
