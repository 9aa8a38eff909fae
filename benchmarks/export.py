"""Every format and precision of an export: size, difference from the run, answers kept, and time a picture.

    python -m benchmarks.export [RUN]

Without a run, one is made of 300 textile pictures by a probe on EfficientNet-Lite0. Each row comes from the export's
own `predict.py` in a process of its own, as `headstart export` measures it; what cannot be says so.
"""

import sys
import tempfile
from pathlib import Path

import headstart
from benchmarks.common import LITE0, pictures
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import HeadstartError
from headstart.exporting.export_source import PRECISIONS


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        run = Path(sys.argv[1]) if sys.argv[1:] else Path(place) / "run"
        if not run.exists():
            data = pictures(Path(place) / "pictures", 300)
            headstart.fit(data, out=run, backbones=(LITE0,), budget="1m", console=Console(quiet=True))
        head = ("format", "size", "difference", "novelty", "same answers", "p50", "p95", "accuracy, 95 % interval")
        print(("{:<18}{:>9}{:>12}{:>10}{:>14}{:>9}{:>9}  {}").format(*head), flush=True)
        for name in registry.list_plugins("exporters"):
            for precision in PRECISIONS:
                print(f"{name + ' ' + precision:<18}{measured(run, name, precision, Path(place))}", flush=True)


def measured(run: Path, name: str, precision: str, place: Path) -> str:
    """The rest of a row."""
    out = place / f"{name}-{precision}"
    try:
        (one,) = headstart.export(run, name, out, precision=precision, max_drop=1.0, console=Console(quiet=True))
    except HeadstartError as err:
        return f" no: {err.what.rpartition(f'`{name}`: ')[2]}"
    novelty = "" if one["novelty_max_abs"] is None else f"{one['novelty_max_abs']:.1e}"
    change = one["score"]
    cost = f"{change['change']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}] n={change['n']}" if change else ""
    times = f"{one['p50_ms']:>6.1f} ms{one['p95_ms']:>6.1f} ms"
    kept = f"{one['label_agreement']:.1%} of {one['compared']}"
    return f"{one['bytes'] / 1e6:>6.1f} MB{one['parity_max_abs']:>12.1e}{novelty:>10}{kept:>14}{times}  {cost}"


if __name__ == "__main__":
    main()
