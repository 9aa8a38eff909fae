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

from headstart.core.errors import UsageError, nearest
from headstart.core.keys import plain
from headstart.core.licences import permissive
from headstart.core.store import Store
from headstart.kit import pace, trunk

Facts = dict[str, Any]
_TEXTS: Mapping[str, Callable[[Facts], str]] = {
    "name": lambda facts: str(facts["name"]),
    "source": lambda facts: str(facts["name"].partition(":")[0]),
    "family": lambda facts: str(facts["family"]),
    "licence": lambda facts: str(facts["licence"]),
    "trained": lambda facts: str(facts["pretrained_on"]),
    "weights": lambda facts: "here" if facts["weights_here"] else "pull",
}
_NUMBERS: Mapping[str, Callable[[Facts], float | None]] = {
    "params": lambda facts: facts["params"],
    "flops": lambda facts: facts["flops"],
    "prior": lambda facts: facts["prior"],
    "size": lambda facts: facts["download_bytes"],
    "px": lambda facts: facts["input"]["size_px"],
    "dim": lambda facts: facts["depths"][-1]["dim"],
    "speed": lambda facts: facts["images_per_s"],
}
_SAME_FIELD = {"license": "licence"}
_BEST_FIRST = ("prior", "speed")
SORTS = ("params", "flops", "prior", "size", "name", "speed")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def facts(name: str, store: Store, paces: Mapping[str, float] | None = None) -> Facts:
    """All that is known of a backbone, as plain JSON, with `weights_here`, `permissive` and `images_per_s`.

    Args:
        name: Of the backbone.
        store: The cache.
        paces: Images a second by name, from `pace.known`; looked up when not given.

    Raises:
        UsageError: No backbone has this name; the nearest are in the hint.
    """
    found = trunk.find(name)
    known: Facts = plain(found.spec)
    speeds = pace.known(store) if paces is None else paces
    return known | {
        "weights_here": bool(found.source.available(found.preset, store)),
        "permissive": permissive(found.spec.licence),
        "images_per_s": speeds.get(found.name),
    }


def every(store: Store, names: Sequence[str] = ()) -> list[Facts]:
    """The facts of the named backbones, or of all.

    Raises:
        UsageError: A name is unknown.
    """
    paces = pace.known(store)
    return [facts(name, store, paces) for name in names or trunk.names()]


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
            hint=nearest(by, SORTS) or f"known: {', '.join(SORTS)}",
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
    return "\n".join(map(_folded, (*texts, entry["licence_note"], entry["prior_source"])))


def _filter(text: str) -> Callable[[Facts], bool]:
    found = re.fullmatch(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", text)
    if not found:
        return lambda entry: bool(search([entry], [text]))
    field, sign, value = _SAME_FIELD.get(found[1].lower(), found[1].lower()), found[2], found[3]
    if field in _NUMBERS:
        limit = _number(value, text)
        return functools.partial(_compare, _NUMBERS[field], _SIGNS[sign], limit)
    if field not in _TEXTS:
        known = (*_TEXTS, *_NUMBERS)
        raise UsageError(
            f"there is no field `{found[1]}` to filter by",
            where=f"--filter {text}",
            hint=nearest(field, known) or f"known: {', '.join(known)}",
        )
    if sign not in ("=", "!="):
        raise UsageError(f"`{field}` is a text: it can be `=` or `!=`, not `{sign}`", where=f"--filter {text}")
    return lambda entry: _fits(field, value, entry) == (sign == "=")


def _fits(field: str, value: str, entry: Facts) -> bool:
    if field == "licence" and value.lower() == "permissive":
        return bool(entry["permissive"])
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
