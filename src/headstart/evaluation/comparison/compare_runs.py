"""Compare: which run is better on the same pictures, at what cost, in which classes, and what was done otherwise.

Every pair is tested, by accuracy, squared errors of numbers or log losses of labels; the tests are corrected for their
number.
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
from headstart.core.types import Score
from headstart.evaluation.comparison import paired_runs as pairs
from headstart.evaluation.comparison.paired_runs import RunPair, ScoreDifference
from headstart.evaluation.comparison.run_summary import Cost, RunSummary, list_labels, read_run_summary
from headstart.statistics.losses import is_gain

_SHOWN = 5  # files that are named
_WORDS = {"mse": "mean squared error", "mae": "mean absolute error", "binary_log_loss": "log loss of a label"}
_BETTER = {"accuracy": "was right more often", "mae": "was off by less"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the runs."""

    name: str  # its folder
    model: str  # features and head
    split: str  # which pictures judged it
    optimistic: bool  # whether these also chose its model, so that its scores are optimistic
    adapted: bool  # to a new domain: scores are of the labelled one and the model before that
    scores: tuple[Score, ...]  # on all of these
    cost: Cost  # what it took, and what its model takes
    data: str  # digest of its data set
    pictures: int  # in the data set


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting in which the runs differ, with its value in each, in their order."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """How the pictures of another run differ from those of the first."""

    first: str
    other: str
    same: bool  # whether data, names and labels are the same
    both: int  # pictures, by content, in both
    only_first: int  # in the first alone, counted
    only_other: int  # in the other alone, counted
    relabelled: int  # in both, with two labels
    examples: tuple[str, ...]  # some of those in one alone
    classes: tuple[str, ...]  # class names in one alone


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """All of it."""

    runs: tuple[Member, ...]
    pairs: tuple[RunPair, ...]
    settings: tuple[Setting, ...]
    data: tuple[DataChange, ...]


def compare_runs(paths: Sequence[str | Path]) -> RunComparison:
    """Compare finished runs.

    Raises:
        UsageError: Fewer than two, or one twice, or of several tasks.
        DataError: One is no finished run.
    """
    _require_several(list(map(Path, paths)))
    summaries = [read_run_summary(Path(path)) for path in paths]
    _require_one_task(summaries)
    run_pairs = [pairs.compare_pair(first, other) for first, other in combinations(summaries, 2)]
    return RunComparison(
        runs=tuple(map(_make_member, summaries)),
        pairs=tuple(_correct_tests(run_pairs, {s.name for s in summaries if s.is_optimistic})),
        settings=tuple(_list_settings(summaries)),
        data=tuple(_describe_change(summaries[0], other) for other in summaries[1:]),
    )


def _require_several(paths: list[Path]) -> None:
    if len(paths) < 2:
        raise UsageError("to compare takes two runs or more", hint="headstart compare RUN RUN")
    twice = [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if twice:
        raise UsageError(f"the run `{twice[0].name}` is named twice", where="RUN", hint="name each run once")


def _require_one_task(summaries: Sequence[RunSummary]) -> None:
    first = summaries[0]
    other = next((each for each in summaries if each.dataset.task != first.dataset.task), None)
    if other is not None:
        tasks = " and ".join(f"`{each.name}` is of {each.dataset.task}" for each in (first, other))
        raise UsageError(f"{tasks}: their answers are not compared", where="RUN", hint="name runs of one task")
    labels = [set(each.dataset.class_names) for each in summaries if each.dataset.learning_task.has_labels]
    if differing := sorted(set().union(*labels) - set(labels[0]).intersection(*labels) if labels else ()):
        problem = f"the runs do not know the same labels: `{format_printable(differing[0])}` is not in all of them"
        raise UsageError(problem, where="RUN", hint="name runs that learnt the same labels")


def _make_member(summary: RunSummary) -> Member:
    return Member(
        name=summary.name,
        model=summary.model,
        split="nested cv" if summary.nested else summary.split,
        optimistic=summary.is_optimistic,
        adapted=summary.adapted,
        scores=summary.scores,
        cost=summary.cost,
        data=summary.dataset.digest,
        pictures=len(summary.dataset.uris),
    )


# ---------------------------------------------------------------- verdicts


def _correct_tests(run_pairs: list[RunPair], optimistic: set[str]) -> list[RunPair]:
    tested = pairs.correct_for_number(tuple(pair.scores[0] for pair in run_pairs))
    corrected = []
    for pair, score in zip(run_pairs, tested, strict=True):
        adjusted = dataclasses.replace(pair, scores=(score, *pair.scores[1:]))
        sentence = _format_sentence(adjusted, len(run_pairs)) + _format_optimism(adjusted, optimistic)
        corrected.append(dataclasses.replace(adjusted, sentence=sentence))
    return corrected


def _format_optimism(pair: RunPair, optimistic: set[str]) -> str:
    """Of a pair, the run whose model was chosen by the folds that judge it, where the other's was not."""
    names = [name for name in (pair.one, pair.other) if name in optimistic]
    if len(names) != 1:
        return ""
    return f"; the folds that judge `{format_printable(names[0])}` also chose its model: its scores are optimistic"


