"""The rule by which a backbone is chosen, on plain values: what is measured, what goes on, what is fine-tuned.

A published accuracy and a probe on few pictures err in different ways, and no score of transferability is best on every
set of pictures (Agostinelli et al., ECCV 2022; Chaves et al., 2023), so neither decides alone:

1. `shortlist`: of all backbones the most promising by the prior whose passes fit the time.
2. `rounds` and `halve`: probes on cached features of more and more pictures, the better half goes on each time
   (successive halving: Karnin et al., ICML 2013; Jamieson and Talwalkar, AISTATS 2016); the best by prior always does.
3. `finalists`: the best by probe and the best by prior are fine-tuned (Renggli et al., CVPR 2022), the cheapest beside.
4. `headstart.statistics.paired_selection.choose_candidate` decides between what was fine-tuned, picture by picture.

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
        name: Unique among the options.
        expected: Quality that is expected of it, higher is better, on any one scale
            (`headstart.selection.published_accuracy` has accuracies). NaN where nothing is known, which ranks last.
        cost: Of taking it, lower is better, in the unit of the caller's `room`: seconds of its pass, operations.
    """

    name: str
    expected: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """What a round of halving came to.

    Attributes:
        kept: Names that go on: the best by probe, the best by prior where it is another, then by their losses.
        dropped: Why each of the others does not, by name.
    """

    kept: tuple[str, ...]
    dropped: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A backbone that is worth fine-tuning, and why: `BY_PROBE`, `BY_PRIOR`, `CHEAPEST`, several of them, or `NEXT`."""

    name: str
    why: str


def best_by_prior(options: Iterable[Option]) -> str:
    """The name of the option of which most is expected; of equals the cheapest.

    Raises:
        ValueError: There is none, or two share a name.
    """
    return min(_named(options), key=_promise).name


def shortlist(
    options: Iterable[Option],
    room: float = math.inf,
    *,
    must: Iterable[str] = (),
    fewest: int = FEWEST,
    most: int = MOST,
) -> tuple[str, ...]:
    """The backbones that are worth measuring, the most promising first.

    The cheapest is always among them. The others are taken by what is expected of them, each whose cost leaves room for
    the list to reach `fewest` with the cheapest of the rest: one dear backbone does not stand for all.

    Args:
        options: All that may be taken: those that break a limit of licence, size or latency left out before.
        room: That their costs together may take.
        must: Names that are taken whatever they cost; they count.
        fewest: Length of the list where room and options allow it.
        most: Length of the list at most, `must` aside.

    Returns:
        At least one name; more than `room` only where `must` or the cheapest alone takes it.

    Raises:
        ValueError: There is no option, two share a name, or `must` names none of them.
    """
    every, wanted = _named(options), set(must)
    if wanted - {one.name for one in every}:
        raise ValueError(f"no options: {sorted(wanted - {one.name for one in every})}")
    taken = [one for one in every if one.name in wanted]
    cheap = sorted((one for one in every if one.name not in wanted), key=_thrift)
    if cheap and (not taken or (_cost([*taken, cheap[0]]) <= room and len(taken) < most)):
        taken.append(cheap.pop(0))
    goal = next((n for n in range(fewest, 0, -1) if _cost([*taken, *cheap[: max(0, n - len(taken))]]) <= room), 0)
    for one in sorted(cheap, key=_promise):
        if len(taken) >= most:
            break
        rest = [other for other in cheap if other not in taken and other != one]
        if _cost([*taken, one, *rest[: max(0, goal - len(taken) - 1)]]) <= room:
            taken.append(one)
    return tuple(one.name for one in sorted(taken, key=_promise))


def rounds(backbones: int, pictures: int, classes: int = 1) -> tuple[int, ...]:
    """How many pictures each round of halving looks at, before those that are left see all.

    Args:
        backbones: Candidates.
        pictures: In all.
        classes: C; a round shows some pictures of each, but for the last.

    Returns:
        Ascending; empty where all may as well see all pictures at once.
    """
    if backbones < LEAST:
        return ()
    found = [n for n in ROUNDS if n * WHOLE <= pictures and (n != ROUNDS[0] or backbones >= EARLY)]
    if ROUNDS[1] not in found:
        return ()
    return tuple(n for n in found if n >= A_CLASS * classes) or (found[-1],)


def foreseen(options: Iterable[Option], room: float = math.inf) -> tuple[str, ...]:
    """Who is likely to go on after a round, before anything is measured: the better half by what is expected of each.

    Args:
        options: The backbones of this round; `cost` is of what going on takes.
        room: For the costs of those that go on.
    """
    order = sorted(_named(options), key=_promise)
    kept = order[: (len(order) + 1) // 2]
    while len(kept) > 1 and _cost(kept) > room:
        kept.pop()
    return tuple(one.name for one in kept)


def halve(
    options: Iterable[Option],
    judged: Sequence[CandidateLosses],
    *,
    clusters: np.ndarray | None = None,
    room: float = math.inf,
) -> Halving:
    """Who goes on after a round: whom the paired interval cannot tell from the best, at most the better half.

    The best by prior goes on beside them. Where not all fit, the last of them stay behind, the best by prior last.

    Args:
        options: The backbones of this round; `cost` is of what going on takes.
        judged: The held-out losses of each at its best depth, all on the same pictures, under the options' names.
        clusters: (N,) label of every row of the data set, or None; look-alikes widen the intervals.
        room: For the costs of those that go on; the best by probe does at any cost.

    Raises:
        ValueError: Options and contenders are not the same, two share a name, or there is none.
    """
    of = {one.name: one for one in _named(options)}
    order = sorted(judged, key=lambda c: (c.mean_loss, of[c.name].cost if c.name in of else 0.0, c.name))
    if sorted(of) != sorted(c.name for c in order):
        raise ValueError(f"options {sorted(of)} and contenders {sorted(c.name for c in order)} are not the same")
    best, dropped = order[0], dict[str, str]()
    apart = {c.name: paired_difference(c, best, clusters) for c in order}
    close = [c.name for c in order if apart[c.name].low <= 0]
    half = close[: (len(order) + 1) // 2]
    kept = list(dict.fromkeys([best.name, best_by_prior(of.values()), *half]))
    for name in (c.name for c in order if c.name not in kept):
        value, low, high = apart[name]
        told = f"its loss is {value:.3f} [{low:.3f}, {high:.3f}] above that of {best.name}"
        dropped[name] = f"{told}, and it is not among the better half" if name in close else told
    while len(kept) > 1 and _cost(of[name] for name in kept) > room:
        dropped[kept.pop()] = NO_ROOM
    return Halving(kept=tuple(kept), dropped=dropped)


def finalists(
    options: Iterable[Option], losses: Mapping[str, float], *, fewest: int = 1, most: int = 3
) -> tuple[Finalist, ...]:
    """The backbones that are fine-tuned: the best by probe, the best by prior, and the cheapest to train.

    Where nothing is expected of any, none is best by prior. Whichever of these are one backbone stand once. Another
    that is worse in one of loss, expectation and cost, and no better in any, is never among them.

    Args:
        options: Those that were measured and can be trained; `cost` is of training, or anything that orders alike.
        losses: Mean held-out loss of each one's best probe, by name.
        fewest: Below so many the next by probe are taken too, as far as there are any.
        most: How many at most; 2 leaves out the cheapest.

    Raises:
        ValueError: There is no option, two share a name, or one has no loss.
    """
    every = _named(options)
    if missing := sorted(one.name for one in every if one.name not in losses):
        raise ValueError(f"no losses of {missing}")
    merits = {
        BY_PROBE: lambda one: (losses[one.name], one.cost, *_promise(one)),
        BY_PRIOR: lambda one: (_promise(one)[0], losses[one.name], one.cost, one.name),
        CHEAPEST: lambda one: (one.cost, losses[one.name], *_promise(one)),
    }
    if all(math.isnan(one.expected) for one in every):
        del merits[BY_PRIOR]
    why: dict[str, list[str]] = {}
    for merit, key in merits.items():
        best = min(every, key=key).name
        if best in why or len(why) < most:
            why.setdefault(best, []).append(merit)
    values = {one.name: (losses[one.name], one.cost, _promise(one)[0]) for one in every}
    for one in sorted(every, key=merits[BY_PROBE]):
        if len(why) < min(fewest, most) and one.name not in why and not _dominated(values[one.name], values.values()):
            why[one.name] = [NEXT]
    return tuple(Finalist(name=name, why=" and ".join(told)) for name, told in why.items())


def _dominated(one: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    return any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in others)


def _named(options: Iterable[Option]) -> list[Option]:
    every = list(options)
    names = sorted(one.name for one in every)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"options need names of their own: {names}")
    return every


def _promise(one: Option) -> tuple[float, float, str]:
    """Orders by what is expected, the most first."""
    return (math.inf if math.isnan(one.expected) else -one.expected, one.cost, one.name)


def _thrift(one: Option) -> tuple[float, float, str]:
    """Orders by cost, the least first."""
    return (one.cost, *_promise(one)[::2])


def _cost(some: Iterable[Option]) -> float:
    """Exact to the last bit, so that the order of adding does not matter."""
    return math.fsum(one.cost for one in some)
