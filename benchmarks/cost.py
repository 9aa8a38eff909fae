"""Where the CPU seconds of a default `fit --strategy probe` go: by step, with ready and with cold backbones.

    python -m benchmarks.cost                 # all three sets
    python -m benchmarks.cost textile-300

Beside them stands the bare pass of EfficientNet-Lite0: decoding and the compiled trunk, nothing kept. Features are new
in every run; `cold` has the weights alone, so that each trunk is converted, checked and timed first.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import headstart as api
from benchmarks.common import LITE0, Cost, cold_cache, headstart, measured, ratio
from benchmarks.tuned_accuracy import digits, textile
from headstart.core.storage.files import read_json

TEST = 1_000  # pictures that judge, at most
SETS = {  # name -> what writes the pictures to learn from and to judge, CPU seconds to reach, accuracy to keep
    "textile-300": (partial(textile, learn=300, seed=0), 90, 0.81),
    "textile-1000": (partial(textile, learn=1_000, seed=0), 150, 0.88),
    "digits-800": (partial(digits, learn=800, seed=0), 110, 0.985),
}
STEPS_S = ((500, 8), (2_000, 12))  # pictures, and what all but the passes may cost with so many
HANDED, DROPPED, TWINS = "passes handed over", "passes not handed over", "passes of random weights"


def draw(name: str, folder: Path) -> Path:
    """A set's pictures under `train/` and `test/`, of which at most `TEST` judge."""
    SETS[name][0](folder)
    judges = {each: sorted(each.iterdir()) for each in sorted((folder / "test").iterdir())}
    share = min(1.0, TEST / sum(map(len, judges.values())))
    for files in judges.values():
        for file in files[max(1, round(len(files) * share)) :]:
            file.unlink()
    return folder


def split_costs(run: Path, cost: Cost) -> Counter[str]:
    """CPU seconds of each step of a run; what no step accounts for is the process's start and end."""
    chosen = {name.partition("@")[0] for name in api.load(run).chosen}
    parts = Counter[str]()
    for step, entry in read_json(run / "timings.json").items():
        word, _, rest = step.partition(" ")
        name = rest.rpartition(" ")[0]
        if word == "embed":
            word = TWINS if name.startswith("random:") else HANDED if name in chosen else DROPPED
        if word == "foreign":  # pictures of other things through the model's backbones
            word = HANDED
        parts[word] += entry.get("cpu_s", 0.0)
    parts["start and end"] = cost.cpu_s - sum(parts.values())
    return parts


def measure(data: Path, place: Path) -> Iterator[tuple[str, Path, Cost]]:
    """A fit with ready backbones and one with cold ones: how it is called, its run and what it took."""
    for kind in ("ready", "cold"):
        cache, run = cold_cache(place / f"cache-{kind}"), place / kind
        if kind == "cold":
            for entries in ("trunks", "findings", "paces"):  # the last two are measured when a trunk is made
                shutil.rmtree(cache / entries, ignore_errors=True)
        words = headstart("fit", str(data), "--strategy", "probe", "--quiet", "--out", str(run))
        yield kind, run, measured(words, cache)
        shutil.rmtree(cache)


def show(name: str, place: Path) -> None:
    """Print the table of one set."""
    data = draw(name, place / "data")
    count = sum(path.is_file() for path in data.rglob("*"))
    measured(headstart("fit", str(data), "--strategy", "probe", "--quiet", "--out", str(place / "warm-up")))
    bare = measured([sys.executable, "-m", "benchmarks.bare_pass", str(data)], cold_cache(place / "bare"))
    costs = {kind: (run, cost, split_costs(run, cost)) for kind, run, cost in measure(data, place)}
    (ready, whole, parts), (_, cold, cold_parts) = costs["ready"], costs["cold"]
    print(f"\n{name}: {count:,} pictures; bare pass of {LITE0}: {bare.cpu_s:.1f} s CPU")
    print(f"{'CPU seconds':<28}{'ready':>8}{'share':>8}{'cold':>8}")
    for step in sorted(parts.keys() | cold_parts.keys(), key=lambda step: -parts[step]):
        print(f"{step:<28}{parts[step]:>8.1f}{parts[step] / whole.cpu_s:>8.0%}{cold_parts[step]:>8.1f}")
    print(f"{'all':<28}{whole.cpu_s:>8.1f}{1:>8.0%}{cold.cpu_s:>8.1f}")
    passes = sum(parts[kind] for kind in (HANDED, DROPPED, TWINS))
    ratio(f"{name}: fit, CPU", whole.cpu_s, SETS[name][1], "s")
    ratio(f"{name}: passes not handed over / all passes, CPU", parts[DROPPED] / passes, 0.25)
    limit = next((seconds for most, seconds in STEPS_S if count <= most), STEPS_S[-1][1])
    ratio(f"{name}: everything but the passes, CPU", whole.cpu_s - passes, limit, "s")
    ratio(f"{name}: cold / ready backbones, wall", cold.wall_s / whole.wall_s, 1.5)
    ratio(f"{name}: test accuracy", api.load(ready).headline()[0].value, SETS[name][2], "", "least")


def main() -> None:
    """Print one table a set, each on a copy of the cache without features."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="*", choices=[[], *SETS], default=[])
    for name in parser.parse_args().sets or SETS:
        with tempfile.TemporaryDirectory() as scratch:
            show(name, Path(scratch))


if __name__ == "__main__":
    main()
