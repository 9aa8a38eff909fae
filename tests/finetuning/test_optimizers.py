"""What a step does to weights: the factor of each variable, decay, clipping, frozen blocks, the running mean."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.core.errors import NoOpError
from headstart.core.recipe import AveragingSettings, Recipe, TrunkSettings
from headstart.finetuning.training import optimizers
from small_nets import classes

PLAIN = Recipe(rate=0.01, clip=0.0, weight_decay=0.0)
BOTH = pytest.mark.parametrize("kind", ["adamw", "sgd"])
SHAPES = {"low/kernel": (5, 4), "low/bias": (4,), "high/kernel": (4, 3), "head/kernel": (3, 2), "head/bias": (2,)}


def variables(seed=0, shapes=SHAPES):
    """Variables with the names and paths of a small network's."""
    import keras

    rng, made = np.random.default_rng(seed), []
    for path, shape in shapes.items():
        layer, name = path.split("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(rng.normal(size=shape).astype(np.float32), name=name))
    assert [v.path for v in made] == list(shapes)
    return made


def gradients(step, shapes=SHAPES):
    rng = np.random.default_rng([step, 1])
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes.values()]


def built(recipe, given, factors=None, anchors=None):
    made = optimizers.make_optimizer(recipe, factors=factors or {v.path: 1.0 for v in given}, anchors=anchors)
    made.build(given)
    return made


def values(given):
    return {v.path: v.numpy().copy() for v in given}


def averaged(optimizer, given):
    """The running means by path; the variables end as they were."""
    weights = values(given)
    optimizer.finalize_variable_values(given)
    means = values(given)
    for variable in given:
        variable.assign(weights[variable.path])
    return means


def taken(recipe, steps=1, factors=None, **anchors):
    """Variables after so many steps on the same gradients as everybody's, and the optimiser."""
    given = variables()
    made = built(recipe, given, factors, **anchors)
    for step in range(steps):
        made.apply(gradients(step), given)
    return given, made


# ---------------------------------------------------------------- factors


FACTORS = {"low/kernel": 0.49, "low/bias": 0.49, "high/kernel": 0.7, "head/kernel": 1.0, "head/bias": 1.0}


@BOTH
def test_a_factor_scales_the_update_and_nothing_else(kind):
    recipe = replace(PLAIN, optimiser=kind)
    start = values(variables())
    for steps in (1, 6):
        same, by_layer = (values(taken(recipe, steps, factors)[0]) for factors in (None, FACTORS))
        for path, factor in FACTORS.items():
            whole, part = same[path] - start[path], by_layer[path] - start[path]
            assert np.linalg.norm(part) / np.linalg.norm(whole) == pytest.approx(factor, rel=2e-5)


def test_adams_first_update_is_the_rate_times_the_factor_whatever_the_gradient():
    start, given = values(variables()), variables()
    made = built(PLAIN, given, FACTORS)
    made.apply([g * scale for g, scale in zip(gradients(0), (10, 1e3, 1, 1e5, 1), strict=True)], given)
    for path, after in values(given).items():
        move = np.linalg.norm(after - start[path]) / np.sqrt(after.size)
        assert move == pytest.approx(PLAIN.rate * FACTORS[path], rel=2e-4)


def test_scaling_gradients_instead_does_nothing_under_adam():
    start, given = values(variables()), variables()
    made = built(PLAIN, given)
    made.apply([g * FACTORS[v.path] for g, v in zip(gradients(0), given, strict=True)], given)
    moves = [np.linalg.norm(v.numpy() - start[v.path]) / np.sqrt(v.numpy().size) for v in given]
    assert moves == pytest.approx([PLAIN.rate] * len(given), rel=2e-4)


# ---------------------------------------------------------------- against other implementations


def test_adamw_is_that_of_keras():
    import keras

    recipe = replace(PLAIN, weight_decay=0.1)
    theirs, other = variables(), keras.optimizers.AdamW(recipe.rate, weight_decay=0.1, epsilon=1e-9)
    other.exclude_from_weight_decay(var_names=["bias"])
    for step in range(8):
        other.apply(gradients(step), theirs)
    for path, value in values(taken(recipe, 8)[0]).items():
        np.testing.assert_allclose(value, values(theirs)[path], rtol=0, atol=1e-5)


def test_nesterov_is_that_of_keras_at_a_steady_rate():
    import keras

    theirs, other = variables(), keras.optimizers.SGD(PLAIN.rate, momentum=0.9, nesterov=True, global_clipnorm=0.5)
    for step in range(8):
        other.apply(gradients(step), theirs)
    for path, value in values(taken(replace(PLAIN, optimiser="sgd", clip=0.5), 8)[0]).items():
        np.testing.assert_allclose(value, values(theirs)[path], rtol=0, atol=1e-6)


