"""A KerasHub backbone laid flat: the same numbers from Keras' own layers alone, in a graph that can be seen and cut.

KerasHub writes transformers as layers within layers, with weights of their own that no graph shows. Here a backbone is
called on a symbolic batch of a size that nothing else has, and every layer of KerasHub's is replaced by what it does:
its inner layers are copied, what holds weights of its own has a counterpart in Keras
(`headstart.backbones.keras_hub.layer_rules`), and dropout goes. Then the batch is left open again: wherever its size
stands in a shape, there is -1. The result can be trained, given low-rank updates, saved and opened again without
KerasHub.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH = 10007  # a prime that is no side, width or number of tokens
_IDLE = ("Dropout", "SpatialDropout2D", "Identity", "ActivityRegularization", "GaussianNoise")


@dataclass(kw_only=True, eq=False)
class LayerTrace:
    """What is seen on the way.

    Attributes:
        replaced: Class name -> function of a layer, this trace and the call's arguments that gives its outputs.
        after: Called with a layer and what it gave, once it was laid flat; gives what is handed on.
        grid: Height and width of the picture in patches; (0, 0) where there are none.
    """

    replaced: dict[str, Callable[..., Any]]
    after: Callable[[Any, Any], Any] = lambda layer, given: given
    grid: tuple[int, int] = (0, 0)
    _above: list[str] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)
    _plain: Callable[..., Any] | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While this lasts, layers of KerasHub's that are called on symbolic tensors give the layers inside them."""
        import keras

        plain, inside = keras.layers.Layer.__call__, [0]

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            symbolic = any(isinstance(one, keras.KerasTensor) for one in keras.tree.flatten((args, kwargs)))
            if inside[0] or not symbolic:
                return plain(layer, *args, **kwargs)
            if _kerashubs(layer):
                return self._opened(layer, args, kwargs)
            inside[0] += 1
            try:
                return self.copy(layer, *args, **kwargs)
            finally:
                inside[0] -= 1

        self._plain = plain
        keras.layers.Layer.__call__ = call
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = plain

    def _opened(self, layer: Any, args: Any, kwargs: Any) -> Any:
        kwargs.pop("training", None)  # some take it and some do not; it is inference anyway
        self._above.append(_own_name(layer))
        try:
            instead = self.replaced.get(type(layer).__name__)
            found = instead(layer, self, *args, **kwargs) if instead else layer.call(*args, **kwargs)
        finally:
            self._above.pop()
        return self.after(layer, found)

    def copy(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """What a copy of one of Keras' layers gives; the copy has the weights, and a name that repeats."""
        if type(layer).__name__ in _IDLE:
            return args[0]
        config = {**layer.get_config(), "name": self.name(_own_name(layer))}
        activation = getattr(layer, "activation", None)
        foreign = activation is not None and not str(getattr(activation, "__module__", "")).startswith("keras.")
        if foreign:  # a function of KerasHub's: the operations that it is made of
            config["activation"] = "linear"
        made = type(layer).from_config(config)
        found = self.call(made, *args, **kwargs)
        made.set_weights(layer.get_weights())
        return activation(found) if foreign and activation is not None else found

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """What a layer gives that belongs to the flat graph itself."""
        assert self._plain is not None, "nothing is being laid flat"
        return self._plain(layer, *args, **kwargs)

    def name(self, word: str) -> str:
        """A name within the layers above, the same in every process."""
        parts: list[str] = []
        for one in (*self._above[1:], word):  # some layers' names begin with that of the layer above
            parts = [*parts[:-1], one] if parts and one.startswith(parts[-1]) else [*parts, one]
        whole = "_".join(parts)
        self._taken[whole] += 1
        return whole if self._taken[whole] == 1 else f"{whole}_{self._taken[whole]}"


def _kerashubs(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras_hub" or type(layer).__name__ == "Functional"


def _own_name(layer: Any) -> str:
    """A layer's name without the number that Keras counts through a process."""
    return re.sub(r"\W+", "_", re.sub(r"_\d+$", "", layer.name) if _invented(layer) else layer.name)


def _invented(layer: Any) -> bool:
    kind = type(layer).__name__.lower()
    return re.fullmatch(rf"{kind}\d*", layer.name.replace("_", "").lower()) is not None


def pictures(side: int) -> Any:
    """The symbolic batch (BATCH, side, side, 3) that a backbone is laid flat on."""
    import keras

    return keras.Input(batch_shape=(BATCH, side, side, 3), name="pictures")


def open_batch(given: Any, outputs: Sequence[Any], name: str) -> Any:
    """The functional `keras.Model` between the symbolic batch and some tensors, for batches of any size.

    Args:
        given: From `pictures`.
        outputs: Symbolic tensors (BATCH, …).
        name: Of the model.
    """
    import keras

    fixed = keras.Model(given, list(outputs))
    pairs: list[tuple[Any, Any]] = []
    shapes: dict[int, tuple[int, ...]] = {}
    reshape = _reshape()

    def again(one: Any) -> Any:
        kind: Any = type(one)
        made = kind.from_config(one.get_config())
        pairs.append((one, made))
        if kind is reshape:
            shapes[id(made)] = _open_shape(tuple(one.output.shape))
        return made

    def call(one: Any, *args: Any, **kwargs: Any) -> Any:
        if type(one).__name__ == "ConvertToTensor":  # Keras puts one before each model that is called
            return args[0]
        return keras.ops.reshape(args[0], shapes[id(one)]) if id(one) in shapes else one(*args, **kwargs)

    fresh = keras.Input(given.shape[1:], name="pictures")
    model = keras.models.clone_model(fixed, input_tensors=fresh, clone_function=again, call_function=call)
    for one, made in pairs:
        if getattr(one, "weights", None):
            made.set_weights(one.get_weights())
    return keras.Model(fresh, model.outputs, name=name)


def _reshape() -> type:
    """The class of the operation that `keras.ops.reshape` makes."""
    import keras

    symbolic = keras.ops.reshape(keras.Input((1, 2)), (-1, 2))
    return type(symbolic._keras_history.operation)


def _open_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[0] % BATCH:
        raise ValueError(f"the batch is not the first axis of {shape}")
    return (-1, *shape[1:])
