"""Training in float16, as GPUs without bfloat16 do it: the trunk alone, and behind a scale on the loss."""

import numpy as np
import pytest
from tests import small_nets

from headstart.core.recipe import make_recipe
from headstart.finetuning.network.trainable_network import build_network
from headstart.finetuning.training.train_step import TrainStep

TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


def stepper(parts=1, **fields):
    trunk, spec = small_nets.small_trunk()
    values = {
        "backbone": spec.name,
        "depths": (spec.depths[-1].name,),
        "strategy": "finetune",
        "blocks": 1,
        "clip": 0.0,
    }
    recipe = make_recipe({**values, "start": "random", "optimiser": "sgd", "weight_decay": 0.0, **fields})
    network = build_network(trunk, spec, recipe, start=None, objective=small_nets.classes(3))
    shape = network.model.inputs[0].shape[1:]
    maps = np.random.default_rng(1).standard_normal((6, *shape)).astype(np.float32)
    return TrainStep(network, recipe, None, parts), {network.model.inputs[0].name: maps}


def put(to, weights):
    """Weights by their place: heads are drawn anew in every network."""
    to.network.set(dict(zip(to.network.get(), weights, strict=True)))


@pytest.mark.medium
def test_a_step_in_float16_is_that_of_float32_and_its_overflow_is_taken_again():
    plain, given = stepper(precision="float32")
    first = list(plain.network.get().values())
    loss, _ = plain.take_step(given, TARGETS, 0.1)
    expected = list(plain.network.get().values())
    half, _ = stepper(precision="mixed_float16")
    layers = [layer for layer in half.network.model.layers if layer.weights]
    assert {layer.compute_dtype for layer in layers} == {"float16", "float32"}
    assert {str(v.dtype) for v in half.network.model.weights} == {"float32"}
    assert half.network.head.logits.dtype == "float32"
    put(half, first)
    state = half.copy_state()
    half._scaling.dynamic_scale.assign(2.0**40)  # its gradients lie beyond float16
    told, _ = half.take_step(given, TARGETS, 0.1)
    assert told == pytest.approx(loss, rel=2e-2) and 1 < half._loss_scale < 2.0**40
    for value, other, start in zip(half.network.get().values(), expected, first, strict=True):
        np.testing.assert_allclose(value - start, other - start, atol=2e-2 * max(np.abs(other - start).max(), 1e-3))
    once = list(half.network.get().values())
    scale = half._loss_scale
    half.restore_state(state)
    assert half._loss_scale == 2.0**15
    parts, _ = stepper(parts=2, precision="mixed_float16")
    put(parts, first)
    parts._scaling.dynamic_scale.assign(2 * scale)
    parts.take_step(given, TARGETS, 0.1)
    for value, other, start in zip(parts.network.get().values(), once, first, strict=True):
        np.testing.assert_allclose(value - start, other - start, atol=2e-2 * max(np.abs(other - start).max(), 1e-3))
