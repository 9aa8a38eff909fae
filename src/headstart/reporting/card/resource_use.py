"""What a run took: seconds by the clock, and energy by the processor's meter or as a stated estimate."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.core.console import format_duration
from headstart.reporting.card import markdown

WATTS_A_CORE = 10.0  # of a core that computes, its share of memory and board included: a guess, said to be one
HEADING = "## Time and energy"
_NOT_STEPS = ("report", "card")  # these are not over when the card is written


def section(timings: Mapping[str, Mapping[str, float]]) -> str:
    """The last part of a card, the only one that two runs of the same job do not share."""
    steps = {name: entry for name, entry in timings.items() if name not in _NOT_STEPS}
    wall = sum(float(entry.get("wall_s", 0.0)) for entry in steps.values())
    cpu = sum(float(entry.get("cpu_s", 0.0)) for entry in steps.values())
    longest = sorted(steps, key=lambda name: -float(steps[name].get("wall_s", 0.0)))[:3]
    most = ", ".join(
        f"{markdown.code(name)} {format_duration(float(steps[name].get('wall_s', 0.0)))}" for name in longest
    )
    lines = [
        HEADING,
        "",
        f"- Time: {format_duration(wall)} by the clock, {format_duration(cpu)} of processor time. The longest steps: "
        f"{most}.",
        f"- {_energy(steps, cpu)}",
        "- What was found in the cache (vectors of pictures that an earlier run has seen, weights) was not made again "
        "and is not counted.",
    ]
    return "\n".join(lines) + "\n"


def _energy(steps: Mapping[str, Mapping[str, float]], cpu_s: float) -> str:
    metered = [float(entry["package_j"]) for entry in steps.values() if entry.get("package_j") is not None]
    if metered and len(metered) == len(steps):
        return (
            f"Energy: {_watt_hours(sum(metered))} by the processor's own meter (RAPL). It counts all that ran on the "
            "processor, and neither memory nor board."
        )
    return (
        f"Energy: about {_watt_hours(cpu_s * WATTS_A_CORE)}. This is an estimate, not a measurement: processor time "
        f"at {WATTS_A_CORE:g} W a busy core, which may be off by a factor of two. The processor's meter could not be "
        "read here."
    )


def _watt_hours(joules: float) -> str:
    hours = joules / 3600
    return f"{hours:.2g} Wh" if hours < 100 else f"{hours / 1000:.2g} kWh"
