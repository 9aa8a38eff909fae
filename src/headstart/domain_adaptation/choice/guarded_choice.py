"""Which adaptation is taken: doing nothing, unless another one is better beyond doubt and plausible.

Labelled source pictures judge by their weights where the domains look alike but for the shares of the classes, else a
rule that needs no label. With enough labelled target pictures their log loss decides first: few of them are often too
few to tell, and then the choice without them stands unless they speak against it. Either way the paired 95 % interval
of the difference from doing nothing, which holds for all candidates at once, must lie above 0: doing nothing wins ties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.types import NO_ADAPTATION, Score
from headstart.core.types.domain import AdaptationTrial
from headstart.domain_adaptation.adapt_head import NOTHING_HELD_OUT, AdaptationProblem
from headstart.domain_adaptation.choice.domain_gate import measure_gate
from headstart.domain_adaptation.choice.rules import DECIDING, RULES, WEIGHTED, JudgedAnswers, compare_by_rule
from headstart.domain_adaptation.evaluate_candidates import Candidate
from headstart.statistics.intervals import Interval, Z, make_score, mean_interval, share_interval
from headstart.statistics.losses import log_losses
from headstart.statistics.paired_selection import CandidateLosses, paired_difference
from headstart.uncertainty.temperature import apply_temperature, fit_bounded_temperature

LABELS = "labels"
ENOUGH_LABELS = 20
MEASURES = {  # what a rule's difference is of, in words
    LABELS: "log loss on labelled new pictures",
    WEIGHTED: "log loss on labelled pictures, weighted by the new class shares",
    DECIDING: "the share of new pictures answered as all ways together answer (ensemble agreement, not accuracy)",
}
# How far a candidate may go: how much accuracy it may lose on mapped source pictures, how much further its answers'
# shares may lie from the expected ones (total variation) than those of doing nothing, how often it must agree with all.
LOST_ACCURACY, STRAYED_SHARES, LEAST_AGREEMENT = 0.10, 0.15, 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GuardedChoice:
    """The chosen candidate and all trials, best first."""

    candidate: Candidate
    rule: str
    why: str
    trials: tuple[AdaptationTrial, ...]


def choose_adaptation(
    candidates: Sequence[Candidate], problem: AdaptationProblem, rule: str = "", shown: Sequence[str] = ()
) -> GuardedChoice:
    """The first candidate is doing nothing; `shown` are rules whose scores are told besides.

    A `rule` that is named decides whatever the domains have in common.
    """
    if rule or len(problem.labelled) < ENOUGH_LABELS:
        return _choose(candidates, problem, rule, shown, by_labels=False)
    by_labels = _choose(candidates, problem, rule, shown, by_labels=True)
    if by_labels.candidate is not candidates[0]:
        return by_labels
    without = _choose(candidates, problem, rule, shown, by_labels=False)
    is_worse = _compare_on_labels(candidates[0], without.candidate, problem).high < 0
    if is_worse or without.candidate is candidates[0]:
        return by_labels
    why = f"{len(problem.labelled)} labelled new pictures do not decide; {without.why}"
    return dataclasses.replace(without, why=why)


def _choose(
    candidates: Sequence[Candidate], problem: AdaptationProblem, rule: str, shown: Sequence[str], *, by_labels: bool
) -> GuardedChoice:
    judged, gate = make_judged_answers(candidates, problem), None
    if not rule:
        rule = DECIDING
        gate = None if by_labels else measure_gate(problem, candidates[0].target)
        if gate is not None and gate.looks_alike:
            rule, judged = WEIGHTED, _weigh_source(judged, candidates, gate.class_weights)
    differences, refusals, scores = {}, {}, {}
    for number, answers in judged.items():
        of_rules = {
            name: compare_by_rule(RULES[name], answers, judged[0], _find_clusters(name, problem), problem.seed)
            for name in dict.fromkeys((rule, *shown))
        }
        scores[number] = tuple(_make_rule_score(name, pair[0], problem) for name, pair in of_rules.items())
        gain = _compare_on_labels(candidates[0], candidates[number], problem) if by_labels else of_rules[rule][1]
        differences[number] = _widen(gain, len(judged) - 1)
        refusals[number] = ""
        if number and by_labels:
            refusals[number] = _find_lost_labels(candidates[0], candidates[number], problem)
        elif number:
            refused = gate.find_refusal(candidates[number].method) if gate is not None else ""
            refusals[number] = refused or find_implausible(answers, judged[0])
        if number and _knows_answers(candidates[number], problem):
            refusals[number] = NOTHING_HELD_OUT
    better = [n for n in judged if n and differences[n].low > 0 and not refusals[n]]
    winner = max(better, key=lambda n: (differences[n].value, -n), default=0)
    name = LABELS if by_labels else rule
    trials = [
        _make_trial(candidates, number, winner, name, differences, refusals, scores, problem)
        for number in range(len(candidates))
    ]
    order = sorted(
        range(len(trials)),
        key=lambda n: (n != winner, n not in differences, -differences[n].value if n in differences else 0),
    )
    why = _format_reason(candidates, winner, name, differences, refusals)
    return GuardedChoice(
        candidate=candidates[winner], rule=name, why=why, trials=tuple(trials[number] for number in order)
    )


def _widen(interval: Interval, count: int) -> Interval:
    """A 95 % interval that holds for so many candidates at once (Bonferroni), as of normal errors."""
    from scipy.special import ndtri

    factor = float(ndtri(1 - 0.025 / max(count, 1))) / Z
    value, low, high = interval
    return Interval(value, value - factor * (value - low), value + factor * (high - value))


def make_judged_answers(candidates: Sequence[Candidate], problem: AdaptationProblem) -> dict[int, JudgedAnswers]:
    """What rules look at, by the place of the candidates that did not fail."""
    valid = {number: each for number, each in enumerate(candidates) if not each.failure and each.held_out is not None}
    consensus = np.mean([each.target for each in valid.values()], axis=0)
    return {
        number: JudgedAnswers(
            target=each.target,
            mapped=each.held_out.mapped,  # type: ignore[union-attr]
            y=problem.source.y,
            shares=problem.expected_shares,
            consensus=consensus,
            ratio=each.ratio,
            reverse=each.reverse,
        )
        for number, each in valid.items()
    }


def _weigh_source(
    judged: dict[int, JudgedAnswers], candidates: Sequence[Candidate], class_weights: np.ndarray
) -> dict[int, JudgedAnswers]:
    """Source pictures as they are stand for the target's, by the weights (C,) of their classes."""
    return {
        number: dataclasses.replace(
            each,
            mapped=candidates[number].held_out.as_is,  # type: ignore[union-attr]
            ratio=class_weights[each.y],
        )
        for number, each in judged.items()
    }


