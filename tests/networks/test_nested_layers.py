"""The one private method of Keras that is asked: what it gives, so that a newer Keras without it is noticed here."""

import re
from pathlib import Path

import headstart
from headstart.networks.nested_layers import list_nested_layers


def test_layers_within_layers_are_listed_at_every_depth():
    import keras

    inner = keras.Sequential([keras.layers.Dense(2, name="first"), keras.layers.ReLU(name="second")], name="inner")
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(1, name="third")], name="outer")
    names = [layer.name for layer in list_nested_layers(outer)]
    assert names[0] == "outer" and names.index("inner") < names.index("first")
    assert {"inner", "first", "second", "third"} < set(names)
    assert "outer" not in [layer.name for layer in list_nested_layers(outer, include_self=False)]


def test_no_class_of_keras_is_changed_and_its_private_parts_are_asked_in_one_file():
    sources = Path(headstart.__file__).parent.rglob("*.py")
    text = {path.name: path.read_text(encoding="utf-8") for path in sources}
    private = re.compile(r"_keras_history|_flatten_layers|_inbound_nodes|keras\.src\b")
    assert [name for name, code in text.items() if private.search(code)] == ["nested_layers.py"]
    assert not [name for name, code in text.items() if re.search(r"\w\.__call__ = ", code)]
