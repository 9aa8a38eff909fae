"""Which rule picks the network that turns out best? A zoo of 12 small networks with known truth, and the regret.

    python -m benchmarks.ranking [--cheap] [--seeds 0]

Networks of three styles learnt one of four tasks each (`benchmarks.zoo_tasks`); all are fine-tuned on 60 pictures of
each of five targets, with three draws of pictures, and judged on 350 to 1,300 others: the truth. A rule sees the 60
pictures alone and picks a network; its regret is what the best network of all reaches there more than its pick, in
points of accuracy. The best network of all is partly best by luck, so that no rule comes to 0.

From nothing it takes about a quarter of an hour of CPU time, mostly fine-tuning, by the same recipe for all. What is
done is kept in the cache, and a killed run goes on.
`--cheap` leaves out our rule, which fine-tunes its finalists on folds; `--seeds 0` takes one draw of each target.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.zoo import LEARN, SEEDS, Zoo
from benchmarks.zoo_rules import OURS, RANDOM, SCORES, Case, choose, look
from headstart.core import blas_threads
from headstart.core.console import Console
from headstart.statistics.intervals import Interval, mean_interval


def regret(cases: Sequence[Case], rule: str) -> Interval:
    """Mean regret in points with its 95 % interval: cases of one target are no independent cases."""
    return mean_interval(np.array([case.regret(rule) for case in cases]), _targets(cases))


def settled(cases: Sequence[Case]) -> list[Case]:
    """The same cases and picks with a truth of less luck: each network's mean over the draws of its target."""
    found = []
    for case in cases:
        own = [one.truth for one in cases if one.of.task is case.of.task]
        mean = {name: float(np.mean([truth[name] for truth in own])) for name in case.truth}
        found.append(replace(case, truth=mean))
    return found


def beyond(cases: Sequence[Case], rule: str, other: str) -> Interval:
    """Regret of a rule minus that of another, case by case."""
    apart = np.array([case.regret(rule) - case.regret(other) for case in cases])
    return mean_interval(apart, _targets(cases))


def kendall(cases: Sequence[Case], rule: str) -> float:
    """Mean rank correlation of a rule's merits with the truth."""
    from scipy.stats import kendalltau

    found = [
        kendalltau([case.scores[rule][name] for name in case.truth], list(case.truth.values())).statistic
        for case in cases
    ]
    return float(np.mean([0.0 if math.isnan(one) else one for one in found]))


def _targets(cases: Sequence[Case]) -> np.ndarray:
    return np.unique([case.of.task.name for case in cases], return_inverse=True)[1]


def _shown(found: Interval) -> str:
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"


def tell_regret(cases: Sequence[Case]) -> None:
    """The table of rules."""
    rules = [*([OURS] if OURS in cases[0].picks else []), *SCORES, RANDOM]
    targets = list(dict.fromkeys(case.of.task.name for case in cases))
    draws = len(cases) // len(targets)
    print(f"\nRegret of the pick in points of accuracy, mean over {len(targets)} targets, {draws} draws of each")
    print("| rule | regret [95 % interval] | of the mean over draws | worst target | best taken | Kendall tau |")
    print("|---" * 6 + "|")
    steady = settled(cases)
    for rule in sorted(rules, key=lambda one: regret(cases, one).value):
        worst = max(np.mean([c.regret(rule) for c in cases if c.of.task.name == name]) for name in targets)
        taken = sum(case.regret(rule) == 0 for case in cases)
        tau = f"{kendall(cases, rule):.2f}" if rule in SCORES else "–"
        share = "–" if rule == RANDOM else f"{taken} of {len(cases)}"
        both = f"{_shown(regret(cases, rule))} | {_shown(regret(steady, rule))}"
        print(f"| {rule} | {both} | {worst:.1f} | {share} | {tau} |")
    if OURS in cases[0].picks:
        best = min(SCORES, key=lambda one: regret(cases, one).value)
        print(f"\n{OURS} against the best single rule, {best}: {_shown(beyond(cases, OURS, best))} points")


def tell_truth(zoo: Zoo, cases: Sequence[Case], random: Mapping[str, Mapping[str, float]]) -> None:
    """Accuracy after fine-tuning by source, and which source wins."""
    learnt = list(dict.fromkeys(member.learnt for member in zoo.members))
    print("\nAccuracy after fine-tuning by what was learnt before, mean over styles and seeds; * the related source")
    print(f"| target | {' | '.join([*learnt, 'nothing'])} | wins |\n|{'---|' * (len(learnt) + 3)}")
    for task in zoo.targets:
        own = [case for case in cases if case.of.task is task]
        mean = {
            one: float(np.mean([case.truth[m.name] for case in own for m in zoo.members if m.learnt == one]))
            for one in learnt
        }
        cells = [f"{100 * value:.1f}{'*' if one == task.related else ''}" for one, value in mean.items()]
        wins = [max(case.truth, key=lambda name: case.truth[name]).partition("/")[2] for case in own]
        told = ", ".join(f"{one} {wins.count(one)}" for one in dict.fromkeys(wins))
        nothing = 100 * float(np.mean(list(random[task.name].values())))
        print(f"| {task.name} | {' | '.join(cells)} | {nothing:.1f} | {told} |")


def tell_picks(cases: Sequence[Case]) -> None:
    """Every case."""
    print("\nEvery case: best network, and what was picked with its regret")
    for case in cases:
        best = max(case.truth, key=lambda name: case.truth[name])
        told = [f"{rule}: {name} {case.regret(rule):.1f}" for rule, name in case.picks.items()]
        told += [f"fine-tuned {name}: {why}, {100 * case.truth[name]:.1f}" for name, why in case.finalists.items()]
        print(f"{case.of.task.name}, seed {case.of.seed}: {best} {100 * case.truth[best]:.1f}; {'; '.join(told)}")


def main() -> None:
    """Make the zoo, find the truth, let the rules pick, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cheap", action="store_true", help="leave out our rule")
    parser.add_argument("--cases", action="store_true", help="print every case too")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="draws of each target: 0,1,2")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    zoo = Zoo(console=Console())
    print(f"{len(zoo.members)} networks, {LEARN} pictures to learn from; accuracy on their own task:")
    print(", ".join(f"{member.name} {member.accuracy:.3f}" for member in zoo.members), flush=True)
    cases, random = [], dict[str, dict[str, float]]()
    for of in (drawn for drawn in zoo.drawn() if drawn.seed in seeds):
        cases.append(Case(of=of, truth={member.name: zoo.truth(member, of) for member in zoo.members}))
        if of.seed == seeds[0]:
            random[of.task.name] = {member.name: zoo.truth(member, of) for member in zoo.controls}
    tell_truth(zoo, cases, random)
    with blas_threads.single_blas_thread():
        for case in cases:
            look(zoo, case)
    for case in cases:
        choose(zoo, case, ours=not args.cheap)
    tell_regret(cases)
    if args.cases:
        tell_picks(cases)


if __name__ == "__main__":
    main()
