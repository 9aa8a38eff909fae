"""Pictures -> pooled features of one backbone at several levels, each picture once, cached by content.

A vector lies under the digest of the picture's bytes, in a folder named by everything else it depends on (`EmbedKey`).
Blocks are kept as they are done, so an interrupted pass goes on where it was. The run folder gets the key and a digest
of each level's vectors; the vectors stay in the cache.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import loading
from headstart.core.console import format_duration
from headstart.core.errors import SetupError
from headstart.core.run.workers import ChunkWork
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.files import format_printable, read_json, write_json
from headstart.core.storage.hashing import compute_digest
from headstart.core.storage.row_cache import RowStore, parse_keys, unmap_pages
from headstart.core.storage.serialization import as_json
from headstart.core.types import Dataset, Embeddings
from headstart.features.chunk_embedding import (
    ChunkTrunk,
    embed_chunk,
    prepare_trunk,
    read_trunk_files,
    take_files,
)
from headstart.features.engine_choice import EngineChoice, choose_engine
from headstart.features.extraction_time import estimate_backbone_seconds
from headstart.features.feature_cache import cache_address, make_embed_key
from headstart.features.feature_matrix import row_chunks
from headstart.features.shared_vectors import find_shared_vectors
from headstart.images.preprocessing import decode_batches, decoder_revision
from headstart.networks import openvino_engine

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.run.context import Context
    from headstart.core.storage.cache import Store

KEEP = 256  # pictures whose vectors go to the cache together,
KEEP_S = 5.0  # or what was done in so many seconds
STEADY = 64  # pictures of a pass whose pace is remembered: fewer tell of its start
_LATENCY = "latency.json"
_PARITY = 8  # pictures on which a new trunk is compared with Keras
_CALIBRATION = 256  # at most: on which an int8 trunk is calibrated


def extract_features(
    data: Dataset,
    backbone: str | ResolvedBackbone,
    rows: np.ndarray,
    *,
    ctx: Context,
    precision: str = "f32",
    below: str = "embed",
) -> Embeddings:
    """Embed rows (M,) of a data set by `source:preset` or a trunk of no source; `below` is the run's folder for it.

    Raises:
        UsageError: The backbone is unknown.
        DataError: A picture changed since it was read.
        SetupError: Weights or disk space are missing, or a vector is not finite.
    """
    started = time.monotonic()
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    resolved = loading.find_backbone(backbone) if isinstance(backbone, str) else backbone
    sample = _sample_rows(rows, precision)
    calibration = compute_digest([data.digests[row] for row in sample.tolist()]) if precision == "int8" else ""
    engine = choose_engine(data, resolved, rows, ctx=ctx, precision=precision)
    spec = data.adapt_input(resolved.spec.input)
    key = make_embed_key(resolved, spec, precision=precision, calibration=calibration, engine=engine.name)
    folder = ctx.store.root / cache_address(key)
    cache = RowStore(folder, {depth.name: depth.dim for depth in key.depths}, report=ctx.store.report)
    keys = parse_keys([data.digests[row] for row in rows.tolist()])
    is_cached = cache.find_rows(keys) >= 0
    shared = find_shared_vectors(cache_address(key), cache, ctx.console)
    if shared and not is_cached.all() and shared.fetch_rows(keys):
        is_cached = cache.find_rows(keys) >= 0
    missing = np.flatnonzero(~is_cached)
    missing = np.sort(missing[np.unique(keys[missing], axis=0, return_index=True)[1]])  # equal bytes go through once
    latency_ms = _read_latency_ms(folder)
    pace_ms = 0.0
    if len(missing):
        compiled = _compile_backbone(data, resolved, sample, precision, ctx.store, ctx.console, engine)
        if _is_fanned_out(resolved, len(missing) * key.input.views, engine, ctx):
            del compiled  # its memory is for the answers
            work = _make_chunk_work(data, resolved, sample, precision, ctx)
            pace_ms = _embed_on_workers(data, work, resolved, rows[missing], cache, ctx)
        else:
            pace_ms = _embed_rows(data, compiled, resolved, rows[missing], cache, ctx.console)
        if shared:
            shared.send_rows(keys[missing])
    timed = len(missing) >= STEADY or (len(missing) > 0 and math.isnan(latency_ms))
    if timed:
        latency_ms = pace_ms
        write_json(folder / _LATENCY, {"ms": latency_ms, "pictures": len(missing)})
    positions = cache.find_rows(keys)
    vectors = {d.name: cache.take_rows(d.name, positions, ctx.store.root / "scratch") for d in key.depths}
    embeddings = Embeddings(
        key=key,
        spec=replace(resolved.spec, flops=resolved.spec.flops * key.input.views),
        rows=rows,
        vectors=vectors,
        seconds=time.monotonic() - started,
        cached=int(is_cached.sum()),
        latency_ms=latency_ms,
        timed=timed,
    )
    _write_record(embeddings, data, ctx.make_step_folder(below))
    _print_result(embeddings, pace_ms, ctx.console, below)
    return embeddings


def _read_latency_ms(folder: Path) -> float:
    """Milliseconds a picture as last measured with this trunk on this cache, NaN when never."""
    try:
        return float(read_json(folder / _LATENCY)["ms"])
    except (OSError, ValueError, KeyError):
        return float("nan")


def _compile_backbone(
    data: Dataset,
    resolved: ResolvedBackbone,
    sample: np.ndarray,
    precision: str,
    store: Store,
    console: Console,
    engine: EngineChoice | None = None,
) -> Any:
    """The trunk, compiled; made, and compared with Keras on the sample, at its first use."""
    if engine is not None and engine.device.is_gpu:
        return loading.load_device_engine(resolved, store, console, engine.device)
    pictures = next(_decode_rows(data, resolved, sample, len(sample)))[1]
    return loading.load_engine(resolved, store, console, pictures, threads=count_threads(), precision=precision)


def prepare_backbone(data: Dataset, backbone: str, store: Store, console: Console) -> None:
    """Compile a backbone in float32, so that its pace is known; `SetupError` without weights, engine or disk space."""
    resolved, sample = loading.find_backbone(backbone), _sample_rows(np.arange(len(data.uris)), "f32")
    _compile_backbone(data, resolved, sample, "f32", store, console)


def _embed_rows(
    data: Dataset, compiled: Any, resolved: ResolvedBackbone, rows: np.ndarray, cache: RowStore, console: Console
) -> float:
    """Embed rows and cache them; wall milliseconds a picture, without making the trunk."""
    started = time.monotonic()
    names = tuple(depth.name for depth in resolved.spec.depths)
    with console.show_progress("embed", len(rows)) as progress:
        for done_rows, outputs in _gather_blocks(compiled.run(_decode_rows(data, resolved, rows, INFERENCE_BATCH))):
            _require_finite(done_rows, outputs, data, resolved.name)
            keys = parse_keys([data.digests[row] for row in done_rows.tolist()])
            cache.add_rows(keys, dict(zip(names, outputs, strict=True)))
            progress.count_done(len(done_rows))
    return (time.monotonic() - started) * 1000 / len(rows)


def _is_fanned_out(resolved: ResolvedBackbone, count: int, engine: EngineChoice, ctx: Context) -> bool:
    """Whether workers take a pass of so many runs of a trunk; why not is told."""
    if ctx.workers is None:
        return False
    seconds = estimate_backbone_seconds(resolved.spec, count, ctx.store)
    reason = ctx.workers.explain_staying(seconds)
    if openvino_engine.find_openvino_version() is None:
        reason = "without OpenVINO the pictures pass Keras"
    if engine.device.is_gpu:
        reason = "on the GPU of this machine"
    if reason:
        ctx.console.print_line("embed", f"{resolved.name}: in this process: {reason}")
    return not reason


def _make_chunk_work(
    data: Dataset, resolved: ResolvedBackbone, sample: np.ndarray, precision: str, ctx: Context
) -> ChunkWork:
    pictures = next(_decode_rows(data, resolved, sample, len(sample)))[1]
    side = pictures.shape[2]
    views, single = pictures.shape[1] // side, pictures.reshape(-1, side, side, 3)[: len(pictures)]
    folder = loading.make_trunk_folder(resolved, ctx.store, ctx.console, single, precision)
    trunk = read_trunk_files(folder, dtype=str(pictures.dtype), views=views)
    core_s = estimate_backbone_seconds(resolved.spec, views, ctx.store) * count_threads()
    return ChunkWork(
        name=resolved.name,
        prepare=prepare_trunk,
        function=embed_chunk,
        shared=ChunkTrunk(trunk=trunk, root=data.root, input=data.adapt_input(resolved.spec.input)),
        take_part=lambda rows: take_files(data, rows),
        row_s=core_s,
    )


def _embed_on_workers(
    data: Dataset, work: ChunkWork, resolved: ResolvedBackbone, rows: np.ndarray, cache: RowStore, ctx: Context
) -> float:
    """Embed rows on workers and cache them here; milliseconds a picture that the cores of this machine would take."""
    assert ctx.workers is not None
    names, core_s = tuple(depth.name for depth in resolved.spec.depths), 0.0
    with ctx.console.show_progress("embed", len(rows)) as progress:
        for chunk in ctx.workers.run_chunks(work, rows):
            _require_finite(chunk.rows, chunk.answer, data, resolved.name)
            keys = parse_keys([data.digests[row] for row in chunk.rows.tolist()])
            cache.add_rows(keys, dict(zip(names, chunk.answer, strict=True)))
            core_s += chunk.core_s
            progress.count_done(len(chunk.rows))
    return core_s * 1000 / len(rows) / count_threads()


def _sample_rows(rows: np.ndarray, precision: str) -> np.ndarray:
    """Rows from the whole range for the making of a trunk; fewer than parity needs are repeated."""
    count = _PARITY if precision == "f32" else min(max(len(rows), _PARITY), _CALIBRATION)
    positions = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)
    return np.sort(np.resize(rows[positions], count))


def _decode_rows(
    data: Dataset, resolved: ResolvedBackbone, rows: np.ndarray, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    spec = data.adapt_input(resolved.spec.input)
    return decode_batches(data.root, data.uris, rows, spec, batch=batch, threads=count_threads(), digests=data.digests)


def _gather_blocks(
    answers: Iterator[tuple[Any, tuple[np.ndarray, ...]]],
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Batches gathered to blocks: as many pictures, or as much work, as a kill may cost."""
    rows: list[np.ndarray] = []
    outputs: list[tuple[np.ndarray, ...]] = []
    since = time.monotonic()
    for tag, answer in answers:
        rows.append(tag)
        outputs.append(answer)
        if sum(map(len, rows)) >= KEEP or time.monotonic() - since >= KEEP_S:
            yield np.concatenate(rows), [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
            rows, outputs, since = [], [], time.monotonic()
    if rows:
        yield np.concatenate(rows), [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _require_finite(rows: np.ndarray, outputs: list[np.ndarray], data: Dataset, backbone: str) -> None:
    for values in outputs:
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise SetupError(
                f"`{backbone}` gives numbers that are not finite for `{format_printable(data.uris[rows[bad[0]]])}`",
                hint="leave this backbone out with --backbones, and report it",
            )


def _write_record(embeddings: Embeddings, data: Dataset, folder: Path) -> None:
    """What the run folder keeps: no times, so that a resumed run's files equal those of an unbroken one."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in embeddings.key.backbone)
    vectors = {
        depth: {"dim": values.shape[1], "sha256": _digest_vectors(values)}
        for depth, values in embeddings.vectors.items()
    }
    content = {
        "key": as_json(embeddings.key),
        "pixels": decoder_revision(),
        "cache": cache_address(embeddings.key),
        "data": data.digest,
        "pictures": len(embeddings.rows),
        "rows_sha256": hashlib.sha256(embeddings.rows.astype("<i8").tobytes()).hexdigest(),
        "vectors": vectors,
    }
    parts = (name, embeddings.key.precision, str(len(embeddings.rows)), *filter(None, [data.reading.resize]))
    write_json(folder / f"{'-'.join(parts)}.json", content)


def _digest_vectors(vectors: np.ndarray) -> str:
    """SHA-256 hex of vectors (M, D), of which a part at a time is in memory."""
    digest = hashlib.sha256()
    for part in row_chunks(vectors):
        digest.update(np.ascontiguousarray(part).data)
        unmap_pages(vectors)
    return digest.hexdigest()


def _print_result(embeddings: Embeddings, pace_ms: float, console: Console, below: str) -> None:
    cached = f", {embeddings.cached:,} from cache" if embeddings.cached else ""
    rate = f", {1000 / pace_ms:,.0f}/s" if pace_ms else ""
    resize = embeddings.key.input.resize
    cached += f", {resize}" if resize != embeddings.spec.input.resize else ""
    label, subject = ("embed", "pictures") if below != "doubt" else ("uncertainty", "out-of-distribution pictures")
    console.print_line(
        label,
        f"{embeddings.key.backbone}: {len(embeddings.rows):,} {subject}{cached}{rate}, "
        f"{format_duration(embeddings.seconds)}",
    )
