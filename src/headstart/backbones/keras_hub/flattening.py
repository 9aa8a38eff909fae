"""A KerasHub backbone laid flat: the same numbers from Keras' own layers alone, in a graph that can be seen and cut.

KerasHub writes transformers as layers within layers, with weights that no graph shows. Here the functional graph is run
again on a symbolic batch of a size that nothing else has. Where KerasHub has a layer, its `call` runs on a `LayerView`,
whose inner layers are copied where they are Keras' own, opened where they are KerasHub's; dropout goes. What holds
weights of its own has a counterpart in Keras (`layer_rules`). Then the batch is left open again. The result can be
trained, saved and opened again without KerasHub. No class of Keras or KerasHub is changed.
"""

from __future__ import annotations

import re
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH = 10007  # a prime that is no side, width or number of tokens
_IDLE = ("Dropout", "SpatialDropout2D", "Identity", "ActivityRegularization", "GaussianNoise")


class LayerView:
    """A layer of KerasHub's while it is laid flat: its own settings and methods, with views in place of inner layers.

    `call` is an ordinary function of its class, so it runs on the view; `__class__` is the layer's, which `isinstance`
    and `super()` within KerasHub ask for.
    """

    def __init__(self, layer: Any, trace: LayerTrace) -> None:
        self.layer, self._trace = layer, trace

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.layer)

    def __getattr__(self, name: str) -> Any:
        return self._view(getattr(self.layer, name))

    def _view(self, value: Any) -> Any:
        import keras

        if isinstance(value, types.MethodType) and value.__self__ is self.layer:
            return types.MethodType(value.__func__, self)
        if isinstance(value, keras.layers.Layer):
            return LayerView(value, self._trace)
        if isinstance(value, list | tuple):
            return [self._view(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self._view(item) for key, item in value.items()}
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `LayerTrace.call_layer`."""
        return self._trace.call_layer(self.layer, *args, **kwargs)


@dataclass(kw_only=True, eq=False)
class LayerTrace:
    """The layers that are being laid flat, and what becomes of them.

    Attributes:
        replaced: Class name -> function of a view, this trace and the call's arguments that gives its outputs.
        after: Called with a layer and its outputs, once it was laid flat; gives what is handed on.
        grid: Height and width of the picture in patches; (0, 0) where there are none.
    """

    replaced: dict[str, Callable[..., Any]]
    after: Callable[[Any, Any], Any] = lambda layer, outputs: outputs
    grid: tuple[int, int] = (0, 0)
    _above: list[str] = field(default_factory=list)
    _name_counts: Counter[str] = field(default_factory=Counter)

    def call_layer(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs of a layer on symbolic tensors, laid flat; plain on numbers."""
        import keras

        if not any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, kwargs))):
            return layer(*args, **kwargs)
        if type(layer).__module__.partition(".")[0] != "keras_hub" and type(layer).__name__ != "Functional":
            return self.copy(layer, *args, **kwargs)
        kwargs.pop("training", None)  # some take it and some do not; it is inference anyway
        self._above.append(_own_name(layer))
        try:
            if rule := self.replaced.get(type(layer).__name__):
                outputs = rule(LayerView(layer, self), self, *args, **kwargs)
            elif hasattr(layer, "operations"):
                outputs = self.run_graph(layer, *args)
            else:
                outputs = type(layer).call(LayerView(layer, self), *args, **kwargs)
        finally:
            self._above.pop()
        return self.after(layer, outputs)

    def run_graph(self, model: Any, inputs: Any) -> Any:
        """The outputs of a functional model on inputs of the graph, every layer of it laid flat."""
        import keras

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            is_layer = isinstance(operation, keras.layers.Layer)
            return self.call_layer(operation, *args, **kwargs) if is_layer else operation(*args, **kwargs)

        flat: Any = keras.models.clone_model(
            model, input_tensors=inputs, clone_function=lambda operation: operation, call_function=call
        )
        return flat.output

    def copy(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs of a copy of one of Keras' layers; the copy has the weights, and a name that repeats."""
        if type(layer).__name__ in _IDLE:
            return args[0]
        config = {**layer.get_config(), "name": self.name(_own_name(layer))}
        activation = getattr(layer, "activation", None)
        foreign = activation is not None and not str(getattr(activation, "__module__", "")).startswith("keras.")
        if foreign:  # a function of KerasHub's: the operations that it is made of
            config["activation"] = "linear"
        copied = type(layer).from_config(config)
        outputs = copied(*args, **kwargs)
        copied.set_weights(layer.get_weights())
        return activation(outputs) if foreign and activation is not None else outputs

    def name(self, word: str) -> str:
        """A name within the layers above, the same in every process."""
        parts: list[str] = []
        for part in (*self._above[1:], word):  # some layers' names begin with that of the layer above
            parts = [*parts[:-1], part] if parts and part.startswith(parts[-1]) else [*parts, part]
        path = "_".join(parts)
        self._name_counts[path] += 1
        return path if self._name_counts[path] == 1 else f"{path}_{self._name_counts[path]}"


def _own_name(layer: Any) -> str:
    """A layer's name without the number that Keras counts through a process."""
    is_numbered = re.fullmatch(rf"{type(layer).__name__.lower()}\d*", layer.name.replace("_", "").lower())
    return re.sub(r"\W+", "_", re.sub(r"_\d+$", "", layer.name) if is_numbered else layer.name)


def make_input(side: int) -> Any:
    """The symbolic batch (BATCH, side, side, 3) that a backbone is laid flat on."""
    import keras

    return keras.Input(batch_shape=(BATCH, side, side, 3), name="pictures")


def open_batch(inputs: Any, outputs: Sequence[Any], before: Callable[[Any], Any], name: str) -> Any:
    """The functional `keras.Model` from `make_input` to (BATCH, …), for any batch size; `before` scales pictures."""
    import keras

    fixed = keras.Model(inputs, list(outputs))
    pairs: list[tuple[Any, Any]] = []
    shapes: dict[int, tuple[int, ...]] = {}
    reshape = _reshape_class()

    def clone(operation: Any) -> Any:
        cloned = type(operation).from_config(operation.get_config())
        pairs.append((operation, cloned))
        if type(operation) is reshape:
            size, *shape = operation.output.shape
            if size % BATCH:
                raise ValueError(f"the batch is not the first axis of {operation.output.shape}")
            shapes[id(cloned)] = (-1, *shape)
        return cloned

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if type(operation).__name__ == "ConvertToTensor":  # Keras puts one before each model that is called
            return args[0]
        args = keras.tree.map_structure(lambda tensor: scaled if tensor is pictures else tensor, args)
        shape = shapes.get(id(operation))
        return operation(*args, **kwargs) if shape is None else keras.ops.reshape(args[0], shape)

    pictures = keras.Input(inputs.shape[1:], name="pictures")
    scaled = before(pictures)
    model: Any = keras.models.clone_model(fixed, input_tensors=pictures, clone_function=clone, call_function=call)
    for operation, cloned in pairs:
        if isinstance(operation, keras.layers.Layer) and operation.weights:
            cloned.set_weights(operation.get_weights())
    return keras.Model(pictures, model.outputs, name=name)


def _reshape_class() -> Any:
    """The class of the operation that `keras.ops.reshape` makes."""
    import keras

    vector = keras.Input((1, 2))
    return type(keras.Model(vector, keras.ops.reshape(vector, (-1, 2))).operations[-1])
