"""Shared by the benchmarks: real pictures in any number, caches cold but for the trunks, measured processes."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store

LITE0 = "bundled:efficientnet_lite0"
WARM = ("weights", "trunks", "findings", "paces", "wheels", "data")  # of a store with ready trunks; vectors are not


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: wall and CPU seconds, peak resident and peak anonymous bytes."""

    wall_s: float
    cpu_s: float
    peak_rss: int
    peak_anonymous: int


def _anonymous(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measured(command: list[str], cache: Path | None = None, **environment: str) -> Cost:
    """Run a command to its end and measure it; its output goes to standard error only when it fails."""
    env = {**os.environ, **environment, **({"HEADSTART_CACHE": str(cache)} if cache else {})}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        env.pop(name, None)  # every process measured lets OpenBLAS find its kernel itself
    started, peak = time.monotonic(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=subprocess.STDOUT)
        done = 0
        while not done:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(0.01)
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()}")
    wall = time.monotonic() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, peak)


def headstart(*words: str) -> list[str]:
    """The command line of this environment."""
    return [sys.executable, "-m", "headstart", *words]


def pictures(folder: Path, count: int) -> Path:
    """`count` real textile pictures, of three classes as many each; two have 500, and from there on copies come, with
    bytes of their own after their end: of 1,500 and fewer none."""
    source = fetch_textile(Store(cache_folder()), Console(quiet=True))
    classes = [sorted(p.glob("*.jpg")) for p in sorted(source.iterdir()) if p.is_dir()]
    for number in range(count):
        pool = classes[number % 3]
        turn, place = divmod(number // 3, len(pool))
        target = folder / pool[0].parent.name / f"{place:04d}_{turn:02d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pool[place].read_bytes() + (turn.to_bytes(2, "big") if turn else b""))
    return folder


def cold_cache(folder: Path) -> Path:
    """A cache that holds weights and compiled trunks, and no vectors."""
    for kind in WARM:
        if (cache_folder() / kind).is_dir():
            shutil.copytree(cache_folder() / kind, folder / kind)
    return folder


def context(folder: Path, **settings):
    """A quiet run in a folder, on the shared cache."""
    from headstart.core import job
    from headstart.core.run.context import Context
    from headstart.core.run.folder import RunFolder

    made = job.make_job(**{"data": str(folder), "budget": "3h", **settings})
    return Context(job=made, run=RunFolder(folder), store=Store(cache_folder()), console=Console(quiet=True))


def ratio(name: str, value: float, target: float, unit: str = "x", at: str = "most") -> None:
    """One figure beside its target, which is the most or the least that it may be."""
    print(f"{name:<78}{value:>8.2f} {unit}   (target: at {at} {target:g} {unit})", flush=True)