def _find_clusters(rule: str, problem: AdaptationProblem) -> np.ndarray:
    return problem.target_clusters if RULES[rule].on_target else problem.clusters


def find_implausible(answers: JudgedAnswers, plain: JudgedAnswers) -> str:
    """Why a candidate cannot be right whatever a rule says; empty where nothing speaks against it."""
    rows = np.isfinite(answers.mapped[:, 0]) & np.isfinite(plain.mapped[:, 0])
    right, right_plain = (float((each.mapped[rows].argmax(axis=1) == each.y[rows]).mean()) for each in (answers, plain))
    if right < right_plain - LOST_ACCURACY:
        return f"it is right on {right:.2f} of labelled pictures made to look like new ones, not {right_plain:.2f}"
    source_shares = np.bincount(answers.y, minlength=len(answers.shares)) / len(answers.y)
    distances = [
        min(0.5 * float(np.abs(each.target.mean(axis=0) - shares).sum()) for shares in (source_shares, answers.shares))
        for each in (answers, plain)
    ]
    if distances[0] > distances[1] + STRAYED_SHARES:
        return f"shares of its answers lie {distances[0]:.2f} from those expected, not {distances[1]:.2f}"
    agreement = float((answers.target.argmax(axis=1) == answers.consensus.argmax(axis=1)).mean())
    if agreement < LEAST_AGREEMENT:
        return f"it agrees with the mean of all on {agreement:.2f} of the new pictures"
    return ""


def _compare_on_labels(plain: Candidate, other: Candidate, problem: AdaptationProblem) -> Interval:
    """How much log loss a candidate saves on labelled target pictures."""
    rows, y = problem.labelled, problem.target_y[problem.labelled]
    plain_losses, other_losses = (
        CandidateLosses(name=each.method, rows=rows, losses=log_losses(y, _temper_labelled(each, problem)), cost=0.0)
        for each in (plain, other)
    )
    return paired_difference(plain_losses, other_losses, problem.target_clusters)


