"""Folds that train side by side on workers, each as it would train here; their files come back.

What comes back lies in the cache under the digest of what was sent, so that no run trains it again. It counts once the
search comes to it, and every choice of the search is made here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core import provenance
from headstart.core.console import format_bytes, format_duration
from headstart.core.recipe import Recipe, field_values
from headstart.core.run.workers import ChunkWork, Workers
from headstart.core.settings import count_cores
from headstart.core.storage.cache import SEAL
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.hashing import compute_digest, to_plain
from headstart.finetuning.search.parallel.fold_task import (
    TRUNK_FILE,
    FoldPart,
    SentTrunk,
    SharedTraining,
    prepare_training,
    read_trunk,
    train_parts,
)
from headstart.finetuning.search.training_source import Source
from headstart.images.decoded_cache import require_room
from headstart.networks import devices
from headstart.networks.formats.keras_writer import write_keras
from headstart.networks.framework_state import silence_frameworks
from headstart.networks.hardware import count_available_bytes

if TYPE_CHECKING:
    from headstart.finetuning.search.training_setup import TrainingSetup

KIND = "folds"  # of the cache
_FORMAT = 1  # of its entries
_BYTES_PER_S = 50e6  # from here to a worker
_FREE_PART = 0.5  # of the memory that is free, for what is sent


class _Unsendable(Exception):
    """Why folds stay here."""


def fold_folder(setup: TrainingSetup, recipe: Recipe, fold: int) -> Path:
    """Where a fold lies that was trained before the search came to it."""
    return setup.work_folder / f"{compute_digest(field_values(recipe))[:16]}-fold{fold}"


def count_folds_at_once(workers: Workers) -> int:
    """How many folds train side by side."""
    return workers.count_slots(_count_training_threads())


def train_folds_ahead(setup: TrainingSetup, wanted: Sequence[tuple[Recipe, int]]) -> None:
    """Train recipes on folds side by side, where workers are there and it is worth it; else why not is told.

    Raises:
        SetupError: A fold was lost again and again; what is done is kept.
    """
    workers = setup.ctx.workers
    folds = [(recipe, fold) for recipe, fold in wanted if not fold_folder(setup, recipe, fold).is_dir()]
    if workers is None or len(folds) < 2:
        return
    seconds, threads = sum(setup.cost.fold_seconds(recipe) for recipe, _ in folds), _count_training_threads()
    try:
        there_s = _estimate_worthwhile_seconds(workers, seconds, len(folds), threads)
        shared = _gather_shared(setup, [recipe for recipe, _ in folds], seconds)
    except _Unsendable as why:
        setup.print_once(f"folds train in this process: {why}")
        return
    parts = [_make_part(setup, *each) for each in folds]
    addresses = _list_addresses(shared, parts, threads)
    store = setup.ctx.store
    missing = [row for row, address in enumerate(addresses) if store.use_entry(KIND, address) is None]
    if missing:
        times = f"about {format_duration(there_s)} in place of {format_duration(seconds)}"
        setup.ctx.console.print_line("adapt", f"{len(missing)} folds train side by side on the cluster: {times}")
        row_s = threads * seconds / len(folds)
        for row, files in _train_on_workers(workers, shared, [parts[row] for row in missing], row_s, threads):
            require_room(store.root, sum(content.nbytes for content in files.values()), "the weights of a fold")
            store.make_entry(KIND, addresses[missing[row]], functools.partial(_write_files, files))
    for each, address in zip(folds, addresses, strict=True):
        _link_files(store.entry_path(KIND, address), fold_folder(setup, *each))


def _train_on_workers(
    workers: Workers, shared: SharedTraining, parts: Sequence[FoldPart], row_s: float, threads: int
) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """The number of each part and the files that its training leaves, in any order; without those it cannot train."""
    work = ChunkWork(
        name="training",
        prepare=prepare_training,
        function=train_parts,
        shared=shared,
        take_part=lambda rows: [parts[row] for row in rows.tolist()],
        row_s=row_s,
        threads=threads,
    )
    for chunk in workers.run_chunks(work, np.arange(len(parts))):
        yield from (pair for pair in zip(chunk.rows.tolist(), chunk.answer, strict=True) if pair[1] is not None)


def _estimate_worthwhile_seconds(workers: Workers, seconds: float, count: int, threads: int) -> float:
    """Seconds that so many folds take on workers; raises `_Unsendable` where it is not worth it."""
    there_s, reason = workers.estimate_task_seconds(seconds, count, threads), workers.explain_staying(seconds)
    if devices.current_device().is_gpu:
        reason = "on the GPU of this machine"
    elif workers.count_slots(threads) < 2:
        reason = f"fewer than two machines of the cluster have the {threads} cores that training uses here"
    elif there_s >= seconds:
        reason = f"about {format_duration(there_s)} on the cluster, {format_duration(seconds)} here"
    if reason:
        raise _Unsendable(reason)
    return there_s


def _list_addresses(shared: SharedTraining, parts: Sequence[FoldPart], threads: int) -> list[str]:
    """For each part the digest of all that its training depends on."""
    sources = {recipe: compute_digest(_describe_content(source)) for recipe, source in shared.sources.items()}
    common = {"format": _FORMAT, "software": provenance.list_versions(), "threads": threads}
    common |= {"class_weight": _describe_content(shared.class_weight)}
    return [
        compute_digest(
            common
            | {"revision": shared.trunks[part.recipe.backbone].spec.revision, "source": sources[part.recipe]}
            | {"part": _describe_content(part)}
        )
        for part in parts
    ]


def _describe_content(value: Any) -> Any:
    """A value as JSON's own types, arrays as their digests."""
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
        return [value.dtype.str, list(value.shape), content]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: _describe_content(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return {"type": type(value).__name__, **parts}
    if isinstance(value, Mapping):
        return {str(name): _describe_content(part) for name, part in value.items()}
    return [_describe_content(part) for part in value] if isinstance(value, list | tuple) else to_plain(value)


def _count_training_threads() -> int:
    """Threads of one operation in this process, by which TensorFlow cuts its sums."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads()) or count_cores()


def _gather_shared(setup: TrainingSetup, recipes: Sequence[Recipe], seconds: float) -> SharedTraining:
    """What is sent of folds that take so long; raises `_Unsendable` where that cannot be, or takes longer."""
    sources = dict[Recipe, Source]()
    for recipe in dict.fromkeys(recipes):
        sources[recipe] = setup.sources.find_or_make(setup.networks.build_network(recipe, None), recipe)
    if any(source.passes_frozen_part for source in sources.values()):
        raise _Unsendable("their pictures pass the frozen part of the network at every step")
    size = sum(source.count_bytes() for source in sources.values())
    free = count_available_bytes()
    if size > _BYTES_PER_S * seconds or (free is not None and size > _FREE_PART * free):
        raise _Unsendable(f"sending {format_bytes(size)} takes longer, or more memory than is free")
    return SharedTraining(
        trunks={name: _pack_trunk(setup, name) for name in {recipe.backbone for recipe in sources}},
        sources={recipe: source.load_into_memory() for recipe, source in sources.items()},
        class_weight=setup.training_set.problem.class_weight,
    )


def _pack_trunk(setup: TrainingSetup, name: str) -> SentTrunk:
    backbone, model = setup.networks.load_trunk(name)
    try:
        with tempfile.TemporaryDirectory() as place, silence_frameworks():
            path = Path(place) / TRUNK_FILE
            write_keras(model, path)
            content = path.read_bytes()
            read_trunk(content)
    except Exception as err:  # each kind of layer has its own way to fail
        raise _Unsendable(f"Keras cannot pack {name}") from err
    return SentTrunk(digest=hashlib.sha256(content).hexdigest(), spec=backbone.spec, content=content)


def _make_part(setup: TrainingSetup, recipe: Recipe, fold: int) -> FoldPart:
    positions = setup.training_set.training_positions(fold)
    return FoldPart(
        recipe=recipe,
        fold=fold,
        start=setup.fit_start(recipe, positions),
        training=positions,
        held_out=setup.training_set.held_out_positions(fold),
    )


def _write_files(files: Mapping[str, np.ndarray], folder: Path) -> None:
    for name, content in files.items():
        content.tofile(folder / name)


def _link_files(entry: Path, folder: Path) -> None:
    """Name the files of an entry in a folder too: all of them or none."""
    if not entry.is_dir():
        return
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    with translate_disk_errors(draft):
        shutil.copytree(entry, draft, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(SEAL))
        draft.rename(folder)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
