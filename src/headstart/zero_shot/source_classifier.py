"""What a source's own classifier sees: probabilities of ImageNet's 1,000 classes, picture by picture.

Files stream through in their order, and one that cannot be read keeps its place with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.backbones.downloads.shared_weights import pull_weights
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.cache import Store
from headstart.core.types import Prediction
from headstart.runtime.inputs.decoded_batches import Source, decode_chunks
from headstart.zero_shot import conse, imagenet_classes

SHOWN = 5  # of the classes that are seen
_PARITY = 8  # pictures on which a new trunk is compared with Keras


@dataclass(frozen=True, slots=True, eq=False)
class PictureVector:
    """One file: features (D,) at the depth `last` or probabilities (1000,), float32, or why it could not be read."""

    uri: str
    vector: np.ndarray
    error: str = ""


def extract_last_level(
    files: Iterable[Source], trunk: ResolvedBackbone, store: Store, console: Console
) -> Iterator[PictureVector]:
    """Features of each file, in order; memory does not grow with their number. The trunk is made when it never was."""
    engine: Any = None
    for chunk in decode_chunks(files, [trunk.spec.input], threads=count_threads(), batch=INFERENCE_BATCH):
        readable = [at for at in range(len(chunk.files)) if at not in chunk.errors]
        features: dict[int, np.ndarray] = {}
        if readable:
            pictures = chunk.pictures[0][readable]
            if engine is None:
                sample = pictures[np.resize(np.arange(len(pictures)), _PARITY)]
                engine = loading.load_engine(trunk, store, console, sample, threads=count_threads())
            _, outputs = next(iter(engine.run([(None, pictures)])))
            features = dict(zip(readable, outputs[-1], strict=True))
        for at, file in enumerate(chunk.files):
            yield PictureVector(str(file), features.get(at, np.empty(0, np.float32)), chunk.errors.get(at, ""))


@dataclass(eq=False)
class SourceClassifier:
    """A source's classifier of ImageNet's 1,000 classes: weights (D, 1000) and bias (1000,), float32."""

    trunk: ResolvedBackbone
    weights: np.ndarray
    bias: np.ndarray
    classes: tuple[imagenet_classes.ImageNetClass, ...]
    store: Store
    console: Console

    def run_classifier(self, files: Iterable[Source]) -> Iterator[PictureVector]:
        """Probabilities of each file, in order."""
        for picture in extract_last_level(files, self.trunk, self.store, self.console):
            if not picture.error:
                probabilities = conse.compute_probabilities(picture.vector[None], self.weights, self.bias)[0]
                picture = PictureVector(picture.uri, probabilities)
            yield picture

    def list_likeliest(self, probabilities: np.ndarray, count: int = SHOWN) -> dict[str, float]:
        """The likeliest classes by name, the likeliest first."""
        return {self.classes[at].name: float(probabilities[at]) for at in conse.list_likeliest(probabilities, count)}

    def predict(self, files: Iterable[Source]) -> Iterator[Prediction]:
        """As a saved model's `predict`, with the probabilities of the five likeliest classes."""
        for output in self.run_classifier(files):
            likeliest = {} if output.error else self.list_likeliest(output.vector)
            answer = next(iter(likeliest), "")
            yield Prediction(uri=output.uri, answer=answer, probabilities=likeliest, error=output.error)


def load_source_classifier(backbone: str, store: Store, console: Console) -> SourceClassifier:
    """The classifier of a backbone; weights and names are fetched when they are not here.

    Raises:
        UsageError: There is no such backbone, or it has no ImageNet classifier.
        SetupError: Weights or names cannot be had.
    """
    trunk = loading.find_backbone(backbone, fetching=True, console=console)
    if trunk.preset not in trunk.source.classifiers or trunk.seed is not None:
        problem = f"`{trunk.name}` has no ImageNet classifier in headstart"
        raise UsageError(problem, hint="--backbone bundled:efficientnet_lite2 has one")
    pull_weights(trunk, store, console)
    weights, bias = trunk.source.classifier(trunk.preset, store)
    return SourceClassifier(trunk, weights, bias, imagenet_classes.load_classes(store, console), store, console)
