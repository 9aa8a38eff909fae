"""Networks of a recipe, on small trunks: what trains, what it starts from, where it is cut."""

import dataclasses

import numpy as np
import pytest

from headstart.core.errors import NoOpError, UsageError
from headstart.core.recipe import Recipe
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.layer_swaps import residual_add
from small_nets import (
    SIDE,
    classes,
    conv,
    descend,
    features,
    fitted,
    frozen,
    inputs_of,
    logits_of,
    pictures,
    raw,
    residual,
    small_trunk,
)

X = pictures()
Y = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


@pytest.fixture(scope="module")
def trunk():
    return small_trunk()


def recipe(**changes):
    return Recipe(**{"backbone": "small:net", "depths": ("last",), **changes})


def made(trunk, **changes):
    """A network that starts from a probe, that probe's logits, and the network's inputs for X."""
    model, spec = trunk
    asked = recipe(**changes)
    x = raw(features(model, spec, X), asked.depths)
    start = fitted(x)
    net = trainable_network.build_network(model, spec, asked, start=start, objective=classes(3))
    return net, x @ start.weights + start.bias, inputs_of(net, model, spec, X)


def kinds(block):
    return {v.name for v in block.variables}


@pytest.mark.parametrize(("depths", "head"), [(("last",), "linear"), (("last", "low", "mid"), "mlp")])
@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "probe"},
        {"strategy": "finetune"},
        {"strategy": "finetune", "blocks": 2},
        {"strategy": "lora", "part": "all"},
        {"strategy": "norms", "part": "all"},
    ],
    ids=lambda changes: "-".join(str(one) for one in changes.values()),
)
def test_first_logits_are_the_probes_in_training_too(trunk, changes, depths, head):
    net, expected, given = made(trunk, head=head, depths=depths, **changes)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)
    np.testing.assert_allclose(logits_of(net, given, training=True), expected, atol=1e-4)


def test_a_constant_feature_starts_right(trunk):
    model, spec = trunk
    x = raw(features(model, spec, X), ("last",))
    x[:, 3] = 7.0
    start = fitted(x)
    assert start.scale[3] == 0
    net = trainable_network.build_network(model, spec, recipe(strategy="probe"), start=start, objective=classes(3))
    np.testing.assert_allclose(logits_of(net, {"pooled": x}), x @ start.weights + start.bias, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "cut", "low", "inputs", "names"),
    [
        ({"strategy": "probe", "depths": ("last", "low")}, "", ("last", "low"), {"pooled"}, []),
        ({"blocks": 1}, "mid", (), {"map"}, ["last"]),
        ({"blocks": 2, "depths": ("last", "low")}, "low", ("low",), {"map", "pooled"}, ["mid", "last"]),
        ({"blocks": 1, "depths": ("last", "mid", "low")}, "mid", ("mid", "low"), {"map", "pooled"}, ["last"]),
        ({"part": "all"}, "", (), {"pictures"}, ["low", "mid", "last"]),
        ({"part": "last", "blocks": 9}, "", (), {"pictures"}, ["low", "mid", "last"]),
        ({"depths": ("mid",), "blocks": 1}, "low", (), {"map"}, ["mid"]),
        ({"strategy": "scratch", "depths": ("mid",)}, "", (), {"pictures"}, ["low", "mid"]),
    ],
)
def test_where_the_network_is_cut(trunk, changes, cut, low, inputs, names):
    net, _, given = made(trunk, **changes)
    assert (net.cut, net.low, set(given)) == (cut, low, inputs)
    assert [block.name for block in net.blocks] == [*names, "head"]
    assert set(net.model.input) == inputs


def test_what_each_strategy_trains(trunk):
    block = {
        strategy: made(trunk, strategy=strategy, blocks=1)[0].blocks[0] for strategy in ("finetune", "norms", "lora")
    }
    assert kinds(block["finetune"]) == {"kernel", "gamma", "beta"}
    assert kinds(block["norms"]) == {"gamma", "beta"}
    assert kinds(block["lora"]) == {"lora_kernel_a", "lora_kernel_b"}
    assert len(block["finetune"].variables) == 12 and len(block["norms"].variables) == 8
    assert len(block["lora"].variables) == 8
    probe = made(trunk, strategy="probe", head="mlp", hidden=5)[0]
    assert [v.path for v in probe.blocks[0].variables] == [
        "head_linear/kernel",
        "head_linear/bias",
        "head_hidden/kernel",
        "head_hidden/bias",
        "head_norm/gamma",
        "head_norm/beta",
        "head_output/kernel",
    ]
    assert probe.trainable_params == 12 * 3 + 3 + 12 * 5 + 5 + 5 + 5 + 5 * 3


