"""headstart as a user calls it: processes of their own, without a network; and what two runs have in common."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LITE0 = "bundled:efficientnet_lite0"
OFFLINE = (
    "import socket, sys\n"
    "def refuse(self, address): raise AssertionError(f'a connection to {address}')\n"
    "socket.socket.connect = socket.socket.connect_ex = refuse\n"
    "from headstart.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
)
LIGHT = "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules), 'a training framework was loaded'\n"
END = "sys.exit(code)\n"


def start(*words, env=None, light=True):
    """Start the command line; the process can be killed.

    Args:
        words: The command.
        env: More of the environment.
        light: No training framework may be loaded.
    """
    code = OFFLINE + (LIGHT if light else "") + END
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def call(*words, code=0, env=None, timeout=600, light=True):
    """Run the command line; return (standard output, standard error)."""
    process = start(*words, env=env, light=light)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == code, stderr
    return stdout, stderr


def cold(store, folder: Path, kinds=("weights", "trunks", "findings", "wheels", "data")) -> dict[str, str]:
    """An environment whose cache holds parts of another cache: weights and trunks, and no vectors."""
    for kind in kinds:
        if (store.root / kind).is_dir():
            # what another process is just making is not whole yet
            shutil.copytree(store.root / kind, folder / kind, ignore=shutil.ignore_patterns(".tmp-*"))
    return {"HEADSTART_CACHE": str(folder)}


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run that must not depend on clocks or on being interrupted."""
    skipped = {"timings.json", ".lock", ".owner.json", ".local.json", "job.toml", "report.html"}
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name not in skipped)
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in files}


def differing(one: Path, other: Path) -> list[str]:
    """Names of the files that two runs do not share byte for byte."""
    left, right = contents(one), contents(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
