"""What is known of every backbone, as plain JSON, and how to pick from it: filters, order, search.

A filter is a field, a sign (`=`, `!=`, `<`, `<=`, `>`, `>=`) and a value, as in `params<10M`; a word without a sign is
searched for in all texts. Texts are compared without case, and `*` stands for anything. Numbers may end in k, M or G,
sizes also in kB, MB or GB. What is not known (a speed that was never measured) passes no filter.
"""

from __future__ import annotations

import fnmatch
import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headstart.backbones import capabilities, latency, loading, remote_index
from headstart.backbones.licences import is_permissive
from headstart.core.errors import UsageError, format_nearest
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import to_plain

Facts = dict[str, Any]
_TEXTS: Mapping[str, Callable[[Facts], str]] = {
    "name": lambda facts: str(facts["name"]),
    "source": lambda facts: str(facts["name"].partition(":")[0]),
    "family": lambda facts: str(facts["family"]),
    "licence": lambda facts: str(facts["licence"]),
    "trained": lambda facts: str(facts["pretrained_on"]),
    "method": lambda facts: str(facts["method"]),
    "weights": lambda facts: "here" if facts["weights_here"] else "pull",
}
_LISTS = ("domains",)  # each of the words may fit
_NUMBERS: Mapping[str, Callable[[Facts], float | None]] = {
    "params": lambda facts: facts["params"],
    "flops": lambda facts: facts["flops"],
    "prior": lambda facts: facts["prior"],
    "size": lambda facts: facts["download_bytes"],
    "px": lambda facts: facts["input"] and facts["input"]["size_px"],
    "dim": lambda facts: facts["depths"][-1]["dim"] if facts["depths"] else None,
    "speed": lambda facts: facts["images_per_s"],
    "latency": lambda facts: facts["latency_ms"],
    "memory": lambda facts: facts["memory_bytes"],
}
_SAME_FIELD = {"license": "licence", "domain": "domains"}
_BEST_FIRST = ("prior", "speed")
SORTS = ("params", "flops", "prior", "size", "name", "speed", "latency", "memory")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def facts(name: str, store: Store) -> Facts:
    """All that is known of a backbone, as plain JSON; of one that only the index knows, whatever that says.

    To what a spec says come `weights_here`, `permissive`, what this machine measured (`images_per_s`, `latency_ms`,
    `memory_bytes`; None until then, but for the memory, which `memory_measured` tells from a guess), and `indexed`:
    whether the index alone has it. Nothing is fetched.

    Raises:
        UsageError: No backbone has this name; the nearest are in the hint.
    """
    if not loading.listed(name) and (entry := _unopened(store).get(name)):
        return _indexed(entry)
    found = loading.find(name)
    known: Facts = to_plain(found.spec)
    measured = latency.kept(found.spec, store)
    return known | {
        "weights_here": bool(found.source.available(found.preset, store)),
        "permissive": is_permissive(found.spec.licence),
        "images_per_s": measured.get("images_per_s"),
        "latency_ms": measured.get("latency_ms"),
        "memory_bytes": int(measured.get("memory_bytes", latency.memory_guess(found.spec))),
        "memory_measured": "memory_bytes" in measured,
        "indexed": False,
    }


def _indexed(entry: remote_index.IndexEntry) -> Facts:
    """What the index says; None for what only the weights tell."""
    nothing = dict.fromkeys(("flops", "download_bytes", "prior", "prior_source", "input", "images_per_s"))
    return nothing | {
        **to_plain(entry),
        "licence_note": "as the index says",
        "depths": [],
        "weights_here": False,
        "permissive": is_permissive(entry.licence),
        "latency_ms": None,
        "memory_bytes": None,
        "memory_measured": False,
        "indexed": True,
    }


def every(store: Store, names: Sequence[str] = ()) -> list[Facts]:
    """The facts of the named backbones, or of all that the sources list.

    Raises:
        UsageError: A name is unknown.
    """
    return [facts(name, store) for name in names or loading.names()]


