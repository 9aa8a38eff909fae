"""The models that are served, by name, and how a new version of one takes the old one's place.

A changed run, in a folder or a bucket, is loaded beside the old model and warmed up; then requests go to the new one,
and the old one ends when its last picture is answered. A damaged one is refused with its reason, and the old model
stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import settings
from headstart.core.errors import HeadstartError, SetupError, UsageError
from headstart.core.run.mirror.fetching import find_manifest_digest, locate_run
from headstart.core.settings import INFERENCE_BATCH
from headstart.core.storage.locations.names import is_remote
from headstart.core.types import NO_LABEL
from headstart.runtime.inputs.decoded_batches import Chunk, Content
from headstart.runtime.model import Model, load
from headstart.runtime.usage_log import UsageCounter
from headstart.serving.http.access_log import AccessLog
from headstart.serving.inference.dynamic_batching import InferenceWorker
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Load, Refusal

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WARM_UP = 3  # pictures before the first request
ASK_BUCKET_S = 30.0  # between two looks at a run in a bucket
_PATIENCE_S = 5  # for what is left when all requests have ended: pictures that nobody waits for any more


@dataclass(slots=True, eq=False)
class ServedModel:
    """One loaded version of a model."""

    name: str
    place: str  # as the command named it: a folder, or an address in a bucket
    folder: Path  # on this machine
    model: Model
    manifest_stamp: tuple[int | str, ...]  # what the manifest's file looked like when it was read
    picture_s: float  # a picture takes, measured at loading
    worker: InferenceWorker | None = None
    explainer: Any = None  # made at the first explanation

    @property
    def version(self) -> str:
        """A short name of exactly this model."""
        from headstart.core.storage.hashing import compute_digest, to_plain

        return compute_digest(to_plain(self.model.manifest))[:12]


def parse_model_names(words: Sequence[str]) -> dict[str, str]:
    """`RUN` and `NAME=RUN` as names and places; raises `UsageError` where a name is none, or given twice."""
    places: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            folder = Path(word).absolute()
            run_folder = folder.parent if folder.name == "model" else folder
            name, path = re.sub(r"[^A-Za-z0-9._-]+", "-", run_folder.name).strip("-._") or "model", word
        if not _NAME.fullmatch(name):
            raise UsageError(f"`{name}` is not a name for a model", hint="NAME=RUN, of letters, digits, `.`, `_`, `-`")
        if name in places:
            raise UsageError(f"two models are named `{name}`", hint="headstart serve a=RUN b=RUN")
        places[name] = path
    return places


def open_model(name: str, place: str | os.PathLike[str]) -> ServedModel:
    """Read a model, compile it and let a few pictures pass; what lies in a bucket is brought first.

    Raises:
        DataError: There is no model, or it is damaged.
        SetupError: It cannot be compiled here.
    """
    stamp = _stamp_manifest(os.fspath(place))
    folder = locate_run(place)
    model = load(folder)
    pictures = [np.zeros((1, *t.input.shape), t.input.dtype) for t in model.manifest.trunks]
    seconds = 0.0
    for _ in range(_WARM_UP):
        started = time.perf_counter()
        chunk = Chunk([Content("warm-up", b"")], [picture.copy() for picture in pictures])
        for finished in model.run_trunks(iter([chunk]), batch=INFERENCE_BATCH):
            model.predict_chunk(finished)
        seconds = time.perf_counter() - started
    place = os.fspath(place)
    return ServedModel(name=name, place=place, folder=folder, model=model, manifest_stamp=stamp, picture_s=seconds)


def _stamp_manifest(place: str) -> tuple[int | str, ...]:
    """What tells that a manifest was written anew; empty where there is none."""
    if is_remote(place):
        digest = find_manifest_digest(place)
        return (digest,) if digest else ()
    for folder in (Path(place) / "model", Path(place)):
        with contextlib.suppress(OSError):
            stat = (folder / "manifest.json").stat()
            return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return ()


@dataclass(slots=True, eq=False)
class ModelRegistry:
    """All models of a service; its methods are for the event loop's thread."""

    models: dict[str, ServedModel]  # in the order of the command; the first answers requests without a name
    pool: Executor
    load: Load
    metrics: Metrics
    log: AccessLog
    usage: Path | None = None  # keeps counts of what is answered
    ready: bool = False
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: dict[str, str] = field(default_factory=dict)
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)

    def start_workers(self) -> None:
        """Let every model work."""
        for served in self.models.values():
            self._start_worker(served)
        self.ready = True

    def _start_worker(self, served: ServedModel) -> None:
        usage = UsageCounter.from_model(served.model) if self.usage is not None else None
        decoders, count_batch = settings.count_threads(), self.metrics.count_batch
        served.worker = InferenceWorker(served.model, self.pool, self.load, count_batch, usage, decoders)
        served.worker.start_thread()
        self.load.picture_s = served.picture_s
        nothing = (NO_LABEL,) if served.model.layout.task.has_labels else ()
        self.metrics.declare_answers(served.name, (*served.model.class_names, *nothing))
        self.metrics.count_load(served.name, "loaded")

    def get_model(self, name: str | None) -> ServedModel:
        """A model by its name, or the first. Raises `Refusal`: 404, there is none of this name."""
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(404, "there is no model of this name", hint="GET /v1/models lists them")
        return self.models[name]

    async def reload_model(self, name: str) -> bool:
        """Serve what the place of a model holds now; True when that is another model than before.

        Raises:
            HeadstartError: It is damaged or cannot be compiled; the old one is still served.
        """
        async with self._reloading:
            old = self.get_model(name)
            try:
                new = await asyncio.to_thread(open_model, name, old.place)
            except OSError as err:
                raise SetupError(f"the model cannot be read: {err.strerror}") from err
            self._refused.pop(name, None)
            if new.version == old.version:
                old.manifest_stamp = new.manifest_stamp
                return False
            self._start_worker(new)
            self.models[name] = new
            self.log.write_event("reload", model=name, version=new.version)
            assert old.worker is not None
            retiring = asyncio.get_running_loop().create_task(self._retire_worker(old.worker))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            return True

    async def _retire_worker(self, worker: InferenceWorker) -> None:
        await worker.stop_when_idle()
        await asyncio.to_thread(self._write_usage, worker)

    def _list_workers(self) -> list[InferenceWorker]:
        return [served.worker for served in self.models.values() if served.worker is not None]

    async def write_usage_forever(self, every_s: float) -> None:
        """Write the counts of what was answered every `every_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            for worker in self._list_workers():
                await asyncio.to_thread(self._write_usage, worker)

    def _write_usage(self, worker: InferenceWorker) -> None:
        """A disk that refuses is logged, and the counts wait for the next time."""
        if worker.usage is not None and self.usage is not None:
            try:
                worker.usage.append_counts(self.usage)
            except HeadstartError as err:
                self.log.write_event("usage", level="warning", what=err.what)

    async def watch_places(self, every_s: float, *, remote: bool = False) -> None:
        """Look for models written anew, in folders or in buckets, until cancelled; half a copy is tried again."""
        while True:
            await asyncio.sleep(every_s)
            for name, served in list(self.models.items()):
                if is_remote(served.place) == remote:
                    await self._try_reload(name, served)

    async def _try_reload(self, name: str, served: ServedModel) -> None:
        try:
            stamp = await asyncio.to_thread(_stamp_manifest, served.place)
            if stamp and stamp != served.manifest_stamp:
                await self.reload_model(name)
        except Exception as err:  # whatever it is, the watch over all models goes on
            level, problem = ("warning", err.what) if isinstance(err, HeadstartError) else ("error", repr(err))
            if self._refused.get(name) != problem:  # logged once, not at every look
                self._refused[name] = problem
                self.metrics.count_load(name, "refused")
                self.log.write_event("reload", level=level, model=name, what=problem)

    async def stop_workers(self) -> None:
        """Answer what was taken, then end."""
        self.ready = False
        workers = self._list_workers()
        with contextlib.suppress(TimeoutError):  # whatever hangs must not keep the process
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(worker.stop_when_idle() for worker in workers), *self._retiring)
        for worker in workers:
            await asyncio.to_thread(self._write_usage, worker)
        self.pool.shutdown(wait=False, cancel_futures=True)


def describe_model(served: ServedModel) -> dict[str, Any]:
    """What `/v1` says of a model."""
    manifest = served.model.manifest
    trunks = [{"name": t.name, "size_px": t.input.size_px, "precision": t.precision} for t in manifest.trunks]
    versions = {"version": served.version, "headstart": manifest.headstart, "task": manifest.task}
    return {"name": served.name, **versions, "class_names": list(manifest.class_names), "trunks": trunks}
