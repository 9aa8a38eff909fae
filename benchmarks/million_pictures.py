"""Memory and pace of read and embed on very many small pictures: crops of real ones, of distinct bytes.

Each count runs in a process of its own; two counts tell the bytes a picture, and from them the peak at a million.

python -m benchmarks.million_pictures [--bucket] [COUNT …]
"""

import gc
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import context, fetch_textile, ratio
from benchmarks.object_storage import BUCKET, serve_bucket
from headstart.backbones.imported.registration import ImportRequest, add_file
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features

COUNTS, MILLION, SIDE, IN_A_FOLDER, WIDTH = (20_000, 100_000), 1_000_000, 32, 1_000, 1_280
TARGET_GB, NETWORK = 4.0, "small"


def write_pictures(folder: Path, count: int) -> None:
    """Crops of 32 px of the textile pictures, each with a number behind its end, in three classes."""
    source = fetch_textile(Store(cache_folder()), Console(quiet=True))
    pictures = [(path.parent.name, Image.open(path).convert("RGB")) for path in sorted(source.rglob("*.jpg"))]
    rng = np.random.default_rng(0)
    for number in range(count):
        class_name, picture = pictures[number % len(pictures)]
        left, top = (int(rng.integers(side - SIDE)) for side in picture.size)
        content = io.BytesIO()
        picture.crop((left, top, left + SIDE, top + SIDE)).save(content, "JPEG")
        place = folder / class_name / f"part{number // IN_A_FOLDER:04}" / f"crop{number:07}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.getvalue() + number.to_bytes(4, "big"))


def add_small_network(folder: Path, store: Store) -> None:
    """Three convolutions that see 32 px and give as many features as EfficientNet-Lite0's last level."""
    import keras

    pictures = x = keras.Input((SIDE, SIDE, 3))
    for width in (8, 16, WIDTH):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    answer = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(pictures, answer).save(folder / "small.keras")
    request = ImportRequest(file=folder / "small.keras", name=NETWORK, depths=("last",), scale=1 / 255)
    add_file(request, store, Console(quiet=True))


def read_status(name: str) -> int:
    """Bytes in a line of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measure(step: Callable[[], object]) -> tuple[object, dict[str, float]]:
    """A step's value, its seconds, and the peaks of its resident and anonymous bytes."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    done, anonymous = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.02):
            anonymous[0] = max(anonymous[0], read_status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        value = step()
    finally:
        seconds = time.monotonic() - started
        done.set()
        watcher.join()
    return value, {"seconds": seconds, "resident": read_status("VmHWM"), "anonymous": anonymous[0]}


def pass_pictures(place: Path, location: str) -> None:
    """Read and embed in this process, and print what each took as JSON."""
    ctx = context(place / "run", data=location)
    data, read = measure(lambda: read_dataset(location, ctx=ctx))
    rows = np.arange(len(data.uris))
    _, embed = measure(lambda: extract_features(data, f"saved_file:{NETWORK}", rows, ctx=ctx))
    print(json.dumps({"count": len(rows), "read": read, "embed": embed}))


def measure_count(count: int, in_bucket: bool) -> dict[str, dict[str, float]]:
    """The same in a process of its own, on pictures that go afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        pictures, place = Path(scratch) / "pictures", Path(scratch) / "run"
        write_pictures(pictures, count)
        place.mkdir()
        add_small_network(place, Store(Path(scratch) / "cache"))
        command = [sys.executable, "-m", "benchmarks.million_pictures", "--pass", str(place)]
        environment = os.environ | {"HEADSTART_CACHE": str(Path(scratch) / "cache")}
        if in_bucket:
            with serve_bucket(pictures) as server:
                answer = subprocess.run([*command, BUCKET], env=environment | server, check=True, capture_output=True)
        else:
            answer = subprocess.run([*command, str(pictures)], env=environment, check=True, capture_output=True)
    taken = json.loads(answer.stdout.splitlines()[-1])
    assert taken["count"] == count
    for step in ("read", "embed"):
        values = taken[step]
        rate, peak = count / values["seconds"], f"{values['resident'] / 1e6:,.0f} MB"
        kind = "objects" if in_bucket else "files"
        print(f"{step}, {count:,} {kind}: {rate:,.0f}/s, peak {peak} ({values['anonymous'] / 1e6:,.0f} anonymous)")
    return taken


def main() -> None:
    """Print each count, the bytes a picture, and the peak that a million would have."""
    words = sys.argv[1:]
    if words[:1] == ["--pass"]:
        pass_pictures(Path(words[1]), words[2])
        return
    counts = sorted(int(word) for word in words if word != "--bucket") or list(COUNTS)
    results = [measure_count(count, "--bucket" in words) for count in counts]
    for few, many in itertools.pairwise(results):
        for step in ("read", "embed"):
            each = {
                kind: (many[step][kind] - few[step][kind]) / (many["count"] - few["count"])
                for kind in ("resident", "anonymous")
            }
            print(f"{step}: {each['resident']:,.0f} bytes a picture ({each['anonymous']:,.0f} anonymous)")
            at_million = many[step]["resident"] + each["resident"] * (MILLION - many["count"])
            ratio(f"{step}, peak at a million pictures, by these", at_million / 1e9, TARGET_GB, "GB")


if __name__ == "__main__":
    main()
