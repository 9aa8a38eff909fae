"""What the processor's own meter says of the energy it used: Intel's and AMD's RAPL, where the system lets it be read.

The meter counts the whole package, whatever ran on it, and starts again at zero now and then.
"""

from __future__ import annotations

from pathlib import Path

METERS = Path("/sys/class/powercap")

Reading = dict[str, tuple[int, int]]  # meter -> microjoules, and where it starts again


def read(meters: Path = METERS) -> Reading:
    """All packages' meters now; empty where there are none, or reading them is not permitted."""
    found: Reading = {}
    try:
        for package in sorted(meters.glob("intel-rapl:*")):
            if package.name.count(":") == 1:  # the parts of a package have two
                now, most = (int((package / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[package.name] = now, most
    except (OSError, ValueError):
        return {}
    return found


def joules(before: Reading, after: Reading) -> float | None:
    """What all packages used between two readings; None where one is missing."""
    if not before or before.keys() != after.keys():
        return None
    used = 0
    for name, (end, most) in after.items():
        start = before[name][0]
        used += end - start if end >= start else end - start + most
    return used / 1e6
