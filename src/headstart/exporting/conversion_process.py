"""A conversion in a process of its own: `python -m headstart.exporting.conversion_process FORMAT FILE …`.

Converters may take more memory than the machine has, or end the process they are in; here that ends one child, and the
reason is reported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from headstart.core.console import format_bytes
from headstart.core.errors import SetupError
from headstart.exporting.export_source import ExportSource, graph_inputs
from headstart.exporting.keras_graph import build_keras_graph
from headstart.networks.formats.keras_writer import write_keras
from headstart.networks.hardware import count_available_bytes

_SHARE = 0.8  # of the memory that is free
_LOOK_S = 0.1
_LONGEST_S = 1800


def export_in_child(
    name: str,
    file: str,
    source: ExportSource,
    folder: Path,
    precision: str,
    pictures: list[np.ndarray],
    metadata: str,
) -> None:
    """Write a format's file by its `convert(model, target, precision, metadata)` in a child; see `Exporter`."""
    with tempfile.TemporaryDirectory(dir=source.draft) as draft:
        place = Path(draft)
        write_keras(build_keras_graph(source), place / "model.keras")
        (place / "metadata.json").write_text(metadata, encoding="utf-8")
        for graph_input, shown in zip(graph_inputs(source.manifest), pictures, strict=False):
            np.save(place / f"{graph_input.name}.npy", shown, allow_pickle=False)
        run_conversion(name, [place / "model.keras", folder / file, precision, place / "metadata.json"])


def read_child_pictures(place: Path, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """In the child: the pictures for int8, one after the other, (1, H, W, 3) float32 by the names of the inputs."""
    shown = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    for row in range(len(shown[names[0]])):
        yield {name: np.asarray(pictures[row : row + 1], np.float32) for name, pictures in shown.items()}


def run_conversion(name: str, words: Sequence[str | Path], *, limit: int | None = None) -> None:
    """Run a format's `convert(*words)` in a child that may take `limit` bytes; default most of what is free.

    Raises:
        SetupError: It failed or took too much, with its last words.
    """
    free = count_available_bytes()
    limit = limit or (int(_SHARE * free) if free else None)
    command = [sys.executable, "-P", "-m", __name__, name, *map(str, words)]  # nothing of the user's folder is imported
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=child_environment()
        )
        try:
            reason = _await_child(child, limit)
        finally:
            child.kill()
            child.wait()
        output.seek(0)
        reason = reason or ("" if child.returncode == 0 else last_words(output.read(), child.returncode))
    if reason:
        raise SetupError(f"the conversion to `{name}` failed: {reason}", where="--to", hint="--to openvino")


def _await_child(child: subprocess.Popen[bytes], limit: int | None) -> str:
    """Wait for the end; the reason where it was not waited for any longer."""
    end = time.monotonic() + _LONGEST_S
    while True:
        try:
            child.wait(_LOOK_S)
            return ""
        except subprocess.TimeoutExpired:
            if limit is not None and _resident_bytes(child.pid) > limit:
                return f"it needs more than the {format_bytes(limit)} of memory that it may take here"
            if time.monotonic() > end:
                return f"it took longer than {_LONGEST_S // 60} minutes"


def _resident_bytes(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
    except (OSError, ValueError):
        return 0


def child_environment() -> dict[str, str]:
    """The environment in which TensorFlow is silent and takes no GPU."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}


def last_words(output: bytes, code: int) -> str:
    """The last line of what a child printed before it ended."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"it ended with {code} and no word"


def main(words: Sequence[str]) -> None:
    """The child's work."""
    import importlib

    work: Callable[..., None] = importlib.import_module(f"headstart.exporting.formats.{words[0]}").convert
    work(*words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