def _knows_answers(candidate: Candidate, problem: AdaptationProblem) -> bool:
    """Whether answers to source pictures are of a new head on a trunk that learnt all of their labels."""
    return problem.knows_source and (candidate.network is None or candidate.network.head_x is not None)


def _find_lost_labels(plain: Candidate, other: Candidate, problem: AdaptationProblem) -> str:
    """Why a lower log loss is no gain: being sure of easy pictures hides that hard ones are lost."""
    rows = problem.labelled
    right, right_plain = (
        int((each.target[rows].argmax(axis=1) == problem.target_y[rows]).sum()) for each in (other, plain)
    )
    if right >= right_plain:
        return ""
    return f"it is right on {right} of {len(rows)} labelled new pictures, not {right_plain}"


def _temper_labelled(candidate: Candidate, problem: AdaptationProblem) -> np.ndarray:
    """(L, C) answers to labelled target pictures, as sure as the run will say them: being surer alone is no gain."""
    assert candidate.held_out is not None
    p = candidate.held_out.mapped
    rows = np.isfinite(p[:, 0])
    factor = fit_bounded_temperature(p[rows], problem.source.y[rows], problem.clusters[rows])
    return apply_temperature(candidate.target[problem.labelled], factor)


def _make_rule_score(name: str, interval: Interval, problem: AdaptationProblem) -> Score:
    on_target = RULES[name].on_target
    n, split = (len(problem.target), "target") if on_target else (len(problem.source.y), "cv")
    return make_score(name, split, interval, n, method="bootstrap")


def _make_trial(
    candidates: Sequence[Candidate],
    number: int,
    winner: int,
    rule: str,
    differences: dict[int, Interval],
    refusals: dict[int, str],
    scores: dict[int, tuple[Score, ...]],
    problem: AdaptationProblem,
) -> AdaptationTrial:
    each = candidates[number]
    status, why, difference = "failed", each.failure, None
    source = make_score("accuracy", "cv", Interval(float("nan"), 0.0, 1.0), 0)
    target: tuple[Score, ...] = ()
    if number in differences and each.held_out is not None:
        why, gain = refusals[number], differences[number]
        is_tied = bool(not number or gain.low <= 0 <= gain.high)
        status = "chosen" if number == winner else "tied" if is_tied and not why else "beaten"
        if number:
            n = len(problem.labelled) if rule == LABELS else scores[number][0].n
            difference = make_score(rule, "target", gain, n, method="t" if rule == LABELS else "bootstrap")
        if why != NOTHING_HELD_OUT:
            rows = np.isfinite(each.held_out.as_is[:, 0])
            hits = each.held_out.as_is[rows].argmax(axis=1) == problem.source.y[rows]
            source = make_score("accuracy", "cv", share_interval(hits, problem.clusters[rows]), len(hits))
        target = _score_labelled(each, problem)
    return AdaptationTrial(
        method=each.method,
        params=dict(each.params),
        scores=scores.get(number, ()),
        difference=difference,
        target=target,
        source=source,
        status=status,
        why=why,
        seconds=each.seconds,
    )


def _score_labelled(candidate: Candidate, problem: AdaptationProblem) -> tuple[Score, ...]:
    rows = problem.labelled
    if not len(rows):
        return ()
    y, p = problem.target_y[rows], _temper_labelled(candidate, problem)
    clusters = problem.target_clusters[rows]
    hits, loss = share_interval(p.argmax(axis=1) == y, clusters), mean_interval(log_losses(y, p), clusters)
    return (
        make_score("accuracy", "target", hits, len(rows)),
        make_score("log_loss", "target", loss, len(rows), method="t"),
    )


def _format_reason(
    candidates: Sequence[Candidate],
    winner: int,
    rule: str,
    differences: dict[int, Interval],
    refusals: dict[int, str],
) -> str:
    words, tried = MEASURES.get(rule, rule.replace("_", " ")), len(candidates) - 1
    if winner:
        value, low, high = differences[winner]
        gain = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        return f"`{candidates[winner].method}` gains {gain} against no adaptation in {words}; {tried} ways tried"
    refused = sum(bool(reason) for reason in refusals.values())
    without = f"; {refused} are not plausible" if refused else ""
    return f"`{NO_ADAPTATION}` stays: none of {tried} ways to adapt is better beyond doubt in {words}{without}"
