"""What a Ray cluster is told by: its address, the threads of a worker, the seconds of a chunk and when it is lost."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.core.errors import UsageError

CHUNK_S = 4.0
TIMEOUT_S = 120.0
THREADS = 2  # of one stream of the engine


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """How a cluster is reached and used.

    Attributes:
        address: `HOST:PORT` of the head, `auto` for the cluster of this machine; empty for a local one that is started.
        threads: Of one worker process; 0 for two, or one where a machine of the cluster has no more.
        chunk_s: Seconds that a chunk should take.
        timeout_s: After so many seconds without an answer a chunk counts as lost.
        attempts: How often a chunk is tried.
    """

    address: str = ""
    threads: int = 0
    chunk_s: float = CHUNK_S
    timeout_s: float = TIMEOUT_S
    attempts: int = 4


def read_options(options: Mapping[str, str]) -> ClusterOptions:
    """Options as texts, `RAY_ADDRESS` where no address is among them; raises UsageError for what is no number."""
    return ClusterOptions(
        address=options.get("address") or os.environ.get("RAY_ADDRESS", ""),
        threads=int(_read_number(options, "threads", 0, least=0, whole=True)),
        chunk_s=_read_number(options, "chunk_s", CHUNK_S, least=0.01),
        timeout_s=_read_number(options, "timeout_s", TIMEOUT_S, least=1),
    )


def _read_number(options: Mapping[str, str], name: str, default: float, *, least: float, whole: bool = False) -> float:
    text = options.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"{name} `{text}` is not {kind} from {least:g} on", where=f"--on-option {name}")
    return value
