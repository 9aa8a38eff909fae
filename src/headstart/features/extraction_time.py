"""What it will take to pass the pictures through the candidates: by measured paces, else by counted operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.settings import count_threads

if TYPE_CHECKING:
    import numpy as np

    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.job import Job
    from headstart.core.run.context import Context
    from headstart.core.storage.cache import Store
    from headstart.core.types import BackboneSpec, Dataset

GFLOP_PER_S = 90.0  # a core with AVX-512, float32, OpenVINO; `benchmarks/embed.py` prints this machine's
DECODE_PER_S = 800.0  # pictures a core and second, JPEG of 250 px


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will take, and what that rests on."""

    seconds: float
    bytes: int
    assumptions: tuple[str, ...]


def count_missing_rows(
    data: Dataset, backbones: Iterable[str], store: Store, rows: np.ndarray | None = None
) -> dict[str, int]:
    """Runs of each backbone that pictures, by default all, still need in float32; equal bytes count once."""
    from headstart.backbones import loading
    from headstart.core.storage.row_cache import RowStore, parse_keys
    from headstart.features.feature_cache import cache_address, make_embed_key

    digests = data.digests if rows is None else [data.digests[row] for row in rows.tolist()]
    keys = parse_keys(list(dict.fromkeys(digests)))
    counts: dict[str, int] = {}
    for name in backbones:
        backbone = loading.find_backbone(name)
        key = make_embed_key(backbone, data.adapt_input(backbone.spec.input))
        cache = RowStore(store.root / cache_address(key), {depth.name: depth.dim for depth in key.depths})
        counts[name] = cache.count_missing(keys) * key.input.views
    return counts


def estimate_extraction(passes: Mapping[str, int], data: Dataset, ctx: Context) -> Estimate:
    """Seconds and download for passing so many pictures through each candidate, and what that rests on."""
    from headstart.backbones import loading

    backbones = [loading.find_backbone(name) for name in passes]
    missing = [b for b in backbones if not b.source.available(b.preset, ctx.store)]
    return Estimate(
        seconds=estimate_pass_seconds(passes, ctx.store),
        bytes=sum(backbone.spec.download_bytes for backbone in missing),
        assumptions=(
            _format_basis(backbones, ctx.store),
            format_passes(passes, len(set(data.digests))),
            f"{len(missing)} of {len(backbones)} backbones must be fetched first",
            "the random-init control, which sees a sixth of the pictures, 96 to 256, is not counted",
            *_list_uncounted(ctx.job),
        ),
    )


def format_passes(passes: Mapping[str, int], count: int, kind: str = "pictures") -> str:
    """How many of `count` different pictures go through each candidate, and why not all."""
    counts = ", ".join(f"{passed:,} through {name}" for name, passed in passes.items())
    return f"of {count:,} {kind} pass {counts}; of others vectors are in the cache, or they are not looked at"


def _list_uncounted(job: Job) -> list[str]:
    if job.strategy == "probe":
        return []
    uncounted = "then fine-tuning by the recipe on all folds, as long as it takes: the budget has no say in it"
    return [uncounted if job.recipe else f"then fine-tuning, for what is left of `{job.budget}`"]


def _format_basis(backbones: Sequence[ResolvedBackbone], store: Store) -> str:
    from headstart.backbones import latency

    measured = len(latency.read_images_per_s([backbone.spec for backbone in backbones], store))
    guess = f"{GFLOP_PER_S:.0f} GFLOP/s"
    decoding = f"{DECODE_PER_S:.0f} decoded pictures a second each"
    if not measured:
        return f"{count_threads()} cores at {guess} and {decoding}"
    basis = f"{count_threads()} cores, the pace of {measured} of {len(backbones)} backbones as measured on this machine"
    return f"{basis}{f', the others at {guess} a core' if measured < len(backbones) else ''}, {decoding}"


def estimate_pass_seconds(passes: Mapping[str, float], store: Store) -> float:
    """Of passing so many pictures through each backbone, see `estimate_backbone_seconds`."""
    from headstart.backbones import loading

    return sum(estimate_backbone_seconds(loading.find_backbone(name).spec, n, store) for name, n in passes.items())


def estimate_backbone_seconds(spec: BackboneSpec, count: float, store: Store) -> float:
    """Of passing so many pictures: by the measured pace, or by operations where there is none."""
    from headstart.backbones import latency

    pace = latency.read_images_per_s([spec], store).get(spec.name)
    each_s = 1 / pace if pace else spec.flops / (GFLOP_PER_S * 1e9 * count_threads())
    return (each_s + 1 / (DECODE_PER_S * count_threads())) * count
