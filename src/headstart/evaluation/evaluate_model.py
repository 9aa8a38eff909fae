"""Evaluate: the untouched test split is looked at once, here, and every number comes with its interval.

The headline is of `test`, else of a given `val/`, else of cross-validation, nested where there was time: the same
pictures' plain cross-validation also chose the model, and is optimistic. `evaluate/scores.csv` holds all scores,
`evaluate/predictions.csv` every held-out prediction.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import (
    AblationRow,
    Dataset,
    Embeddings,
    Evaluation,
    FitResult,
    NameInitialization,
    Ranking,
    Score,
    Splits,
    Task,
    Verdict,
)
from headstart.evaluation import ablation, baselines, numbers_and_labels, transfer_verdicts, verdicts
from headstart.evaluation.baselines import BaselineInputs
from headstart.evaluation.csv_tables import write_predictions, write_scores
from headstart.evaluation.curve_forecast import count_classes
from headstart.evaluation.held_out_scores import (
    WITHOUT_STRADDLING,
    JudgedSplit,
    judge_splits,
    list_caveats,
    make_answer_rule,
    score_split,
    score_without_straddling,
)
from headstart.evaluation.suspect_labels import find_suspect_labels
from headstart.statistics import metrics


def evaluate_model(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    adapted: FitResult,
    ranking: Ranking,
    *,
    ctx: Context,
    controls: tuple[Embeddings, ...] = (),
    probe: FitResult | None = None,
    names: NameInitialization | None = None,
) -> Evaluation:
    """Judge the adapted model.

    Args:
        embeddings: Features of all pictures of every backbone that the head reads.
        controls: Embeddings of trunks with random weights, of at most 256 training pictures.
        probe: The frozen probe that fine-tuning started from, when there was any: what baselines are compared with.
        names: What the names of the classes say, where the job starts from it: one more baseline.

    Raises:
        UsageError: `positive` or `costs` do not fit the classes.
    """
    answer_rule = make_answer_rule(data, adapted, ctx.job)
    judged_splits = judge_splits(data, splits, embeddings, adapted, answer_rule)
    headline = next(iter(judged_splits.values()))
    costs = np.asarray(answer_rule.costs) if ctx.job.costs else None
    scores = [score for part in judged_splits.values() for score in score_split(part, data, costs, ctx.seed)]
    scores += score_without_straddling(headline, data, splits, ctx.seed)
    inputs = BaselineInputs(data=data, splits=splits, embeddings=embeddings, adapted=probe or adapted, seed=ctx.seed)
    feature_sets = baselines.make_feature_sets(inputs, ranking, controls)
    if data.learning_task.has_classes:
        evaluation = _measure_classes(
            judged_splits, scores, feature_sets, inputs, adapted, names, costs, threshold=answer_rule.threshold
        )
    else:
        is_nested = _is_nested(headline, adapted)
        evaluation = numbers_and_labels.measure_model(judged_splits, scores, feature_sets, inputs, is_nested=is_nested)
    rows, transfer = _make_ablation(inputs, adapted, embeddings)
    evaluation = dataclasses.replace(evaluation, paid=rows, verdicts=evaluation.verdicts + transfer)
    folder = ctx.make_step_folder("evaluate")
    serialization.save_value(evaluation, folder)
    write_scores(evaluation, folder / "scores.csv")
    write_predictions(list(judged_splits.values()), data, folder / "predictions.csv")
    domain = "; of the labelled domain, before any adaptation" if ctx.job.unlabeled else ""
    ctx.console.print_line("evaluate", f"{_format_line(evaluation, data.learning_task)}{domain}")
    return evaluation


def _measure_classes(
    judged_splits: dict[str, JudgedSplit],
    scores: list[Score],
    feature_sets: dict[str, JudgedSplit],
    inputs: BaselineInputs,
    adapted: FitResult,
    names: NameInitialization | None,
    costs: np.ndarray | None,
    *,
    threshold: float | None,
) -> Evaluation:
    headline, data = next(iter(judged_splits.values())), inputs.data
    confusion = metrics.confusion_matrix(headline.y, headline.answers, len(data.class_names))
    suspects = find_suspect_labels(judged_splits)
    return Evaluation(
        split=headline.split,
        scores=tuple(scores),
        baselines=tuple(_score_baselines(headline, feature_sets, inputs, names, costs)),
        confusion=confusion,
        rows=headline.rows,
        probabilities=headline.p,
        calibration=metrics.calibration_bins(headline.y, headline.p),
        suspects=suspects.rows,
        wrong_labels=suspects.wrong,
        rival_classes=tuple(suspects.rivals.tolist()),
        rival_probabilities=tuple(suspects.rival_probabilities.tolist()),
        threshold=threshold,
        verdicts=_make_verdicts(judged_splits, scores, feature_sets, confusion, adapted, inputs),
        nested=_is_nested(headline, adapted),
    )


def _is_nested(headline: JudgedSplit, adapted: FitResult) -> bool:
    return headline.split == "cv" and adapted.nested_probabilities is not None


def _score_baselines(
    headline: JudgedSplit,
    feature_sets: dict[str, JudgedSplit],
    inputs: BaselineInputs,
    names: NameInitialization | None,
    costs: np.ndarray | None,
) -> list[Score]:
    seed, p_majority = inputs.seed, baselines.answer_constantly(len(headline.y), inputs.splits.train, inputs.data)
    scores = baselines.score_baseline(headline, p_majority, baselines.name_constant(headline.task), seed)
    scores += baselines.score_class_names(headline, names) if names else []
    scores += baselines.score_neighbours(headline, inputs)
    for subject, part in feature_sets.items():
        scores += baselines.score_baseline(part, part.p, subject, seed)
    if costs is not None:
        scores.append(baselines.score_cheapest_answer(headline, costs, inputs.splits.train, inputs.data))
    return scores


def _make_verdicts(
    judged_splits: dict[str, JudgedSplit],
    scores: list[Score],
    feature_sets: dict[str, JudgedSplit],
    table: np.ndarray,
    adapted: FitResult,
    inputs: BaselineInputs,
) -> tuple[Verdict, ...]:
    headline, names = next(iter(judged_splits.values())), inputs.data.class_names
    is_nested, caveats = _is_nested(headline, adapted), list_caveats(headline, inputs.data, inputs.splits, scores)
    shares = baselines.answer_constantly(1, inputs.splits.train, inputs.data)[0]
    return (
        verdicts.judge_headline(headline, scores, shares, names, is_nested=is_nested, caveats=caveats),
        *verdicts.find_uneven_classes(headline, scores, table, names),
        verdicts.judge_transfer(feature_sets, np.asarray(inputs.splits.clusters)),
        verdicts.judge_overfitting(judged_splits["train"], headline, is_nested=is_nested),
        verdicts.judge_enough_data(adapted, count_classes(inputs.data)),
    )


def _make_ablation(
    inputs: BaselineInputs, adapted: FitResult, embeddings: tuple[Embeddings, ...]
) -> tuple[tuple[AblationRow, ...], tuple[Verdict, ...]]:
    if not adapted.tuning or not len(adapted.tuning.rows):
        return (), ()
    rows = ablation.make_ablation(inputs, adapted.tuning, embeddings)
    return rows, transfer_verdicts.make_transfer_verdicts(
        rows, adapted.tuning, adapted.curve, inputs.data.learning_task
    )


def _format_line(evaluation: Evaluation, task: Task) -> str:
    """`test accuracy 0.835 [0.797, 0.868] (n = 400), balanced accuracy 0.790 [0.751, 0.826], majority class 0.500`."""
    names, constant = verdicts.list_main_scores(task), baselines.name_constant(task)
    main, other = (verdicts.find_score(evaluation.scores, evaluation.split, name) for name in names)
    find = (s for s in evaluation.scores if (s.split, s.name, s.subject) == (main.split, main.name, WITHOUT_STRADDLING))
    apart = next(find, None)
    leak = f", {verdicts.format_interval(apart)} without {main.n - apart.n:,} that straddle the splits" if apart else ""
    plain = next(s for s in evaluation.baselines if (s.name, s.subject) == (main.name, constant))
    split = "nested cv" if evaluation.nested else evaluation.split
    optimism = f", {verdicts.OPTIMISM}" if evaluation.is_optimistic else ""
    return (
        f"{split} {verdicts.format_score_name(main.name)} {verdicts.format_interval(main)} (n = {main.n:,}){leak}, "
        f"{verdicts.format_score_name(other.name)} {verdicts.format_interval(other)}, "
        f"{constant} {plain.value:.3f}{optimism}"
    )