@BOTH
def test_a_changing_rate_acts_at_once_and_on_its_own_step_alone(kind):
    """A plain loop in float64."""
    recipe, path = replace(PLAIN, optimiser=kind, weight_decay=0.05), "low/kernel"
    given = variables()
    made, w, m, v = built(recipe, given), given[0].numpy().astype(np.float64), 0.0, 0.0
    for t, rate in enumerate((0.01, 0.3, 0.0, 0.02, 0.001), start=1):
        made.learning_rate = rate
        made.apply(gradients(t), given)
        g = gradients(t)[0].astype(np.float64)
        if kind == "adamw":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            move = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        else:
            m = 0.9 * m + g
            move = g + 0.9 * m
        w = w - rate * (move + 0.05 * w)
        np.testing.assert_allclose(values(given)[path], w, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- frozen, then freed


FROZEN = {path: 0.0 if path.startswith("low") else 1.0 for path in SHAPES}


def frozen_bits(made, given):
    """The bytes of everything that belongs to the frozen variables."""
    kept = [v.numpy().tobytes() for v in given if FROZEN[v.path] == 0]
    return kept + [v.numpy().tobytes() for v in made.variables if "low" in v.name]


@BOTH
def test_factor_0_moves_nothing_of_a_variable(kind):
    given = variables()
    made = built(
        Recipe(optimiser=kind, trunk=TrunkSettings(gradual=True, l2_sp=0.1)),
        given,
        FROZEN,
        {"low/kernel": np.ones((5, 4))},
    )
    before = frozen_bits(made, given)
    assert len(before) > 4
    for step in range(3):
        made.apply(gradients(step), given)
        assert frozen_bits(made, given) == before
    assert all((v.numpy() != values(variables())[v.path]).all() for v in given[2:])


@BOTH
def test_the_first_step_of_a_freed_block_is_a_first_step(kind):
    """After 50 frozen steps a block moves as if the training began; the head goes on with its moments."""
    recipe = replace(PLAIN, optimiser=kind, trunk=TrunkSettings(gradual=True))
    given = variables()
    made = built(recipe, given, FROZEN)
    for step in range(50):
        made.apply(gradients(step), given)
    made.set_factors(dict.fromkeys(SHAPES, 1.0))
    for step in (50, 51):
        made.apply(gradients(step), given)
    fresh = variables()
    new = built(recipe, fresh)
    for step in (50, 51):
        new.apply(gradients(step), fresh)
    for i in (0, 1):
        np.testing.assert_allclose(given[i].numpy(), fresh[i].numpy(), rtol=0, atol=1e-5 * PLAIN.rate)
    unbroken, _ = taken(recipe, 52)
    assert all((given[i].numpy() == unbroken[i].numpy()).all() for i in (2, 3, 4))


@BOTH
def test_the_gradient_of_a_frozen_block_does_not_count(kind):
    recipe = replace(PLAIN, optimiser=kind, clip=0.5, trunk=TrunkSettings(gradual=True))
    huge = [g * (1e6 if FROZEN[path] == 0 else 1) for g, path in zip(gradients(0), SHAPES, strict=True)]
    not_numbers = [g * (np.nan if FROZEN[path] == 0 else 1) for g, path in zip(gradients(0), SHAPES, strict=True)]
    ends = []
    for grads in (gradients(0), huge, not_numbers):
        given = variables()
        built(recipe, given, FROZEN).apply(grads, given)
        ends.append(values(given))
    for path in SHAPES:
        assert ends[0][path].tobytes() == ends[1][path].tobytes() == ends[2][path].tobytes()


# ---------------------------------------------------------------- decay


@BOTH
def test_without_gradients_weights_decay_by_the_rate_and_nothing_else_moves(kind):
    start, given = values(variables()), variables()
    made = built(replace(PLAIN, optimiser=kind, weight_decay=0.5), given, FACTORS)
    for _ in range(5):
        made.apply([np.zeros_like(g) for g in gradients(0)], given)
    for path, after in values(given).items():
        left = 1.0 if path.endswith("bias") else (1 - 0.01 * FACTORS[path] * 0.5) ** 5
        np.testing.assert_allclose(after, start[path] * left, rtol=5e-7)


@BOTH
def test_l2_sp_pulls_to_the_anchor_instead_of_to_0(kind):
    start, given = values(variables()), variables()
    anchors = {
        "low/kernel": start["low/kernel"] + 2,
        "low/bias": start["low/bias"] + 2,
        "high/kernel": start["high/kernel"],
    }
    made = built(
        replace(PLAIN, optimiser=kind, weight_decay=0.5, trunk=TrunkSettings(l2_sp=3.0)), given, FACTORS, anchors
    )
    for _ in range(5):
        made.apply([np.zeros_like(g) for g in gradients(0)], given)
    after = values(given)
    for path in ("low/kernel", "low/bias"):
        np.testing.assert_allclose(after[path], anchors[path] - 2 * (1 - 0.01 * 0.49 * 3) ** 5, atol=1e-6)
    assert after["high/kernel"].tobytes() == start["high/kernel"].tobytes()  # it is where it is pulled to
    np.testing.assert_allclose(after["head/kernel"], start["head/kernel"] * (1 - 0.01 * 0.5) ** 5, rtol=5e-7)


def test_l2_sp_that_pulls_nothing_is_refused():
    with pytest.raises(NoOpError, match="l2_sp `0.1` pulls nothing"):
        built(replace(PLAIN, trunk=TrunkSettings(l2_sp=0.1)), variables(), anchors={"elsewhere/kernel": np.ones(3)})


# ---------------------------------------------------------------- clipping


@BOTH
def test_clipping_is_scaling_all_gradients_to_the_norm(kind):
    recipe = replace(PLAIN, optimiser=kind)
    given, clipped = variables(), variables()
    scaled, clips = built(recipe, given), built(replace(recipe, clip=1.5), clipped)
    for step in range(4):
        grads = [g * (1.0 if step % 2 else 0.01) for g in gradients(step)]
        norm = np.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads))
        assert (norm > 1.5) == bool(step % 2)
        scaled.apply([g * min(1.0, 1.5 / norm) for g in grads], given)
        clips.apply(grads, clipped)
        for path, value in values(given).items():
            np.testing.assert_allclose(values(clipped)[path], value, rtol=0, atol=1e-6)


