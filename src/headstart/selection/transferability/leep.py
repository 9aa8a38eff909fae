"""What the classes of a source's own head tell of target labels: LEEP, NCE, and CKA of classes with classes.

All three take the probabilities that the head gives the target pictures, and no fitting. LEEP and NCE are the log of
how well these tell the labels, at best 0; being measured on the very pictures that they count on, they flatter a head
with many classes, and do so the more the fewer the pictures are. CKA is free of that bias. None decides anything.
Legend: M pictures, Z classes of the source, C of the target.
"""

from __future__ import annotations

import numpy as np

LEAST = 4  # pictures: below, debiased CKA does not exist


def leep(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Log expected empirical prediction (Nguyen, Hassner, Seeger, Archambeau: LEEP, ICML 2020).

    The mean over pictures of log sum_z P(y | z) p(z), where P(y | z) is told by the same pictures: each gives its
    class to the source's classes by its probabilities.

    Args:
        probabilities: (M, Z) of the source's classes, rows summing to 1; M at least 1.
        y: (M,) int64 target classes; any may be missing.

    Returns:
        At most 0; higher is better. That of a head which sees nothing is minus the entropy of `y`.
    """
    p_MZ = np.asarray(probabilities, np.float64)
    labels = np.unique(y, return_inverse=True)[1]
    given_CZ = _given(np.eye(labels.max() + 1)[labels].T @ p_MZ)
    told = np.einsum("mz,mz->m", p_MZ, given_CZ[labels])
    return min(float(np.mean(np.log(np.maximum(told, np.finfo(float).tiny)))), 0.0)


def nce(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Negative conditional entropy of the labels given the source's likeliest class (Tran, Nguyen, Hassner, ICCV 2019).

    Args:
        probabilities: (M, Z) of the source's classes; M at least 1. Of equal ones the first counts.
        y: (M,) int64 target classes; any may be missing.

    Returns:
        Minus H(y | z) in nats, at most 0; higher is better.
    """
    seen = np.unique(np.argmax(probabilities, axis=1), return_inverse=True)[1]
    labels = np.unique(y, return_inverse=True)[1]
    joint_CZ = np.zeros((labels.max() + 1, seen.max() + 1))
    np.add.at(joint_CZ, (labels, seen), 1.0 / len(labels))
    held = joint_CZ > 0
    return min(float(np.sum(joint_CZ[held] * np.log(_given(joint_CZ)[held]))), 0.0)


def _given(joint_CZ: np.ndarray) -> np.ndarray:
    """P(y | z) of a joint distribution; a class of the source that nothing was seen of tells nothing, 0."""
    total = joint_CZ.sum(axis=0)
    return np.asarray(joint_CZ / np.where(total > 0, total, 1.0))


def one_hot(y: np.ndarray) -> np.ndarray:
    """(M,) classes -> (M, C) float64 of those that are there: labels as `cka` takes them."""
    return np.asarray(np.eye(len(np.unique(y)))[np.unique(y, return_inverse=True)[1]])


def cka(a: np.ndarray, b: np.ndarray) -> float | None:
    """Linear centred kernel alignment (Kornblith, Norouzi, Lee, Hinton, ICML 2019), debiased.

    Whether two descriptions of the same pictures, such as a head's probabilities and `one_hot` labels, call the same
    pictures alike. Rotations and a common factor of either change nothing, nor does a shift. The products of pictures
    with themselves are left out (Song, Smola, Gretton, Bedo, Borgwardt, JMLR 2012; Szekely and Rizzo 2014): the plain
    version comes near 1 for any two descriptions of few pictures by many columns.

    Args:
        a: (M, A) numbers of any kind.
        b: (M, B) of the same pictures.

    Returns:
        1 for equal descriptions, about 0 for unrelated ones (and as often below), never outside of -1..1. None where
        it does not exist: fewer than 4 pictures, or one of the two calls all pairs equally alike.
    """
    if len(a) < LEAST:
        return None
    first, second = _alike(a), _alike(b)
    lengths = float(np.sum(first * first)), float(np.sum(second * second))
    if min(lengths) <= 0:
        return None
    return float(np.clip(np.sum(first * second) / np.sqrt(lengths[0]) / np.sqrt(lengths[1]), -1.0, 1.0))


def _alike(x: np.ndarray) -> np.ndarray:
    """(M, M) products of all pairs of pictures, U-centred; all 0 where they differ by rounding alone."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(axis=0)
    size = float(np.abs(x).max(initial=0.0))
    if size == 0:
        return np.zeros((len(x), len(x)))
    x /= size  # neither huge nor tiny numbers may overflow in products
    n = len(x)
    pairs = x @ x.T
    np.fill_diagonal(pairs, 0.0)
    rows = pairs.sum(axis=1) / (n - 2)
    centred: np.ndarray = pairs - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
    np.fill_diagonal(centred, 0.0)
    unclear = 1e-10 * float(np.abs(pairs).max(initial=0.0))
    return centred if float(np.abs(centred).max()) > unclear else np.zeros_like(centred)