def _format_sentence(pair: RunPair, count: int) -> str:
    score = pair.scores[0]
    name = _WORDS.get(score.name, score.name.replace("_", " "))
    gain = f"{name} {score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"
    is_share = is_gain(score.name)
    if not pair.common:
        better = _BETTER.get(score.name, "has the better score")
        verdict = "a tie" if score.tie else f"`{_format_better(pair, score)}` {better}"
        return (
            f"no picture judged both, so they are compared unpaired: {verdict}, {gain}; other pictures may be "
            "the reason, not the model"
        )
    tests = f", corrected for {count} pairs" if count > 1 else ""
    test = f"p = {score.adjusted:.2g} by {score.test}{tests}"
    verdict = "a tie" if score.tie else f"`{_format_better(pair, score)}` is better"
    if not pair.only_one + pair.only_other:
        same = f"both are right on the very same of {pair.common:,} pictures, {gain}"
        return f"a tie: {same if is_share else f'both give the same answers for {pair.common:,} pictures'}"
    word = "right on" if is_share else "nearer on"
    only = f"the first alone is {word} {pair.only_one:,} of them, the second alone on {pair.only_other:,}"
    return f"{verdict}: {gain} on the same {pair.common:,} pictures; {only} ({test})"


def _format_better(pair: RunPair, score: ScoreDifference) -> str:
    return format_printable(pair.one if (score.value > 0) == is_gain(score.name) else pair.other)


# ---------------------------------------------------------------- what was done otherwise


def _list_settings(summaries: list[RunSummary]) -> list[Setting]:
    jobs = [dataclasses.asdict(summary.job) for summary in summaries]
    names = [name for name in jobs[0] if name != "data"]
    return [
        Setting(name=name, values=tuple(job[name] for job in jobs))
        for name in names
        if any(job[name] != jobs[0][name] for job in jobs)
    ]


def _describe_change(first: RunSummary, other: RunSummary) -> DataChange:
    a, b = first.dataset, other.dataset
    first_labels, other_labels = _labels_by_digest(first), _labels_by_digest(other)
    only_first = sorted(first_labels.keys() - other_labels.keys())
    only_other = sorted(other_labels.keys() - first_labels.keys())
    both = first_labels.keys() & other_labels.keys()
    named = [first_labels[digest][0] for digest in only_first] + [other_labels[digest][0] for digest in only_other]
    return DataChange(
        first=first.name,
        other=other.name,
        same=a.digest == b.digest,
        both=len(both),
        only_first=len(only_first),
        only_other=len(only_other),
        relabelled=sum(first_labels[digest][1] != other_labels[digest][1] for digest in both),
        examples=tuple(format_printable(uri) for uri in sorted(named)[:_SHOWN]),
        classes=tuple(sorted(set(a.class_names) ^ set(b.class_names))),
    )


def _labels_by_digest(summary: RunSummary) -> dict[str, tuple[str, Any]]:
    data = summary.dataset
    rows = zip(data.digests, data.uris, list_labels(data).tolist(), strict=True)
    return {digest: (uri, label) for digest, uri, label in rows}
