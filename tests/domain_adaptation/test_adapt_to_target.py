"""Adaptation to a domain whose truth is known: what mends it is taken, what is harmless is left alone."""

import numpy as np

import made_domains
from headstart.core.storage.serialization import load_value
from headstart.core.types import DomainAdaptation
from headstart.domain_adaptation.adapt_to_target import adapt_to_target
from headstart.heads.prediction import predict_probabilities
from headstart.statistics.intervals import mean_interval


def right(p, truth):
    return (p.argmax(axis=1) == truth).astype(np.float64)


def test_a_planted_camera_is_mended_by_at_least_5_points(context):
    values, truth = made_domains.make_domains()
    ctx = context(seed=0)
    adaptation = adapt_to_target(*values, ctx=ctx)
    gain = mean_interval(right(adaptation.target_after, truth) - right(adaptation.target_before, truth))
    assert gain.value >= 0.05
    assert gain.low > 0
    assert adaptation.trials[0].method == adaptation.method
    assert adaptation.trials[0].status == "chosen"
    again = load_value(DomainAdaptation, ctx.run.path / "domains")
    assert again.trials == adaptation.trials or again.method == adaptation.method


def test_a_harmless_domain_is_answered_by_none(context):
    values, _truth = made_domains.make_domains(camera=lambda x: x)
    adaptation = adapt_to_target(*values, ctx=context(seed=0))
    _data, drawn, embeddings, _, _, adapted = values
    assert adaptation.method == "none"
    assert adaptation.fitted is adapted.fitted
    assert np.array_equal(adaptation.target_after, adaptation.target_before)
    assert np.array_equal(adaptation.source_rows, adapted.cv_rows)
    assert np.array_equal(adaptation.source_probabilities, adapted.cv_probabilities)
    p = predict_probabilities("linear", adapted.fitted.arrays, embeddings[0].vectors[made_domains.LEVEL][drawn.train])
    np.testing.assert_allclose(adaptation.train_probabilities, p, atol=1e-6)
