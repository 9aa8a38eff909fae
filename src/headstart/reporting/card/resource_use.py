"""What a run took: seconds by the clock and of processor time."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.core.console import format_duration
from headstart.reporting.card import markdown

HEADING = "## Time"
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
        "- What was found in the cache (vectors of pictures that an earlier run has seen, weights) was not made again "
        "and is not counted.",
    ]
    return "\n".join(lines) + "\n"
