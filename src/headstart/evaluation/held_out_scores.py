"""What the model says of every split: held-out probabilities, the answers they lead to, and all scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, FitResult, Score, Splits
from headstart.features.embeddings import columns
from headstart.heads import prediction
from headstart.heads.decision_rule import best_threshold, decide, positive_class, read_costs, require_rule
from headstart.statistics import metrics
from headstart.statistics.intervals import mean_interval
from headstart.uncertainty.temperature import tempered

CHUNK = 8192  # pictures answered at once
SURE = 0.75  # a rival class this probable is enough to doubt a label


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One split with what the model says of it.

    Attributes:
        split: `test`, `val`, `cv` or `train`.
        rows: (M,) int64.
        y: (M,) int64 labels.
        p: (M, C) float32 probabilities.
        answers: (M,) int64.
        clusters: (M,) int64.
    """

    split: str
    rows: np.ndarray
    y: np.ndarray
    p: np.ndarray
    answers: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """How probabilities become an answer: `decide`'s settings."""

    positive: int | None = None
    threshold: float | None = None
    costs: np.ndarray | None = None  # (C, C) float64

    @property
    def most_probable(self) -> bool:
        """Whether the answer is simply the most probable class."""
        return self.threshold is None and self.costs is None

    def answers(self, p: np.ndarray) -> np.ndarray:
        """(M, C) probabilities -> (M,) int64 classes."""
        return decide(p, positive=self.positive, threshold=self.threshold, costs=self.costs)


def rule(data: Dataset, adapted: FitResult, ctx: Context) -> Rule:
    """The job's rule; a threshold is tuned on the cross-validated probabilities, never on the test split.

    Raises:
        UsageError: `--positive` and `--costs` are both given, or do not fit the classes.
    """
    job = ctx.job
    require_rule(job, data.class_names)
    if job.costs:
        return Rule(costs=read_costs(job.costs, data.class_names))
    if not job.positive:
        return Rule()
    positive = positive_class(job.positive, data.class_names)
    truth = np.asarray(data.targets)[adapted.cv_rows] == positive
    score = tempered(np.asarray(adapted.cv_probabilities), adapted.temperature)[:, positive]
    return Rule(positive=positive, threshold=best_threshold(truth, score))


def parts(
    data: Dataset, splits: Splits, embeddings: tuple[Embeddings, ...], adapted: FitResult, how: Rule
) -> dict[str, Part]:
    """All splits that hold a picture, the headline's first; probabilities are tempered, as the saved model's are."""
    found = {
        "test": (splits.test, None),
        "val": (splits.val, None),
        "cv": (adapted.cv_rows, adapted.cv_probabilities),
        "train": (splits.train, adapted.train_probabilities),
    }
    made = {}
    for split, (rows, known) in found.items():
        if len(rows):
            p = _answered(embeddings, adapted, rows) if known is None else np.asarray(known)
            p = tempered(p, adapted.temperature)
            made[split] = Part(
                split=split,
                rows=np.asarray(rows, np.int64),
                y=np.asarray(data.targets)[rows],
                p=p,
                answers=how.answers(p),
                clusters=np.asarray(splits.clusters)[rows],
            )
    return made


def _answered(embeddings: tuple[Embeddings, ...], adapted: FitResult, rows: np.ndarray) -> np.ndarray:
    """(M, C) float32 of the final head, through the very code that answers in a saved model."""
    fitted = adapted.fitted
    chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
    return np.concatenate(
        [prediction.probabilities(fitted.kind, fitted.arrays, columns(embeddings, adapted.features, c)) for c in chunks]
    )


def all_scores(part: Part, data: Dataset, how: Rule, seed: int) -> list[Score]:
    """Every score of a split, and the mean cost where costs were given."""
    found = metrics.scores(
        part.y,
        part.p,
        split=part.split,
        class_names=data.class_names,
        answers=part.answers,
        clusters=part.clusters,
        seed=seed,
    )
    return [*found, *([_cost(part, how.costs)] if how.costs is not None else [])]


def _cost(part: Part, costs: np.ndarray) -> Score:
    value, low, high = mean_interval(costs[part.y, part.answers], part.clusters)
    return Score(split=part.split, name="mean_cost", value=value, low=low, high=high, n=len(part.y), method="t")


def without_straddling(part: Part, data: Dataset, splits: Splits, seed: int) -> list[Score]:
    """Scores of a split without pictures that look like one of another split; empty when there is none."""
    kept = ~np.isin(part.rows, np.asarray(splits.straddling).ravel())
    if kept.all() or not kept.any():
        return []
    found = metrics.scores(
        part.y[kept],
        part.p[kept],
        split=part.split,
        class_names=(),
        answers=part.answers[kept],
        clusters=part.clusters[kept],
        seed=seed,
    )
    return [dataclasses.replace(score, subject="without straddling pictures") for score in found]


def suspects(found: dict[str, Part], most: int = 200) -> np.ndarray:
    """Rows whose label held-out predictions doubt, the most doubtful first: candidates, of which half are right.

    After confident learning (Northcutt 2021): a picture is doubted when another class is more probable than its label
    and at least as probable as that class is, on average, for pictures that carry it, or at least `SURE`.

    Args:
        found: Splits; all but `train` are looked at, each by its own averages.
        most: Rows at most.

    Returns:
        (P,) int64.
    """
    rows, doubts = [], []
    for part in (p for split, p in found.items() if split != "train"):
        own = part.p[np.arange(len(part.y)), part.y]
        usual = np.array([own[part.y == c].mean() if (part.y == c).any() else 1.0 for c in range(part.p.shape[1])])
        rivals = np.where(part.p >= np.minimum(usual, SURE), part.p, -1.0)
        rivals[np.arange(len(part.y)), part.y] = -1.0
        doubted = rivals.max(axis=1) > own
        rows.append(part.rows[doubted])
        doubts.append((rivals.max(axis=1) - own)[doubted])
    joined, strength = np.concatenate(rows), np.concatenate(doubts)
    return joined[np.lexsort((joined, -strength))][:most].astype(np.int64)
