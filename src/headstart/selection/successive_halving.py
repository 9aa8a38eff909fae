"""The rule by which a backbone is chosen, on plain values: what is measured, what goes on, what is fine-tuned.

A published accuracy and a probe on few pictures err in different ways, and no score of transferability is best on every
set of pictures (Agostinelli et al., ECCV 2022; Chaves et al., 2023), so neither decides alone. A backbone is looked at
where its chance to win is worth its passes. Probes on more and more pictures halve the field (Karnin et al., ICML 2013;
Jamieson and Talwalkar, AISTATS 2016), and the best by prior goes on. Of those that are fine-tuned the best by probe and
by prior are two (Renggli et al., CVPR 2022), the cheapest is the third.

What the looks at all others may cost is a third of the pass of all pictures through the best by prior, so that by plan
at most a quarter of all passes is of backbones that are not handed over. Cost is counted in operations.

All are pure: the same values give the same choice, in whatever order they come. Equal merits go by cost, then by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from headstart.statistics.paired_selection import CandidateLosses, paired_difference

MOST = 8  # backbones that are looked at
LOST = 1 / 4  # of all passes at most are of backbones that are not handed over
SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)  # pictures that a round may look at
A_CLASS = 4  # pictures of each class that a round needs to tell backbones apart, where that is no more than
ENOUGH = 256
SPREAD = 0.5  # standard deviation, in log-odds, by which a difference of published accuracies may be off
BY_PROBE, BY_PRIOR, CHEAPEST = "best by probe", "best by prior", "cheapest to train"  # why one is a finalist,
NEXT = "next by probe"  # where those are fewer than was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A backbone before it is measured.

    Attributes:
        expected: Accuracy that is expected of it, 0..1; NaN, unknown, ranks last.
        cost: Operations for one picture.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The backbones that are looked at, the cheapest first; and why the others are not."""

    names: tuple[str, ...]
    left_out: Mapping[str, str]


def estimate_chance(option: Option, leader: Option) -> float:
    """How likely an option is to do better than the leader, by what is expected of both: 0.5 for equals.

    The log-odds of transfer accuracy are linear in those of ImageNet accuracy (Kornblith et al., CVPR 2019); `SPREAD`
    is how far one set of pictures may be off.
    """
    if math.isnan(option.expected):
        return 0.5 if math.isnan(leader.expected) else 0.0
    if math.isnan(leader.expected):
        return 1.0
    return NormalDist(sigma=SPREAD).cdf(_log_odds(option.expected) - _log_odds(leader.expected))


def choose_field(
    options: Iterable[Option],
    pictures: int,
    sizes: Sequence[int],
    *,
    required: Iterable[str] = (),
    free: Iterable[str] = (),
) -> Field:
    """The backbones that are worth a look at a few of the `pictures`; the best by prior and `required` always are, and
    those that the user named, whose operations are `free`: they count for nothing.

    `sizes` are those that a round may have.

    Of the others those stay whose smallest look takes no more than its chance to win of what all looks may cost, of
    them the most promising, and they enter by chance for cost as long as all rounds have room. A `ValueError` where
    there is no option, two share a name, or `required` names none of them.
    """
    by_name, always = {option.name: option for option in _require_distinct_names(options)}, {*required, *free}
    if unknown := always - set(by_name):
        raise ValueError(f"no options: {sorted(unknown)}")
    leader, left_out = by_name[best_by_prior(by_name.values())], dict[str, str]()
    field, fewest = [by_name[name] for name in sorted({*always, leader.name})], min(sizes, default=0)
    chances = {name: estimate_chance(option, leader) for name, option in by_name.items()}
    worthwhile: list[Option] = []
    for option in sorted(by_name.values(), key=_promise_key):
        look, chance = fewest * option.cost, chances[option.name]
        if option in field:
            continue
        if not fewest:
            left_out[option.name] = f"{pictures:,} pictures are too few to tell it from {leader.name}"
        elif look > chance * _allow(leader, pictures):
            cost = (
                f"{fewest} pictures through it cost {look / (leader.cost * pictures):.0%} of all through {leader.name}"
            )
            left_out[option.name] = f"{cost}, and its chance to be better is {chance:.1%}"
        else:
            worthwhile.append(option)
    for option in sorted(worthwhile[: MOST - 1], key=lambda o: (o.cost / chances[o.name], *_promise_key(o))):
        if fewest * _pace([*field, option], leader, free) * _count_rounds(len(field) + 1) <= _allow(leader, pictures):
            field.append(option)
    chosen = {option.name for option in field}
    left_out |= {o.name: "more is expected of the others for their cost" for o in worthwhile if o.name not in chosen}
    return Field(names=tuple(o.name for o in sorted(field, key=lambda o: (o.cost, o.name))), left_out=left_out)


def list_sizes(most: int, classes: int) -> list[int]:
    """How many pictures a round may look at: some of each class, and no more than `most`."""
    return [n for n in SIZES if min(A_CLASS * classes, ENOUGH) <= n <= most]


def plan_round(
    options: Sequence[Option],
    pictures: int,
    training: int,
    sizes: Sequence[int],
    *,
    seen: int = 0,
    lost: float = 0.0,
    free: Iterable[str] = (),
) -> int:
    """How many pictures the next round looks at, one of `sizes` or again as many as were `seen`; 0 for no round.

    Each round has an equal part of what is left (Karnin et al.). The last two need none where all `training` pictures
    may as well go through both. `lost` operations went to those that stayed behind; what the user named is `free`: its
    operations count for nothing.
    """
    if len(options) < 2:
        return 0
    leader = next(option for option in options if option.name == best_by_prior(options))
    pace, allowance = _pace(options, leader, set(free)), _allow(leader, pictures) - lost
    if len(options) == 2 and training * pace <= allowance:
        return 0
    rounds = _count_rounds(len(options))
    return max((n for n in sizes if n > seen and (n - seen) * pace * rounds <= allowance - seen * pace), default=seen)


def halve_options(
    options: Iterable[Option], candidates: Sequence[CandidateLosses], *, clusters: np.ndarray | None = None
) -> Halving:
    """Who goes on after a round: at most half, but two at least; none that the paired interval tells from the best.

    The best by prior goes on beside them. `candidates` have each one's held-out losses at its best level, under the
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
    most = max(2, (len(by_loss) + 1) // 2)
    survivors = list(dict.fromkeys([best.name, best_by_prior(by_name.values()), *tied]))[:most]
    for name in (c.name for c in by_loss if c.name not in survivors):
        value, low, high = differences[name]
        reason = f"its loss is {value:.3f} [{low:.3f}, {high:.3f}] above that of {best.name}"
        dropped[name] = f"{reason}, and it is not among the better half" if name in tied else reason
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


def _pace(options: Iterable[Option], leader: Option, free: Iterable[str]) -> float:
    """Operations that one more picture costs, without those of the leader and of what is free."""
    return math.fsum(option.cost for option in options if option != leader and option.name not in free)


def _count_rounds(backbones: int) -> int:
    return math.ceil(math.log2(backbones))


def _allow(leader: Option, pictures: int) -> float:
    """Operations that the looks at all may cost, where the leader's pass is handed over."""
    return LOST / (1 - LOST) * leader.cost * pictures


def _log_odds(share: float) -> float:
    bounded = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))
