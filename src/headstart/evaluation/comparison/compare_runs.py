"""Compare: which run is better on the same pictures, at what cost, in which classes, and what was done otherwise.

Nothing is computed anew but differences: all is read from the run folders. Every pair is tested, and the tests of the
accuracy are corrected for their number.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from headstart.core.errors import UsageError
from headstart.core.storage.files import format_printable
from headstart.core.storage.serialization import as_json
from headstart.core.types import Score
from headstart.evaluation.comparison import paired_runs as pairs
from headstart.evaluation.comparison.paired_runs import Difference, Pair
from headstart.evaluation.comparison.run_summary import Cost, RunSummary, read_run_summary

_SHOWN = 5  # files that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the runs.

    Attributes:
        name: Its folder.
        model: Features and head.
        split: Which pictures judged it.
        scores: On all of these.
        cost: What it took, and what its model takes.
        data: Digest of its data set.
        pictures: In the data set.
    """

    name: str
    model: str
    split: str
    scores: tuple[Score, ...]
    cost: Cost
    data: str
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting in which the runs differ, with its value in each, in their order."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """How the pictures of another run differ from those of the first.

    Attributes:
        first: Name of the first.
        other: Name of the other.
        same: Whether data, names and labels are the same.
        both: Pictures, by content, in both.
        only_first: In the first alone, counted.
        only_other: In the other alone, counted.
        relabelled: In both, with two labels.
        examples: Some of those in one alone.
        classes: Class names in one alone.
    """

    first: str
    other: str
    same: bool
    both: int
    only_first: int
    only_other: int
    relabelled: int
    examples: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """All of it."""

    runs: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    settings: tuple[Setting, ...]
    data: tuple[DataChange, ...]


def compare_runs(paths: Sequence[str | Path]) -> Compared:
    """Compare finished runs.

    Args:
        paths: Their folders, at least two.

    Raises:
        UsageError: Fewer than two, or one twice.
        DataError: One is no finished run.
    """
    _require_several(list(map(Path, paths)))
    sides = [read_run_summary(Path(path)) for path in paths]
    found = [pairs.compare(one, other) for one, other in combinations(sides, 2)]
    return Compared(
        runs=tuple(map(_member, sides)),
        pairs=tuple(_corrected(found)),
        settings=tuple(_settings(sides)),
        data=tuple(_change(sides[0], other) for other in sides[1:]),
    )


def as_plain(found: Compared) -> dict[str, Any]:
    """As one JSON object."""
    told: dict[str, Any] = as_json(found)
    return told


def _require_several(paths: list[Path]) -> None:
    if len(paths) < 2:
        raise UsageError("to compare takes two runs or more", hint="headstart compare RUN RUN")
    twice = [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if twice:
        raise UsageError(f"the run `{twice[0].name}` is named twice", where="RUN", hint="name each run once")


def _member(side: RunSummary) -> Member:
    return Member(
        name=side.name,
        model=side.model,
        split=side.split,
        scores=side.scores,
        cost=side.cost,
        data=side.dataset.digest,
        pictures=len(side.dataset.uris),
    )


# ---------------------------------------------------------------- verdicts


def _corrected(found: list[Pair]) -> list[Pair]:
    """The tests of the accuracy corrected for the number of pairs, and each pair in one sentence."""
    accuracies = pairs.corrected(tuple(pair.scores[0] for pair in found))
    made = []
    for pair, accuracy in zip(found, accuracies, strict=True):
        whole = dataclasses.replace(pair, scores=(accuracy, *pair.scores[1:]))
        made.append(dataclasses.replace(whole, sentence=_sentence(whole, len(found))))
    return made


def _sentence(pair: Pair, count: int) -> str:
    accuracy = pair.scores[0]
    gain = f"{accuracy.value:+.3f} [{accuracy.low:+.3f}, {accuracy.high:+.3f}]"
    if not pair.common:
        told = "a tie" if accuracy.tie else f"`{_better(pair, accuracy)}` was right more often"
        return (
            f"no picture judged both, so they are compared unpaired: {told}, accuracy {gain}; other pictures may be "
            "the reason, not the model"
        )
    tests = f", corrected for {count} pairs" if count > 1 else ""
    test = f"p = {accuracy.adjusted:.2g} by {accuracy.test}{tests}"
    told = "a tie" if accuracy.tie else f"`{_better(pair, accuracy)}` is better"
    if not pair.only_one + pair.only_other:
        return f"a tie: both are right on the very same of {pair.common:,} pictures, accuracy {gain}"
    only = f"the first alone is right on {pair.only_one:,} of them, the second alone on {pair.only_other:,}"
    return f"{told}: accuracy {gain} on the same {pair.common:,} pictures; {only} ({test})"


def _better(pair: Pair, accuracy: Difference) -> str:
    return format_printable(pair.one if accuracy.value > 0 else pair.other)


# ---------------------------------------------------------------- what was done otherwise


def _settings(sides: list[RunSummary]) -> list[Setting]:
    """Settings that are not the same in all; the folder of the pictures is told by what is in it."""
    every = [dataclasses.asdict(side.job) for side in sides]
    names = [name for name in every[0] if name != "data"]
    return [
        Setting(name=name, values=tuple(one[name] for one in every))
        for name in names
        if any(one[name] != every[0][name] for one in every)
    ]


def _change(first: RunSummary, other: RunSummary) -> DataChange:
    a, b = first.dataset, other.dataset
    here, there = _labels(first), _labels(other)
    only_first, only_other = sorted(here.keys() - there.keys()), sorted(there.keys() - here.keys())
    both = here.keys() & there.keys()
    named = [here[digest][0] for digest in only_first] + [there[digest][0] for digest in only_other]
    return DataChange(
        first=first.name,
        other=other.name,
        same=a.digest == b.digest,
        both=len(both),
        only_first=len(only_first),
        only_other=len(only_other),
        relabelled=sum(here[digest][1] != there[digest][1] for digest in both),
        examples=tuple(format_printable(uri) for uri in sorted(named)[:_SHOWN]),
        classes=tuple(sorted(set(a.class_names) ^ set(b.class_names))),
    )


def _labels(side: RunSummary) -> dict[str, tuple[str, str]]:
    """Digest of each picture -> its path, and its label."""
    data = side.dataset
    names = [data.class_names[target] for target in data.targets]
    return {digest: (uri, name) for digest, uri, name in zip(data.digests, data.uris, names, strict=True)}
