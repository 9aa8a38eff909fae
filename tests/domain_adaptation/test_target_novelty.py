"""Pictures of other things are told from those of another camera by how strange both are."""

import numpy as np
import pytest

import made_runs
from headstart.domain_adaptation.target_novelty import measure_novelty
from headstart.uncertainty.ood_threshold import TrainingSample


def draw(middle, count=60):
    return np.random.default_rng(int(middle)).normal(size=(count, 8)).astype(np.float32) + np.float32(middle)


@pytest.mark.parametrize(
    ("middle", "far", "refused"), [(0, 0.0, False), (8, 1.0, False), (19, 1.0, True)], ids=["same", "camera", "others"]
)
def test_only_what_is_nearly_as_strange_as_the_stranger_kind_is_refused(middle, far, refused):
    sample = TrainingSample(rows=np.arange(60), x=draw(0), y=np.arange(60) % 2, fold=np.arange(60) % 5)
    others = made_runs.dataset(np.arange(60) % 2, names=("digits", "photographs"))
    others_x = np.where((others.targets == 0)[:, None], draw(6), draw(20))
    novelty = measure_novelty(sample, draw(middle), others, others_x)
    assert novelty.far.value == pytest.approx(far, abs=0.1)
    assert novelty.kind == "photographs"
    assert novelty.is_refused == refused
