"""Pictures of other things are told from those of another camera by how strange both are."""

import string

import numpy as np
import pytest

import made_runs
from headstart.domain_adaptation.target_novelty import measure_novelty
from headstart.uncertainty.ood_images import DIGITS, PHOTOGRAPHS
from headstart.uncertainty.ood_threshold import TrainingSample


def draw(middle, count=60):
    return np.random.default_rng(int(middle)).normal(size=(count, 8)).astype(np.float32) + np.float32(middle)


@pytest.mark.parametrize(
    ("middle", "names", "refused"),
    [
        (0, made_runs.CLASSES, False),
        (3, made_runs.CLASSES, False),
        (6, made_runs.CLASSES, True),
        (6, tuple(string.digits), False),
        (6, ("0", "1"), True),
        (20, tuple(string.digits), True),
    ],
    ids=["same", "camera", "digits", "digits that are classes", "classes named by digits", "photographs"],
)
def test_only_what_is_nearly_as_strange_as_other_things_is_refused(middle, names, refused):
    sample = TrainingSample(rows=np.arange(60), x=draw(0), y=np.arange(60) % 2, fold=np.arange(60) % 5)
    others = made_runs.dataset(np.arange(60) % 2, names=(DIGITS, PHOTOGRAPHS))
    others_x = np.where((others.targets == 0)[:, None], draw(6), draw(20))
    novelty = measure_novelty(sample, names, draw(middle), others, others_x)
    assert novelty.far.value == pytest.approx(float(middle > 0), abs=0.1)
    assert novelty.kind == (DIGITS if len(names) < 10 else PHOTOGRAPHS)
    assert novelty.is_refused == refused
