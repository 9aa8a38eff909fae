"""Settings of a job that are numbers with a unit, or lists of numbers, as text."""

from __future__ import annotations

import re

from headstart.core.errors import UsageError

TRIPLES = "triples"  # of `bands`: the trunk sees all, three at a time
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_duration_s(text: str, where: str = "--budget") -> float:
    """`90s`, `5m`, `1.5h` or plain seconds as a number above zero; raises UsageError."""
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    value_s = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if value_s <= 0:
        fault = "is not a time above zero" if match else "is not a time"
        raise UsageError(f"`{text}` {fault}", where=where, hint="write 90s, 5m or 1h")
    return value_s


def parse_latency_ms(text: str) -> float:
    """`20ms`, `0.5s` or plain milliseconds as a number above zero; raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|)", text.strip())
    value_ms = float(match[1]) * {"": 1, "ms": 1, "s": 1000}[match[2]] if match else 0.0
    if value_ms <= 0:
        raise UsageError(f"`{text}` is not a latency", where="--max-latency", hint="write 20ms or 0.5s")
    return value_ms


def parse_bytes(text: str, where: str = "--max-size") -> float:
    """`50MB`, `800 kB`, `1.5GB` or plain bytes as a number above zero, decimal units; raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?b|)", text.strip().lower())
    size_bytes = float(match[1]) * _BYTES[match[2]] if match else 0.0
    if size_bytes <= 0:
        raise UsageError(f"`{text}` is not a size", where=where, hint="write 50MB or 1GB")
    return size_bytes


def parse_bands(text: str) -> tuple[int, ...]:
    """`4,3,2` as numbers of bands from 1, each once; empty for `auto` and `triples`; raises UsageError."""
    parts = [] if text in ("auto", TRIPLES) else text.split(",")
    bands = tuple(int(part) for part in parts if re.fullmatch(r"\s*[1-9]\d{0,3}\s*", part))
    if len(bands) < len(parts) or len(set(bands)) < len(bands):
        raise UsageError(
            f"`{text}` names no bands", where="--bands", hint="write auto, triples, or numbers from 1 as in 4,3,2"
        )
    return bands