def test_gradients_below_the_norm_are_left_alone():
    loose, none = (taken(replace(PLAIN, optimiser="sgd", clip=clip), 3)[0] for clip in (100.0, 0.0))
    assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(loose, none, strict=True))


# ---------------------------------------------------------------- running mean


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_the_running_mean_is_the_loop_over_all_weights_so_far(decay):
    given = variables()
    made, seen = built(replace(PLAIN, rate=0.1, averaging=AveragingSettings(ema=decay)), given), []
    for step in range(12):
        made.apply(gradients(step), given)
        seen.append(values(given))
        weights = decay ** np.arange(len(seen) - 1, -1, -1.0)
        for path, mean in averaged(made, given).items():
            wanted = sum(w * one[path].astype(np.float64) for w, one in zip(weights, seen, strict=True)) / weights.sum()
            np.testing.assert_allclose(mean, wanted, rtol=0, atol=2e-6)


# ---------------------------------------------------------------- inside a compiled step


def network(policy="float32"):
    import keras

    keras.utils.set_random_seed(3)
    given = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu", name="low", dtype=policy)(given)
    return keras.Model(given, keras.layers.Dense(3, name="head")(x))


def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[rng.integers(0, 3, 16)]


@BOTH
def test_rates_and_factors_change_without_tracing_again(kind, monkeypatch):
    import keras

    model, traced = network(), []
    made = built(
        Recipe(optimiser=kind, trunk=TrunkSettings(gradual=True), averaging=AveragingSettings(ema=0.9)),
        model.trainable_variables,
    )
    variable_rates = made.variable_rates
    monkeypatch.setattr(made, "variable_rates", lambda: (traced.append(1), variable_rates())[1])
    model.compile(optimizer=made, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    ends = []
    for step, (rate, low) in enumerate([(0.1, 0.0), (0.2, 0.0), (0.01, 1.0), (0.02, 0.5), (0.0, 1.0)]):
        made.learning_rate = rate
        made.set_factors({v.path: low if v.path.startswith("low") else 1.0 for v in model.trainable_variables})
        before = values(model.trainable_variables)
        model.train_on_batch(*batch())
        moved = {p: bool((before[p] != w).any()) for p, w in values(model.trainable_variables).items()}
        assert moved["head/kernel"] == (rate > 0) and moved["low/kernel"] == (rate > 0 and low > 0)
        ends.append(step if step == 0 else len(traced))
    assert len(set(ends[1:])) == 1  # all tracing was before the second step


def test_the_first_step_may_build_inside_a_graph():
    import tensorflow as tf

    eager, lazy = network(), network()
    recipe = Recipe(trunk=TrunkSettings(l2_sp=0.1), averaging=AveragingSettings(ema=0.9))
    ends = []
    for model, early in ((eager, True), (lazy, False)):
        first = {"low/kernel": model.get_layer("low").kernel.numpy()}
        made = optimizers.make_optimizer(
            recipe, factors={v.path: 1.0 for v in model.trainable_variables}, anchors=first
        )
        if early:
            made.build(model.trainable_variables)

        @tf.function
        def step(x, y, model=model, made=made):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, model(x, training=True)))
            made.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        for _ in range(3):
            step(*batch())
        ends.append({**values(model.trainable_variables), **averaged(made, model.trainable_variables)})
    assert all((ends[0][path] == ends[1][path]).all() for path in ends[0])


