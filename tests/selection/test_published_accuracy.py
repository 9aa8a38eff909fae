"""What is expected of a backbone before anything is run: its published accuracy, or a guess."""

import math
from dataclasses import replace

import pytest

from headstart.backbones import loading
from headstart.selection.published_accuracy import expected_accuracy, format_expected_accuracy, is_published

LITE0 = loading.find_backbone("bundled:efficientnet_lite0").spec
GUESS = "a guess: nothing is published"


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("x:known", LITE0.prior_source, 0.75),
        ("x:guessed", GUESS, 0.75),
        ("saved_file:mine", GUESS, math.nan),  # nothing is known of a network of one's own: never the best by prior
        ("huggingface:some", "ImageNet-1k accuracy by the card", 0.75),
    ],
)
def test_only_an_own_backbone_without_a_figure_has_no_expected_accuracy(name, source, expected):
    spec = replace(LITE0, name=name, prior=0.75, prior_source=source)
    assert expected_accuracy(spec) == pytest.approx(expected, nan_ok=True)


def test_the_text_tells_a_guess_from_a_published_figure():
    guess = replace(LITE0, name="x:guessed", prior=0.75, prior_source=GUESS)
    assert format_expected_accuracy(LITE0) == f"published top-1 {LITE0.prior:.3f}"
    assert format_expected_accuracy(guess) == "guessed top-1 0.750"
    assert not is_published(guess)
