"""What the model has to beat, in the same scores: the majority class, kNN, a random trunk and a colour histogram.

Where the job starts from the names of the classes, what they say without any label is one more. Random trunk,
histogram and the model's features are cross-validated by the same head on the same at most 256 training pictures and
folds, so that nothing but the features differs. These scores carry the split `screen`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.core.types import (
    PRESENT,
    Dataset,
    Embeddings,
    FitResult,
    NameInitialization,
    Ranking,
    Score,
    Splits,
    Task,
)
from headstart.evaluation.held_out_scores import JudgedSplit, score_costs
from headstart.features.embeddings import find_positions, join_columns, take_vectors
from headstart.features.feature_matrix import predict_rows
from headstart.heads import cross_validation
from headstart.statistics import metrics
from headstart.statistics.losses import is_gain
from headstart.statistics.ordinal_metrics import find_median_grades
from headstart.statistics.sampling import evenly_spaced

MAJORITY, MEDIAN, MEAN = "majority class", "median grade", "mean of the training pictures"
SHARES = "share of each label"
NEIGHBOURS, NAMES = "kNN", "class names alone, no label"
ALWAYS = "always answering "  # a class
OF_GUESSES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")  # scores that need no probability
HISTOGRAM, RANDOM, MODEL = "colour histogram", "random trunk", "model on the same pictures"
FEW = 256  # pictures that the histogram and random trunks see at most
SEARCHED = 2_000  # pictures on which the number of neighbours is searched
PAIRS = 200_000_000  # distances that kNN may take: seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class BaselineInputs:
    """What baselines are made from."""

    data: Dataset
    splits: Splits
    embeddings: tuple[Embeddings, ...]
    adapted: FitResult
    seed: int


def score_baseline(part: JudgedSplit, p: np.ndarray, subject: str, seed: int) -> list[Score]:
    """A baseline's scores over all classes on a split."""
    scores = dataclasses.replace(part, p=p, answers=answer_plainly(p, part.task)).compute_scores((), seed)
    return [dataclasses.replace(score, subject=subject) for score in scores]


def answer_plainly(p: np.ndarray, task: Task) -> np.ndarray:
    """Answers by (M, C), where no rule was asked for: the labels present, the median grade, or the likeliest class."""
    if task.has_labels:
        return np.asarray(p >= PRESENT)
    return find_median_grades(p) if task.ordered else np.asarray(p.argmax(axis=1))


def answer_constantly(count: int, learnt: np.ndarray, data: Dataset) -> np.ndarray:
    """(count, C) of `learnt` rows the shares of classes or labels, or the mean number, for every picture."""
    targets = np.asarray(data.targets)[learnt]
    if data.learning_task.has_classes:
        targets = np.bincount(targets, minlength=len(data.class_names)) / len(targets)
        return np.tile(targets, (count, 1))
    return np.tile(targets.mean(axis=0), (count, 1))


def name_constant(task: Task) -> str:
    """What such a baseline is called."""
    if task.ordered:
        return MEDIAN
    return MAJORITY if task.has_classes else SHARES if task.has_labels else MEAN


def score_cheapest_answer(part: JudgedSplit, costs: np.ndarray, learnt: np.ndarray, data: Dataset) -> Score:
    """The mean cost of always giving the answer that would cost the pictures learnt from least."""
    cheapest = int(np.argmin(np.bincount(np.asarray(data.targets)[learnt], minlength=len(costs)) @ costs))
    constant = dataclasses.replace(part, answers=np.full_like(part.answers, cheapest))
    return score_costs(constant, costs, ALWAYS + data.class_names[cheapest])


def score_class_names(part: JudgedSplit, names: NameInitialization) -> list[Score]:
    """Scores of what the names of the classes say; no label made them, so they are the same on every split."""
    positions = find_positions(np.asarray(names.rows), part.rows, "guessed by names")
    similarities, split = np.asarray(names.similarities)[positions], part.split
    return [
        metrics.compute_score(name, part.y, similarities, split=split, subject=NAMES, clusters=part.clusters)
        for name in OF_GUESSES
    ]


# ---------------------------------------------------------------- kNN on the model's features


