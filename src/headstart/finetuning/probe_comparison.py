"""Whether the frozen probe or the fine-tuned network is handed over, by the paired rule; what is told of each trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.core.types import Score, Trial, TunedNetwork
from headstart.features.embeddings import find_positions
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_cost import TrainingCost
from headstart.finetuning.search.training_set import TrainingSet
from headstart.heads import repeated_cv
from headstart.heads.cross_validation import count_folds
from headstart.statistics.intervals import Z
from headstart.statistics.losses import per_picture_loss
from headstart.statistics.paired_selection import CandidateLosses, PairedChoice, choose_candidate, paired_difference

GUARD = 0.5  # standard errors by which a network must beat the probe
PROBE, NETWORK = "frozen probe", "fine-tuned"


def format_finalist(trial: RecipeTrial) -> str:
    """The name of a finalist."""
    return f"{NETWORK} (trial {trial.number})"


def compare_with_probe(training_set: TrainingSet, cost: TrainingCost, finalists: Sequence[RecipeTrial]) -> PairedChoice:
    """The paired rule between the probe and the finalists, on the pictures that all of them answered for."""
    verdicts = [trial.require_verdict() for trial in finalists]
    rows = verdicts[0].rows
    for verdict in verdicts:
        rows = np.intersect1d(rows, verdict.rows)
    p = training_set.probe_probabilities(rows)
    contenders = [make_contender(PROBE, rows, p, training_set, cost.probe_flops)]
    for trial, verdict in zip(finalists, verdicts, strict=True):
        p = verdict.probabilities[find_positions(verdict.rows, rows, "judged")]
        flops = cost.inference_flops(trial.recipe)
        contenders.append(make_contender(format_finalist(trial), rows, p, training_set, flops))
    problem = training_set.problem
    return choose_candidate(contenders, prefer=problem.prefer, clusters=problem.clusters, metric=problem.metric)


def hands_over_network(choice: PairedChoice, network: TunedNetwork, strategy: str) -> bool:
    """Whether the network is handed over: a named strategy always is, `auto` takes a trained one if it convinces."""
    return strategy != "auto" or (is_convincing(choice) and not network.is_untrained)


def is_convincing(choice: PairedChoice) -> bool:
    """Whether a network won, and by more than half a standard error: of several that tie with the probe one always
    leads by luck, and then the probe, which needs no trust, stays."""
    gap = choice.paired[PROBE]
    return choice.winner != PROBE and gap.value >= GUARD * (gap.high - gap.low) / (2 * Z)


def format_lost_training(network: TunedNetwork) -> str:
    """What an untrained network is."""
    is_random = network.recipe.start == "random"
    start = "by random weights" if is_random else "as the frozen probe does that it started from"
    return f"nothing of the training was kept: the network has its first weights and answers {start}"


def format_reason(choice: PairedChoice, network: TunedNetwork, is_taken: bool, strategy: str) -> str:
    """Why the network, or the probe, is handed over."""
    if network.is_untrained:
        lost = format_lost_training(network)
        return f"{lost}; it is handed over as `--strategy {strategy}` asks" if is_taken else lost
    if is_taken and choice.winner == PROBE:
        return f"fine-tuned as `--strategy {strategy}` asks, though the frozen probe is as good or better: {choice.why}"
    if not is_taken and choice.winner != PROBE:
        return f"the frozen probe stays, for it is beaten by less than half a standard error: {choice.why}"
    return choice.why


def make_contender(
    name: str, rows: np.ndarray, p: np.ndarray, training_set: TrainingSet, cost: float
) -> CandidateLosses:
    """Losses of (M, C) answers for some rows of the data set."""
    losses = per_picture_loss(training_set.problem.metric, training_set.targets_of(rows), p)
    return CandidateLosses(name=name, rows=rows, losses=losses, cost=cost)


def describe_trial(
    training_set: TrainingSet, trial: RecipeTrial, choice: PairedChoice | None, chosen: RecipeTrial | None
) -> Trial:
    """What is told of a trial, next to the frozen probe on the same pictures."""
    nan, problem, verdict = float("nan"), training_set.problem, trial.verdict
    metric = problem.metric
    status = "failed" if verdict is None else "pruned" if trial.pruned else "beaten"
    if trial is chosen:
        status = "chosen"
    elif choice is not None and format_finalist(trial) in choice.paired:
        status = "finalist"
    if verdict is None:
        score, gap = Score(split="cv", name=metric, value=nan, low=nan, high=nan, n=0, method="none"), None
    else:
        rows = verdict.rows
        clusters, n_folds = np.asarray(problem.clusters)[rows], count_folds(problem.folds)
        shared: dict[str, Any] = {"split": "cv", "n_folds": n_folds, "clusters": clusters, "seed": problem.seed}
        score = repeated_cv.average_scores(metric, verdict.targets, verdict.probabilities[None], **shared)
        probe = make_contender(PROBE, rows, training_set.probe_probabilities(rows), training_set, 0.0)
        network = CandidateLosses(name=NETWORK, rows=rows, losses=verdict.losses, cost=0.0)
        interval = paired_difference(network, probe, problem.clusters)
        gap = repeated_cv.make_difference_score(interval, metric, split="cv", n=len(rows))
    return Trial(
        number=trial.number,
        recipe=trial.runs[0].log.recipe if trial.runs else trial.recipe,
        origin=trial.origin,
        folds=len(trial.runs),
        score=score,
        paired=gap,
        status=status,
        why=trial.why or (trial.runs[-1].log.stopped if trial.runs else ""),
    )
