"""Which adaptation is taken: doing nothing, unless another one is better beyond doubt and plausible.

Labelled source pictures judge by their weights where the domains look alike but for the shares of the classes, else a
rule that needs no label. With enough labelled target pictures their log loss decides first: few of them are often too
few to tell, and then the choice without them stands unless they speak against it. Either way the paired 95 % interval
of the difference from doing nothing, which holds for all candidates at once, must lie above 0: doing nothing wins ties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.types import NO_ADAPTATION, Score
from headstart.core.types.domain import ENOUGH_LABELS, AdaptationTrial
from headstart.domain_adaptation.adapt_head import NOTHING_HELD_OUT, AdaptationProblem
from headstart.domain_adaptation.choice.domain_gate import LABEL_SHIFT, DomainGate, measure_gate
from headstart.domain_adaptation.choice.rules import (
    ENSEMBLE_AGREEMENT,
    IMPORTANCE_WEIGHTED,
    JudgedAnswers,
    Rule,
    compare_by_rule,
)
from headstart.domain_adaptation.evaluate_candidates import Candidate, place_held_out
from headstart.statistics.intervals import Interval, Z, make_score, mean_interval, share_interval
from headstart.statistics.losses import log_losses
from headstart.statistics.paired_selection import CandidateLosses, paired_difference
from headstart.uncertainty.temperature import apply_temperature, fit_bounded_temperature

LABELS = "labels"
MEASURES = {  # what a rule's difference is of, in words
    LABELS: "log loss on labelled new pictures",
    IMPORTANCE_WEIGHTED.name: "log loss on labelled pictures, weighted by the new class shares",
    ENSEMBLE_AGREEMENT.name: "the share of new pictures answered as all ways do (ensemble agreement, no accuracy)",
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


def choose_adaptation(candidates: Sequence[Candidate], problem: AdaptationProblem) -> GuardedChoice:
    """The first candidate is doing nothing."""
    if len(problem.labelled) < ENOUGH_LABELS:
        return _choose_without_labels(candidates, problem)
    by_labels = _choose_by_labels(candidates, problem)
    if by_labels.candidate is not candidates[0]:
        return by_labels
    without = _choose_without_labels(candidates, problem)
    is_worse = _compare_on_labels(candidates[0], without.candidate, problem).high < 0
    if is_worse or without.candidate is candidates[0]:
        return by_labels
    why = f"{len(problem.labelled)} labelled new pictures do not decide; {without.why}"
    return dataclasses.replace(without, why=why)


def _choose_by_labels(candidates: Sequence[Candidate], problem: AdaptationProblem) -> GuardedChoice:
    valid = _list_valid(candidates)
    level = 1 - 0.05 / max(len(valid) - 1, 1)  # of intervals that hold at once
    differences, refusals = dict[int, Interval](), dict[int, str]()
    for number in valid:
        plain, other = _match_folds(candidates[0], candidates[number], problem), candidates[number]
        differences[number] = _compare_on_labels(plain, other, problem, level)
        refusals[number] = _find_lost_labels(plain, other, problem) if number else ""
    return _conclude(candidates, problem, LABELS, differences, refusals, {})


def _choose_without_labels(candidates: Sequence[Candidate], problem: AdaptationProblem) -> GuardedChoice:
    gate = measure_gate(problem, candidates[0].target)
    if not gate.looks_alike:
        judged = make_judged_answers(candidates, problem, {LABEL_SHIFT})
        return choose_by_rule(candidates, problem, ENSEMBLE_AGREEMENT, judged, gate)
    judged = make_judged_answers(candidates, problem)
    weighted = {
        number: dataclasses.replace(
            each,
            held_out=candidates[number].held_out.as_is,  # type: ignore[union-attr]
            weights=gate.class_weights[each.y],
        )
        for number, each in judged.items()
    }
    return choose_by_rule(candidates, problem, IMPORTANCE_WEIGHTED, weighted, gate)


def choose_by_rule(
    candidates: Sequence[Candidate],
    problem: AdaptationProblem,
    rule: Rule,
    judged: Mapping[int, JudgedAnswers],
    gate: DomainGate | None = None,
) -> GuardedChoice:
    """The guarded choice by a rule; without a `gate` whatever the domains have in common."""
    clusters = problem.target_clusters if rule.on_target else problem.clusters
    shown = "as they are" if gate is not None and gate.looks_alike else "made to look like new ones"
    differences, refusals, scores = dict[int, Interval](), dict[int, str](), dict[int, Score]()
    for number, answers in judged.items():
        matched = _match_folds(candidates[0], candidates[number], problem)
        assert matched.held_out is not None
        plain = dataclasses.replace(judged[0], target=matched.target, held_out=matched.held_out.as_is)
        score, gain = compare_by_rule(rule, answers, plain, clusters, problem.seed)
        scores[number] = _make_rule_score(rule, score, problem)
        differences[number], refusals[number] = _widen(gain, len(judged) - 1), ""
        if number:
            refused = gate.find_refusal(candidates[number].method) if gate is not None else ""
            refusals[number] = refused or find_implausible(answers, plain, shown)
    return _conclude(candidates, problem, rule.name, differences, refusals, scores)


def _conclude(
    candidates: Sequence[Candidate],
    problem: AdaptationProblem,
    rule: str,
    differences: Mapping[int, Interval],
    refused: Mapping[int, str],
    scores: Mapping[int, Score],
) -> GuardedChoice:
    """The best of those that are better beyond doubt and not refused, else doing nothing."""
    refusals = {
        number: NOTHING_HELD_OUT if number and _knows_answers(candidates[number], problem) else reason
        for number, reason in refused.items()
    }
    better = [n for n in differences if n and differences[n].low > 0 and not refusals[n]]
    winner = max(better, key=lambda n: (differences[n].value, -n), default=0)
    trials = [
        _make_trial(candidates, number, winner, rule, differences, refusals, scores, problem)
        for number in range(len(candidates))
    ]
    order = sorted(
        range(len(trials)),
        key=lambda n: (n != winner, n not in differences, -differences[n].value if n in differences else 0),
    )
    why = _format_reason(candidates, winner, rule, differences, refusals)
    return GuardedChoice(
        candidate=candidates[winner], rule=rule, why=why, trials=tuple(trials[number] for number in order)
    )


def put_refined(choice: GuardedChoice, candidate: Candidate, problem: AdaptationProblem) -> GuardedChoice:
    """The same choice with the candidate's held-out answers by all folds."""
    if candidate is choice.candidate:
        return choice
    source, target = _score_source(candidate, problem), _score_labelled(candidate, problem)
    trials = (
        dataclasses.replace(each, source=source, target=target) if each.status == "chosen" else each
        for each in choice.trials
    )
    return dataclasses.replace(choice, candidate=candidate, trials=tuple(trials))


