"""The one private method of Keras that is asked: what it gives, so that a newer Keras without it is noticed here."""

from headstart.networks.nested_layers import list_nested_layers


def test_layers_within_layers_are_listed_at_every_depth():
    import keras

    inner = keras.Sequential([keras.layers.Dense(2, name="first"), keras.layers.ReLU(name="second")], name="inner")
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(1, name="third")], name="outer")
    names = [layer.name for layer in list_nested_layers(outer)]
    assert names[0] == "outer" and names.index("inner") < names.index("first")
    assert {"inner", "first", "second", "third"} < set(names)
    assert "outer" not in [layer.name for layer in list_nested_layers(outer, include_self=False)]
