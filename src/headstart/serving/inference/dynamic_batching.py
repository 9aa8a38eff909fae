"""Requests from everywhere, one engine: pictures are decoded by threads, pass the engine without a gap, and are
answered a few at a time where more are waiting.

Each request of the engine is one picture (see `headstart.networks.openvino_engine`), so no batch is collected before
it: one thread keeps the engine's requests busy while there are pictures. Features go through the head at once where
nothing else waits; under load up to `TOGETHER` of them go together, none held longer than `HOLD_S`. Answers do not
depend on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from headstart.core.types import InputSpec, Prediction
from headstart.images import preprocessing
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Chunk, Content
from headstart.runtime.model import Model
from headstart.runtime.usage_log import UsageCounter
from headstart.serving.request_limits import Load

TOGETHER = 4  # pictures whose answers may wait for each other while others are being decoded
HOLD_S = 0.01


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request's pictures on their way.

    Attributes:
        done: Ends with the answers, in the order of the pictures, or with what went wrong.
        answers: What there is of them.
        left: How many are still to come.
        dropped: Nobody waits any more: what has not begun need not.
    """

    done: asyncio.Future[list[Prediction]]
    answers: list[Prediction | None]
    left: int
    dropped: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedImage(Chunk):
    """One picture of a ticket; a chunk of one for the engines."""

    ticket: PendingRequest
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture that comes decoded, (h, w, 3) uint8 RGB."""

    name: str
    picture: np.ndarray

    def __str__(self) -> str:
        return self.name


Upload = Content | Decoded
_Result = tuple[QueuedImage, Prediction | Exception | None]


@dataclass(slots=True, eq=False)
class InferenceWorker:
    """One model at work; its methods are for the event loop's thread.

    Attributes:
        model: The model.
        pool: Threads that decode.
        load: Counts what waits.
        told: Called with the number of pictures that were answered together.
        usage: Keeps privacy-safe counts of what is answered; None keeps none.
        pending: Pictures taken and not answered yet.
    """

    model: Model
    pool: Executor
    load: Load
    told: Callable[[int], None] = lambda count: None
    usage: UsageCounter | None = None
    pending: int = 0
    _decoded: queue.SimpleQueue[QueuedImage | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _since: float = 0.0

    def start(self) -> None:
        """Start the thread; the running event loop gets the answers."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, daemon=True, name="lane")
        self._thread.start()

    def submit(self, uploads: Sequence[Upload]) -> PendingRequest:
        """Take pictures; their answers come in `done` of the ticket."""
        assert self._loop is not None
        ticket = PendingRequest(self._loop.create_future(), [None] * len(uploads), len(uploads))
        self.pending += len(uploads)
        self.load.pictures += len(uploads)
        for at, upload in enumerate(uploads):
            job = QueuedImage([upload], [], ticket=ticket, at=at)  # type: ignore[list-item]
            self.pool.submit(self._decode, job)
        return ticket

    async def retire(self) -> None:
        """End the thread once every picture is answered."""
        while self.pending:
            await asyncio.sleep(0.02)
        self._decoded.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # ------------------------------------------------ threads

    def _decode(self, job: QueuedImage) -> None:
        result: Prediction | Exception | None = None
        try:
            if not job.ticket.dropped:
                job.pictures = [self._input(job.files[0], trunk.input) for trunk in self.model.manifest.trunks]
                self._decoded.put(job)
                return
        except PictureError as err:
            reason = f"{err.reason.replace('_', ' ')}: {err.detail}"
            result = Prediction(uri=str(job.files[0]), answer="", error=reason)
            if self.usage is not None:
                self.usage.count_answers([result])
        except Exception as err:  # whatever it is, this request learns it and the others go on
            result = err
        self._deliver([(job, result)])

    def _input(self, upload: object, spec: InputSpec) -> np.ndarray:
        """(1, H, W, 3) uint8."""
        if isinstance(upload, Decoded):
            return preprocessing.fit_array(upload.picture, spec)[np.newaxis]
        assert isinstance(upload, Content)
        return preprocessing.decode_picture(upload.read_bytes(), spec, max_pixels=self.load.limits.pixels)[np.newaxis]

    def _work(self) -> None:
        """Keep the engines busy: a flow lasts while there are pictures, then the next one is waited for."""
        while (first := self._decoded.get()) is not None:
            flying: list[QueuedImage] = []
            held: list[QueuedImage] = []
            try:
                for job in self.model.run_trunks(self._flow(first, flying)):
                    assert isinstance(job, QueuedImage)
                    flying.remove(job)
                    job.pictures = []
                    held.append(job)
                    if self._due(held):
                        self._answer(held)
                        held = []
            except Exception as err:
                self._deliver([(job, err) for job in flying])
            if held:
                self._answer(held)

    def _due(self, held: list[QueuedImage]) -> bool:
        """Whether what is held is answered now: nothing else waits, or enough was held for long enough."""
        now = time.monotonic()
        if len(held) == 1:
            self._since = now
        return len(held) >= TOGETHER or self._decoded.empty() or now - self._since >= HOLD_S

    def _flow(self, first: QueuedImage, flying: list[QueuedImage]) -> Iterator[Chunk]:
        job: QueuedImage | None = first
        while job is not None:
            if job.ticket.dropped:
                self._deliver([(job, None)])
            else:
                flying.append(job)
                yield job
            try:
                job = self._decoded.get_nowait()
            except queue.Empty:
                return
        self._decoded.put(None)  # the end was taken in the middle of a flow: it is for `_work`

    def _answer(self, jobs: list[QueuedImage]) -> None:
        results: list[_Result]
        try:
            chunk = _merged(jobs)
            found = self.model.predict_chunk(chunk)
            if self.usage is not None:
                self.usage.count_answers(found, self.model.join_features(chunk))
            results = list(zip(jobs, found, strict=True))
        except Exception as err:
            results = [(job, err) for job in jobs]
        self.told(len(jobs))
        self._deliver(results)

    def _deliver(self, results: list[_Result]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            self._loop.call_soon_threadsafe(self._arrived, results)

    def _arrived(self, results: list[_Result]) -> None:
        for job, result in results:
            ticket = job.ticket
            self.pending -= 1
            self.load.pictures -= 1
            ticket.left -= 1
            if isinstance(result, Exception):
                ticket.dropped = True
                if not ticket.done.done():
                    ticket.done.set_exception(result)
                continue
            ticket.answers[job.at] = result
            if not ticket.left and not ticket.done.done():
                ticket.done.set_result([one for one in ticket.answers if one is not None])


def _merged(jobs: Sequence[QueuedImage]) -> Chunk:
    """One chunk of several; their pictures are no longer needed."""
    if len(jobs) == 1:
        return jobs[0]
    features = {key: np.concatenate([job.features[key] for job in jobs]) for key in jobs[0].features}
    return Chunk([job.files[0] for job in jobs], [], features=features)
