"""`fit` from process start to report: against its own pass, again from the cache, against a plain Keras script.

1,000 textile pictures, EfficientNet-Lite0, a warm store (weights and compiled trunks), no vectors.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.common import LITE0, cold_cache, headstart, measured, pictures, ratio


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        data = pictures(place / "data", 1000)
        fit = ["fit", str(data), "--backbones", LITE0, "--strategy", "probe", "--quiet"]
        measured(headstart(*fit, "--out", str(place / "warm-up")))  # builds the trunks where they are missing

        passes, fits, again, plain = [], [], [], []
        for turn in range(3):
            cache = cold_cache(place / f"cache{turn}")
            passes.append(measured([sys.executable, "-m", "benchmarks.bare_pass", str(data)], cache))
            fits.append(measured(headstart(*fit, "--out", str(place / f"run{turn}")), cache))
            again.append(measured(headstart(*fit, "--out", str(place / f"again{turn}")), cache))
            plain.append(measured([sys.executable, "-m", "benchmarks.plain_keras", str(data)]))

        def middle(costs, what):
            return statistics.median(getattr(cost, what) for cost in costs)

        for what in ("wall_s", "cpu_s"):
            word = what.partition("_")[0]
            ratio(f"fit, from start to report, / its pass, {word}", middle(fits, what) / middle(passes, what), 2.5)
        ratio("fit again, everything cached, wall", middle(again, "wall_s"), 6, "s")
        ratio("fit / plain Keras script, CPU", middle(fits, "cpu_s") / middle(plain, "cpu_s"), 0.5)
        print(f"(pass {middle(passes, 'wall_s'):.1f} s, fit {middle(fits, 'wall_s'):.1f} s wall; medians of 3)")


if __name__ == "__main__":
    main()
