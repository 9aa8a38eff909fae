"""The step: every way to adapt is tried on the run's features, and the guarded choice takes one or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.core.types.domain import DomainAdaptation, DomainShift, NetworkCandidate, TargetDomain
from headstart.domain_adaptation.adapt_head import AdaptationProblem, HeadSetting, make_answer
from headstart.domain_adaptation.choice.guarded_choice import GuardedChoice, choose_adaptation, put_refined
from headstart.domain_adaptation.evaluate_candidates import choose_methods, evaluate_candidates, refine_candidate
from headstart.domain_adaptation.method_base import LabelledFeatures
from headstart.domain_adaptation.shift.domain_classifier import find_target_clusters
from headstart.domain_adaptation.shift.measure_shift import ALPHA
from headstart.features import feature_matrix
from headstart.features.embeddings import find_positions, join_columns
from headstart.heads import ensemble
from headstart.heads.design_matrix import FROM_NAMES_SUFFIX
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe import head_selection
from headstart.statistics.sampling import draw_rows

MOST = head_selection.MOST  # pictures of a domain that methods learn from


def adapt_to_target(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    shift: DomainShift | None = None,
    *,
    networks: Sequence[NetworkCandidate] = (),
    probe: FitResult | None = None,
    ctx: Context,
) -> DomainAdaptation:
    """Try what the job names, and choose. `shift` has the shares of the classes that are expected in the target.

    Where `adapted` is a network, the features of the frozen `probe` compare the domains.

    Raises:
        UsageError: The job names an unknown method, or `none` beside others.
    """
    learns = ctx.job.target_labels == "learn" and len(target.labelled) > 0
    methods = choose_methods(ctx.job.adaptation, learns=learns)
    cv = head_selection.make_training_problem(data, splits, ctx)
    t_rows = _draw_target(target, ctx)
    problem = make_problem(cv, embeddings, target, target_embeddings, adapted, shift, t_rows, learns)
    if probe is not None and problem.knows_source:
        frozen = (
            join_columns(embeddings, probe.features, cv.rows),
            join_columns(target_embeddings, probe.features, t_rows),
        )
        problem = dataclasses.replace(problem, frozen=frozen)
    rows = find_positions(np.asarray(splits.train), cv.rows, "learnt from")
    drawn = [_take_rows(network, rows, t_rows) for network in networks]
    candidates = evaluate_candidates(problem, methods, drawn)
    choice = choose_adaptation(candidates, problem)
    choice = put_refined(choice, refine_candidate(choice.candidate, methods, problem), problem)
    adaptation = _describe(choice, cv, splits, embeddings, target, target_embeddings, adapted, t_rows, networks)
    trials = tuple(dataclasses.replace(trial, seconds=0.0) for trial in adaptation.trials)
    folder = ctx.make_step_folder("domains/adaptation")
    serialization.save_value(dataclasses.replace(adaptation, trials=trials), folder)
    for trial in choice.trials:
        if trial.status == "failed":
            ctx.console.print_line("adapt", f"{trial.method}: left out: {trial.why}")
    ctx.console.print_line("adapt", choice.why)
    return adaptation


def make_problem(
    cv: CvProblem,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    shift: DomainShift | None,
    t_rows: np.ndarray,
    learns: bool,
) -> AdaptationProblem:
    """Both domains as the head's input; target pictures are those of `t_rows`."""
    weights = None if cv.sample_weight is None else cv.sample_weight[cv.rows]
    x, y = join_columns(embeddings, adapted.features, cv.rows), cv.y
    source = LabelledFeatures(x=x, y=y, weights=weights, n_classes=cv.n_classes, class_weight=cv.class_weight)
    held_out = np.full((len(y), cv.n_classes), np.nan, np.float32)
    drawn = np.isin(adapted.cv_rows, cv.rows)
    places = find_positions(cv.rows, np.asarray(adapted.cv_rows)[drawn], "compared")
    held_out[places] = np.asarray(adapted.cv_probabilities)[drawn]
    shares = np.bincount(y, minlength=cv.n_classes) / len(y)
    if shift is not None:
        shares = np.array([score.value for score in shift.target_shares])
        source = dataclasses.replace(source, target_shares=shares if shift.label_p < ALPHA else None)
    return AdaptationProblem(
        source=source,
        folds=cv.folds[0],
        clusters=cv.clusters[cv.rows],
        target=join_columns(target_embeddings, adapted.features, t_rows),
        target_y=np.asarray(target.labels)[t_rows],
        target_clusters=find_target_clusters(target.pictures)[t_rows],
        learns=learns,
        knows_source=adapted.strategy != "probe",
        expected_shares=shares,
        setting=make_setting(adapted, cv, x),
        fitted=adapted.fitted,
        held_out=held_out,
        seed=cv.seed,
    )