def _widen(interval: Interval, count: int) -> Interval:
    """A bootstrap's 95 % interval that holds for so many candidates at once (Bonferroni), as of normal errors."""
    from scipy.special import ndtri

    factor = float(ndtri(1 - 0.025 / max(count, 1))) / Z
    value, low, high = interval
    return Interval(value, value - factor * (value - low), value + factor * (high - value))


def _list_valid(candidates: Sequence[Candidate]) -> list[int]:
    """The places of the candidates that did not fail."""
    return [number for number, each in enumerate(candidates) if not each.failure and each.held_out is not None]


def make_judged_answers(
    candidates: Sequence[Candidate], problem: AdaptationProblem, voiceless: Collection[str] = ()
) -> dict[int, JudgedAnswers]:
    """What rules look at, by the place of the candidates that did not fail.

    In the mean answer each method counts once, however many settings of it compete, and those of `voiceless` do not:
    a method whose assumption does not hold can be as sure as it is wrong.
    """
    valid = {number: candidates[number] for number in _list_valid(candidates)}
    by_method = dict[str, list[np.ndarray]]()
    for each in valid.values():
        if each.method not in voiceless:
            by_method.setdefault(each.method, []).append(each.target)
    consensus = np.mean([np.mean(answers, axis=0) for answers in by_method.values()], axis=0)
    return {
        number: JudgedAnswers(
            target=each.target,
            held_out=each.held_out.mapped,  # type: ignore[union-attr]
            y=problem.source.y,
            shares=problem.expected_shares,
            consensus=consensus,
        )
        for number, each in valid.items()
    }


