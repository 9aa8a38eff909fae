"""Real network files that tests write themselves: small Keras networks, and an ONNX file byte by byte."""

import warnings

import numpy as np

# ---------------------------------------------------------------- Keras


def save(model, path):
    """Write a `.keras` file; NumPy 2 has a word about Keras' way to read a variable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model.save(path)


def small_keras(path, *, side=64, scaled=True, nested=True, classes=3):
    """A small residual network with a classifier, its front a model inside the model; saved as `.keras`."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    given = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(given) if scaled else given
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="down")(x)
    y = layers.Conv2D(12, 3, padding="same", name="inner")(x)
    x = layers.Add(name="sum")([x, y])
    x = layers.ReLU(name="after_sum")(x)
    x = layers.Conv2D(16, 3, strides=4, padding="same", activation="relu", name="deeper")(x)
    front = keras.Model(given, x, name="front")
    pictures = keras.Input((side, side, 3))
    z = front(pictures) if nested else x
    z = layers.Conv2D(20, 3, strides=2, padding="same", name="top")(z)
    z = layers.BatchNormalization(name="norm")(z)
    z = layers.ReLU(name="top_relu")(z)
    z = layers.GlobalAveragePooling2D(name="mean")(z)
    z = layers.Dropout(0.2, name="drop")(z)
    z = layers.Dense(classes, activation="softmax", name="classes")(z)
    model = keras.Model(pictures if nested else given, z, name="small")
    save(model, path)
    return model


def tiny_keras(path, *, side=32, classes=3):
    """Three convolutions with batch norm and a classifier, random weights; saved as `.keras`."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    pictures = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(pictures)
    for width, name in ((8, "low"), (12, "mid"), (16, "top")):
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name=name)(x)
        x = layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_norm")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(classes, activation="softmax", name="classes")(x)
    save(keras.Model(pictures, x, name="tiny"), path)


# ---------------------------------------------------------------- ONNX, in protobuf's own terms


def _varint(number):
    out = b""
    while True:
        number, low = number >> 7, number & 127
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name, values, place=""):
    """A tensor with its numbers, or with the place of the file that holds them."""
    whole = values.dtype.kind == "i"
    known = b"".join(_field(1, side) for side in values.shape) + _field(2, 7 if whole else 1) + _field(8, name)
    if not place:
        return known + _field(9, values.astype("<i8" if whole else "<f4").tobytes())
    return known + _field(13, _field(1, "location") + _field(2, place)) + _field(14, 1)


def _ints(name, values):
    return _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, 7)


def _node(kind, inputs, output, *attributes):
    parts = b"".join(_field(1, one) for one in inputs) + _field(2, output) + _field(3, output) + _field(4, kind)
    return parts + b"".join(_field(5, one) for one in attributes)


def _value(name, shape):
    dims = b"".join(_field(1, _field(2, side) if isinstance(side, str) else _field(1, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def onnx_weights(seed=5):
    """Kernels of the network that `write_onnx` writes, PyTorch's order (out, in, h, w)."""
    rng = np.random.default_rng(seed)
    shapes = {"stem": (8, 3, 3, 3), "down": (12, 8, 3, 3), "deep": (16, 12, 3, 3), "deeper": (20, 16, 3, 3)}
    found = {name: rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape) for name, shape in shapes.items()}
    found["classes"] = rng.normal(0, 0.2, (20, 3))
    return {name: values.astype(np.float32) for name, values in found.items()}


