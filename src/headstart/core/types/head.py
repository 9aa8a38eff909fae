"""A head on frozen features, and the protocols of heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from headstart.core.types.score import Score

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One block of the head's input: a backbone at a depth."""

    backbone: str
    depth: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NameInitialization:
    """What the names of the classes say without any label: a baseline, and where a head may start."""

    feature: Feature
    weights: np.ndarray  # (D, C) float32 on that feature, much as the guesses; of no particular size
    rows: np.ndarray  # (M,) int64 rows of the data set
    similarities: np.ndarray  # (M, C) float32 of each picture with each name; the largest is the guess
    how: str  # a few words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHead:
    """A head as plain arrays, so that the runtime can answer with numpy alone.

    `linear` has `weights` (D, C) and `bias` (C,) float32 on the raw features, standardisation folded in, as have
    `linear_sigmoid`, whose sums are log-odds of labels, and `linear_identity`, whose sums are the answer. `neighbours`
    has `points` (M, D) float32, standardised by `centre` (D,) and `scale` (D,), `labels` (M,) int64, `k` (), `vote`
    (C,) what a vote for each class counts, `prior` (C,) what is added to the votes.
    """

    head: str  # name of the plugin that fitted it
    kind: str  # how `headstart.heads.prediction` turns features into answers: `linear`, `neighbours` …
    params: Mapping[str, Any]  # what was tuned (`{"strength": 0.01}`) and fixed
    arrays: Mapping[str, np.ndarray]
    trainable_params: int  # numbers that were fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """One head on one set of features, judged on the same folds as all others."""

    head: str
    features: tuple[str, ...]  # candidates, `backbone@depth`
    params: Mapping[str, Any]
    scores: tuple[Score, ...]
    paired: Score | None
    status: str  # "chosen" | "tied" | "beaten"
    flops: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The chosen head's score when it learns from `n_train` pictures."""

    n_train: int
    score: Score


class Head(Protocol):
    """A file in `headstart.heads`."""

    name: str
    cannot: Mapping[str, str]

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Settings to try, from the strongest to the weakest regularisation; one entry means nothing to tune."""

    def path(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int,
        params: Sequence[Mapping[str, Any]],
        class_weight: np.ndarray | None,
        seed: int,
        sample_weight: np.ndarray | None = None,
    ) -> Iterator[FittedHead]:
        """Fit one head for each of `params` of `grid`, in their order, sharing work (a decomposition, a warm start).

        A search lengthens `params` by what the answers so far ask for, while heads are drawn: a loop over it goes on.
        `x` (M, D) float32 is raw, `y` (M,) int64 in 0..C-1 may lack a class, `class_weight` is (C,) float64.
        `sample_weight` (M,) float64 multiplies it; it is given only where there is one, and only to a head whose
        `cannot` has no `weights`.
        """


class StartingHead(Protocol):
    """What a `Head` may have besides: it can start from weights that something else knows of the classes."""

    def starting(self, weights: np.ndarray) -> Head:
        """The same head, drawn towards a multiple of `weights`, (D, C) on raw features, chosen from the pictures."""


@runtime_checkable
class IterativeHead(Protocol):
    """What a `Head` may have besides: it is solved in steps, of which a judge needs the first alone."""

    def with_tolerance(self, tolerance: float) -> Head:
        """The same head, solved until the mean loss that it minimises is within `tolerance` nats of its least."""
