"""When a trunk's first layer is looked at: as the trunk is made, or at its next use where that was never done.

The finding is kept as `first_layer.json` beside the trunk's files; a wrong preprocessing is warned of once, when it is
found. Random weights and a run's own networks are not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.say import Say
from headstart.core.store import Store
from headstart.kit import first_layer
from headstart.kit.values import as_json

if TYPE_CHECKING:
    from headstart.kit.trunk import Trunk

FILE = "first_layer.json"
_LOOKED_AT = 8  # pictures


def keep(trunk: Trunk, model: Any, made: Path, store: Store, pictures: np.ndarray, say: Say) -> None:
    """Look at the first layer of a trunk in the cache, unless that was done, and keep what was found.

    Args:
        trunk: A trained one, from a source.
        model: Its `keras.Model` if it was just built; None to build it, where its weights are at hand.
        made: Its folder.
        store: The cache.
        pictures: (n, H, W, 3) uint8, real ones.
        say: Told of a wrong preprocessing.
    """
    if (made / FILE).is_file():
        return
    few = pictures[:_LOOKED_AT]
    if trunk.frozen:
        from headstart.kit import first_ir

        found = first_ir.examine(made / "trunk.xml", few)
    else:
        if model is None and not trunk.source.available(trunk.preset, store):
            return
        from headstart.kit.export import quiet

        with quiet():
            found = first_layer.examine(model or trunk.build(store), trunk.spec, few)
    store.extend(made, FILE, as_json(found))
    first_layer.warn(found, trunk.name, say)