def _match_folds(plain: Candidate, other: Candidate, problem: AdaptationProblem) -> Candidate:
    """Doing nothing by the folds of another candidate, so that like is compared with like."""
    if other.held_out is None or other.held_out.plain is None:
        return plain
    target = plain.target.copy()
    place_held_out(target, other.held_out.plain, problem)
    return dataclasses.replace(plain, held_out=other.held_out.plain, target=target)


def find_implausible(answers: JudgedAnswers, plain: JudgedAnswers, shown: str) -> str:
    """Why a candidate cannot be right whatever a rule says; empty where nothing speaks against it.

    `shown` says how the held-out source pictures were.
    """
    rows = np.isfinite(answers.held_out[:, 0]) & np.isfinite(plain.held_out[:, 0])
    right, right_plain = (
        float((each.held_out[rows].argmax(axis=1) == each.y[rows]).mean()) for each in (answers, plain)
    )
    if right < right_plain - LOST_ACCURACY:
        return f"it is right on {right:.2f} of labelled pictures {shown}, not {right_plain:.2f}"
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


def _compare_on_labels(plain: Candidate, other: Candidate, problem: AdaptationProblem, level: float = 0.95) -> Interval:
    """How much log loss a candidate saves on labelled target pictures."""
    rows, y = problem.labelled, problem.target_y[problem.labelled]
    plain_losses, other_losses = (
        CandidateLosses(name=each.method, rows=rows, losses=log_losses(y, _temper_labelled(each, problem)), cost=0.0)
        for each in (plain, other)
    )
    return paired_difference(plain_losses, other_losses, problem.target_clusters, level=level)


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


def _make_rule_score(rule: Rule, interval: Interval, problem: AdaptationProblem) -> Score:
    n, split = (len(problem.target), "target") if rule.on_target else (len(problem.source.y), "cv")
    return make_score(rule.name, split, interval, n, method="bootstrap")


def _make_trial(
    candidates: Sequence[Candidate],
    number: int,
    winner: int,
    rule: str,
    differences: Mapping[int, Interval],
    refusals: Mapping[int, str],
    scores: Mapping[int, Score],
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
            n = len(problem.labelled) if rule == LABELS else scores[number].n
            difference = make_score(rule, "target", gain, n, method="t" if rule == LABELS else "bootstrap")
        if why != NOTHING_HELD_OUT:
            source = _score_source(each, problem)
        target = _score_labelled(each, problem)
    return AdaptationTrial(
        method=each.method,
        params=dict(each.params),
        scores=(scores[number],) if number in scores else (),
        difference=difference,
        target=target,
        source=source,
        status=status,
        why=why,
        seconds=each.seconds,
    )


def _score_source(candidate: Candidate, problem: AdaptationProblem) -> Score:
    assert candidate.held_out is not None
    rows = np.isfinite(candidate.held_out.as_is[:, 0])
    hits = candidate.held_out.as_is[rows].argmax(axis=1) == problem.source.y[rows]
    return make_score("accuracy", "cv", share_interval(hits, problem.clusters[rows]), len(hits))


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
    differences: Mapping[int, Interval],
    refusals: Mapping[int, str],
) -> str:
    words, tried = MEASURES.get(rule, rule.replace("_", " ")), len(candidates) - 1
    if winner:
        value, low, high = differences[winner]
        gain = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        return f"`{candidates[winner].method}` gains {gain} against no adaptation in {words}; {tried} ways tried"
    unjudged = sum(reason == NOTHING_HELD_OUT for reason in refusals.values())
    refused = sum(bool(reason) for reason in refusals.values()) - unjudged
    without = f"; {refused} are not plausible" if refused else ""
    if unjudged:
        without += f"; {unjudged} cannot be judged, as the network has learnt all labelled pictures"
    return f"`{NO_ADAPTATION}` stays: none of {tried} ways to adapt is better beyond doubt in {words}{without}"
