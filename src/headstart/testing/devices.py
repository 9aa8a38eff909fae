"""A list of GPUs that is not this machine's, so that what runs on one is tested where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headstart.networks import devices
from headstart.networks.devices import Device, DeviceList


@contextmanager
def replace_gpus(*gpus: Device, reason: str = "", hint: str = "") -> Iterator[None]:
    """Show this list to all that asks for GPUs in this thread while the block runs.

    A GPU whose `place` is `cpu:0` computes: Keras runs on the processor in its place.
    """
    mark = devices.REPLACED_LIST.set(DeviceList(gpus=gpus, reason=reason, hint=hint))
    try:
        yield
    finally:
        devices.REPLACED_LIST.reset(mark)
