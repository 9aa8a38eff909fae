"""What the model says of every split: held-out probabilities, the answers they lead to, and all scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from headstart.core.job import Job
from headstart.core.types import Dataset, Embeddings, FitResult, Score, Splits
from headstart.features.embeddings import join_columns
from headstart.heads import prediction
from headstart.heads.decision_rule import best_threshold, choose_classes, find_positive_class, read_costs, require_rule
from headstart.statistics import metrics
from headstart.statistics.intervals import mean_interval
from headstart.uncertainty.temperature import apply_temperature

CHUNK = 8192  # pictures answered at once
SURE = 0.75  # a rival class this probable is enough to suspect a label


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSplit:
    """One split with what the model says of it."""

    split: str  # `test`, `val`, `cv` or `train`
    rows: np.ndarray  # (M,) int64
    y: np.ndarray  # (M,) int64 labels
    p: np.ndarray  # (M, C) float32 probabilities
    answers: np.ndarray  # (M,) int64
    clusters: np.ndarray  # (M,) int64


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerRule:
    """How probabilities become an answer: `decide`'s settings."""

    positive: int | None = None
    threshold: float | None = None
    costs: np.ndarray | None = None  # (C, C) float64

    @property
    def most_probable(self) -> bool:
        """Whether the answer is simply the most probable class."""
        return self.threshold is None and self.costs is None

    def decide_answers(self, p: np.ndarray) -> np.ndarray:
        """(M, C) probabilities -> (M,) int64 classes."""
        return choose_classes(p, positive=self.positive, threshold=self.threshold, costs=self.costs)


def make_answer_rule(data: Dataset, adapted: FitResult, job: Job) -> AnswerRule:
    """The job's rule; a threshold is tuned on the cross-validated probabilities, never on the test split.

    Raises:
        UsageError: `--positive` and `--costs` are both given, or do not fit the classes.
    """
    require_rule(job, data.class_names)
    if job.costs:
        return AnswerRule(costs=read_costs(job.costs, data.class_names))
    if not job.positive:
        return AnswerRule()
    positive = find_positive_class(job.positive, data.class_names)
    truth = np.asarray(data.targets)[adapted.cv_rows] == positive
    score = apply_temperature(np.asarray(adapted.cv_probabilities), adapted.temperature)[:, positive]
    return AnswerRule(positive=positive, threshold=best_threshold(truth, score))


def judge_splits(
    data: Dataset, splits: Splits, embeddings: tuple[Embeddings, ...], adapted: FitResult, answer_rule: AnswerRule
) -> dict[str, JudgedSplit]:
    """All splits that hold a picture, the headline's first; probabilities are tempered, as the saved model's are."""
    sources = {
        "test": (splits.test, None),
        "val": (splits.val, None),
        "cv": (adapted.cv_rows, adapted.cv_probabilities),
        "train": (splits.train, adapted.train_probabilities),
    }
    judged_splits = {}
    for split, (rows, held_out) in sources.items():
        if len(rows):
            p = _answer_rows(embeddings, adapted, rows) if held_out is None else np.asarray(held_out)
            p = apply_temperature(p, adapted.temperature)
            judged_splits[split] = JudgedSplit(
                split=split,
                rows=np.asarray(rows, np.int64),
                y=np.asarray(data.targets)[rows],
                p=p,
                answers=answer_rule.decide_answers(p),
                clusters=np.asarray(splits.clusters)[rows],
            )
    return judged_splits


def _answer_rows(embeddings: tuple[Embeddings, ...], adapted: FitResult, rows: np.ndarray) -> np.ndarray:
    """(M, C) float32 of the final head, through the very code that answers in a saved model."""
    fitted = adapted.fitted
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    return np.concatenate(
        [
            prediction.predict_probabilities(fitted.kind, fitted.arrays, join_columns(embeddings, adapted.features, c))
            for c in chunks
        ]
    )


def score_split(part: JudgedSplit, data: Dataset, answer_rule: AnswerRule, seed: int) -> list[Score]:
    """Every score of a split, and the mean cost where costs were given."""
    scores = metrics.compute_scores(
        part.y,
        part.p,
        split=part.split,
        class_names=data.class_names,
        answers=part.answers,
        clusters=part.clusters,
        seed=seed,
    )
    return [*scores, *([_score_cost(part, answer_rule.costs)] if answer_rule.costs is not None else [])]


def _score_cost(part: JudgedSplit, costs: np.ndarray) -> Score:
    value, low, high = mean_interval(costs[part.y, part.answers], part.clusters)
    return Score(split=part.split, name="mean_cost", value=value, low=low, high=high, n=len(part.y), method="t")


def score_without_straddling(part: JudgedSplit, data: Dataset, splits: Splits, seed: int) -> list[Score]:
    """Scores of a split without pictures that look like one of another split; empty when there is none."""
    apart = ~np.isin(part.rows, np.asarray(splits.straddling).ravel())
    if apart.all() or not apart.any():
        return []
    scores = metrics.compute_scores(
        part.y[apart],
        part.p[apart],
        split=part.split,
        class_names=(),
        answers=part.answers[apart],
        clusters=part.clusters[apart],
        seed=seed,
    )
    return [dataclasses.replace(score, subject="without straddling pictures") for score in scores]


def find_suspect_labels(judged_splits: dict[str, JudgedSplit], most: int = 200) -> np.ndarray:
    """(P,) int64 rows whose label held-out predictions contradict, the most suspect first; half of such rows are right.

    After confident learning (Northcutt 2021): a label is suspect when another class is more probable than its label
    and at least as probable as that class is, on average, for pictures that carry it, or at least `SURE`.
    """
    rows, margins = [], []
    for part in (p for split, p in judged_splits.items() if split != "train"):
        label_probability = part.p[np.arange(len(part.y)), part.y]
        usual = np.array(
            [label_probability[part.y == c].mean() if (part.y == c).any() else 1.0 for c in range(part.p.shape[1])]
        )
        rivals = np.where(part.p >= np.minimum(usual, SURE), part.p, -1.0)
        rivals[np.arange(len(part.y)), part.y] = -1.0
        suspect = rivals.max(axis=1) > label_probability
        rows.append(part.rows[suspect])
        margins.append((rivals.max(axis=1) - label_probability)[suspect])
    joined, strength = np.concatenate(rows), np.concatenate(margins)
    return joined[np.lexsort((joined, -strength))][:most].astype(np.int64)
