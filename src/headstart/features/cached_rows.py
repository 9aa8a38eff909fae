"""Which vectors of a data set lie in the cache already, told by their keys alone: no vector is read for it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.storage.cache import Store
from headstart.core.storage.row_cache import RowStore, parse_keys
from headstart.core.types import Dataset, EmbedKey
from headstart.features.embeddings import cache_address
from headstart.networks import openvino_engine


def make_embed_key(backbone: ResolvedBackbone, *, precision: str = "f32", calibration: str = "") -> EmbedKey:
    """All that a backbone's vectors depend on besides the pictures.

    `calibration` is the digest of the pictures that an int8 trunk is calibrated on.
    """
    return EmbedKey(
        backbone=backbone.name,
        revision=backbone.spec.revision,
        input=backbone.spec.input,
        depths=backbone.spec.depths,
        precision=precision,
        engine=openvino_engine.engine_name(),
        calibration=calibration,
    )


def count_missing_rows(
    data: Dataset, backbones: Iterable[str], store: Store, rows: np.ndarray | None = None
) -> dict[str, int]:
    """Pictures, by default all, that must still go through each backbone in float32; equal bytes count once."""
    digests = data.digests if rows is None else [data.digests[row] for row in rows.tolist()]
    keys = parse_keys(list(dict.fromkeys(digests)))
    counts: dict[str, int] = {}
    for name in backbones:
        key = make_embed_key(loading.find_backbone(name))
        cache = RowStore(store.root / cache_address(key), {depth.name: depth.dim for depth in key.depths})
        counts[name] = cache.count_missing(keys)
    return counts
