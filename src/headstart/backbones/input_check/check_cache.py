"""When a trunk's first layer is looked at: as the trunk is made, or at its next use where that was never done.

The finding is kept as `first_layer.json` beside the trunk's files; a wrong preprocessing is warned of once, when it is
found. Random weights and a run's own networks are not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.input_check import keras_check
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.storage.serialization import as_json

if TYPE_CHECKING:
    from headstart.backbones.loading import ResolvedBackbone

FILE = "first_layer.json"
_LOOKED_AT = 8  # pictures


def keep(trunk: ResolvedBackbone, model: Any, made: Path, store: Store, pictures: np.ndarray, console: Console) -> None:
    """Look at the first layer of a trunk in the cache, unless that was done, and keep what was found.

    Args:
        trunk: A trained one, from a source.
        model: Its `keras.Model` if it was just built; None to build it, where its weights are at hand.
        made: Its folder.
        store: The cache.
        pictures: (n, H, W, 3) uint8, real ones.
        console: Told of a wrong preprocessing.
    """
    if (made / FILE).is_file():
        return
    few = pictures[:_LOOKED_AT]
    if trunk.frozen:
        from headstart.backbones.input_check import openvino_check

        found = openvino_check.examine(made / "trunk.xml", few)
    else:
        if model is None and not trunk.source.available(trunk.preset, store):
            return
        from headstart.networks.openvino_conversion import quiet

        with quiet():
            found = keras_check.examine(model or trunk.build(store), trunk.spec, few)
    store.extend_entry(made, FILE, as_json(found))
    keras_check.warn(found, trunk.name, console)
