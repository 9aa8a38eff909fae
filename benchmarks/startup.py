"""Start-up: CPU seconds of `headstart --help`, wall seconds of `predict` for one picture from process start."""

import statistics
import tempfile
from pathlib import Path

from benchmarks.common import LITE0, headstart, measured, pictures, ratio


def main() -> None:
    """Print both figures."""
    helps = [measured(headstart("--help")) for _ in range(9)]
    ratio("headstart --help, CPU", statistics.median(cost.cpu_s for cost in helps), 0.1, "s")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        data = pictures(place / "data", 150)
        measured(headstart("fit", str(data), "--backbones", LITE0, "--quiet", "--out", str(place / "run")))
        one = str(next(data.rglob("*.jpg")))
        predicts = [measured(headstart("predict", str(place / "run"), one)) for _ in range(7)]
        ratio(
            "predict of one picture, wall from process start", statistics.median(c.wall_s for c in predicts), 1.5, "s"
        )


if __name__ == "__main__":
    main()
