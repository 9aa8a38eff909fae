"""What a service counts, for Prometheus: answers by label, times, how much waits; no picture, name or address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from headstart import __version__
from headstart.core.types import Prediction
from headstart.serving.request_limits import Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_COUNTS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self, load: Load) -> None:
        self._registry = registry = CollectorRegistry()
        answers_help = "Pictures by answer, of several labels by each; `unknown` and `error` too."
        self._answers = Counter("headstart_answers", answers_help, ["model", "answer"], registry=registry)
        self._requests = Counter(
            "headstart_requests", "Requests by route and status.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "headstart_request_seconds", "Time to the answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._batch_pictures = Histogram(
            "headstart_batch_pictures", "Pictures answered together.", buckets=_COUNTS, registry=registry
        )
        self._loads = Counter("headstart_loads", "Models loaded, by outcome.", ["model", "outcome"], registry=registry)
        waiting = Gauge("headstart_queue_pictures", "Pictures that wait for their answer.", registry=registry)
        waiting.set_function(lambda: load.pictures)
        body_bytes = Gauge("headstart_body_bytes", "Bytes of requests that are held.", registry=registry)
        body_bytes.set_function(lambda: load.body_bytes)
        version = Gauge("headstart_version", "Which version serves.", ["version"], registry=registry)
        version.labels(__version__).set(1)

    def count_answers(self, model: str, predictions: Iterable[Prediction]) -> None:
        """Count answers."""
        for prediction in predictions:
            is_number = prediction.number is not None and not prediction.unknown
            answer = prediction.likeliest if is_number else prediction.answer  # numbers are not counted one by one
            labels = () if prediction.unknown else prediction.labels or ()
            for name in labels or ("error" if prediction.error else answer,):
                self._answers.labels(model, name).inc()

    def declare_answers(self, model: str, class_names: Sequence[str]) -> None:
        """Let every answer that a model can give be seen as 0 before it is given."""
        for name in (*class_names, "unknown", "error"):
            self._answers.labels(model, name)

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_batch(self, count: int) -> None:
        """Count pictures that were answered together."""
        self._batch_pictures.observe(count)

    def count_load(self, model: str, outcome: str) -> None:
        """Count a model that was loaded, or why it was not: `loaded`, `refused`."""
        self._loads.labels(model, outcome).inc()

    def format_text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self._registry))