def test_the_model_trains_the_blocks_and_nothing_else(trunk):
    for changes in ({"strategy": "lora", "part": "all"}, {"strategy": "norms"}, {"blocks": 2}):
        net = made(trunk, **changes)[0]
        listed = [v.path for block in net.blocks for v in block.variables]
        assert sorted(listed) == sorted(v.path for v in net.model.trainable_variables)
        assert len(set(listed)) == len(listed)


def test_factors_fall_with_the_distance_from_the_head(trunk):
    net = made(trunk, part="all", decay=0.5, trunk_rate=0.25)[0]
    factors = net.rate_factors()
    expected = {"low": 0.25 * 0.125, "mid": 0.25 * 0.25, "last": 0.25 * 0.5, "head": 1.0}
    for block in net.blocks:
        assert {factors[v.path] for v in block.variables} == {expected[block.name]}
    lone = made(trunk, blocks=1, decay=0.5)[0]
    assert {lone.rate_factors()[v.path] for v in lone.blocks[0].variables} == {0.5}


def test_paths_do_not_count_the_layers_of_a_process():
    one, other = (
        made(small_trunk(), blocks=2, depths=("low", "last"), head="mlp", dropout=0.1, stochastic_depth=0.1)[0]
        for _ in range(2)
    )
    assert list(one.get(frozen=True)) == list(other.get(frozen=True))
    assert len(one.seeds) == len(other.seeds) == 5
    for mine, theirs in zip(one.seeds, other.seeds, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len({tuple(np.asarray(v)) for v in one.seeds}) == 5


def test_a_block_has_the_same_paths_wherever_the_cut_is(trunk):
    near, far = made(trunk, blocks=1)[0], made(trunk, part="all")[0]
    assert [v.path for v in near.blocks[0].variables] == [v.path for v in far.blocks[-2].variables]


def test_networks_and_their_trunk_share_no_weight(trunk):
    model, _ = trunk
    before = [np.asarray(w).copy() for w in model.weights]
    one, _, given = made(trunk, part="all")
    other, expected, _ = made(trunk, part="all")
    descend(one, given, Y, steps=2)
    assert np.abs(logits_of(one, given) - expected).max() > 1e-2
    np.testing.assert_allclose(logits_of(other, given), expected, atol=1e-4)
    for was, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(was, weight)


def test_get_gives_copies_and_set_puts_them_back(trunk):
    net, expected, given = made(trunk)
    first = net.get()
    descend(net, given, Y)
    assert all(not np.array_equal(value, first[path]) for path, value in net.get().items())
    net.set(first)
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)
    with pytest.raises(KeyError):
        net.set({"nothing/kernel": first["head_linear/kernel"]})


def test_the_same_seed_gives_the_same_bits(trunk):
    asked = {"strategy": "lora", "head": "mlp", "dropout": 0.3, "stochastic_depth": 0.3}
    runs = []
    for seed in (4, 4, 5):
        net, _, given = made(trunk, **asked, seed=seed)
        descend(net, given, Y, steps=2)
        runs.append(net.get())
    assert all(np.array_equal(value, runs[1][path]) for path, value in runs[0].items())
    assert any(not np.array_equal(value, runs[2][path]) for path, value in runs[0].items())


# ---------------------------------------------------------------- batch norm, dropout, precision


def test_batch_norm_learns_its_scale_and_keeps_its_statistics(trunk):
    net, _, given = made(trunk, part="all")
    assert not net.statistics
    before = net.get(frozen=True)
    descend(net, given, Y)
    after = net.get(frozen=True)
    moved = {path for path, value in after.items() if not np.array_equal(value, before[path])}
    assert moved == set(net.get())
    assert {path.rpartition("/")[2] for path in after.keys() - moved} == {"moving_mean", "moving_variance"}


