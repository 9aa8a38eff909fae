"""Evaluate: the untouched test split is looked at once, here, and every number comes with its interval.

The headline is of `test`, else of a given `val/`, else of cross-validation. All scores are told for every split, the
baselines' beside them; then verdicts answer in words what a user asks. `evaluate/scores.csv` holds all scores,
`evaluate/predictions.csv` every held-out prediction.
"""

from __future__ import annotations

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
    Verdict,
)
from headstart.evaluation import ablation, baselines, verdicts
from headstart.evaluation.baselines import Bench, Features
from headstart.evaluation.csv_tables import write_predictions, write_scores
from headstart.evaluation.held_out_scores import Part, Rule, all_scores, parts, rule, suspects, without_straddling
from headstart.statistics import metrics

WITHOUT_ANSWERS = ("log_loss", "brier", "roc_auc", "average_precision")  # scores of the probabilities alone


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
        data: The data set.
        splits: Who learnt and who judges.
        embeddings: Features of all pictures of every backbone that the head reads.
        adapted: The head and its held-out predictions.
        ranking: Tells the random trunk's best depth.
        ctx: The run; its job gives `positive` and `costs`.
        controls: Embeddings of trunks with random weights, of at most 256 training pictures.
        probe: The frozen probe that fine-tuning started from, when there was any: what baselines are compared with.
        names: What the names of the classes say, where the job starts from it: one more baseline.

    Raises:
        UsageError: `positive` or `costs` do not fit the classes.
    """
    how = rule(data, adapted, ctx)
    found = parts(data, splits, embeddings, adapted, how)
    head = next(iter(found.values()))
    scores = [score for part in found.values() for score in all_scores(part, data, how, ctx.seed)]
    if head.split == "cv":
        scores = _nested(scores, adapted, how)
    scores += without_straddling(head, data, splits, ctx.seed)
    bench = Bench(data=data, splits=splits, embeddings=embeddings, adapted=probe or adapted, ctx=ctx)
    paying = ablation.table(bench, adapted.tuning, embeddings) if adapted.tuning and len(adapted.tuning.rows) else ()
    few = baselines.features(bench, ranking, controls)
    table = metrics.confusion(head.y, head.answers, len(data.class_names))
    made = Evaluation(
        split=head.split,
        scores=tuple(scores),
        baselines=tuple(_baselines(head, few, bench, names)),
        confusion=table,
        rows=head.rows,
        probabilities=head.p,
        calibration=metrics.calibration_bins(head.y, head.p),
        suspects=suspects(found),
        threshold=how.threshold,
        verdicts=_verdicts(found, scores, few, table, adapted, bench) + _paid(paying, adapted),
        paid=paying,
    )
    serialization.save_value(made, ctx.make_step_folder("evaluate"))
    write_scores(made, ctx.make_step_folder("evaluate") / "scores.csv")
    write_predictions(list(found.values()), data, ctx.make_step_folder("evaluate") / "predictions.csv")
    ctx.console.print_line("evaluate", _line(made))
    return made


def _nested(scores: list[Score], adapted: FitResult, how: Rule) -> list[Score]:
    """Put nested scores where the searched ones, which are optimistic, would stand.

    Theirs are the most probable classes: under another rule only scores that no answer enters are put there.
    """
    kept = [s for s in adapted.nested if how.most_probable or s.name in WITHOUT_ANSWERS]
    better = {(s.split, s.name, s.subject): s for s in kept}
    return [better.get((s.split, s.name, s.subject), s) for s in scores]


def _baselines(head: Part, few: list[Features], on: Bench, names: NameInitialization | None) -> list[Score]:
    seed = on.ctx.seed
    found = baselines.scored(head, baselines.majority(head, on), baselines.MAJORITY, seed)
    found += baselines.guesses(head, names) if names else []
    found += baselines.neighbours(head, on)
    for features in few:
        found += baselines.scored(features.part, features.part.p, features.subject, seed)
    return found


def _verdicts(
    found: dict[str, Part],
    scores: list[Score],
    few: list[Features],
    table: np.ndarray,
    adapted: FitResult,
    on: Bench,
) -> tuple[Verdict, ...]:
    head, names = next(iter(found.values())), on.data.class_names
    majority = int(np.argmax(np.bincount(np.asarray(on.data.targets)[on.splits.train])))
    return (
        verdicts.headline(head, scores, majority, names[majority], adapted.nested),
        *verdicts.uneven_classes(head, scores, table, names),
        verdicts.transfer(few, np.asarray(on.splits.clusters)),
        verdicts.overfitting(found["train"], head),
        verdicts.enough_data(adapted.curve),
    )


def _paid(rows: tuple[AblationRow, ...], adapted: FitResult) -> tuple[Verdict, ...]:
    return ablation.verdicts(rows, adapted.tuning, adapted.curve) if adapted.tuning else ()


def _line(made: Evaluation) -> str:
    """`test accuracy 0.835 [0.797, 0.868] (n = 400), balanced 0.790 [0.751, 0.826], majority class 0.500`."""

    def find(scores: tuple[Score, ...], name: str, subject: str = "") -> Score:
        return next(s for s in scores if (s.split, s.name, s.subject) == (made.split, name, subject))

    accuracy, balanced = find(made.scores, "accuracy"), find(made.scores, "balanced_accuracy")
    dummy = find(made.baselines, "accuracy", baselines.MAJORITY)
    return (
        f"{made.split} accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] (n = {accuracy.n:,}), "
        f"balanced {balanced.value:.3f} [{balanced.low:.3f}, {balanced.high:.3f}], majority class {dummy.value:.3f}"
    )
