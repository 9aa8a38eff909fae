"""Many requests, one engine: threads decode pictures, and one thread keeps the engine's requests busy.

Each request of the engine is one picture (see `headstart.networks.openvino_engine`). Features go through the head at
once where nothing else waits; under load up to `MAX_TOGETHER` of them go together, none held longer than `HOLD_S`.
Answers do not depend on it. Requests take turns: each has a few pictures on their way (`_BEGUN`), and the next one
joins the end of the line when one is decoded, so that many or large pictures of one request delay others little.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
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

MAX_TOGETHER = 4  # pictures whose answers may wait for each other while others are being decoded
HOLD_S = 0.01
_BEGUN = 4 * MAX_TOGETHER  # pictures of a request between the start of their decoding and their answer


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request's pictures on their way."""

    result: asyncio.Future[list[Prediction]]  # the answers, in the order of the pictures, or what went wrong
    answers: list[Prediction | None]
    remaining: int
    waiting: deque[QueuedImage] = field(default_factory=deque)  # those whose decoding has not begun
    begun: int = 0  # taken from `waiting` and not answered yet
    decoding: int = 0  # of those
    abandoned: bool = False  # nobody waits any more: what has not begun need not


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedImage(Chunk):
    """One picture of a request; a chunk of one for the engines."""

    request: PendingRequest
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A picture that comes decoded, (h, w, 3) uint8 RGB."""

    name: str
    picture: np.ndarray

    def __str__(self) -> str:
        return self.name


Upload = Content | DecodedImage
_Result = tuple[QueuedImage, Prediction | Exception | None]


@dataclass(slots=True, eq=False)
class InferenceWorker:
    """One model at work; its methods are for the event loop's thread."""

    model: Model
    pool: Executor
    load: Load
    count_batch: Callable[[int], None]  # called with the number of pictures that were answered together
    usage: UsageCounter | None
    decoders: int  # threads of `pool`; a request has no more of its pictures in line for them
    pending: int = 0  # pictures taken and not answered yet
    _decoded: queue.SimpleQueue[QueuedImage | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _since: float = 0.0
    _turns: threading.Lock = field(default_factory=threading.Lock)  # over what requests count of themselves

    def start_thread(self) -> None:
        """Start the thread; the running event loop gets the answers."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run_engine, daemon=True, name="inference")
        self._thread.start()

    def submit_pictures(self, uploads: Sequence[Upload]) -> PendingRequest:
        """Take pictures; their answers come in `result` of the request."""
        assert self._loop is not None
        request = PendingRequest(self._loop.create_future(), [None] * len(uploads), len(uploads))
        self.pending += len(uploads)
        self.load.add_pictures(len(uploads))
        for at, upload in enumerate(uploads):
            request.waiting.append(QueuedImage([upload], [], request=request, position=at))  # type: ignore[list-item]
        self._begin_waiting(request)
        return request

    def _begin_waiting(self, request: PendingRequest, *, decoded: int = 0, answered: int = 0) -> None:
        """Let a request's next pictures join the line, as far as it is its turn."""
        with self._turns:
            request.decoding -= decoded
            request.begun -= answered
            while request.waiting and request.decoding < self.decoders and request.begun < _BEGUN:
                request.decoding += 1
                request.begun += 1
                self.pool.submit(self._decode_image, request.waiting.popleft())

    def abandon_request(self, request: PendingRequest) -> None:
        """Nobody waits for a request any more: what has not begun need not."""
        request.abandoned = True
        with self._turns:
            dropped = [(image, None) for image in request.waiting]
            request.waiting.clear()
            request.begun += len(dropped)
        self._store_results(dropped)

    async def stop_when_idle(self) -> None:
        """End the thread once every picture is answered."""
        while self.pending:
            await asyncio.sleep(0.02)
        self._decoded.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _decode_image(self, image: QueuedImage) -> None:
        try:
            self._decode_or_refuse(image)
        finally:
            self._begin_waiting(image.request, decoded=1)

    def _decode_or_refuse(self, image: QueuedImage) -> None:
        result: Prediction | Exception | None = None
        try:
            if not image.request.abandoned:
                trunks = self.model.manifest.trunks
                image.pictures = [self._prepare_input(image.files[0], trunk.input) for trunk in trunks]
                self._decoded.put(image)
                return
        except PictureError as err:
            reason = f"{err.reason.replace('_', ' ')}: {err.detail}"
            result = Prediction(uri=str(image.files[0]), answer="", error=reason)
            if self.usage is not None:
                self.usage.count_answers([result])
        except Exception as err:  # whatever it is, this request learns it and the others go on
            result = err
        self._deliver_results([(image, result)])

    def _prepare_input(self, upload: object, spec: InputSpec) -> np.ndarray:
        """(1, H, W, 3) of `spec.dtype`."""
        if isinstance(upload, DecodedImage):
            return preprocessing.fit_array(upload.picture, spec)[np.newaxis]
        assert isinstance(upload, Content)
        return preprocessing.decode_picture(upload.read_bytes(), spec, max_pixels=self.load.limits.pixels)[np.newaxis]

    def _run_engine(self) -> None:
        while (first := self._decoded.get()) is not None:
            in_engine: list[QueuedImage] = []
            waiting: list[QueuedImage] = []
            try:
                for image in self.model.run_trunks(self._take_queued(first, in_engine)):
                    assert isinstance(image, QueuedImage)
                    in_engine.remove(image)
                    image.pictures = []
                    waiting.append(image)
                    if self._is_due(waiting):
                        self._answer_images(waiting)
                        waiting = []
            except Exception as err:
                self._deliver_results([(image, err) for image in in_engine])
            if waiting:
                self._answer_images(waiting)

    def _is_due(self, waiting: list[QueuedImage]) -> bool:
        """Whether what is held is answered now: nothing else waits, or enough is held, or for long enough."""
        now = time.monotonic()
        if len(waiting) == 1:
            self._since = now
        return len(waiting) >= MAX_TOGETHER or self._decoded.empty() or now - self._since >= HOLD_S

    def _take_queued(self, first: QueuedImage, in_engine: list[QueuedImage]) -> Iterator[Chunk]:
        image: QueuedImage | None = first
        while image is not None:
            if image.request.abandoned:
                self._deliver_results([(image, None)])
            else:
                in_engine.append(image)
                yield image
            try:
                image = self._decoded.get_nowait()
            except queue.Empty:
                return
        self._decoded.put(None)  # the end was taken in the middle of a flow: it is for `_run_engine`

    def _answer_images(self, images: list[QueuedImage]) -> None:
        results: list[_Result]
        try:
            chunk = images[0] if len(images) == 1 else _merge_chunks(images)
            predictions = self.model.predict_chunk(chunk)
            if self.usage is not None:
                self.usage.count_answers(predictions, self.model.join_features(chunk))
            results = list(zip(images, predictions, strict=True))
        except Exception as err:
            results = [(image, err) for image in images]
        self.count_batch(len(images))
        self._deliver_results(results)

    def _deliver_results(self, results: list[_Result]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
            self._loop.call_soon_threadsafe(self._store_results, results)

    def _store_results(self, results: Sequence[_Result]) -> None:
        for image, result in results:
            request = image.request
            self.pending -= 1
            request.remaining -= 1
            self.load.remove_picture(request.remaining)
            self._begin_waiting(request, answered=1)
            if isinstance(result, Exception):
                request.abandoned = True
                if not request.result.done():
                    request.result.set_exception(result)
                continue
            request.answers[image.position] = result
            if not request.remaining and not request.result.done():
                request.result.set_result([answer for answer in request.answers if answer is not None])


def _merge_chunks(images: Sequence[QueuedImage]) -> Chunk:
    features = {key: np.concatenate([image.features[key] for image in images]) for key in images[0].features}
    return Chunk([image.files[0] for image in images], [], features=features)
