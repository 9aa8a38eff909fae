"""What is learnt: a class, a grade, labels, or a number of each picture; what of that the rooms look up by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of target, as names that each room knows.

    Heads answer with one column an output: the probability of a class or a label, or the number itself.
    """

    name: str  # as `Dataset.task`
    metrics: tuple[str, ...]  # what candidates may be compared by, the default first
    shown: tuple[str, ...]  # scores told beside it
    curve: str  # the score along the learning curve
    headline: tuple[str, ...]  # scores of the result
    answers: str  # what an answer is, in the plural
    probes: tuple[str, ...] = ()  # heads that judge candidates; empty where the number of pictures decides
    heads: tuple[str, ...] = ()  # heads that compete; likewise
    scout: str = "lda"  # the head that tries combinations of features: it holds correlated columns in check
    after_scout: tuple[str, ...] = ("logistic",)  # those that follow it on the best one
    unused_fields: tuple[str, ...] = ()  # of a recipe, for what they say is about something else
    has_classes: bool = False  # one class a picture
    ordered: bool = False  # whether the classes have an order, in which they are named
    has_labels: bool = False  # any number of labels a picture
    is_learnt: bool = True  # whether there is anything to learn

    @property
    def is_number(self) -> bool:
        """Whether an answer is a number."""
        return self.is_learnt and not (self.has_classes or self.has_labels)


CLASSIFICATION = Task(
    name="classification",
    metrics=("log_loss", "accuracy", "balanced_accuracy"),
    shown=("balanced_accuracy", "accuracy"),
    curve="balanced_accuracy",
    headline=("accuracy", "balanced_accuracy"),
    answers="classes",
    has_classes=True,
)
ORDINAL = Task(
    name="ordinal",
    metrics=("ranked_probability_score", "accuracy", "balanced_accuracy"),
    shown=("mean_rank_error", "balanced_accuracy", "accuracy"),
    curve="balanced_accuracy",
    headline=("quadratic_weighted_kappa", "mean_rank_error", "accuracy"),
    answers="grades",
    after_scout=("logistic", "adjacent_category"),
    has_classes=True,
    ordered=True,
)
REGRESSION = Task(
    name="regression",
    metrics=("r2",),
    shown=("mae", "rmse"),
    curve="r2",
    headline=("r2", "mae", "rmse", "spearman"),
    answers="numbers",
    probes=("ridge_regression",),
    heads=("ridge_regression",),
    scout="ridge_regression",
    after_scout=(),
    unused_fields=("label_smoothing", "focal", "cutmix", "sampling"),
)
MULTILABEL = Task(
    name="multilabel",
    metrics=("binary_log_loss",),
    shown=("mean_average_precision", "macro_f1"),
    curve="mean_average_precision",
    headline=("mean_average_precision", "macro_f1", "micro_f1", "exact_match"),
    answers="sets of labels",
    probes=("binary_logistic",),
    heads=("binary_logistic",),
    scout="binary_logistic",
    after_scout=(),
    unused_fields=("sampling",),
    has_labels=True,
)
UNLABELLED = Task(name="unlabelled", metrics=(), shown=(), curve="", headline=(), answers="nothing", is_learnt=False)
TASKS = {task.name: task for task in (CLASSIFICATION, ORDINAL, REGRESSION, MULTILABEL, UNLABELLED)}