def make_setting(adapted: FitResult, cv: CvProblem, x: np.ndarray) -> HeadSetting:
    """The run's head where it is linear and its setting is known, else `logistic`, tuned on x (M, D)."""
    name = adapted.fitted.head.removesuffix(FROM_NAMES_SUFFIX)
    params, n_train = adapted.fitted.params, len(cv.rows)
    known = name == ensemble.NAME or "strength" in params or "shrinkage" in params or name == "nearest_mean"
    if adapted.strategy != "probe" or adapted.fitted.kind != "linear" or not known:
        name = "logistic"
        params = cv.tune_head(head_selection.load_head(name, adapted.features, cv), x)[0].params
    elif len(adapted.train_probabilities):
        n_train = len(adapted.train_probabilities)
    return HeadSetting(
        head=name,
        params=params,
        n_train=n_train,
        dim=x.shape[1],
        n_classes=cv.n_classes,
        balanced=cv.class_weight is not None,
        seed=cv.seed,
    )


def _draw_target(target: TargetDomain, ctx: Context) -> np.ndarray:
    count = len(target.pictures.uris)
    rows = np.union1d(draw_rows(count, MOST), target.labelled)
    if len(rows) < count:
        ctx.console.print_line("adapt", f"the head adapts to {len(rows):,} of {count:,} target pictures, drawn")
    return rows.astype(np.int64)


def _take_rows(network: NetworkCandidate, rows: np.ndarray, t_rows: np.ndarray) -> NetworkCandidate:
    """The network's features of pictures that were drawn; `rows` are places among the training pictures."""
    head_x, p = network.head_x, network.source_probabilities
    return dataclasses.replace(
        network,
        source_x=network.source_x[rows],
        target_x=network.target_x[t_rows],
        head_x=None if head_x is None else head_x[rows],
        source_probabilities=None if p is None else p[rows],
    )


def _describe(
    choice: GuardedChoice,
    cv: CvProblem,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    target_embeddings: Sequence[Embeddings],
    adapted: FitResult,
    t_rows: np.ndarray,
    networks: Sequence[NetworkCandidate],
) -> DomainAdaptation:
    """The choice as a value; answers to all pictures, to labelled target pictures as they judged."""
    candidate = choice.candidate
    network = next((each for each in networks if candidate.network and each.method == candidate.method), None)
    every = np.arange(len(target.pictures.uris))
    assert candidate.fitted is not None and candidate.held_out is not None  # what failed is not chosen
    unadapted = feature_matrix.predict_rows(adapted.fitted, target_embeddings, adapted.features, every)
    if network is None:
        after = feature_matrix.predict_rows(candidate.fitted, target_embeddings, adapted.features, every)
        learnt = feature_matrix.predict_rows(candidate.fitted, embeddings, adapted.features, np.asarray(splits.train))
    else:
        answer = make_answer(candidate.fitted)
        after, learnt = answer(network.target_x), answer(network.source_x)
    after[t_rows] = candidate.target
    mapped = candidate.held_out.mapped
    rows = np.flatnonzero(np.isfinite(mapped[:, 0]))
    rows = rows[np.argsort(cv.rows[rows], kind="stable")]
    return DomainAdaptation(
        method=candidate.method,
        params=dict(candidate.params),
        rule=choice.rule,
        why=choice.why,
        trials=choice.trials,
        features=adapted.features if network is None else network.features,
        fitted=candidate.fitted,
        source_rows=cv.rows[rows],
        mapped_probabilities=mapped[rows],
        train_probabilities=learnt,
        target_before=unadapted,
        target_after=after,
        network=None if network is None else dataclasses.replace(network.network, fitted=candidate.fitted),
    )
