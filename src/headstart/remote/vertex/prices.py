"""Prices of custom training, to say beforehand what a job will cost: noted by hand, not asked for, and they change."""

from __future__ import annotations

from headstart.remote.vertex.settings import VertexSettings

DATE, REGION = "2025-06", "us-central1"
# USD an hour with Vertex AI's surcharge; what is not here must be told by `usd_per_hour`.
MACHINES = {
    "n1-standard-4": 0.2185,
    "n1-standard-8": 0.4370,
    "n1-standard-16": 0.8740,
    "n1-highmem-8": 0.5444,
    "n1-highmem-16": 1.0888,
}
ACCELERATORS = {"NVIDIA_TESLA_T4": 0.4025, "NVIDIA_TESLA_P100": 1.679, "NVIDIA_TESLA_V100": 2.852}


def find_usd_per_hour(settings: VertexSettings) -> float | None:
    """The price of a job's machine; None where neither the user nor the table says it."""
    if settings.usd_per_hour is not None:
        return settings.usd_per_hour
    machine, accelerator = MACHINES.get(settings.machine), ACCELERATORS.get(settings.accelerator)
    if machine is None or (settings.accelerator and accelerator is None):
        return None
    return machine + settings.accelerators * (accelerator or 0.0)


def describe_price(settings: VertexSettings) -> str:
    """The sentence that stands beside a price."""
    price = find_usd_per_hour(settings)
    if settings.usd_per_hour is not None:
        return f"{price:.4g} USD an hour, as given"
    if price is None:
        return f"the price of {settings.machine} is not known here"
    doubt = "" if settings.region == REGION else f"; {settings.region} may cost up to a third more"
    words = f"a price of {REGION} noted in {DATE} and not checked since{doubt}"
    return f"{price:.4g} USD an hour for {settings.machine}, {words}"
