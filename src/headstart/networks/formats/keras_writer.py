"""A `.keras` file whose bytes depend on the model alone, and the name of the layer that ends a trunk in it."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from headstart.core.storage.files import write_bytes

FEATURES = "features"  # the layer that ends the trunk
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file knows


def write_keras(model: Any, path: Path) -> None:
    """Write a `.keras` file whose bytes depend on the model alone: no dates, fixed order of the members, no addresses.

    All layers have names of their own choosing, as those of `headstart.finetuning.network.plain_model` have.
    """
    with tempfile.TemporaryDirectory() as place:
        draft, plain = Path(place) / "draft.keras", Path(place) / "plain.keras"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2, about Keras' way to read a variable
            model.save(draft)
        with zipfile.ZipFile(draft) as source, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    facts = json.loads(content)
                    content = json.dumps({"keras_version": facts["keras_version"]}).encode()
                elif name == "config.json":
                    content = _number_shared_objects(content)
                target.writestr(zipfile.ZipInfo(name, _DATE), content)
        write_bytes(path, plain.read_bytes())


def _number_shared_objects(config: bytes) -> bytes:
    """Shared objects go by the order of their first mention; Keras names them by where they lie in memory."""
    numbers: dict[bytes, bytes] = {}
    return re.sub(rb'(?<="shared_object_id": )\d+', lambda at: numbers.setdefault(at[0], b"%d" % len(numbers)), config)
