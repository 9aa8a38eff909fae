"""Did it pay? One table: majority, colour histogram, frozen probe, fine-tuned, the same network from random weights.

All rows answer for the same pictures: the test split, else a given `val/`, else the first fold, for which probe and
network answer by what learnt from the other folds. Differences are bootstrapped by cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.types import (
    AblationRow,
    CurvePoint,
    Embeddings,
    FineTuningResult,
    Score,
    TunedNetwork,
    Verdict,
)
from headstart.evaluation.baselines import HISTOGRAM, MAJORITY, BaselineInputs, answer_by_majority
from headstart.evaluation.verdicts import sign_answer
from headstart.features.embeddings import find_positions, take_vectors
from headstart.features.feature_matrix import predict_rows
from headstart.heads.prediction import predict_probabilities
from headstart.statistics import metrics
from headstart.statistics.intervals import make_score, mean_bootstrap

PROBE, TUNED, RANDOM = "frozen probe", "fine-tuned", "from random weights"
SHOWN = ("accuracy", "balanced_accuracy", "log_loss")


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
        MAJORITY: (answer_by_majority(len(y), judging.learnt, inputs.data), learnt, 0),
        HISTOGRAM: _answer_by_histogram(inputs, judging),
        PROBE: (p_probe, learnt, probe.fitted.trainable_params),
    }
    if network is not None and judging.split == "cv":
        answers[TUNED] = (np.asarray(tuning.probabilities[positions]), learnt, network.trainable_params)
    elif network is not None and network.spec.name in names:
        p = _answer_by_network(network, judging, embeddings)
        answers[TUNED] = (p, network.n_train, network.trainable_params)
    if tuning.scratch is not None and tuning.scratch.spec.name in names:
        p = _answer_by_network(tuning.scratch, judging, embeddings)
        answers[RANDOM] = (p, tuning.scratch.n_train, tuning.scratch.trainable_params)
    return tuple(_make_row(name, answer, answers[PROBE][0], y, judging, inputs) for name, answer in answers.items())


def _make_row(
    name: str,
    answer: tuple[np.ndarray, int, int],
    p_probe: np.ndarray,
    y: np.ndarray,
    judging: JudgingRows,
    inputs: BaselineInputs,
) -> AblationRow:
    (p, n_train, trained), clusters = answer, np.asarray(inputs.splits.clusters)[judging.rows]
    scores = metrics.compute_scores(y, p, split=judging.split, class_names=(), clusters=clusters, seed=inputs.seed)
    difference = None
    if name != PROBE:
        right, probe_right = (np.argmax(each, axis=1) == y for each in (p, p_probe))
        interval = mean_bootstrap(right * 1.0 - probe_right * 1.0, clusters, inputs.seed)
        difference = make_score("accuracy", judging.split, interval, len(y), method="bootstrap")
    shown = tuple(score for score in scores if score.name in SHOWN)
    return AblationRow(name=name, scores=shown, difference=difference, n_train=n_train, trained=trained)


def _answer_by_histogram(inputs: BaselineInputs, judging: JudgingRows) -> tuple[np.ndarray, int, int]:
    x = np.asarray(inputs.data.facts.histogram, np.float32)
    y = np.asarray(inputs.data.targets)[judging.learnt]
    head, classes = registry.load_plugin("heads", "logistic"), len(inputs.data.class_names)
    params = head.grid(len(y), x.shape[1], classes)[2]
    fit = head.path(x[judging.learnt], y, n_classes=classes, params=[params], class_weight=None, seed=inputs.seed)
    fitted = next(iter(fit))
    return predict_probabilities(fitted.kind, fitted.arrays, x[judging.rows]), len(y), fitted.trainable_params


def _answer_by_network(network: TunedNetwork, judging: JudgingRows, embeddings: Sequence[Embeddings]) -> np.ndarray:
    network_embeddings = next(e for e in embeddings if e.spec.name == network.spec.name)
    x = take_vectors(network_embeddings, network.spec.depths[0].name, judging.rows)
    return predict_probabilities(network.fitted.kind, network.fitted.arrays, x)


# ---------------------------------------------------------------- in words


def make_verdicts(
    rows: Sequence[AblationRow], tuning: FineTuningResult, curve: Sequence[CurvePoint]
) -> tuple[Verdict, ...]:
    """Did fine-tuning pay, does pre-training help or harm, and what does it save."""
    by_name = {row.name: row for row in rows}
    verdicts = []
    if TUNED in by_name:
        verdicts.append(_judge_fine_tuning(by_name[TUNED], tuning))
    if RANDOM in by_name:
        verdicts.append(_judge_negative_transfer(by_name[RANDOM]))
        verdicts.append(_judge_data_saved(by_name[RANDOM], curve, tuning))
    return tuple(verdicts)


def _format_difference(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}] (n = {score.n:,})"


def _judge_fine_tuning(row: AblationRow, tuning: FineTuningResult) -> Verdict:
    assert row.difference is not None
    answer = sign_answer(row.difference)
    claims = {"yes": "fine-tuning pays", "no": "fine-tuning loses", "unclear": "whether fine-tuning pays is unclear"}
    outcome = "the network is handed over" if tuning.taken else "the frozen probe is handed over"
    gain = _format_difference(row.difference)
    sentence = f"{claims[answer]}: accuracy {gain} against the frozen probe; {outcome}: {tuning.why}"
    return Verdict(code="fine_tuning", answer=answer, sentence=sentence)


def _judge_negative_transfer(row: AblationRow) -> Verdict:
    assert row.difference is not None
    answer = sign_answer(row.difference)
    claim = {
        "yes": "negative transfer: random weights, trained, do better than frozen pre-trained ones",
        "no": "no negative transfer: the same network from random weights does worse",
        "unclear": "whether pre-trained weights help or harm is unclear",
    }[answer]
    gain = _format_difference(row.difference)
    sentence = f"{claim}, accuracy {gain} against the frozen probe after at least as many operations"
    return Verdict(code="negative_transfer", answer=answer, sentence=sentence)


def _judge_data_saved(row: AblationRow, curve: Sequence[CurvePoint], tuning: FineTuningResult) -> Verdict:
    target = next(s for s in row.scores if s.name == "balanced_accuracy")
    points = sorted((p for p in curve if np.isfinite(p.score.value)), key=lambda p: p.n_train)
    reached = [p for p in points if p.score.value >= target.value]
    if not reached or not np.isfinite(target.value):
        sentence = f"no point of the probe's learning curve reaches the {target.value:.3f} from random weights"
        return Verdict(code="data_saved", answer="no", sentence=sentence)
    first = reached[0]
    part = row.n_train / first.n_train
    more = "or fewer " if first is points[0] else ""
    sentence = (
        f"the frozen probe reaches balanced accuracy {first.score.value:.3f} with {first.n_train:,} {more}pictures; "
        f"the network from random weights has {target.value:.3f} [{target.low:.3f}, {target.high:.3f}] with "
        f"{row.n_train:,}: {_format_part(part)} of the labels{_format_work_saved(target.value, tuning)}"
    )
    return Verdict(code="data_saved", answer="yes" if part > 1 else "no", sentence=sentence)


def _format_work_saved(target: float, tuning: FineTuningResult) -> str:
    """After which part of the operations the tuned network passes a held-out score; empty when it never does."""
    tuned, scratch = tuning.network, tuning.scratch
    logs = [log for log in tuning.logs if tuned and log.trial == tuned.soup[0] and log.start is not None]
    if tuned is None or scratch is None or not logs:
        return ""
    if np.mean([log.start.balanced_accuracy for log in logs if log.start]) >= target:
        return "; the tuned network is past it before its first step"
    for epoch in range(min(tuned.epochs, *(len(log.epochs) for log in logs))):  # later ones are not in the network
        scores = [row.val.balanced_accuracy for log in logs if (row := log.epochs[epoch]).val is not None]
        if scores and np.mean(scores) >= target:
            spent = tuned.flops * (epoch + 1) / max(tuned.epochs, 1)
            part = f", {_format_part(scratch.flops / spent)} of the operations" if spent < scratch.flops else ""
            return f"; the tuned network passes it after epoch {epoch + 1}{part}"
    return ""


def _format_part(times: float) -> str:
    """What one is of so many: `1/9`, and in per cent where halves are not reached."""
    return f"1/{times:.0f}" if times >= 2 else f"{100 / times:.0f} %"
