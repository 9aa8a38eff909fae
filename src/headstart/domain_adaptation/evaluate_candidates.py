"""Every way to adapt, tried on one source and one target: its answers, held out where they judge.

What cannot be computed becomes a candidate that failed, with the reason; it never ends a run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.errors import NoOpError
from headstart.core.extras import format_install_command, list_missing_packages
from headstart.core.types import NETWORK_METHODS, NO_ADAPTATION, FittedHead
from headstart.core.types.domain import NetworkCandidate
from headstart.domain_adaptation import adapt_head
from headstart.domain_adaptation.adapt_head import AdaptationProblem, HeldOutAnswers
from headstart.domain_adaptation.method_base import AdaptationMethod, FeatureMap

KIND = "adaptation_methods"
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One way to adapt and its answers; those of one that failed are empty."""

    method: str
    params: Mapping[str, Any]
    failure: str  # the reason, empty where it did not fail
    fitted: FittedHead | None  # of raw features
    target: np.ndarray  # (T, C) float32; of labelled pictures by heads that had not seen them
    held_out: HeldOutAnswers | None
    seconds: float
    network: NetworkCandidate | None = None


def choose_methods(
    adaptation: Sequence[str], *, learns: bool = False, networks: Sequence[str] = NETWORK_METHODS
) -> tuple[AdaptationMethod, ...]:
    """The plugins that compete by the job's setting, sorted; `networks` are names that no plugin here has.

    Raises:
        UsageError: A name is unknown.
    """
    names = [name for name in dict.fromkeys(adaptation) if name not in (AUTO, NO_ADAPTATION, *networks)]
    plugins = [registry.load_plugin(KIND, name) for name in names]
    if AUTO in adaptation:
        plugins += [plugin for plugin in map(_load_method, registry.list_plugins(KIND)) if plugin.is_default]
    if learns:
        plugins.append(adapt_head.LearnTargetLabels())
    return tuple({plugin.name: plugin for plugin in sorted(plugins, key=lambda plugin: plugin.name)}.values())


def _load_method(name: str) -> AdaptationMethod:
    method: AdaptationMethod = registry.load_plugin(KIND, name)
    return method


def evaluate_candidates(
    problem: AdaptationProblem,
    methods: Sequence[AdaptationMethod],
    networks: Sequence[NetworkCandidate] = (),
) -> tuple[Candidate, ...]:
    """All candidates, first the one that adapts nothing."""
    answer = adapt_head.make_answer(problem.fitted)
    target = answer(problem.target)
    plain = HeldOutAnswers(as_is=problem.held_out, mapped=problem.held_out, labelled=target[problem.labelled])
    candidates = [
        Candidate(
            method=NO_ADAPTATION,
            params={},
            failure="",
            fitted=problem.fitted,
            target=target,
            held_out=plain,
            seconds=0.0,
        )
    ]
    for method in methods:
        for params in method.grid:
            candidates.append(_try_candidate(method, params, answer, problem))
    return (*candidates, *(_judge_network(network, problem) for network in networks))


def _try_candidate(
    method: AdaptationMethod, params: Mapping[str, Any], answer: FeatureMap, problem: AdaptationProblem
) -> Candidate:
    started = time.monotonic()
    if method.extra and (missing := list_missing_packages(method.extra)):
        failure = f"`{missing[0]}` is not installed: {format_install_command(method.extra)}"
        return _make_failed(method.name, params, failure, 0.0)
    try:
        training = adapt_head.adapt_source(method, params, problem.source, answer, problem)
        fitted = adapt_head.fit_adapted(training, problem)
        target = adapt_head.make_answer(fitted)(problem.target)
        held_out = adapt_head.hold_out(method, params, training, problem, coarse=True)
        place_held_out(target, held_out, problem)
    except (NoOpError, ArithmeticError, ValueError, np.linalg.LinAlgError) as err:
        failure = err.what if isinstance(err, NoOpError) else f"{type(err).__name__}: {err}"
        return _make_failed(method.name, params, failure, time.monotonic() - started)
    return Candidate(
        method=method.name,
        params=params,
        failure="",
        fitted=fitted,
        target=target,
        held_out=held_out,
        seconds=time.monotonic() - started,
    )