@pytest.mark.parametrize("strategy", ["finetune", "norms", "lora"])
def test_batch_norm_that_learns_its_statistics(trunk, strategy):
    net, expected, given = made(trunk, strategy=strategy, batch_norm="train")
    assert {v.name for v in net.statistics} == {"moving_mean", "moving_variance"}
    assert {v.path for v in net.statistics} <= net.get().keys()
    assert ("gamma" in kinds(net.blocks[0])) == (strategy != "lora")
    assert np.abs(logits_of(net, given, training=True) - expected).max() > 1e-2
    mean = next(v for v in net.statistics if v.name == "moving_mean")
    first = np.asarray(mean).copy()
    net.model(given, training=True)
    assert not np.array_equal(mean, first)


def test_statistics_are_of_the_last_batches(trunk):
    """Momentum 0.9: after 80 batches of the same pictures the statistics are theirs."""
    net, _, given = made(trunk, batch_norm="train")
    for _ in range(80):
        seen = logits_of(net, given, training=True)
    np.testing.assert_allclose(logits_of(net, given), seen, atol=0.05)


def test_a_trunks_own_dropout_is_off():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 4, strides=4)
    last = conv(keras.layers.Dropout(0.9)(low), 6)
    net, expected, given = made(frozen(shape, [low, last], ("low", "last")))
    np.testing.assert_allclose(logits_of(net, given, training=True), expected, atol=1e-4)


def test_dropout_acts_on_the_heads_input(trunk):
    net, expected, given = made(trunk, strategy="probe", dropout=0.5)
    many = {"pooled": np.repeat(given["pooled"][:1], 4000, axis=0)}
    draws = logits_of(net, many, training=True)
    deviation = draws.std(axis=0)
    assert deviation.min() > 0.1 and len(np.unique(draws[:, 0].round(4))) > 1000
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - expected[0]), 5 * deviation / np.sqrt(4000))
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)


def test_mixed_precision_computes_the_trunk_in_bfloat16(trunk):
    net, expected, given = made(trunk, blocks=2, precision="mixed_bfloat16")
    computed = {layer.compute_dtype for layer in net.model.layers if len(layer.output.shape) == 4 and layer.weights}
    assert computed == {"bfloat16"}
    assert {str(v.dtype) for v in net.model.weights} == {"float32"}
    logits = net.model(given)
    assert logits.dtype == "float32"
    difference = np.abs(np.asarray(logits) - expected).max()
    assert 1e-6 < difference < 0.2
    descend(net, given, Y)


# ---------------------------------------------------------------- stochastic depth


def sums(net):
    return [layer for layer in net.model.layers if isinstance(layer, residual_add())]


def test_rates_of_stochastic_depth_rise_over_the_whole_network(trunk):
    assert [layer.rate for layer in sums(made(trunk, part="all", stochastic_depth=0.6)[0])] == pytest.approx(
        [0.2, 0.4, 0.6]
    )
    assert [layer.rate for layer in sums(made(trunk, blocks=1, stochastic_depth=0.6)[0])] == pytest.approx([0.6])
    assert not sums(made(trunk, part="all")[0])


def test_a_branch_is_dropped_picture_by_picture():
    layer = residual_add()(rate=0.25, branch=1, seed=3)
    shortcut, branch = np.full((4000, 2, 2, 1), 5.0, np.float32), np.full((4000, 2, 2, 1), 3.0, np.float32)
    got = np.asarray(layer([shortcut, branch], training=True))
    assert np.ptp(got, axis=(1, 2, 3)).max() == 0
    values, counts = np.unique(got, return_counts=True)
    np.testing.assert_allclose(values, [5.0, 9.0], atol=1e-5)
    assert counts[0] / counts.sum() == pytest.approx(0.25, abs=0.03)
    assert not np.array_equal(got, layer([shortcut, branch], training=True))
    np.testing.assert_array_equal(layer(shortcut, branch), np.full_like(shortcut, 8.0))


def test_stochastic_depth_leaves_inference_as_it_is(trunk):
    net, expected, given = made(trunk, part="all", stochastic_depth=0.6)
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)
    assert np.abs(logits_of(net, given, training=True) - expected).max() > 1e-2


