"""Did it pay? One table: majority, colour histogram, frozen probe, fine-tuned, the same network from random weights.

All rows answer for the same pictures: the test split, else a given `val/`, else the first fold, for which probe and
network answer by what learnt from the other folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.types import (
    AblationRow,
    Embeddings,
    FineTuningResult,
    Score,
    Task,
    TunedNetwork,
)
from headstart.evaluation.baselines import HISTOGRAM, BaselineInputs, answer_constantly, answer_plainly, name_constant
from headstart.features.embeddings import find_positions, take_vectors
from headstart.features.feature_matrix import predict_rows
from headstart.heads.prediction import predict_probabilities
from headstart.statistics import metrics
from headstart.statistics.intervals import make_score
from headstart.statistics.losses import squared_errors
from headstart.statistics.paired_tests import difference_of_shares

PROBE, TUNED, RANDOM = "frozen probe", "fine-tuned", "from random weights"


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgingRows:
    """The pictures that all rows answer for."""

    split: str  # `test`, `val` or `cv`
    rows: np.ndarray  # (M,) int64
    learnt: np.ndarray  # (M',) int64 training pictures that no row had to leave out


def choose_judging_rows(inputs: BaselineInputs, tuning: FineTuningResult) -> JudgingRows:
    """Who judges: pictures that neither network nor probe learnt from."""
    splits = inputs.splits
    for split, rows in (("test", splits.test), ("val", splits.val)):
        if len(rows):
            return JudgingRows(split=split, rows=np.asarray(rows), learnt=np.asarray(splits.train))
    fold = np.asarray(splits.folds)[0]
    rows = np.sort(tuning.rows[fold[tuning.rows] == 0])
    learnt = np.asarray(inputs.adapted.cv_rows)  # of many pictures heads are compared on some
    return JudgingRows(split="cv", rows=rows, learnt=np.sort(learnt[(fold[learnt] != 0) & (fold[learnt] >= 0)]))


def make_ablation(
    inputs: BaselineInputs, tuning: FineTuningResult, embeddings: Sequence[Embeddings]
) -> tuple[AblationRow, ...]:
    """The rows that could be made, the plainest first; `inputs.adapted` is the frozen probe."""
    judging, names = choose_judging_rows(inputs, tuning), tuple(e.spec.name for e in embeddings)
    y, learnt = np.asarray(inputs.data.targets)[judging.rows], len(judging.learnt)
    probe, network = inputs.adapted, tuning.network
    if judging.split == "cv":
        positions = find_positions(tuning.rows, judging.rows, "judged")
        p_probe = np.asarray(tuning.probe_probabilities[positions])
    else:
        p_probe = predict_rows(probe.fitted, embeddings, probe.features, judging.rows)
    answers = {
        name_constant(inputs.data.learning_task): (answer_constantly(len(y), judging.learnt, inputs.data), learnt, 0),
        HISTOGRAM: _answer_by_histogram(inputs, judging),
        PROBE: (p_probe, learnt, probe.fitted.trainable_params),
    }
    if network is not None and judging.split == "cv":
        answers[TUNED] = (np.asarray(tuning.probabilities[positions]), learnt, network.fitted.trainable_params)
    elif network is not None and network.spec.name in names:
        p = _answer_by_network(network, judging, embeddings)
        answers[TUNED] = (p, network.n_train, network.fitted.trainable_params)
    if tuning.scratch is not None and tuning.scratch.spec.name in names:
        p = _answer_by_network(tuning.scratch, judging, embeddings)
        answers[RANDOM] = (p, tuning.scratch.n_train, tuning.scratch.trainable_params)
    return tuple(_make_row(name, answers, y, judging, inputs) for name in answers)


def _make_row(
    name: str,
    answers: Mapping[str, tuple[np.ndarray, int, int]],
    y: np.ndarray,
    judging: JudgingRows,
    inputs: BaselineInputs,
) -> AblationRow:
    (p, n_train, trained), clusters = answers[name], np.asarray(inputs.splits.clusters)[judging.rows]
    task, judged = inputs.data.learning_task, {"clusters": clusters, "seed": inputs.seed}
    scores = metrics.compute_scores(y, p, split=judging.split, class_names=(), task=task, **judged)
    shown = {*task.headline, task.curve, task.metrics[0]}

    def measure_difference(other: str) -> Score | None:
        if other == name or other not in answers:
            return None
        ratings, others = (_rate_answers(task, y, answers[each][0]) for each in (name, other))
        interval, method = difference_of_shares(ratings, others, clusters, inputs.seed)
        rated = "accuracy" if task.has_classes else "label_accuracy" if task.has_labels else "r2"
        return make_score(rated, judging.split, interval, len(y), method=method)

    return AblationRow(
        name=name,
        scores=tuple(score for score in scores if score.name in shown),
        difference=measure_difference(PROBE),
        tuned_difference=measure_difference(TUNED),
        n_train=n_train,
        trained=trained,
    )


def _rate_answers(task: Task, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(M,) how well each picture is answered: rightly or not, the share of its labels, or 1 less its squared error."""
    if task.is_number:
        return 1 - squared_errors(y, p)
    right = np.asarray(answer_plainly(p, task) == y)
    return right.mean(axis=1) if task.has_labels else right


def _answer_by_histogram(inputs: BaselineInputs, judging: JudgingRows) -> tuple[np.ndarray, int, int]:
    x = np.asarray(inputs.data.facts.histogram, np.float32)
    y = np.asarray(inputs.data.targets)[judging.learnt]
    name = next(iter(inputs.data.learning_task.heads), "logistic")
    head, classes = registry.load_plugin("heads", name), len(inputs.data.output_names)
    params = head.grid(len(y), x.shape[1], classes)[2]
    fit = head.path(x[judging.learnt], y, n_classes=classes, params=[params], class_weight=None, seed=inputs.seed)
    fitted = next(iter(fit))
    return predict_probabilities(fitted.kind, fitted.arrays, x[judging.rows]), len(y), fitted.trainable_params


def _answer_by_network(network: TunedNetwork, judging: JudgingRows, embeddings: Sequence[Embeddings]) -> np.ndarray:
    network_embeddings = next(e for e in embeddings if e.spec.name == network.spec.name)
    x = take_vectors(network_embeddings, network.spec.depths[0].name, judging.rows)
    return predict_probabilities(network.fitted.kind, network.fitted.arrays, x)
