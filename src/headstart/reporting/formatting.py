"""Numbers and names as a reader meets them, and what each term means in one plain sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.core.storage.files import format_printable

if TYPE_CHECKING:
    from markupsafe import Markup

    from headstart.core.types import Evaluation

LABELS = {  # of scores; those that are not here are their name without underscores
    "brier": "Brier score",
    "ece": "calibration error",
    "macro_precision": "precision, mean of classes",
    "macro_recall": "recall (sensitivity), mean of classes",
    "macro_specificity": "specificity, mean of classes",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "recall": "recall (sensitivity)",
    "f1": "F1",
    "coverage": "covered",
    "set_size": "classes in the prediction set",
    "singletons": "one class alone in the set",
    "empty_sets": "set empty but for the likeliest class",
    "unknown": "declined",
    "novelty_auc": "novelty AUC",
    "interval_width": "width of the interval",
    "open_labels": "labels that stay open",
    "binary_log_loss": "log loss of a label",
    "micro_f1": "micro F1",
    "exact_match": "all labels right",
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "spearman": "rank correlation",
}

TERMS = {
    "accuracy": "The share of all pictures that were answered rightly. A class with many pictures counts for more.",
    "balanced accuracy": "The share answered rightly in each class, averaged over the classes: every class counts the "
    "same, however rare it is. Guessing gives 1 divided by the number of classes.",
    "interval": "If the measurement were repeated on other pictures of the same kind, 95 of 100 such intervals would "
    "hold the true value. Few pictures make it wide.",
    "n": "The number of pictures that a score rests on.",
    "log loss": "How surprised the model was by the true answers; 0 is perfect, lower is better. Being wrong and sure "
    "costs most.",
    "Brier score": "Squared distance between the probabilities and the truth; 0 is perfect, 2 the worst.",
    "calibration error": "By how much, on average, the model's certainty differs from how often it is right. A model "
    "that says 0.9 should be right in 9 of 10 cases.",
    "quadratic weighted kappa": "How far answers and truth agree beyond chance, errors by the square of the ranks that "
    "they are off (Cohen); 1 is perfect, 0 is chance.",
    "mean rank error": "How many ranks an answer is off, on average.",
    "ranked probability score": "How far the probabilities lie from the truth, in ranks; 0 is perfect. An answer of "
    "which the model is certain costs the ranks that it is off.",
    "R²": "The part of the numbers' variance that the answers explain; 1 is perfect, 0 is always answering the mean.",
    "mean absolute error": "How far an answer is off, on average, in the unit of the number.",
    "root mean squared error": "The root of the mean squared error, in the unit of the number: large errors cost more.",
    "rank correlation": "How far answers and numbers are in the same order (Spearman); 1 is perfect, 0 is chance.",
    "precision": "Of the pictures that were called this class, the share that is of it.",
    "recall (sensitivity)": "Of the pictures of this class, the share that was found.",
    "specificity": "Of the pictures of all other classes, the share that was not called this class.",
    "F1": "The harmonic mean of precision and recall.",
    "macro F1": "F1 of each class or label by itself, averaged: each counts the same, however rare it is.",
    "micro F1": "F1 over all labels of all pictures together: frequent labels count for more.",
    "all labels right": "The share of pictures of which every label is answered rightly, those that are absent too.",
    "log loss of a label": "How surprised the model was by each label being there or not; 0 is perfect.",
    "mean average precision": "Average precision of each label, averaged over the labels; the share of pictures that "
    "have a label is what chance gives.",
    "ROC AUC": "The chance that a picture of this class gets a higher probability of it than a picture of another; 0.5 "
    "is guessing.",
    "average precision": "Precision averaged over all thresholds (one class against the rest).",
    "cross-validation": "The training pictures are cut into folds; each fold is judged by a model that learnt from the "
    "others only.",
    "paired difference": "A candidate's score minus the best one's, on the very same pictures and folds; an interval "
    "that holds 0 means that the two cannot be told apart.",
    "tied": "Not told apart from the best by these pictures.",
    "control": "Something that should do badly: a trunk with random weights, or mere colours. What a candidate gains "
    "over it is what the pre-training is worth.",
    "screened out": "Left behind after at most 1,024 pictures: others did better, or its pass did not fit the budget.",
    "GFLOPs": "Thousand million floating-point operations for one picture: a cost that is the same on every machine.",
    "trunk": "A network that was trained on other pictures, used here as it is; it turns a picture into numbers "
    "(features).",
    "depth": "The place in the trunk where the features are taken: an early stage sees textures, the last one objects.",
    "frozen probe": "A trunk that is used as it is, with a head on its features: what fine-tuning has to beat.",
    "fine-tuning": "Training some or all of the trunk further on your pictures, together with the head.",
    "recipe": "Everything that decides one fine-tuning: which blocks train, how fast, how long, what holds back.",
    "epoch": "One pass over all training pictures.",
    "temperature": "A number by which the logarithms of all probabilities are divided, so that the model is as sure as "
    "it is right; which class is likeliest does not change.",
    "prediction set": "The classes that a picture may well be of: made so that the true one is among them as often "
    "as promised, however good the model is. Two or more say that the model cannot decide.",
    "novelty AUC": "The chance that a picture of another kind looks stranger to the model than one of its own classes; "
    "0.5 is guessing.",
    "head": "The small model that learns your classes from the features.",
}

REASONS = {
    "empty_file": "the file has no bytes",
    "not_a_picture": "not a picture",
    "truncated": "cut short",
    "too_many_pixels": "too many pixels",
    "permission": "reading is not permitted",
    "symlink_loop": "a link that leads in a circle",
    "hidden": "hidden",
    "outside_a_class": "outside every class folder",
    "missing": "not there",
    "unreadable": "cannot be read",
    "excluded": "left out, as asked",
}
SPLITS = {"test": "test", "val": "validation", "cv": "cross-validation", "train": "training", "screen": "screening"}
SPLIT_NOTES = {
    "test": "pictures that were never looked at before the end",
    "val": "the validation folder that was given, never trained on",
    "cv": "training pictures, each judged by a model that had not seen it",
    "train": "pictures the model learnt from: how well it knows them by heart, not how well it works",
    "screen": "few pictures, to drop the worst early",
}


def format_judged_on(evaluation: Evaluation) -> str:
    """What judged, in words."""
    return ("nested " if evaluation.nested else "") + SPLITS.get(evaluation.split, evaluation.split)


def format_label(name: str) -> str:
    """A score's name in words."""
    return LABELS.get(name, name.replace("_", " "))


