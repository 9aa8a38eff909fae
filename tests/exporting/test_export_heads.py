"""Every head answers from its saved arrays as it did when it was fitted, bit for bit."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.exporting.runtime_model import HEAD_FILE, _write_head
from headstart.heads import prediction


@pytest.mark.parametrize("name", registry.list_plugins("heads"))
def test_a_saved_head_answers_as_the_fitted_one(name, tmp_path):
    from safetensors.numpy import load_file

    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 7)) + y[:, None]).astype(np.float32)
    head = registry.load_plugin("heads", name)
    settings = head.grid(60, 7, 3)
    for made in head.path(x, y, n_classes=3, params=settings, class_weight=None, seed=0):
        entry = _write_head(tmp_path, made)
        arrays = load_file(tmp_path / HEAD_FILE)
        want = prediction.predict_probabilities(made.kind, made.arrays, x)
        assert np.array_equal(prediction.predict_probabilities(entry.kind, arrays, x), want)
