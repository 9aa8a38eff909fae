"""Activations of a frozen lower trunk, computed once by OpenVINO and kept for every training that follows.

The map at the cut lies as float16 in the row cache under the picture's digest, beside the pooled features of every
depth on the way, float32; an augmented view is a row of its own. Folds, trials and later runs share them, mapped from
files: 20,000 maps of 44 kB take no memory of this process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import format_printable
from headstart.core.storage.hashing import canonical_json, compute_digest
from headstart.core.storage.row_cache import RowStore, parse_keys
from headstart.core.types import Dataset
from headstart.finetuning.inputs import augmentation
from headstart.finetuning.inputs.augmentation import Policy
from headstart.images import preprocessing
from headstart.images.decoded_cache import require_room

PARITY = 8  # pictures on which a new trunk is compared with Keras
MAP = "map"
_BLOCK = 64  # pictures whose maps go to the cache together
_HALF_MOST = 65504.0  # float16
_ROOM = 8  # times the largest value of the sample that float16 must hold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowerTrunk:
    """The trunk up to a cut; it gives `map` where there is one, then each depth up to it, pooled."""

    engine: Any
    outputs: tuple[str, ...]
    turn: Any = field(default_factory=Lock, repr=False)

    def run_batches(
        self, batches: Iterator[tuple[Any, np.ndarray]], low: Sequence[str] = ()
    ) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
        """The key of each batch (b, H, W, 3), and float32 `map` (b, h, w, c) and, with `low`, `pooled` (b, D)."""
        for batch in batches:
            with self.turn:  # to the end of the batch: while a caller rests, nothing of it is in the engine
                ((key, outputs),) = self.engine.run(iter([batch]))
            yield key, _network_inputs(dict(zip(self.outputs, outputs, strict=True)), low)


def _network_inputs(outputs: Mapping[str, np.ndarray], low: Sequence[str]) -> dict[str, np.ndarray]:
    inputs = {MAP: outputs[MAP]} if MAP in outputs else {}
    if low:
        inputs["pooled"] = np.concatenate([outputs[name] for name in low], axis=1)
    return inputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CachedMaps:
    """Kept activations of M pictures in V views; view 0 is the picture itself."""

    cut: str  # the depth; empty when only pooled features are kept
    shape: tuple[int, ...]  # (h, w, c) of a map; empty without one
    at: np.ndarray  # (V, M) int64 rows of `columns`
    columns: Mapping[str, np.ndarray]  # `map` -> (R, h * w * c) float16 or 32; depth -> (R, D) float32

    def __len__(self) -> int:
        return int(self.at.shape[1])

    @property
    def views(self) -> int:
        """V."""
        return len(self.at)

    def read_inputs(self, positions: np.ndarray, views: np.ndarray, low: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """`map` (b, h, w, c) float32 where maps are kept, `pooled` (b, D) float32 where `low` names depths."""
        rows = self.at[views, positions]
        outputs = {name: self.columns[name][rows] for name in low}
        if self.shape:
            outputs[MAP] = self.columns[MAP][rows].astype(np.float32).reshape(-1, *self.shape)
        return _network_inputs(outputs, low)

    def load_into_memory(self) -> CachedMaps:
        """The rows of these pictures alone, without files."""
        rows, places = np.unique(self.at, return_inverse=True)
        columns = {name: column[rows] for name, column in self.columns.items()}
        return CachedMaps(cut=self.cut, shape=self.shape, at=places.reshape(self.at.shape), columns=columns)


def cache_maps(
    backbone: ResolvedBackbone,
    cut: str,
    data: Dataset,
    rows: np.ndarray,
    *,
    store: Store,
    console: Console,
    views: int = 0,
    policy: Policy | None = None,
    seed: int = 0,
) -> CachedMaps:
    """Activations of pictures and of augmented views of them; what the cache does not hold is computed.

    Args:
        cut: Depth whose map is kept; empty keeps the pooled features of all depths and no map.
        rows: (M,) positions in `data.uris`.
        views: Augmented views of each picture besides the picture itself.
        seed: Of their draws; a view depends on it, its number and the picture's bytes alone.

    Raises:
        DataError: A picture changed since it was read.
        SetupError: The disk has no room, weights or an engine are missing, or a value is not finite.
    """
    rows = np.asarray(rows, np.int64)
    request = _MapRequest(data=data, rows=rows, views=views, policy=policy or Policy(), seed=seed)
    below = load_lower_trunk(backbone, cut, data, rows, store=store, console=console)
    cache, shape = _open_cache(backbone, cut, below, data, _sample_pictures(backbone, data, rows), store)
    missing = [cache.find_rows(keys) < 0 for keys in request.row_keys]
    if any(lacks.any() for lacks in missing):
        count = int(sum(lacks.sum() for lacks in missing))
        description = f"the activations of {len(rows):,} pictures in {1 + views} views at {cut or 'all depths'}"
        row_bytes = sum(width * cache.types[name].itemsize for name, width in cache.columns.items())
        require_room(cache.folder, count * row_bytes, description)
        with (
            console.show_progress("maps", count) as progress,
            ThreadPoolExecutor(1, thread_name_prefix="maps") as writer,
        ):
            last: Future[None] | None = None
            for keys, columns in _compute_missing(below, cache, backbone, request, missing):
                if last is not None:
                    last.result()  # one block is written while the next is computed
                last = writer.submit(cache.add_rows, keys, columns)
                progress.count_done(len(keys))
            if last is not None:
                last.result()
    at = np.stack([cache.find_rows(keys) for keys in request.row_keys])
    return CachedMaps(cut=cut, shape=shape, at=at, columns={name: cache.map_column(name) for name in cache.columns})


def load_lower_trunk(
    backbone: ResolvedBackbone, cut: str, data: Dataset, rows: np.ndarray, *, store: Store, console: Console
) -> LowerTrunk:
    """The trunk up to a cut (empty: all depths, no map), compared with Keras on eight rows at its first use."""
    pictures = _sample_pictures(backbone, data, rows)
    ready = loading.load_engine(backbone, store, console, pictures, threads=count_threads(), cut=cut)
    pooled = loading.cut_outputs(backbone.spec, cut)[1:] if cut else [depth.name for depth in backbone.spec.depths]
    return LowerTrunk(engine=ready, outputs=(MAP, *pooled) if cut else tuple(pooled))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _MapRequest:
    """Rows of a data set in some views."""

    data: Dataset
    rows: np.ndarray
    views: int
    policy: Policy
    seed: int

    @property
    def row_keys(self) -> list[np.ndarray]:
        """For each view the (M, 32) uint8 keys of its rows."""
        plain = [self.data.digests[row] for row in self.rows.tolist()]
        keys = [parse_keys(plain)]
        for view in range(1, 1 + self.views):
            how = canonical_json([augmentation.augmentation_revision(), self.policy, self.seed, view])
            keys.append(parse_keys([hashlib.sha256(f"{digest} {how}".encode()).hexdigest() for digest in plain]))
        return keys

    def draw_seeds(self, positions: np.ndarray, view: int) -> list[tuple[int, ...]]:
        """Of one view's draws: they depend on the pictures' bytes, not on their place."""
        digests = (self.data.digests[row] for row in self.rows[positions].tolist())
        return [(self.seed, view, int(content_digest[:16], 16)) for content_digest in digests]


def _open_cache(
    backbone: ResolvedBackbone, cut: str, below: LowerTrunk, data: Dataset, sample: np.ndarray, store: Store
) -> tuple[RowStore, tuple[int, ...]]:
    """The rows of a cut and the shape of a map; float16 unless the sample's values come near to its largest."""
    _, tried = next(iter(below.engine.run(iter([(None, sample)]))))
    outputs = dict(zip(below.outputs, tried, strict=True))
    shape = outputs[MAP].shape[1:] if cut else ()
    half = (MAP,) if cut and np.abs(outputs[MAP]).max() * _ROOM < _HALF_MOST else ()
    seen = {**loading.trunk_key(backbone), "input": data.adapt_input(backbone.spec.input)}
    address = compute_digest([seen, preprocessing.decoder_revision(), cut, half])
    widths = {name: math.prod(values.shape[1:]) for name, values in outputs.items()}
    return RowStore(store.root / "maps" / address, widths, half=half, report=store.report), shape


