"""ConSE, the convex combination of semantic embeddings (Norouzi et al. 2013), and a linear form of it.

The vectors of the names of the ten likeliest ImageNet classes are averaged by their probabilities; the user's class
whose name has the largest cosine with that mean is the answer. The linear form, where a head may start, adds up the
classifier's logits, each by the cosine of its class's name with the user's class, in standard deviations from the mean
cosine of all names; `python -m benchmarks.few_labels` tells how far it is from ConSE. M pictures, D columns, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.heads import softmax_regression
from headstart.zero_shot import class_names, imagenet_classes, sentence_encoder

TOP = 10  # classes of the source that are averaged: T of the paper, which found little between 10 and 1,000
MODEL = "all-MiniLM-L6-v2"


def list_likeliest(probabilities: np.ndarray, count: int) -> list[int]:
    """Positions of the largest of (1000,) probabilities, the largest first; ties by position."""
    order: list[int] = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return order


def combine_names(probabilities: np.ndarray, names: np.ndarray, top: int = TOP) -> np.ndarray:
    """The paper's f(x), (384,) float32 of length 1, from (1000,) probabilities and (1000, 384) vectors of the names."""
    chosen = list_likeliest(probabilities, top)
    mean = np.einsum("t,td->d", probabilities[chosen], names[chosen])
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def compute_probabilities(features: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(M, 1000) from features (M, D) and weights (D, 1000); one by one, without BLAS: none depends on others."""
    scores = [np.einsum("d,dc->c", each, weights) + bias for each in features]
    return softmax_regression.softmax_rows(np.stack(scores))


@dataclass(frozen=True, kw_only=True, eq=False)
class ConseScorer:
    """A source classifier, ImageNet's names and the user's.

    Attributes:
        dense: (D, 1000) float32, the source's last layer; its bias is (1000,) float32.
        names: (1000, 384) vectors of ImageNet's names.
        targets: (C, 384) vectors of the user's.
    """

    dense: np.ndarray
    bias: np.ndarray
    names: np.ndarray
    targets: np.ndarray

    def compute_cosines(self, probabilities: np.ndarray, top: int = TOP) -> np.ndarray:
        """(C,) of each class's name with what is seen, (1000,) probabilities."""
        return np.asarray(np.einsum("cd,d->c", self.targets, combine_names(probabilities, self.names, top)))

    def compute_similarities(self, features: np.ndarray) -> np.ndarray:
        """(M, C) float32 cosines of pictures by their features (M, D); many at once, by BLAS."""
        scores = features.astype(np.float64) @ self.dense.astype(np.float64) + self.bias
        cosines = [self.compute_cosines(probabilities) for probabilities in softmax_regression.softmax_rows(scores)]
        return np.asarray(cosines, np.float32).reshape(-1, len(self.targets))

    def make_linear_weights(self) -> np.ndarray:
        """(D, C) float32: the linear form, see the module; of no particular size."""
        cosines = self.names.astype(np.float64) @ self.targets.T.astype(np.float64)
        unusual = (cosines - cosines.mean(axis=0)) / cosines.std(axis=0)
        return np.asarray(self.dense @ unusual, np.float32)


def make_conse_scorer(
    classes: Sequence[str], dense: np.ndarray, bias: np.ndarray, store: Store, console: Console
) -> ConseScorer:
    """What guesses among C classes behind a dense layer (D, 1000); models that are missing are fetched.

    Raises:
        UsageError: The sentence model cannot read a name, or cannot tell two apart.
        SetupError: The sentence model, the names or OpenVINO cannot be had.
    """
    model = sentence_encoder.load_sentence_model(store, console)
    pieces = model.pieces
    unread = (pieces.unknown_number,)
    class_names.require_distinguishable(classes, lambda text: tuple(pieces.piece_numbers(text)), unread)
    targets = model.embed_texts(map(class_names.format_as_words, classes))
    names = imagenet_classes.embed_classes(imagenet_classes.load_classes(store, console), model, store, console)
    return ConseScorer(dense=dense, bias=bias, names=names, targets=targets)
