"""How many labels are wrong, and which, told from held-out probabilities of models with mistakes of their own."""

import numpy as np
import pytest

from headstart.heads.label_errors import find_label_errors

N, CLASSES = 1500, 3


def draw_labels(spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C), the surer the larger `spread`, and labels drawn from them: as sure as they are right."""
    rng = np.random.default_rng([seed, int(10 * spread)])
    logits = rng.normal(size=(N, CLASSES)) * spread
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, (p.cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)


def flip_labels(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Labels (N,), a share of them another class's."""
    rng = np.random.default_rng([seed, 7])
    wrong = rng.random(N) < share
    return np.where(wrong, (y + rng.integers(1, CLASSES, N)) % CLASSES, y)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])  # of models that are too sure, right, and too unsure
@pytest.mark.parametrize("spread", [1.5, 4.0])  # a hard set and an easy one
def test_mistakes_of_a_model_are_no_label_errors(spread, temperature):
    for seed in range(2):
        p, y = draw_labels(spread, seed)
        powers = p ** (1 / temperature)
        errors = find_label_errors(powers / powers.sum(axis=1, keepdims=True), y)
        assert (p.argmax(axis=1) != y).sum() > 50  # whom confident learning names
        assert not len(errors.places) and errors.wrong_candidates == () and errors.wrong[2] < 0.06 * N


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("spread", [2.5, 4.0])
def test_wrong_labels_are_named_and_counted(spread, share):
    p, truth = draw_labels(spread, 0)
    y = flip_labels(truth, share, 0)
    wrong, errors = y != truth, find_label_errors(p, y)
    expected, low, high = errors.wrong
    assert low <= wrong.sum() <= high and len(errors.places) == round(expected)
    hits = wrong[errors.places]
    assert hits.mean() > 6 * share and hits[: len(hits) // 4].mean() >= hits.mean()
    assert errors.wrong_candidates[1] <= hits.sum() <= errors.wrong_candidates[2]
    assert (errors.likelier[hits] == truth[errors.places][hits]).mean() > 0.8
    assert not (errors.likelier == y[errors.places]).any()


def test_a_few_absurdly_sure_answers_say_nothing_of_labels():
    p, y = draw_labels(4.0, 0)
    strange = np.arange(0, N, 500)
    p[strange] = 1e-15
    p[strange, (y[strange] + 1) % CLASSES] = 1.0
    assert not len(find_label_errors(p, y).places)


def test_nothing_is_said_of_one_class_or_of_no_picture():
    for p, y in ((np.ones((5, 1)), np.zeros(5, np.int64)), (np.empty((0, 3)), np.empty(0, np.int64))):
        assert not len(find_label_errors(p, y).places) and find_label_errors(p, y).wrong == (0, 0, 0)
