"""Which rule picks the network that turns out best? A zoo of 12 small networks with known truth, and the regret.

    python -m benchmarks.ranking [--cheap]

Networks of three styles learnt one of four tasks each (`benchmarks.zoo_tasks`); all are fine-tuned on 60 pictures of
each of five targets, with three draws of pictures, and judged on 350 to 1,300 others: the truth. A rule sees the 60
pictures alone and picks a network; its regret is what the best network of all reaches there more than its pick, in
points of accuracy. The best network of all is partly best by luck, so that no rule comes to 0.

From nothing it takes about a quarter of an hour of CPU time, mostly fine-tuning, by the same recipe for all. What is
done is kept in the cache, and a killed run goes on.
`--cheap` leaves out our rule, which fine-tunes its finalists on folds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.zoo import FOLDS, KIND, LEARN, SEEDS, Drawn, Member, Zoo
from benchmarks.zoo_nets import DEPTHS
from headstart.core import registry
from headstart.core.say import Say
from headstart.core.types import Score
from headstart.kit import average, blas, choosing, crossval, leep, losses, prior, transferability
from headstart.kit.choosing import Option
from headstart.kit.compare import Contender, pick
from headstart.kit.fitted import softmax
from headstart.kit.history import OWN, Measured, Record
from headstart.kit.intervals import Interval, mean_interval
from headstart.stages.adapt.bases import STARTS

LINEAR = ("ridge", "logistic")
PROBES = ("knn", *LINEAR)
_LOOK = 1  # raise when a rule sees otherwise
METRIC = "log_loss"  # headstart's own default
OURS, RANDOM = "headstart's rule", "random"
FIGURE, HISTORY = "prior: figure of its own task", "prior: earlier runs"
SCORES = (FIGURE, HISTORY, "LogME", "H-score", "LEEP", "NCE", *PROBES)


@dataclass(kw_only=True, eq=False)
class Case:
    """A target with a seed: what rules say of each network, what they pick, and what is true.

    Attributes:
        of: The pictures.
        truth: Network -> accuracy after fine-tuning.
        scores: Rule -> network -> merit, higher is better.
        losses: Network -> mean held-out log loss of its best linear probe.
        balanced: Network -> balanced accuracy of that probe.
        picks: Rule -> the network that it takes.
        finalists: Network that our rule fine-tunes -> why.
    """

    of: Drawn
    truth: dict[str, float]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    balanced: dict[str, float] = field(default_factory=dict)
    picks: dict[str, str] = field(default_factory=dict)
    finalists: dict[str, str] = field(default_factory=dict)

    def regret(self, rule: str) -> float:
        """In points of accuracy; of `random` what is to be expected."""
        taken = float(np.mean(list(self.truth.values()))) if rule == RANDOM else self.truth[self.picks[rule]]
        return 100 * (max(self.truth.values()) - taken)


# ---------------------------------------------------------------- what rules see


def look(zoo: Zoo, case: Case) -> None:
    """Every score that needs the pictures of this case and no other; it lies in the cache afterwards."""
    case.scores |= {name: {} for name in SCORES}
    for member in zoo.members:
        key = {"looked": _LOOK, "network": member.digest, "task": case.of.task.digest, "rows": case.of.rows.tolist()}

        def write(draft: Path, member: Member = member) -> None:
            (draft / "seen.json").write_text(json.dumps(_seen(zoo, member, case.of)))

        seen = json.loads((zoo.store.make(KIND, key, write) / "seen.json").read_text())
        case.losses[member.name], case.balanced[member.name] = seen.pop("loss"), seen.pop("balanced")
        for name, merit in (seen | {FIGURE: member.accuracy}).items():
            case.scores[name][member.name] = merit


def _seen(zoo: Zoo, member: Member, of: Drawn) -> dict[str, float]:
    """Merit by rule; loss and balanced accuracy of the best linear probe."""
    features = {depth: x[of.rows] for depth, x in zoo.features(member, of.task).items()}
    answers, spectrum = member.answers(features["last"]), transferability.spectrum(features["last"], of.y)
    found = _probed(features, of)
    best = min((found[probe] for probe in LINEAR), key=lambda one: float(one.losses.mean()))
    return {
        "LogME": transferability.logme(spectrum),
        "H-score": transferability.h_score(spectrum),
        "LEEP": leep.leep(answers, of.y),
        "NCE": leep.nce(answers, of.y),
        **{probe: -float(made.losses.mean()) for probe, made in found.items()},
        "loss": float(best.losses.mean()),
        "balanced": _balanced(of.y, best.held_out),
    }


def _probed(features: Mapping[str, np.ndarray], of: Drawn) -> dict[str, crossval.Tuned]:
    """Each probe at the depth where its cross-validated loss is lowest."""
    found: dict[str, crossval.Tuned] = {}
    for probe in PROBES:
        head = registry.load("heads", probe)
        made = [
            crossval.tuned(
                head, features[depth], of.y, of.folds, n_classes=len(of.task.classes), metric=METRIC, seed=of.seed
            )
            for depth in DEPTHS
        ]
        found[probe] = min(made, key=lambda one: float(one.losses.mean()))
    return found


def _balanced(y: np.ndarray, held_out: np.ndarray) -> float:
    right = held_out.argmax(axis=2) == y
    return float(np.mean([right[:, y == c].mean() for c in np.unique(y)]))


def remember(zoo: Zoo, cases: Sequence[Case]) -> None:
    """What is expected of each network by the runs on all other targets, with the same seed."""
    for case in cases:
        records = [
            _record(zoo, one) for one in cases if one.of.task is not case.of.task and one.of.seed == case.of.seed
        ]
        asked = [_measured(member) for member in zoo.members]
        found = prior.worth(asked, records)
        case.scores[HISTORY] = {
            member.name: found[one.key].value for member, one in zip(zoo.members, asked, strict=True)
        }


def _measured(member: Member, probe: tuple[Score, ...] = ()) -> Measured:
    return Measured(key=f"{OWN}{member.name}", prior=member.accuracy, published=False, probe=probe)


def _record(zoo: Zoo, case: Case) -> Record:
    counts, n = np.bincount(case.of.y), len(case.of.y)
    told = [
        Score(split="cv", name="balanced_accuracy", value=value, low=math.nan, high=math.nan, n=n)
        for value in (case.balanced[member.name] for member in zoo.members)
    ]
    return Record(
        address=f"{case.of.task.digest}-{case.of.seed}",
        pictures_digest=f"{case.of.task.digest}-{case.of.seed}",
        made_s=0.0,
        classes=len(counts),
        pictures=n,
        counts=tuple(sorted(map(int, counts), reverse=True)),
        metric=METRIC,
        strategy="auto",
        backbones=tuple(_measured(member, (score,)) for member, score in zip(zoo.members, told, strict=True)),
    )


# ---------------------------------------------------------------- what they pick


def choose(zoo: Zoo, case: Case, *, ours: bool) -> None:
    """Let every rule pick; equal merits go by operations, then by name."""
    cost = {member.name: float(member.spec.flops) for member in zoo.members}
    for rule, merits in case.scores.items():
        case.picks[rule] = min(merits, key=lambda name: (-merits[name], cost[name], name))
    if ours:
        case.picks[OURS] = _ours(zoo, case, cost)


def _ours(zoo: Zoo, case: Case, cost: Mapping[str, float]) -> str:
    """The best by probe, the best by prior and one more are fine-tuned on folds, and the paired rule decides."""
    options = [Option(name=name, expected=value, cost=cost[name]) for name, value in case.scores[HISTORY].items()]
    finalists = choosing.finalists(options, case.losses, fewest=STARTS, most=STARTS)
    case.finalists = {one.name: one.why for one in finalists}
    of = {member.name: member for member in zoo.members}
    judged = [
        Contender(
            name=one.name,
            rows=np.arange(len(case.of.rows)),
            losses=_held_losses(zoo, of[one.name], case.of),
            cost=cost[one.name],
        )
        for one in finalists
    ]
    return pick(judged, metric=METRIC).winner


def _held_losses(zoo: Zoo, member: Member, of: Drawn) -> np.ndarray:
    """(n,) log loss of each picture by the network that was fine-tuned on the other folds, after one temperature."""
    found, folds = np.empty((len(of.rows), len(of.task.classes))), of.folds[0]
    for fold in range(FOLDS):
        learn, judge = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found[judge] = zoo.tuned(member, of, learn, judge)
    return losses.per_picture_loss(METRIC, of.y, softmax(found / average.temperature(found, of.y)))


# ---------------------------------------------------------------- what is told


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
    print(f"\nRegret of the pick in points of accuracy, mean over {len(targets)} targets and {len(SEEDS)} seeds")
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
    args = parser.parse_args()
    zoo = Zoo(say=Say())
    print(f"{len(zoo.members)} networks, {LEARN} pictures to learn from; accuracy on their own task:")
    print(", ".join(f"{member.name} {member.accuracy:.3f}" for member in zoo.members), flush=True)
    cases, random = [], dict[str, dict[str, float]]()
    for of in zoo.drawn():
        cases.append(Case(of=of, truth={member.name: zoo.truth(member, of) for member in zoo.members}))
        if of.seed == SEEDS[0]:
            random[of.task.name] = {member.name: zoo.truth(member, of) for member in zoo.controls}
    tell_truth(zoo, cases, random)
    with blas.single():
        for case in cases:
            look(zoo, case)
    remember(zoo, cases)
    for case in cases:
        choose(zoo, case, ours=not args.cheap)
    tell_regret(cases)
    if args.cases:
        tell_picks(cases)


if __name__ == "__main__":
    main()
