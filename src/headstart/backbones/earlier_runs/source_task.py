"""What a trunk is known to have learnt before: the head of its source, and vectors of some of its source's pictures.

A source whose weights came with their classifier gives the head, of ImageNet. Of a run of the user's own both are kept
beside the description of its network when it is first named, in one file of vectors: at most 256 of the pictures that
it learnt from, of every class, as each depth sees them; no picture and no name. What is not known has a reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.backbones.imported import description
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store
from headstart.core.types import SourceTask

MOST, LEAST = 256, 64  # rows that are kept
OPERATIONS = 1e12  # of making them, above which fewer than the most are kept
NO_HEAD = "its source gives no classifier"
NO_PICTURES = "none of its source's pictures are here"
_DAMAGED = "what was kept of its run is damaged; --backbones run:PATH with its folder makes it anew"
_PICTURES = "pictures/"
_FORMAT = 1


def of(backbone: str, store: Store) -> SourceTask:
    """What is known of the source of a backbone.

    Args:
        backbone: Its name.
        store: The cache; nothing is fetched.

    Raises:
        UsageError: No backbone has this name.
    """
    found = loading.find(backbone)
    if found.seed is not None:
        return SourceTask(no_head="random weights", no_pictures="random weights")
    own = found.source.source_task(found.preset, store)
    if own is not None:
        return own
    if found.preset not in found.source.classifiers:
        return SourceTask(no_head=NO_HEAD, no_pictures=NO_PICTURES)
    try:
        weights, bias = found.source.classifier(found.preset, store)
    except SetupError as err:  # the vectors are in the cache, the weights have gone
        return SourceTask(no_head=err.what, no_pictures=NO_PICTURES)
    head = {"weights": weights, "bias": bias}
    return SourceTask(head=head, depth=found.spec.depths[-1].name, no_pictures=NO_PICTURES)


# ---------------------------------------------------------------- of the user's own runs


def keep(source: str, name: str, past: SourceTask, store: Store) -> None:
    """Write what is known beside a description.

    Raises:
        SetupError: The disk is full, read-only or not permitted.
    """
    from safetensors.numpy import save

    rows = {_PICTURES + depth: values for depth, values in past.pictures.items()}
    tensors = {key: np.ascontiguousarray(value, np.float32) for key, value in {**past.head, **rows}.items()}
    reasons = {"depth": past.depth, "no_head": past.no_head, "no_pictures": past.no_pictures}
    told = {"format": _FORMAT, "sha256": _digest(tensors), **reasons}
    description.keep_beside(source, name, description.PAST, save(tensors, metadata={"past": json.dumps(told)}), store)


def kept(source: str, name: str, store: Store) -> SourceTask | None:
    """What was kept beside a description; None where nothing was.

    A damaged file is not trusted and has no part of it used; the reasons then say so.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = description.beside(source, name, description.PAST, store)
    if path is None:
        return None
    try:
        content = path.read_bytes()
        return _checked(_told(content), load(content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return SourceTask(no_head=_DAMAGED, no_pictures=_DAMAGED)


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    made = hashlib.sha256()
    for name in sorted(tensors):
        made.update(f"{name} {tensors[name].shape}\n".encode() + tensors[name].tobytes())
    return made.hexdigest()


def _told(content: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file: its header begins after eight bytes that hold its length."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    told: dict[str, Any] = json.loads(header["__metadata__"]["past"])
    return told


def _checked(told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> SourceTask:
    pictures = {key.removeprefix(_PICTURES): rows for key, rows in tensors.items() if key.startswith(_PICTURES)}
    head = {key: tensors[key] for key in ("weights", "bias") if key in tensors}
    whole = (told["format"], told["sha256"]) == (_FORMAT, _digest(tensors)) and all(
        np.isfinite(one).all() for one in tensors.values()
    )
    fits = not head or (head["weights"].ndim == 2 and head["bias"].shape == head["weights"].shape[1:])
    if not whole or not fits or any(rows.ndim != 2 for rows in pictures.values()):
        raise ValueError("it is of another format, or its numbers are not those that were kept, or no numbers")
    reasons = {key: str(told[key]) for key in ("depth", "no_head", "no_pictures")}
    return SourceTask(head=head, pictures=pictures, **reasons)