def _compute_missing(
    below: LowerTrunk, cache: RowStore, backbone: ResolvedBackbone, request: _MapRequest, missing: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    keys = request.row_keys
    for (view, positions), values in below.engine.run(_decode_missing_views(backbone, request, missing)):
        columns = dict(zip(below.outputs, (output.reshape(len(output), -1) for output in values), strict=True))
        _require_finite(columns, request, positions, backbone)
        if cache.types.get(MAP) == np.float16:
            np.clip(columns[MAP], -_HALF_MOST, _HALF_MOST, out=columns[MAP])  # what lies beyond becomes its edge
        yield keys[view][positions], columns


def _decode_missing_views(
    backbone: ResolvedBackbone, request: _MapRequest, missing: Sequence[np.ndarray]
) -> Iterator[tuple[tuple[int, np.ndarray], np.ndarray]]:
    """Each picture that lacks a view is decoded once; its missing views follow one another."""
    positions = np.flatnonzero(np.any(missing, axis=0))
    data = request.data
    decoded = preprocessing.decode_batches(
        data.root,
        data.uris,
        request.rows[positions],
        data.adapt_input(backbone.spec.input),
        batch=_BLOCK,
        threads=count_threads(),
        digests=data.digests,
    )

    def jobs() -> Iterator[tuple[Any, np.ndarray, Any]]:
        at = 0
        for part, pictures in decoded:
            block = positions[at : at + len(part)]
            at += len(part)
            for view, lacking in enumerate(missing):
                lacks = lacking[block]
                if lacks.any():
                    seeds = request.draw_seeds(block[lacks], view) if view else None
                    yield (view, block[lacks]), pictures[lacks], seeds

    return augmentation.augment_batches(jobs(), request.policy, threads=count_threads())


def _require_finite(
    columns: Mapping[str, np.ndarray], request: _MapRequest, positions: np.ndarray, backbone: ResolvedBackbone
) -> None:
    for values in columns.values():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            uri = request.data.uris[request.rows[positions[bad[0]]]]
            raise SetupError(
                f"`{backbone.name}` gives numbers that are not finite for `{format_printable(uri)}`",
                hint="leave this backbone out with --backbones, and report it",
            )


def _sample_pictures(backbone: ResolvedBackbone, data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Eight pictures from the whole range, repeated where there are fewer."""
    spread = np.resize(rows[np.linspace(0, len(rows) - 1, min(PARITY, len(rows))).astype(np.int64)], PARITY)
    spec = data.adapt_input(backbone.spec.input)
    batches = preprocessing.decode_batches(
        data.root, data.uris, spread, spec, batch=PARITY, threads=1, digests=data.digests
    )
    return next(batches)[1]
