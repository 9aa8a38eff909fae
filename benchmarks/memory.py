"""Peak memory of `fit` at 20,000 pictures: anonymous bytes and all resident ones (`embed --growth` tells of embed)."""

import tempfile
from pathlib import Path

from benchmarks.common import LITE0, cold_cache, headstart, measured, pictures, ratio

COUNT = 20_000


def main() -> None:
    """Print the peak."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        data, cache = pictures(place / "data", COUNT), cold_cache(place / "cache")
        fit = ["fit", str(data), "--backbones", LITE0, "--quiet", "--budget", "1h", "--out", str(place / "fit")]
        cost = measured(headstart(*fit), cache)
        ratio(f"fit of {COUNT:,} pictures, peak anonymous", cost.peak_anonymous / 1e9, 1.5, "GB")
        print(f"(peak resident, mapped files included: {cost.peak_rss / 1e9:.2f} GB; {cost.wall_s:.0f} s)")


if __name__ == "__main__":
    main()