def test_residual_sums_that_are_plain_operations_count():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 4, strides=4)
    last = low + conv(low, 4)
    net, expected, given = made(frozen(shape, [low, last], ("low", "last")), stochastic_depth=0.5)
    assert [layer.branch for layer in sums(net)] == [1]
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)
    assert np.abs(logits_of(net, given, training=True) - expected).max() > 1e-2


def test_stochastic_depth_needs_residual_sums():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = residual(conv(shape, 4, strides=4))
    last = keras.layers.Add()([conv(low, 4), conv(low, 4, 1)])  # a projected shortcut cannot be left out
    trunk = frozen(shape, [low, last], ("low", "last"))
    with pytest.raises(UsageError, match="finds no residual sum in the blocks last of `small:net`") as err:
        made(trunk, stochastic_depth=0.5)
    assert "blocks with residual sums: low" in err.value.hint
    with pytest.raises(UsageError, match="stochastic_depth `0.5`"):
        made(trunk, strategy="probe", stochastic_depth=0.5)


# ---------------------------------------------------------------- scratch


def test_from_scratch_all_is_drawn_from_the_seed(trunk):
    model, spec = trunk
    nets = [
        trainable_network.build_network(
            model, spec, recipe(strategy="scratch", seed=seed), start=None, objective=classes(3)
        )
        for seed in (0, 0, 1)
    ]
    weights = [net.get() for net in nets]
    tuned = {v.path: v for v in made(trunk, part="all")[0].model.weights}
    assert all(np.array_equal(value, weights[1][path]) for path, value in weights[0].items())
    for path, value in weights[0].items():
        kind = path.rpartition("/")[2]
        if kind == "kernel":
            assert not np.array_equal(value, weights[2][path])
        if path in tuned and not path.startswith("head"):
            assert not np.array_equal(value, tuned[path])
        if kind in ("gamma", "moving_variance"):
            assert (value == 1).all()
    assert nets[0].statistics and nets[0].trainable_params == sum(
        int(np.prod(v.shape)) for v in nets[0].model.weights if "moving" not in v.path
    )


def test_from_scratch_the_constants_of_the_input_stay():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    norm = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[50.0, 60.0, 70.0])
    low = conv(norm(shape), 4, strides=4)
    model, spec = frozen(shape, [low, conv(low, 4)], ("low", "last"))
    net = trainable_network.build_network(model, spec, recipe(strategy="scratch"), start=None, objective=classes(3))
    own = next(layer for layer in net.model.layers if isinstance(layer, keras.layers.Normalization))
    np.testing.assert_array_equal(own(X[:1]), norm(X[:1]))
    assert [block.name for block in net.blocks] == ["low", "last", "head"]


def test_a_random_head_is_drawn_from_the_seed(trunk):
    model, spec = trunk
    start = fitted(raw(features(model, spec, X), ("last",)))
    kernels = [
        trainable_network.build_network(
            model, spec, recipe(strategy="probe", start="random", seed=seed), start=start, objective=classes(3)
        ).get()
        for seed in (0, 0, 1)
    ]
    first, again, other = (one["head_linear/kernel"] for one in kernels)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first).max() <= np.sqrt(6 / 15) and first.std() == pytest.approx(np.sqrt(2 / 15), rel=0.35)


# ---------------------------------------------------------------- between


@pytest.mark.parametrize("strategy", ["finetune", "lora", "norms"])
def test_the_line_between_start_and_tuned_is_straight_in_what_computes(trunk, strategy):
    net, _, given = made(trunk, strategy=strategy)
    start = net.get()
    descend(net, given, Y, steps=3)
    tuned = net.get()
    ends = {alpha: net.interpolate_weights(start, tuned, alpha) for alpha in (0, 1)}
    assert all(np.array_equal(ends[0][path], start[path]) for path in start)
    assert all(np.array_equal(ends[1][path], tuned[path]) for path in start)

    def effective(weights):
        net.set(weights)
        merged = {update.kernel.path: update.merge_kernel() for update in net.updates}
        pairs = {v.path for update in net.updates for v in (update.a, update.b)}
        return {**{path: value for path, value in net.get().items() if path not in pairs}, **merged}

    first, last, at = (effective(one) for one in (start, tuned, net.interpolate_weights(start, tuned, 0.3)))
    assert any(np.abs(last[path] - first[path]).max() > 1e-3 for path in first)
    for path, value in at.items():
        np.testing.assert_allclose(value, first[path] + 0.3 * (last[path] - first[path]), atol=1e-6)


