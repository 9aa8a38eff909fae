"""Guesses of a network that learnt pictures and texts together: CLIP (Radford et al. 2021), SigLIP (Zhai et al. 2023).

A class is a text: its name in each of `TEMPLATES`, their unit vectors averaged and brought to length 1. The cosine of a
picture's vector with it says how well they fit; beside it stands what the network makes of cosines: CLIP a softmax over
the classes at its learnt temperature, SigLIP a sigmoid of each. M pictures, E width of both vectors, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.keras_hub import preset
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json, write_json
from headstart.core.storage.unpacking import load_array
from headstart.heads import softmax_regression
from headstart.zero_shot import class_names

_HEADS = ("clip_head", "siglip_head", "metaclip_2_head")  # what KerasHub's backbones call the layer of the cosines
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a picture of a {}.", "{}")
_AT_ONCE = 32  # texts
_SPACE = "\u2581"  # how SentencePiece writes a word's beginning
_FORMAT = 1  # of the cached vectors; raise when texts are made or averaged in another way


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipScorer:
    """The texts of C classes: (C, E) float32, each of length 1.

    Attributes:
        scale: By which the network multiplies cosines.
        bias: What it adds, where it takes a sigmoid of each class; None where it takes a softmax over them.
    """

    texts: np.ndarray
    scale: float
    bias: float | None

    def compute_similarities(self, features: np.ndarray) -> np.ndarray:
        """(M, C) float32 cosines of pictures by their vectors (M, E); none depends on another picture."""
        cosines = [np.einsum("ce,e->c", self.texts, each / np.linalg.norm(each)) for each in features]
        return np.asarray(cosines, np.float32).reshape(-1, len(self.texts))

    def compute_scores(self, cosines: np.ndarray) -> np.ndarray:
        """(M, C) what the network makes of cosines (M, C): its probabilities, which nobody has measured here."""
        logits = np.asarray(cosines, np.float64) * self.scale
        if self.bias is None:
            return softmax_regression.softmax_rows(logits)
        return np.asarray(1 / (1 + np.exp(-(logits + self.bias))))

    def make_linear_weights(self) -> np.ndarray:
        """(E, C) float32: the texts are a linear head but for the length of a picture's vector."""
        return np.ascontiguousarray(self.texts.T)


def make_clip_scorer(classes: Sequence[str], folder: Path, revision: str, store: Store, console: Console) -> ClipScorer:
    """The texts of C classes, from the cache (kind `texts`) or through the text tower of a preset.

    Raises:
        UsageError: A name cannot be read or is too long, or two read alike.
        DataError: The preset has no text tower, or cannot be read.
    """
    key = {"revision": revision, "classes": list(classes), "templates": TEMPLATES, "format": _FORMAT}

    def write(draft: Path) -> None:
        from headstart.networks.framework_state import silence_frameworks

        console.print_line("names", f"{len(classes):,} classes x {len(TEMPLATES)} texts go through the text tower once")
        with silence_frameworks():
            backbone, preprocessor = _open_preset(folder)
            _require_readable(classes, preprocessor)
            np.save(draft / "texts.npy", _embed_classes(backbone, preprocessor, classes))
            scale, bias = _read_scaling(backbone)
        write_json(draft / "scaling.json", {"scale": scale, "bias": bias})

    entry = store.make_entry("texts", key, write)
    scaling = read_json(entry / "scaling.json")
    texts = load_array(entry / "texts.npy")
    return ClipScorer(texts=texts, scale=scaling["scale"], bias=scaling["bias"])


def _open_preset(folder: Path) -> tuple[Any, Any]:
    backbone = preset.open_preset(folder).backbone
    if not any(hasattr(backbone, name) for name in _HEADS):
        raise DataError(f"`{type(backbone).__name__}` has no text tower: it learnt from pictures alone")
    with preset.convert_errors(folder):
        kind = type(backbone).__name__.replace("Backbone", "Preprocessor")
        preprocessor = getattr(preset.load_keras_hub().models, kind).from_preset(str(folder))
        if preprocessor.tokenizer is None:
            raise ValueError("the preset has no tokenizer")
    return backbone, preprocessor


def tokenize(preprocessor: Any, texts: Sequence[str]) -> np.ndarray:
    """(n, L) int32 numbers of texts, as the preset wants them: its own length, start, end and padding."""
    blank = np.zeros((len(texts), 8, 8, 3), np.float32)  # its preprocessor insists on pictures
    return np.asarray(preprocessor({"images": blank, "prompts": list(texts)})["token_ids"])


def _embed_classes(backbone: Any, preprocessor: Any, classes: Sequence[str]) -> np.ndarray:
    """(C, E) float32 of length 1: of each class its templates' mean."""
    words = map(class_names.format_as_words, classes)
    texts = [template.format(word) for word in words for template in TEMPLATES]
    parts = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
    vectors = [np.asarray(backbone.get_text_embeddings(tokenize(preprocessor, part)), np.float64) for part in parts]
    means = _normalize(np.concatenate(vectors)).reshape(len(classes), len(TEMPLATES), -1).mean(axis=1)
    return np.asarray(_normalize(means), np.float32)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _read_scaling(backbone: Any) -> tuple[float, float | None]:
    head = next(getattr(backbone, name) for name in _HEADS if hasattr(backbone, name))
    bias = getattr(head, "logit_bias", None)
    return float(np.exp(np.asarray(head.logit_scale))), None if bias is None else float(np.asarray(bias))


def _require_readable(classes: Sequence[str], preprocessor: Any) -> None:
    tokenizer = preprocessor.tokenizer

    def pieces(text: str) -> tuple[int, ...]:
        return tuple(np.asarray(tokenizer(text)).ravel().tolist())

    unknown = getattr(tokenizer, "unknown_token_id", None)  # CLIP's byte pairs read everything
    unread = () if unknown is None else (unknown, tokenizer.token_to_id(_SPACE))
    class_names.require_distinguishable(classes, pieces, unread)
    room = preprocessor.sequence_length - preprocessor.add_start_token - preprocessor.add_end_token
    longest = max(TEMPLATES, key=lambda template: len(pieces(template.format(""))))
    for name in classes:
        count = len(pieces(longest.format(class_names.format_as_words(name))))
        if count > room:
            problem = f"`{name[:40]}` in a text has {count} pieces, the text tower reads {room}"
            raise UsageError(problem, where=class_names.CLASSES, hint="a name of a few words")