def write_onnx(path, *, side=64, classifier=True, seed=5, beside=False, weights=None, channels=3):
    """Four strided convolutions with ReLU, a global mean and a linear classifier, channels first as in PyTorch.

    With `beside`, the weights lie in files of their own, `<layer>.data`; a text `beside` is a folder before that name.
    A text for `side` and `channels` leaves these axes open.
    """
    weights = weights or onnx_weights(seed)
    nodes, at = [], "pictures"
    for name in ("stem", "down", "deep", "deeper"):
        how = (_ints("strides", (2, 2)), _ints("pads", (1, 1, 1, 1)), _ints("kernel_shape", (3, 3)))
        nodes += [_node("Conv", [at, name + "_w"], name, *how), _node("Relu", [name], name + "_relu")]
        at = name + "_relu"
    nodes += [_node("GlobalAveragePool", [at], "mean"), _node("Flatten", ["mean"], "flat")]
    nodes += [_node("MatMul", ["flat", "classes_w"], "logits")] if classifier else []
    held = {name: values for name, values in weights.items() if classifier or name != "classes"}
    graph = b"".join(_field(1, one) for one in nodes) + _field(2, "small")
    for name, values in held.items():
        place = f"{beside if isinstance(beside, str) else ''}{name}.data" if beside else ""
        graph += _field(5, _tensor(name + "_w", values, place))
        if beside is True:
            (path.parent / place).write_bytes(values.astype("<f4").tobytes())
    graph += _field(11, _value("pictures", ("batch", channels, side, side)))
    graph += _field(12, _value("logits" if classifier else "flat", ("batch", 3 if classifier else 20)))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17)))
    return weights


def write_onnx_of_tokens(path, *, blocks=4, side=32, dim=12, patch=8, whole=False):
    """A transformer's skeleton, axes left open as exporters do: patches, a first token, blocks on a residual stream.

    Each block adds two branches. With `whole` all tokens are given, else what a classifier makes of the first.
    """
    rng, count = np.random.default_rng(2), (side // patch) ** 2
    held = {
        "patches_w": rng.normal(0, 0.1, (dim, 3, patch, patch)),
        "form": np.array([-1, dim, count]),
        "first": rng.normal(0, 1, (1, 1, dim)),
        "places": rng.normal(0, 1, (1, count + 1, dim)),
        "zero": np.array(0),
        "ones": np.ones(dim),
        "zeros": np.zeros(dim),
        "classes_w": rng.normal(0, 0.2, (dim, 3)),
    }
    axis = _field(1, "axis") + _field(3, 1) + _field(20, 2)
    nodes = [
        _node(
            "Conv",
            ["pixel_values", "patches_w"],
            "map",
            _ints("strides", (patch,) * 2),
            _ints("kernel_shape", (patch,) * 2),
        ),
        _node("Reshape", ["map", "form"], "flat"),
        _node("Transpose", ["flat"], "turned", _ints("perm", (0, 2, 1))),
        _node("Concat", ["first", "turned"], "joined", axis),
        _node("Add", ["joined", "places"], "sum0"),
    ]
    for at in range(2 * blocks):
        among = at % 2 == 0  # every other branch mixes tokens, as attention does
        wide = count + 1 if among else dim
        held[f"w{at}"] = rng.normal(0, wide**-0.5, (wide, wide))
        read = [f"w{at}", f"normal{at}"] if among else [f"normal{at}", f"w{at}"]
        nodes += [
            _node("LayerNormalization", [f"sum{at}", "ones", "zeros"], f"normal{at}"),
            _node("MatMul", read, f"mixed{at}"),
            _node("Relu", [f"mixed{at}"], f"relu{at}"),
            _node("Add", [f"sum{at}", f"relu{at}"], f"sum{at + 1}"),
        ]
    end = "last_hidden_state"
    nodes += [_node("LayerNormalization", [f"sum{2 * blocks}", "ones", "zeros"], end)]
    if not whole:
        nodes += [_node("Gather", [end, "zero"], "token", axis), _node("MatMul", ["token", "classes_w"], "logits")]
    graph = b"".join(_field(1, one) for one in nodes) + _field(2, "tokens")
    for name, values in held.items():
        graph += _field(5, _tensor(name, values))
    graph += _field(11, _value("pixel_values", (1, "channels", "height", "width")))
    graph += _field(12, _value(end, (1, count + 1, dim)) if whole else _value("logits", (1, 3)))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17)))