def score_neighbours(part: JudgedSplit, inputs: BaselineInputs) -> list[Score]:
    """Scores of kNN that learnt from the training pictures; on `cv` of kNN that had not seen the picture."""
    if part.split != "cv":
        return score_baseline(part, _answer_by_neighbours(part, inputs), NEIGHBOURS, inputs.seed)
    few = part.select(evenly_spaced(len(part.rows), SEARCHED))
    rows = np.union1d(few.rows, _take_evenly_spaced(inputs.splits.train, SEARCHED))  # one fold alone may be judged
    p_MC = _search_neighbours(rows, inputs).held_out.mean(axis=0)[np.searchsorted(rows, few.rows)]
    return score_baseline(few, p_MC, NEIGHBOURS, inputs.seed)


def _search_neighbours(rows: np.ndarray, inputs: BaselineInputs) -> cross_validation.TunedSetting:
    """The number of neighbours that cross-validation on some training pictures prefers."""
    return _tune_head("knn", join_columns(inputs.embeddings, inputs.adapted.features, rows), rows, inputs)


def _tune_head(name: str, x: np.ndarray, rows: np.ndarray, inputs: BaselineInputs) -> cross_validation.TunedSetting:
    head, folds = registry.load_plugin("heads", name), np.asarray(inputs.splits.folds)[:1, rows]
    y, n_classes = np.asarray(inputs.data.targets)[rows], len(inputs.data.output_names)
    metric = inputs.data.learning_task.metrics[0]
    return cross_validation.tune_head(head, x, y, folds, n_classes=n_classes, metric=metric, seed=inputs.seed)


def _answer_by_neighbours(part: JudgedSplit, inputs: BaselineInputs) -> np.ndarray:
    """(M, C) of kNN on pictures outside `train`; the more there are, the fewer it learns from."""
    params = _search_neighbours(_take_evenly_spaced(inputs.splits.train, SEARCHED), inputs).params
    train = _take_evenly_spaced(inputs.splits.train, max(SEARCHED, PAIRS // len(part.rows)))
    x, y = join_columns(inputs.embeddings, inputs.adapted.features, train), np.asarray(inputs.data.targets)[train]
    path = registry.load_plugin("heads", "knn").path(
        x, y, n_classes=len(inputs.data.class_names), params=[params], class_weight=None, seed=inputs.seed
    )
    return predict_rows(next(iter(path)), inputs.embeddings, inputs.adapted.features, part.rows)


def _take_evenly_spaced(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spaced; rows are sorted by class folder, so classes keep their shares."""
    return np.asarray(np.asarray(rows)[evenly_spaced(len(rows), most)])


# ---------------------------------------------------------------- features against features


def make_feature_sets(
    inputs: BaselineInputs, ranking: Ranking, controls: tuple[Embeddings, ...]
) -> dict[str, JudgedSplit]:
    """The model's own features, those of the colour histogram, and those of a random trunk at its best depth.

    The few pictures that each answers for, with probabilities of heads that had not seen the picture.
    """
    drawn = controls[0].rows if controls else _take_evenly_spaced(inputs.splits.train, FEW)
    rows = np.sort(np.intersect1d(drawn, inputs.splits.train))[:FEW].astype(np.int64)
    blocks = {
        MODEL: join_columns(inputs.embeddings, inputs.adapted.features, rows),
        HISTOGRAM: np.asarray(inputs.data.facts.histogram[rows], np.float32),
    }
    for control in controls[:1]:
        blocks[RANDOM] = take_vectors(control, _best_depth(control, ranking), rows)
    return {subject: _cross_validate_features(x, rows, inputs) for subject, x in blocks.items()}


def _best_depth(control: Embeddings, ranking: Ranking) -> str:
    """The depth at which ranking measured the random trunk best, to be fair to it."""
    rows = [row for row in ranking.rows if row.backbone == control.spec.name and row.status == "control"]
    sign = -1 if is_gain(ranking.metric) else 1
    return min(rows, key=lambda row: sign * row.scores[0].value).depth if rows else control.spec.depths[-1].name


def _cross_validate_features(x: np.ndarray, rows: np.ndarray, inputs: BaselineInputs) -> JudgedSplit:
    task = inputs.data.learning_task
    p_MC = _tune_head(task.probes[0] if task.probes else "logistic", x, rows, inputs).held_out[0]
    return JudgedSplit(
        split="screen",
        rows=rows,
        y=np.asarray(inputs.data.targets)[rows],
        p=p_MC,
        answers=answer_plainly(p_MC, task),
        clusters=np.asarray(inputs.splits.clusters)[rows],
        task=task,
        n_folds=cross_validation.count_folds(inputs.splits.folds),
    )
