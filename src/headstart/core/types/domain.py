"""Pictures of another domain than the labelled ones, how far they lie from these, and what was adapted to them.

The *source* is the labelled data set of a fit, the *target* the pictures that the model is for. T target pictures, L of
them with a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core.types.dataset import Dataset
from headstart.core.types.embedding import Embeddings
from headstart.core.types.head import Feature, FittedHead
from headstart.core.types.score import Score, Verdict
from headstart.core.types.training import TunedNetwork

if TYPE_CHECKING:
    import numpy as np

NO_ADAPTATION = "none"  # the method that leaves the model as it is
ENOUGH_LABELS = 20  # of the target, from which on they judge
TRAINED_METHODS = ("mmd", "consistency", "dann")  # those that train a network on both domains
ADABN_METHODS = ("adabn", "adabn_lower")  # those that take batch norm statistics of the target
NETWORK_METHODS = (*ADABN_METHODS, *TRAINED_METHODS)  # those that adapt the trunk


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetDomain:
    """Pictures of the domain that the model is for, nearly all without a label."""

    pictures: Dataset  # read as the source is; its `targets` are `labels`
    labels: np.ndarray  # (T,) int64 classes of the source, -1 without a label
    copies: tuple[str, ...]  # uris of pictures that are source pictures too; left out of `pictures`

    @property
    def labelled(self) -> np.ndarray:
        """(L,) int64 rows with a label."""
        return (self.labels >= 0).nonzero()[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureShift:
    """How well a classifier tells the domains apart by one level of features (Lopez-Paz and Oquab 2017)."""

    feature: str  # `backbone@depth`
    auc: Score  # area under the ROC curve of held-out pictures: 0.5 where the domains look alike
    p: float  # of a permutation test, corrected for the number of levels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainShift:
    """How the target differs from the source, measured before anything is adapted."""

    levels: tuple[FeatureShift, ...]  # in the order of depth
    verdict: Verdict  # `shift`
    label_verdict: Verdict  # `label_shift`: whether the shares of the classes differ
    source_shares: np.ndarray  # (C,) float64
    target_shares: tuple[Score, ...]  # C estimates, `subject` the class (BBSE, Lipton 2018, or EM, Saerens 2002)
    accuracy: tuple[Score, ...]  # estimates without target labels, `subject` the method, one band of all as interval
    source_accuracy: Score  # cross-validated on the source
    farthest: np.ndarray  # (F,) int64 target rows, those least like the source first
    strangeness: np.ndarray  # (T,) float32 log-odds of each target picture, held out, of being of the target
    n_source: int
    n_target: int
    label_p: float = 1.0  # of shares at least as far from the source's by chance; 1 in older runs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkCandidate:
    """An adapted trunk, which competes with what is adapted on the features of the frozen one."""

    method: str
    params: Mapping[str, Any]
    network: TunedNetwork  # its `fitted` answers where `head_x` is None
    features: tuple[Feature, ...]  # what its head reads
    source_x: np.ndarray  # (M, D) float32 of `splits.train`, source pictures as they are through the adapted trunk
    target_x: np.ndarray  # (T, D) float32 of the target pictures through it
    head_x: np.ndarray | None  # (M, D) float32 that its head is to learn from (AdaBN: the original trunk's features)
    source_probabilities: np.ndarray | None  # (M, C) float32 of folds' networks for pictures that they did not learn
    # from, NaN where there is none; None where the trunk saw no source label, so that a head cross-fits on `head_x`
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationTrial:
    """One way to adapt, and how it was judged."""

    method: str  # a plugin's name, or `NO_ADAPTATION`
    params: Mapping[str, Any]
    scores: tuple[Score, ...]  # of the rules that need no target label, `name` the rule, higher is better
    difference: Score | None  # of the deciding rule from doing nothing, paired over pictures, its interval for all
    # trials at once; None for doing nothing
    target: tuple[Score, ...]  # on labelled target pictures; empty without any
    source: Score  # accuracy on held-out source pictures as they are
    status: str  # `chosen`, `tied`, `beaten` or `failed`
    why: str  # one clause where it failed or was refused, else empty
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainAdaptation:
    """What was adapted to the target; doing nothing always competes and wins ties."""

    method: str  # of the chosen trial
    params: Mapping[str, Any]
    rule: str  # what decided: a rule without target labels, or `labels`
    why: str
    trials: tuple[AdaptationTrial, ...]  # best first
    features: tuple[Feature, ...]  # the head's input
    fitted: FittedHead  # of raw features, all of the adaptation folded in
    source_rows: np.ndarray  # (M,) int64 source rows with held-out answers
    mapped_probabilities: np.ndarray  # (M, C) float32 held-out answers to source pictures as the target would show them
    train_probabilities: np.ndarray  # (N, C) float32 answers of the chosen trial to its training rows, `splits.train`
    target_before: np.ndarray  # (T, C) float32 answers without adaptation
    target_after: np.ndarray  # (T, C) float32 answers of the chosen trial
    network: TunedNetwork | None = None  # where a trunk was adapted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptedTarget:
    """The new domain as the model that is handed over sees it."""

    domain: TargetDomain
    embeddings: tuple[Embeddings, ...]  # of all its pictures through the trunks of that model
    judged: np.ndarray  # (L,) int64 rows with a label, one of each cluster of near-duplicates
    probabilities: np.ndarray | None  # (T, C) float32, of labelled pictures by heads that had not learnt from them; not
    # tempered. None where the model learnt from none
