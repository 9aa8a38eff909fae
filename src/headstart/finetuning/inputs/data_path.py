"""Which way pictures take into a network whose lower trunk is frozen: fewer operations win, if the disk has room."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from headstart.core.console import format_bytes, format_duration
from headstart.core.recipe import Recipe
from headstart.images.decoded_cache import SPARE
from headstart.networks.flops import PASS_FLOPS_PER_S

VIEWS = 4  # augmented views that are kept of a picture when the recipe names no number


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPath:
    """A way into the network: `cached`, `cached views` or `full path`; `flops` of the frozen part, all trainings."""

    kind: str
    views: int
    bytes: int
    flops: float
    why: str


def plan_data_path(
    recipe: Recipe, *, n: int, trainings: int, lower_flops: float, view_bytes: int, free_bytes: int
) -> DataPath:
    """Choose by operations and disk.

    `trainings` (folds times trials) see `n` pictures; `lower_flops` and `view_bytes` are of one picture.
    """
    views = (recipe.augmentation.views or VIEWS) if recipe.augmentation.augment else 0
    cached = DataPath(
        kind="cached views" if views else "cached",
        views=views,
        bytes=(1 + views) * n * view_bytes,
        flops=(1 + views) * n * lower_flops,
        why="",
    )
    full_flops = float(recipe.epochs * trainings * n * lower_flops)
    full = DataPath(kind="full path", views=0, bytes=0, flops=full_flops, why="")
    fits = cached.bytes + SPARE <= free_bytes
    forced = bool(recipe.augmentation.augment and recipe.augmentation.views)  # the recipe says how many views
    chosen = cached if fits and (forced or not views or cached.flops <= full.flops) else full
    each = f"in {1 + cached.views} views each " if cached.views else ""
    keeping = f"keeping {n:,} pictures {each}takes {format_bytes(cached.bytes)} and {_format_flops(cached)}"
    why = f"{keeping} of the frozen part; sending them through it each time takes {_format_flops(full)}"
    if not fits:
        free = f"{format_bytes(free_bytes)} of disk are free"
        why = f"{keeping}, and {free}: pictures go through the frozen part each time"
    return dataclasses.replace(chosen, why=f"{chosen.kind}: {why}")


def _format_flops(path: DataPath) -> str:
    return f"{path.flops / 1e9:,.0f} GFLOP (about {format_duration(path.flops / PASS_FLOPS_PER_S)})"