def _make_failed(method: str, params: Mapping[str, Any], failure: str, seconds: float) -> Candidate:
    return Candidate(
        method=method,
        params=params,
        failure=failure,
        fitted=None,
        target=np.empty((0, 0), np.float32),
        held_out=None,
        seconds=seconds,
    )


def place_held_out(target: np.ndarray, held_out: HeldOutAnswers, problem: AdaptationProblem) -> None:
    """Answers to labelled target pictures become those of heads that had not seen them."""
    if problem.learns:
        target[problem.labelled] = held_out.labelled


def refine_candidate(
    candidate: Candidate, methods: Sequence[AdaptationMethod], problem: AdaptationProblem
) -> Candidate:
    """The same with held-out answers by all folds, which go on to the run."""
    if candidate.held_out is None or candidate.held_out.plain is None:  # it has them
        return candidate
    method = next(each for each in methods if each.name == candidate.method)
    answer = adapt_head.make_answer(problem.fitted)
    training = adapt_head.adapt_source(method, candidate.params, problem.source, answer, problem)
    held_out, target = adapt_head.hold_out(method, candidate.params, training, problem), candidate.target.copy()
    place_held_out(target, held_out, problem)
    return dataclasses.replace(candidate, held_out=held_out, target=target)


def _judge_network(network: NetworkCandidate, problem: AdaptationProblem) -> Candidate:
    """An adapted trunk: its own head, or one that learns from the features of the trunk before it was adapted."""
    started = time.monotonic()
    try:
        return _take_network(network, problem) if network.head_x is None else _refit_network(network, problem)
    except (NoOpError, ArithmeticError, ValueError, np.linalg.LinAlgError) as err:
        failure = err.what if isinstance(err, NoOpError) else f"{type(err).__name__}: {err}"
        return _make_failed(network.method, network.params, failure, network.seconds + time.monotonic() - started)


def _refit_network(network: NetworkCandidate, problem: AdaptationProblem) -> Candidate:
    """The head learns as ever; source pictures as they are pass the adapted trunk, as target pictures do."""
    assert network.head_x is not None
    source, started = problem.source, time.monotonic()
    learnt = dataclasses.replace(source, x=network.head_x)
    moved = dataclasses.replace(problem, source=learnt, target=network.target_x)
    method, params = adapt_head.LearnTargetLabels(), network.params
    training = method.adapt(learnt, network.target_x)
    fitted = adapt_head.fit_adapted(training, moved) if problem.learns else problem.fitted
    if fitted.kind != "linear":
        fitted = adapt_head.fit_adapted(training, moved)
    target = adapt_head.make_answer(fitted)(network.target_x)
    held_out = adapt_head.hold_out(method, params, training, moved, network.source_x)
    place_held_out(target, held_out, moved)
    return Candidate(
        method=network.method,
        params=params,
        failure="",
        fitted=fitted,
        target=target,
        held_out=held_out,
        network=network,
        seconds=network.seconds + time.monotonic() - started,
    )


def _take_network(network: NetworkCandidate, problem: AdaptationProblem) -> Candidate:
    fitted = network.network.fitted
    target = adapt_head.make_answer(fitted)(network.target_x)
    p = network.source_probabilities
    if p is None:
        raise NoOpError(adapt_head.NOTHING_HELD_OUT)
    return Candidate(
        method=network.method,
        params=network.params,
        failure="",
        fitted=fitted,
        target=target,
        held_out=HeldOutAnswers(as_is=p, mapped=p, labelled=target[problem.labelled]),
        network=network,
        seconds=network.seconds,
    )
