"""Peak anonymous memory (mapped files not counted) of embed and fit at 1,000 and 20,000 pictures."""

import tempfile
from pathlib import Path

from benchmarks.common import LITE0, cold_cache, headstart, measured, pictures, ratio


def main() -> None:
    """Print the growth of embed and the peak of fit."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        peaks = {}
        for count in (1_000, 20_000):
            data = pictures(place / f"data{count}", count)
            cache = cold_cache(place / f"cache{count}")
            passing = ["embed", str(data), "--backbones", LITE0, "--quiet", "--out", str(place / f"embed{count}")]
            peaks[count] = measured(headstart(*passing), cache).peak_anonymous
        ratio("embed, growth from 1,000 to 20,000 pictures", (peaks[20_000] - peaks[1_000]) / 1e6, 100, "MB")
        fit = ["fit", str(data), "--backbones", LITE0, "--quiet", "--budget", "1h", "--out", str(place / "fit")]
        cost = measured(headstart(*fit), cache)
        ratio("fit of 20,000 pictures, peak anonymous", cost.peak_anonymous / 1e9, 1.5, "GB")
        print(f"(peak resident, mapped files included: {cost.peak_rss / 1e9:.2f} GB)")


if __name__ == "__main__":
    main()
