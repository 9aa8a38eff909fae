"""What each rule sees of 60 pictures and which network of the zoo it picks; nothing of the truth is looked at.

Single rules take the best by one merit. `headstart's rule` is the product's: `headstart.selection.successive_halving`
names the networks that are fine-tuned on folds, and `headstart.statistics.paired_selection` decides between them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.zoo import KIND, Drawn, Member, Zoo
from benchmarks.zoo_nets import DEPTHS
from benchmarks.zoo_training import FOLDS
from headstart.core import registry
from headstart.finetuning import objectives
from headstart.finetuning.starting_points import STARTS
from headstart.heads import cross_validation
from headstart.heads.prediction import softmax
from headstart.selection import successive_halving
from headstart.selection.logme import compute_logme
from headstart.selection.successive_halving import Option
from headstart.statistics import losses
from headstart.statistics.paired_selection import CandidateLosses, choose_candidate

LINEAR = ("ridge", "logistic")
PROBES = ("knn", *LINEAR)
_LOOK = 2  # raise when a rule sees otherwise
METRIC = "log_loss"  # headstart's own default
OURS, RANDOM = "headstart's rule", "random"
FIGURE = "accuracy on its own task"
SCORES = (FIGURE, "LogME", *PROBES)


@dataclass(kw_only=True, eq=False)
class Case:
    """A target with a seed: what rules say of each network, what they pick, and what is true.

    Attributes:
        of: The pictures.
        truth: Network -> accuracy after fine-tuning.
        scores: Rule -> network -> merit, higher is better.
        losses: Network -> mean held-out log loss of its best linear probe.
        picks: Rule -> the network that it takes.
        finalists: Network that our rule fine-tunes -> why.
    """

    of: Drawn
    truth: dict[str, float]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
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

        seen = json.loads((zoo.store.make_entry(KIND, key, write) / "seen.json").read_text())
        case.losses[member.name] = seen.pop("loss")
        for name, merit in (seen | {FIGURE: member.accuracy}).items():
            case.scores[name][member.name] = merit


def _seen(zoo: Zoo, member: Member, of: Drawn) -> dict[str, float]:
    """Merit by rule, and the loss of the best linear probe."""
    features = {depth: x[of.rows] for depth, x in zoo.features(member, of.task).items()}
    found = _probed(features, of)
    best = min((found[probe] for probe in LINEAR), key=lambda one: float(one.losses.mean()))
    return {
        "LogME": compute_logme(features["last"], of.y),
        **{probe: -float(made.losses.mean()) for probe, made in found.items()},
        "loss": float(best.losses.mean()),
    }


def _probed(features: Mapping[str, np.ndarray], of: Drawn) -> dict[str, cross_validation.TunedSetting]:
    """Each probe at the depth where its cross-validated loss is lowest."""
    found: dict[str, cross_validation.TunedSetting] = {}
    for probe in PROBES:
        head = registry.load_plugin("heads", probe)
        made = [
            cross_validation.tune_head(
                head, features[depth], of.y, of.folds, n_classes=len(of.task.classes), metric=METRIC, seed=of.seed
            )
            for depth in DEPTHS
        ]
        found[probe] = min(made, key=lambda one: float(one.losses.mean()))
    return found


# ---------------------------------------------------------------- what they pick


def choose(zoo: Zoo, case: Case, *, ours: bool) -> None:
    """Let every rule pick; equal merits go by operations, then by name."""
    cost = {member.name: float(member.spec.flops) for member in zoo.members}
    for rule, merits in case.scores.items():
        case.picks[rule] = min(merits, key=lambda name: (-merits[name], cost[name], name))
    if ours:
        case.picks[OURS] = _ours(zoo, case, cost)


def _ours(zoo: Zoo, case: Case, cost: Mapping[str, float]) -> str:
    """The best by probe, the cheapest and the next by probe are fine-tuned on folds, and the paired rule decides.

    Nothing is published of these networks, so none is best by prior.
    """
    options = [Option(name=name, expected=math.nan, cost=flops) for name, flops in cost.items()]
    finalists = successive_halving.choose_finalists(options, case.losses, fewest=STARTS, most=STARTS)
    case.finalists = {one.name: one.why for one in finalists}
    of = {member.name: member for member in zoo.members}
    judged = [
        CandidateLosses(
            name=one.name,
            rows=np.arange(len(case.of.rows)),
            losses=_held_losses(zoo, of[one.name], case.of),
            cost=cost[one.name],
        )
        for one in finalists
    ]
    return choose_candidate(judged, metric=METRIC).winner


def _held_losses(zoo: Zoo, member: Member, of: Drawn) -> np.ndarray:
    """(n,) log loss of each picture by the network that was fine-tuned on the other folds, after one temperature."""
    found, folds = np.empty((len(of.rows), len(of.task.classes))), of.folds[0]
    for fold in range(FOLDS):
        learn, judge = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found[judge] = zoo.tuned(member, of, learn, judge)
    return losses.per_picture_loss(METRIC, of.y, softmax(found / objectives.fit_temperature(found, of.y)))