def format_head(name: str) -> str:
    """A head's name in words."""
    return {"knn": "kNN", "lda": "LDA"}.get(name, name.replace("_", " "))


def find_meaning(term: str) -> str:
    """One sentence on a term, or empty."""
    return TERMS.get(term, TERMS.get(term.removesuffix(", mean of classes"), ""))


def format_number(value: float, digits: int = 3) -> str:
    """A number of fixed digits; a proper minus; `–` for what could not be computed."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def format_wrong_labels(evaluation: Evaluation) -> str:
    """How many label suspects are right after all, as far as a run has estimated it."""
    n = len(evaluation.suspects)
    if not evaluation.wrong_labels:
        return "Many of them are right after all: mistakes of the model."
    right, least, most = (n - round(evaluation.wrong_labels[position]) for position in (0, 2, 1))
    return (
        f"Expect {right:,} of these {n:,} ({least:,} to {most:,}) to be right after all, the model's own mistakes; "
        "this takes wrong labels to fall on all pictures alike."
    )


def format_signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    text = format_number(value, digits)
    return f"+{text}" if math.isfinite(value) and value > 0 and float(text) else text


def format_percent(value: float) -> str:
    """A share as per cent, one digit: rounded as `number` does, so that the two never disagree."""
    return "–" if not math.isfinite(value) else f"{100 * float(format_number(value)):.1f}\u00a0%"


def format_count(number: float) -> str:
    """A large count in a few signs: 3.4 M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if number >= size:
            return f"{number / (1000 if unit == 'k' else size):.1f} {unit}"
    return f"{number:,.0f}"


def format_breakable(text: str) -> Markup:
    """A text with names of backbones in it that may go on in the next line where their parts meet, and only there."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=\w)(?=[@+])|(?<=\w[_:/,=|])(?=\w)", "<wbr>", str(escape(text))))


def format_prose(text: str) -> Markup:
    """Words that any screen can show: names in backticks as code, `n = 400` never torn apart at the end of a line."""
    from markupsafe import Markup, escape

    safe = str(escape(format_printable(text.replace("\u00a0", " "))))
    unbroken = safe.replace("n = ", "n\u00a0=\u00a0").replace(" %", "\u00a0%")
    return Markup(re.sub(r"`([^`]+)`", lambda name: f"<code>{format_breakable(Markup(name[1]))}</code>", unbroken))


def format_sentence(text: str) -> Markup:
    """`prose` with a capital, unless it begins with a name, and a full stop."""
    text = text.strip().rstrip(";")
    first = text.partition(" ")[0].rstrip(":,;")
    name = first.startswith("-") or any(sign in first for sign in "`:@_/")
    begun = text if name else text[:1].upper() + text[1:]
    return format_prose(begun if not begun or begun[-1] in ".?!…" else f"{begun}.")


def format_list(items: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def format_plural(number: int, singular: str, several: str = "") -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number:,} {singular if number == 1 else several or singular + 's'}"