def more(store: Store) -> list[Facts]:
    """The facts of those that only the index knows, by name."""
    listed = frozenset(loading.names())
    return [_indexed(entry) for name, entry in sorted(_unopened(store).items()) if name not in listed]


def _unopened(store: Store) -> dict[str, remote_index.IndexEntry]:
    """What sources ship a table of, which was looked into, and what the index has come to know since."""
    return {**remote_index.read_index(store), **capabilities.shipped()}


def pick(entries: Sequence[Facts], filters: Sequence[str]) -> list[Facts]:
    """Those that pass every filter, in their order.

    Raises:
        UsageError: A filter cannot be read.
    """
    tests = [_filter(text) for text in filters]
    return [entry for entry in entries if all(test(entry) for test in tests)]


def order(entries: Sequence[Facts], by: str) -> list[Facts]:
    """Sorted: by name, the smallest first, or of `prior` and `speed` the best first; what is unknown comes last.

    Raises:
        UsageError: There is no such order.
    """
    if by not in SORTS:
        raise UsageError(
            f"backbones cannot be sorted by `{by}`",
            where="--sort",
            hint=format_nearest(by, SORTS) or f"known: {', '.join(SORTS)}",
        )
    if by == "name":
        return sorted(entries, key=lambda entry: str(entry["name"]))
    sign = -1 if by in _BEST_FIRST else 1
    read = _NUMBERS[by]

    def place(entry: Facts) -> tuple[bool, float, str]:
        value = read(entry)
        return value is None, sign * (value or 0.0), entry["name"]

    return sorted(entries, key=place)


def search(entries: Sequence[Facts], words: Sequence[str]) -> list[Facts]:
    """Those whose texts hold every word, without case; `-`, `_` and spaces are the same."""
    wanted = [_folded(word) for word in words]
    return [entry for entry in entries if all(word in _all_texts(entry) for word in wanted)]


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


def _all_texts(entry: Facts) -> str:
    texts = [read(entry) for field, read in _TEXTS.items() if field != "weights"]
    notes = (entry["licence_note"], entry["prior_source"] or "", *entry["domains"])
    return "\n".join(map(_folded, (*texts, *notes)))


def _filter(text: str) -> Callable[[Facts], bool]:
    found = re.fullmatch(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", text)
    if not found:
        return lambda entry: bool(search([entry], [text]))
    field, sign, value = _SAME_FIELD.get(found[1].lower(), found[1].lower()), found[2], found[3]
    if field in _NUMBERS:
        limit = _number(value, text)
        return functools.partial(_compare, _NUMBERS[field], _SIGNS[sign], limit)
    if field not in _TEXTS and field not in _LISTS:
        known = (*_TEXTS, *_LISTS, *_NUMBERS)
        raise UsageError(
            f"there is no field `{found[1]}` to filter by",
            where=f"--filter {text}",
            hint=format_nearest(field, known) or f"known: {', '.join(known)}",
        )
    if sign not in ("=", "!="):
        raise UsageError(f"`{field}` is a text: it can be `=` or `!=`, not `{sign}`", where=f"--filter {text}")
    return lambda entry: _fits(field, value, entry) == (sign == "=")


def _fits(field: str, value: str, entry: Facts) -> bool:
    if field == "licence" and value.lower() == "permissive":
        return bool(entry["permissive"])
    if field in _LISTS:
        return any(fnmatch.fnmatchcase(one.lower(), value.lower()) for one in entry[field])
    return fnmatch.fnmatchcase(_TEXTS[field](entry).lower(), value.lower())


def _compare(
    read: Callable[[Facts], float | None], sign: Callable[[float, float], bool], limit: float, entry: Facts
) -> bool:
    value = read(entry)
    return value is not None and sign(value, limit)


def _number(value: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value, re.I)
    if not found:
        raise UsageError(f"`{value}` is not a number", where=f"--filter {text}", hint="10M, 0.75, 50MB")
    return float(found[1]) * _UNITS[found[2].lower()]
