"""Small trunks for the tests of fine-tuning: built in milliseconds, with every kind of layer that matters."""

import numpy as np

from headstart.core.types import CLASSIFICATION, BackboneSpec, FeatureLevel, InputSpec
from headstart.finetuning.network.trainable_head import HeadStart
from headstart.finetuning.objectives import make_objective

SIDE = 16


def classes(count):
    """What training for so many classes is."""
    return make_objective(CLASSIFICATION, np.empty(0), count)


def spec_of(model, depths, name="small:net"):
    """What is known of a small trunk."""
    return BackboneSpec(
        name=name,
        family="small",
        revision="1",
        input=InputSpec(size_px=SIDE),
        depths=tuple(FeatureLevel(name=d, dim=int(o.shape[-1])) for d, o in zip(depths, model.outputs, strict=True)),
        params=model.count_params(),
        flops=1,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on="nothing",
        download_bytes=0,
        prior=0.5,
        prior_source="a guess",
    )


def frozen(pictures, maps, depths, seed=0, name="small:net"):
    """A frozen trunk with one pooled output a map, weights and statistics drawn, and its spec."""
    import keras

    pooled = [keras.layers.GlobalAveragePooling2D()(one) for one in maps]
    model = keras.Model(pictures, pooled)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        kind = weight.path.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.7, 1.4, weight.shape))
        elif kind in ("beta", "bias", "moving_mean"):
            weight.assign(0.2 * rng.standard_normal(weight.shape))
        else:
            weight.assign(0.5 * rng.standard_normal(weight.shape) / np.sqrt(max(np.prod(weight.shape[:-1]), 9) / 9))
    model.trainable = False
    return model, spec_of(model, depths, name)


def conv(x, width, kernel=3, strides=1):
    """Convolution, batch norm, ReLU; none with a name of its own."""
    import keras

    x = keras.layers.Conv2D(width, kernel, strides=strides, padding="same", use_bias=False)(x)
    return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))


def residual(x):
    """A residual block with a depthwise convolution."""
    import keras

    width = x.shape[-1]
    y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(conv(x, 2 * width, 1))
    y = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(y))
    y = keras.layers.Conv2D(width, 1, use_bias=False)(y)
    return keras.layers.Add()([x, keras.layers.BatchNormalization()(y)])


def small_trunk(seed=0):
    """Depths `low` (8), `mid` (8, two residual blocks) and `last` (12, one residual block and a convolution)."""
    import keras

    pictures = keras.Input((SIDE, SIDE, 3), name="pictures")
    x = keras.layers.Rescaling(1 / 128, -1.0)(pictures)
    low = conv(x, 8, strides=2)
    mid = residual(residual(low))
    last = conv(residual(mid), 12, 1)
    return frozen(pictures, [low, mid, last], ("low", "mid", "last"), seed)


def pictures(count=6, seed=1):
    """(count, SIDE, SIDE, 3) float32 whole numbers 0..255."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.float32)


def answer(model, x):
    """What a model gives as numpy, one array an output; run as it stands, for tracing a graph takes far longer."""
    outputs = model(x, training=False)
    return [np.asarray(output) for output in outputs] if isinstance(outputs, list) else np.asarray(outputs)


def features(model, spec, x):
    """Depth -> (B, D) float32."""
    found = answer(model, x)
    found = found if isinstance(found, list) else [found]
    return {depth.name: np.asarray(one) for depth, one in zip(spec.depths, found, strict=True)}


def raw(found, depths):
    """Features of depths side by side."""
    return np.concatenate([found[name] for name in depths], axis=1)


def fitted(x, n_classes=3, seed=2):
    """A head on raw features (M, D) as a probe would give it."""
    rng = np.random.default_rng(seed)
    scale = x.std(axis=0)
    weights = np.divide(rng.standard_normal((x.shape[1], n_classes)), scale[:, None] + 0.1).astype(np.float32)
    return HeadStart(
        weights=weights, bias=rng.standard_normal(n_classes).astype(np.float32), centre=x.mean(0), scale=scale
    )


def inputs_of(network, model, spec, x):
    """What a network wants for some pictures, made by the trunk itself."""
    from headstart.finetuning.network.trainable_network import build_lower_trunk

    found = features(model, spec, x)
    given = {}
    if network.cut:
        given["map"] = answer(build_lower_trunk(model, spec, network.cut), x)
    elif set(network.recipe.depths) - set(network.low):
        given["pictures"] = x
    if network.low:
        given["pooled"] = raw(found, network.low)
    return given


def logits_of(network, given, training=False):
    """(B, C) as numpy."""
    return np.asarray(network.model(given, training=training))


def descend(network, given, y, rate=0.05, steps=1, clip=1e9):
    """Plain gradient descent on cross-entropy, by hand; `clip` is the largest norm of a step's gradients."""
    import tensorflow as tf

    variables = network.model.trainable_variables
    for _ in range(steps):
        with tf.GradientTape() as tape:
            logits = network.model(given, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, logits))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, [v.value for v in variables]), clip)
        for v, gradient in zip(variables, gradients, strict=True):
            v.assign_sub(rate * gradient)


def softmax(z):
    """(B, C) -> (B, C)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
