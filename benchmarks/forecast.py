"""How forecasts come out: real small fits one after the other in a fresh cache, each learning from those before.

    python -m benchmarks.forecast

The sets are the targets of the zoo (`benchmarks/zoo_tasks.py`) with some number of pictures a class, each in its
own process with EfficientNet-Lite0 as a frozen probe; then the first three once more with another seed. Prints each
forecast beside what came out, and the mean error on sets that were new and on those that had been fitted before.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import LITE0, WARM, headstart
from benchmarks.zoo_tasks import Task, targets
from headstart.core.settings import cache_folder

AGAIN = 3  # sets that are fitted once more


def pictures(task: Task, folder: Path, learn: int) -> Path:
    """So many of a task's pictures of each class to learn from, and as many others to judge."""
    parts = (("train", task.x, task.y), ("test", task.test_x, task.test_y))
    for split, x, y in parts:
        for c, name in enumerate(task.classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for at, pixels in enumerate(x[y == c][:learn]):
                Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(place / f"{at}.png")
    return folder


def fitted(data: Path, out: Path, cache: Path, seed: int) -> dict[str, object]:
    """What `fit --json` says."""
    words = headstart(
        "fit", str(data), "--backbones", LITE0, "--seed", str(seed), "--out", str(out), "--json", "--quiet"
    )
    env = {**os.environ, "HEADSTART_CACHE": str(cache), "HEADSTART_HISTORY": "on"}
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def told(name: str, learn: int, run: Path, said: dict) -> float:
    """Print a line; the error of the forecast."""
    first, came = said["forecast"]["forecasts"][0], said["forecast"]["outcome"]["value"]
    times = json.loads((run / "timings.json").read_text())
    lasts, taken_s = times["forecast"], times["forecast check"]["taken_s"]
    reach = f"{first['value']:.3f} [{first['low']:.3f}, {first['high']:.3f}]"
    inside = "inside" if first["low"] <= came <= first["high"] else "OUTSIDE"
    held = "inside" if lasts["low_s"] <= taken_s <= lasts["high_s"] else "OUTSIDE"
    seconds = f"{lasts['value_s']:5.1f} s [{lasts['low_s']:5.1f}, {lasts['high_s']:5.1f}] took {taken_s:5.1f} s {held}"
    print(f"{name:10} {learn:4} a class  {reach}  came {came:.3f} {inside:8} {seconds}", flush=True)
    return abs(came - first["value"])


def main() -> None:
    """Fit and print."""
    draw, errors = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        cache.mkdir()
        for kind in WARM:
            if (cache_folder() / kind).is_dir():
                (cache / kind).symlink_to(cache_folder() / kind)
        tasks = [(task, int(draw.integers(12, 60)), 0) for task in targets()]
        for number, (task, learn, seed) in enumerate([*tasks, *((t, n, 1) for t, n, _ in tasks[:AGAIN])]):
            data = Path(scratch) / task.name
            if not data.exists():
                pictures(task, data, learn)
            run = Path(scratch) / f"run{number}"
            errors.append(told(task.name, learn, run, fitted(data, run, cache, seed)))
    print(f"mean error {np.mean(errors[:-AGAIN]):.3f} on new sets, {np.mean(errors[-AGAIN:]):.3f} on the same again")


if __name__ == "__main__":
    sys.exit(main())
