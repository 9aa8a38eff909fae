"""The rule by which a backbone is chosen, on plain values: what is measured, what goes on, what is fine-tuned.

A published accuracy and a probe on few pictures err in different ways, and no score of transferability is best on every
set of pictures (Agostinelli et al., ECCV 2022; Chaves et al., 2023), so neither decides alone. Probes on more and more
pictures halve the field (Karnin et al., ICML 2013; Jamieson and Talwalkar, AISTATS 2016), the best by prior always goes
on, and both are fine-tuned (Renggli et al., CVPR 2022), the cheapest beside.

All are pure: the same values give the same choice, in whatever order they come. Equal merits go by cost, then by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.statistics.paired_selection import CandidateLosses, paired_difference

FEWEST, MOST = 4, 8  # backbones on a shortlist, where there are as many
ROUNDS = (96, 256, 1_024)  # pictures that a round of halving looks at
WHOLE = 2.5  # a round sees at most this part of all pictures, else halving is not worth its probes
LEAST = 3  # backbones from which on halving is worth it,
EARLY = 6  # and from which on its first round is
NO_ROOM = "what comes next would not fit the budget"  # why one is dropped that is not worse
BY_PROBE, BY_PRIOR, CHEAPEST = "best by probe", "best by prior", "cheapest to train"  # why one is a finalist,
NEXT = "next by probe"  # where those are fewer than was asked for
A_CLASS = 4  # pictures of each class that a round needs to tell backbones apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A backbone before it is measured.

    Attributes:
        expected: Quality that is expected of it, higher is better, on any one scale; NaN, unknown, ranks last.
        cost: Of taking it, lower is better, in the unit of the caller's `room`: seconds of its pass, operations.
    """

    name: str
    expected: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """Who goes on after a round: the best by probe, the best by prior, then by losses; and why the others do not."""

    survivors: tuple[str, ...]
    dropped: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A backbone that is worth fine-tuning, and why: `BY_PROBE`, `BY_PRIOR`, `CHEAPEST`, several of them, or `NEXT`."""

    name: str
    why: str


def best_by_prior(options: Iterable[Option]) -> str:
    """The option of which most is expected; of equals the cheapest. `ValueError` for none, or two of one name."""
    return min(_require_distinct_names(options), key=_promise_key).name


def make_shortlist(
    options: Iterable[Option],
    room: float = math.inf,
    *,
    required: Iterable[str] = (),
    fewest: int = FEWEST,
    most: int = MOST,
) -> tuple[str, ...]:
    """The backbones that are worth measuring, the most promising first; `required` whatever they cost.

    The cheapest is always among them. The others are taken by what is expected of them, each whose cost leaves room for
    the list to reach `fewest` with the cheapest of the rest: one dear backbone does not stand for all. A `ValueError`
    where there is no option, two share a name, or `required` names none of them.
    """
    all_options, required_names = _require_distinct_names(options), set(required)
    if unknown := required_names - {option.name for option in all_options}:
        raise ValueError(f"no options: {sorted(unknown)}")
    chosen = [option for option in all_options if option.name in required_names]
    by_cost = sorted((option for option in all_options if option.name not in required_names), key=_cost_key)
    if by_cost and (not chosen or (_sum_costs([*chosen, by_cost[0]]) <= room and len(chosen) < most)):
        chosen.append(by_cost.pop(0))
    reachable = next(
        (n for n in range(fewest, 0, -1) if _sum_costs([*chosen, *by_cost[: max(0, n - len(chosen))]]) <= room), 0
    )
    for option in sorted(by_cost, key=_promise_key):
        if len(chosen) >= most:
            break
        rest_by_cost = [other for other in by_cost if other not in chosen and other != option]
        if _sum_costs([*chosen, option, *rest_by_cost[: max(0, reachable - len(chosen) - 1)]]) <= room:
            chosen.append(option)
    return tuple(option.name for option in sorted(chosen, key=_promise_key))


def plan_rounds(backbones: int, pictures: int, classes: int = 1) -> tuple[int, ...]:
    """How many pictures each round of halving looks at, ascending, before those that are left see all.

    Some of each class, but for the last; empty where all may as well see all pictures at once.
    """
    if backbones < LEAST:
        return ()
    counts = [n for n in ROUNDS if n * WHOLE <= pictures and (n != ROUNDS[0] or backbones >= EARLY)]
    if ROUNDS[1] not in counts:
        return ()
    return tuple(n for n in counts if n >= A_CLASS * classes) or (counts[-1],)


def predict_survivors(options: Iterable[Option], room: float = math.inf) -> tuple[str, ...]:
    """Who is likely to go on after a round: the better half by what is expected, as far as their costs have room."""
    by_promise = sorted(_require_distinct_names(options), key=_promise_key)
    survivors = by_promise[: (len(by_promise) + 1) // 2]
    while len(survivors) > 1 and _sum_costs(survivors) > room:
        survivors.pop()
    return tuple(option.name for option in survivors)


def halve_options(
    options: Iterable[Option],
    candidates: Sequence[CandidateLosses],
    *,
    clusters: np.ndarray | None = None,
    room: float = math.inf,
) -> Halving:
    """Who goes on after a round: whom the paired interval cannot tell from the best, at most the better half.

    The best by prior goes on beside them. Where not all fit, the last of them stay behind, the best by prior last;
    the best by probe goes on at any cost. `candidates` have each one's held-out losses at its best level, under the
    options' names, else a `ValueError`; `clusters` (N,) are of the whole data set.
    """
    by_name = {option.name: option for option in _require_distinct_names(options)}
    by_loss = sorted(
        candidates, key=lambda c: (c.mean_loss, by_name[c.name].cost if c.name in by_name else 0.0, c.name)
    )
    if sorted(by_name) != sorted(c.name for c in by_loss):
        raise ValueError(f"options {sorted(by_name)} and candidates {sorted(c.name for c in by_loss)} are not the same")
    best, dropped = by_loss[0], dict[str, str]()
    differences = {c.name: paired_difference(c, best, clusters) for c in by_loss}
    tied = [c.name for c in by_loss if differences[c.name].low <= 0]
    better_half = tied[: (len(by_loss) + 1) // 2]
    survivors = list(dict.fromkeys([best.name, best_by_prior(by_name.values()), *better_half]))
    for name in (c.name for c in by_loss if c.name not in survivors):
        value, low, high = differences[name]
        reason = f"its loss is {value:.3f} [{low:.3f}, {high:.3f}] above that of {best.name}"
        dropped[name] = f"{reason}, and it is not among the better half" if name in tied else reason
    while len(survivors) > 1 and _sum_costs(by_name[name] for name in survivors) > room:
        dropped[survivors.pop()] = NO_ROOM
    return Halving(survivors=tuple(survivors), dropped=dropped)


def choose_finalists(
    options: Iterable[Option], losses: Mapping[str, float], *, fewest: int = 1, most: int = 3
) -> tuple[Finalist, ...]:
    """The backbones that are fine-tuned: the best by probe, the best by prior, and the cheapest to train.

    Where nothing is expected of any, none is best by prior. Below `fewest` the next by probe are taken too, but none
    that is worse in one of loss, expectation and cost, and no better in any. A `most` of 2 leaves out the cheapest.
    A `ValueError` where there is no option, two share a name, or one has no loss.
    """
    all_options = _require_distinct_names(options)
    if missing := sorted(option.name for option in all_options if option.name not in losses):
        raise ValueError(f"no losses of {missing}")
    merits = {
        BY_PROBE: lambda option: (losses[option.name], option.cost, *_promise_key(option)),
        BY_PRIOR: lambda option: (_promise_key(option)[0], losses[option.name], option.cost, option.name),
        CHEAPEST: lambda option: (option.cost, losses[option.name], *_promise_key(option)),
    }
    if all(math.isnan(option.expected) for option in all_options):
        del merits[BY_PRIOR]
    why: dict[str, list[str]] = {}
    for merit, key in merits.items():
        winner = min(all_options, key=key).name
        if winner in why or len(why) < most:
            why.setdefault(winner, []).append(merit)
    values = {option.name: (losses[option.name], option.cost, _promise_key(option)[0]) for option in all_options}
    for option in sorted(all_options, key=merits[BY_PROBE]):
        is_wanted = len(why) < min(fewest, most) and option.name not in why
        if is_wanted and not _is_dominated(values[option.name], values.values()):
            why[option.name] = [NEXT]
    return tuple(Finalist(name=name, why=" and ".join(reasons)) for name, reasons in why.items())


def _is_dominated(one: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    return any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in others)


def _require_distinct_names(options: Iterable[Option]) -> list[Option]:
    all_options = list(options)
    names = sorted(option.name for option in all_options)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"options need names of their own: {names}")
    return all_options


def _promise_key(option: Option) -> tuple[float, float, str]:
    return (math.inf if math.isnan(option.expected) else -option.expected, option.cost, option.name)


def _cost_key(option: Option) -> tuple[float, float, str]:
    return (option.cost, *_promise_key(option)[::2])


def _sum_costs(options: Iterable[Option]) -> float:
    """Exact to the last bit, so that the order of adding does not matter."""
    return math.fsum(option.cost for option in options)
