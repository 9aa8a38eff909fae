"""A frozen trunk on a GPU: run by Keras in float32, in batches of one size that fits into the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from headstart.core.errors import SetupError
from headstart.core.settings import INFERENCE_BATCH
from headstart.networks.devices import Device
from headstart.networks.flops import iterate_output_bytes
from headstart.networks.hardware import is_out_of_memory
from headstart.networks.openvino_conversion import KerasEngine

_MOST = 256  # pictures at once
_USED = 0.5  # of the device's memory; what all layers give is counted, of which only a part is alive at once


class DeviceEngine(KerasEngine):
    """The trunk on a device. Batches are gathered; the size is halved, and that is said, when memory runs out."""

    def __init__(self, model: Any, device: Device, print_line: Callable[[str], None]) -> None:
        super().__init__(model, device)
        self.batch, self._print_line = choose_batch(model, device), print_line

    def run(self, batches: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        """See `headstart.networks.openvino_engine.Engine.run`."""
        waiting: list[tuple[Any, np.ndarray]] = []
        for batch in batches:
            waiting.append(batch)
            if sum(len(pictures) for _, pictures in waiting) >= self.batch:
                yield from self._run_together(waiting)
                waiting = []
        if waiting:
            yield from self._run_together(waiting)

    def _run_together(self, waiting: list[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        pictures = np.concatenate([pictures for _, pictures in waiting])
        _, outputs = next(self._run_halving(pictures))
        ends = np.cumsum([len(pictures) for _, pictures in waiting])[:-1]
        parts = [np.split(output, ends) for output in outputs]
        for (key, _), *vectors in zip(waiting, *parts, strict=True):
            yield key, tuple(vectors)

    def _run_halving(self, pictures: np.ndarray) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        while True:
            try:
                yield from super().run([(None, pictures)])
                return
            except Exception as err:
                if not is_out_of_memory(err):
                    raise
                if self.batch == 1:
                    message = f"one picture at a time does not fit into the memory of `{self.device.name}`"
                    raise SetupError(message, hint="free some of it, or write --device cpu") from err
            self.batch //= 2
            self._print_line(f"{self.device.name}: memory ran out; now {self.batch} pictures at once")


def choose_batch(model: Any, device: Device) -> int:
    """Pictures at once, a power of two; as few as on a processor where nobody says how much memory there is."""
    if device.memory_bytes is None:
        return INFERENCE_BATCH
    count, picture_bytes = _MOST, sum(iterate_output_bytes(model))
    while count > 1 and count * picture_bytes > _USED * device.memory_bytes:
        count //= 2
    return count
