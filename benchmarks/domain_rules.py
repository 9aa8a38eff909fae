"""Rules that choose among ways to adapt without a label of the target: those of the program, and their rivals.

Rivals judge for `benchmarks/domains.py` alone. Higher is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.types import NO_ADAPTATION
from headstart.domain_adaptation import adapt_head
from headstart.domain_adaptation.adapt_head import AdaptationProblem
from headstart.domain_adaptation.choice.guarded_choice import make_judged_answers
from headstart.domain_adaptation.choice.rules import (
    ENSEMBLE_AGREEMENT,
    IMPORTANCE_WEIGHTED,
    LEAST,
    JudgedAnswers,
    Rule,
)
from headstart.domain_adaptation.density_ratio import estimate_ratio
from headstart.domain_adaptation.evaluate_candidates import KIND, Candidate
from headstart.domain_adaptation.method_base import HeadTraining
from headstart.statistics.sampling import evenly_spaced

_DENSITY_ROWS, _DENSITY_TEMPERATURE = 2_000, 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RatedAnswers(JudgedAnswers):
    """What rivals look at besides; `weights` are the density of the target over that of the mapped source."""

    reverse: np.ndarray  # (M, C) float32 answers of a head that learnt from `target`, to the mapped source


def make_rated_answers(candidates: Sequence[Candidate], problem: AdaptationProblem) -> dict[int, RatedAnswers]:
    """By the place of the candidates that did not fail; each adapts once more."""
    rated = {}
    for number, answers in make_judged_answers(candidates, problem).items():
        source_x, target_x = _map_domains(candidates[number], problem)
        backwards = HeadTraining(x=target_x, y=answers.target.argmax(axis=1).astype(np.int64))
        values = {field.name: getattr(answers, field.name) for field in dataclasses.fields(answers)}
        values["weights"] = estimate_ratio(source_x, target_x)
        rated[number] = RatedAnswers(**values, reverse=adapt_head.make_answer(problem.setting.fit(backwards))(source_x))
    return rated


def _map_domains(candidate: Candidate, problem: AdaptationProblem) -> tuple[np.ndarray, np.ndarray]:
    """(M, D) source pictures as the target would show them, and the target's (T, D), as the head reads both."""
    if candidate.method == NO_ADAPTATION:
        return problem.source.x, problem.target
    method, answer = registry.load_plugin(KIND, candidate.method), adapt_head.make_answer(problem.fitted)
    training = adapt_head.adapt_source(method, candidate.params, problem.source, answer, problem)
    move, read = training.map_source, training.projection
    return (
        problem.source.x if move is None else move(problem.source.x),
        problem.target if read is None else problem.target @ read[0] + read[1],
    )


def rate_answers(rule: Rule, answers: JudgedAnswers) -> float:
    """A rule's score, without its interval."""
    statistics = rule.measure(answers)
    statistics = statistics[np.isfinite(statistics).all(axis=1)]
    return float(rule.combine(statistics.mean(axis=0, keepdims=True))[0])


def _take_entropies(p: np.ndarray) -> np.ndarray:
    clipped = np.maximum(p.astype(np.float64), LEAST)
    return np.asarray(-(clipped * np.log(clipped)).sum(axis=-1))


def _measure_information(answers: JudgedAnswers) -> np.ndarray:
    return np.column_stack([_take_entropies(answers.target), answers.target.astype(np.float64)])


def _combine_information(means: np.ndarray) -> np.ndarray:
    return np.asarray(_take_entropies(means[:, 1:]) - means[:, 0])


def _measure_by_shares(answers: JudgedAnswers) -> np.ndarray:
    shares = np.broadcast_to(answers.shares, answers.target.shape)  # the same of every picture, and so of the means
    return np.column_stack([_measure_information(answers), shares])


def _combine_by_shares(means: np.ndarray) -> np.ndarray:
    answered, shares = np.split(means[:, 1:], 2, axis=1)
    answered = np.maximum(answered, LEAST)
    gap = (answered * np.log(answered / np.maximum(shares, 1e-3))).sum(axis=1)
    return np.asarray(-means[:, 0] - gap)


def _measure_reverse(answers: JudgedAnswers) -> np.ndarray:
    assert isinstance(answers, RatedAnswers)
    return np.asarray(answers.reverse.argmax(axis=1) == answers.y, np.float64)[:, None]


def _measure_density(answers: JudgedAnswers) -> np.ndarray:
    p = answers.target[evenly_spaced(len(answers.target), _DENSITY_ROWS)].astype(np.float64)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    likeness = p @ p.T / _DENSITY_TEMPERATURE
    np.fill_diagonal(likeness, -np.inf)
    likeness -= likeness.max(axis=1, keepdims=True)
    near = np.exp(likeness)
    return _take_entropies(near / near.sum(axis=1, keepdims=True))[:, None]


RULES = (
    Rule(  # Shi and Sha 2012
        name="information_maximisation", on_target=True, measure=_measure_information, combine=_combine_information
    ),
    Rule(  # the same, by expected shares
        name="information_by_shares", on_target=True, measure=_measure_by_shares, combine=_combine_by_shares
    ),
    IMPORTANCE_WEIGHTED,
    Rule(name="reverse_validation", on_target=False, measure=_measure_reverse),  # Zhong et al. 2010
    ENSEMBLE_AGREEMENT,
    Rule(name="neighbourhood_density", on_target=True, measure=_measure_density),  # Saito et al. 2021
)