def test_a_line_from_a_moved_update_is_refused(trunk):
    net, _, given = made(trunk, strategy="lora")
    descend(net, given, Y)
    moved = net.get()
    descend(net, given, Y)
    with pytest.raises(ValueError, match="must start where they are zero"):
        net.interpolate_weights(moved, net.get(), 0.5)


# ---------------------------------------------------------------- refusals


def test_a_recipe_that_trains_nothing_of_the_trunk(trunk):
    for changes in ({"trunk_rate": 0.0}, {"decay": 0.0}):
        with pytest.raises(NoOpError, match=r"recipe `.*` trains nothing in last of `small:net`"):
            made(trunk, **changes)


def plain(last):
    """A trunk whose second block is what `last` makes of the first."""
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 4, strides=4)
    return frozen(shape, [low, last(low)], ("low", "last"))


def test_lora_without_a_kernel_names_what_there_is():
    import keras

    trunk = plain(lambda x: keras.layers.ReLU()(keras.layers.BatchNormalization()(x)))
    with pytest.raises(NoOpError, match="LoRA finds no kernel in the blocks last: they have BatchNormalization"):
        made(trunk, strategy="lora")


def test_norms_without_a_norm():
    import keras

    trunk = plain(lambda x: keras.layers.Conv2D(4, 1, use_bias=False)(x))
    with pytest.raises(NoOpError, match="trains nothing in last"):
        made(trunk, strategy="norms")


def test_a_block_without_weights_is_none():
    import keras

    net, expected, given = made(plain(keras.layers.MaxPooling2D(2)), blocks=1)
    assert [block.name for block in net.blocks] == ["low", "head"] and net.cut == ""
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)


def test_an_unknown_depth_is_named(trunk):
    with pytest.raises(UsageError, match="`small:net` has no depth `lost`") as err:
        trainable_network.build_network(*trunk, recipe(depths=("lost",)), start=None, objective=classes(3))
    assert "`last`" in err.value.hint
    with pytest.raises(UsageError, match="is read at no depth"):
        trainable_network.build_network(*trunk, recipe(depths=()), start=None, objective=classes(3))


def test_no_cut_where_something_leads_past_it():
    import keras

    shape = keras.Input((SIDE, SIDE, 3), name="pictures")
    low = conv(shape, 4, strides=4)
    mid = conv(low, 4)
    last = keras.layers.Concatenate()([conv(mid, 4), low])
    trunk = frozen(shape, [low, mid, last], ("low", "mid", "last"))
    net, expected, given = made(trunk, blocks=1)
    assert net.cut == "low" and [block.name for block in net.blocks] == ["last", "head"]
    np.testing.assert_allclose(logits_of(net, given), expected, atol=1e-4)


# ---------------------------------------------------------------- the lower part


def test_the_lower_part_gives_maps_and_pooled_features(trunk):
    model, spec = trunk
    known = features(model, spec, X)
    alone = trainable_network.build_lower_trunk(model, spec, "mid")
    cut, low, mid = trainable_network.build_lower_trunk(model, spec, "mid", ("low", "mid")).predict_on_batch(X)
    np.testing.assert_array_equal(alone.predict_on_batch(X), cut)
    np.testing.assert_allclose(cut.mean(axis=(1, 2)), known["mid"], atol=1e-5)
    np.testing.assert_allclose(low, known["low"], atol=1e-5)
    np.testing.assert_allclose(mid, known["mid"], atol=1e-5)


def test_columns_bring_features_into_another_order(trunk):
    model, spec = trunk
    known = features(model, spec, X)
    given, wanted = ("last", "low", "mid"), ("low", "mid", "last")
    np.testing.assert_array_equal(
        raw(known, given)[:, trainable_network.feature_positions(spec, given, wanted)], raw(known, wanted)
    )


def test_a_recipe_is_not_changed(trunk):
    asked = recipe(blocks=2)
    assert trainable_network.build_network(
        *trunk, asked, start=None, objective=classes(3)
    ).recipe == dataclasses.replace(asked)