@BOTH
def test_all_that_a_step_needs_is_in_the_variables(kind):
    """Copied into a new optimiser they give the same bits as going on."""
    recipe = Recipe(optimiser=kind, trunk=TrunkSettings(gradual=True, l2_sp=0.1), averaging=AveragingSettings(ema=0.9))
    anchors = {"low/kernel": np.ones((5, 4), np.float32)}
    given = variables()
    made = built(recipe, given, FROZEN, anchors)
    for step in range(4):
        made.apply(gradients(step), given)
    copied = variables(seed=9)
    for to, of in zip(copied, given, strict=True):
        to.assign(of)
    other = built(recipe, copied, None, {"low/kernel": np.zeros((5, 4), np.float32)})
    for to, of in zip(other.variables, made.variables, strict=True):
        to.assign(of)
    for step in range(4, 7):
        made.apply(gradients(step), given)
        other.apply(gradients(step), copied)
    ends = [
        {**values(v), **{f"mean {p}": m for p, m in averaged(o, v).items()}}
        for o, v in ((made, given), (other, copied))
    ]
    assert all(ends[0][name].tobytes() == ends[1][name].tobytes() for name in ends[0])


def test_weights_stay_float32_in_mixed_precision():
    model = network("mixed_bfloat16")
    made = built(Recipe(rate=1e-4), model.trainable_variables)
    model.compile(optimizer=made, loss="mse")
    before = values(model.trainable_variables)
    model.train_on_batch(*batch())
    for path, after in values(model.trainable_variables).items():
        moved = after != before[path]
        assert after.dtype == np.float32 and moved.any()
        assert np.abs(after - before[path])[moved] == pytest.approx(1e-4, rel=0.01)


# ---------------------------------------------------------------- refused


def test_a_variable_without_gradient_is_named():
    given = variables()
    with pytest.raises(NoOpError, match="`high/kernel` has no gradient"):
        built(PLAIN, given).apply([None if v.path == "high/kernel" else v.numpy() for v in given], given)


def test_factors_must_be_those_of_the_variables():
    given = variables()
    with pytest.raises(ValueError, match="not the same: `low/bias`"):
        built(PLAIN, given, {path: 1.0 for path in SHAPES if path != "low/bias"})
    with pytest.raises(ValueError, match="not the same: `other/bias`"):
        built(PLAIN, given).set_factors({**dict.fromkeys(SHAPES, 1.0), "other/bias": 1.0})
    with pytest.raises(ValueError, match="not the same"):
        built(PLAIN, [*given, given[0]], dict.fromkeys(SHAPES, 1.0))


def test_other_variables_are_refused():
    given = variables()
    with pytest.raises(ValueError, match="built on other variables"):
        built(PLAIN, given).apply(gradients(0)[::-1], given[::-1])


# ---------------------------------------------------------------- a real network


@pytest.mark.medium
def test_blocks_of_a_pretrained_network_move_by_their_factors(shared_store, textile):
    """Real weights, real pictures: after one AdamW step each block has moved by the rate times its factor."""
    import tensorflow as tf

    from headstart.backbones import loading
    from headstart.finetuning.network import trainable_network as network
    from headstart.images import preprocessing

    found = loading.find_backbone("bundled:efficientnet_lite0")
    settings = TrunkSettings(blocks=3, decay=0.5, trunk_rate=0.8)
    asked = Recipe(depths=("last",), trunk=settings, rate=1e-3, weight_decay=0.0)
    model = found.build(shared_store)
    net = network.build_network(model, found.spec, asked, start=None, objective=classes(3))
    files = sorted(textile.rglob("*.jpg"))[:: 2000 // 6][:6]
    x = np.stack([preprocessing.decode_picture(file.read_bytes(), found.spec.input) for file in files]).astype(
        np.float32
    )
    maps = network.build_lower_trunk(model, found.spec, net.cut)(x)
    before, given = net.get(), net.model.trainable_variables
    made = built(asked, given, net.rate_factors())
    with tf.GradientTape() as tape:
        loss = classes(3).make_loss(asked)(np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]], net.model({"map": maps}))
    made.apply(tape.gradient(loss, given), given)
    moved = {}
    for block in net.blocks:
        moves = np.concatenate([np.abs(v.numpy() - before[v.path]).ravel() for v in block.variables])
        moved[block.name] = float(np.median(moves[moves > 0])) / asked.rate
    assert moved == pytest.approx({"stage4": 0.1, "stage5": 0.2, "last": 0.4, "head": 1.0}, rel=2e-3)
