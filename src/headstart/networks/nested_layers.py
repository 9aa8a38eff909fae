"""The layers within a layer or model, at every depth: the one place that asks a private method of Keras.

When this breaks, `tests/networks/test_nested_layers.py` says so; look for what follows `Layer._flatten_layers`.
"""

from __future__ import annotations

from typing import Any


def list_nested_layers(layer: Any, *, include_self: bool = True) -> list[Any]:
    """A `keras.layers.Layer` and all layers inside it, the outer before the inner."""
    return list(layer._flatten_layers(include_self=include_self))
