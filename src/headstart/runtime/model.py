"""A saved model that answers: decode, trunks, head, calibration, decision, uncertainty.

Needs numpy, Pillow and OpenVINO only; the framework that trained the trunk is never loaded. Loading checks every file;
the trunks are compiled when the first picture comes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from headstart.core.errors import DataError, UsageError
from headstart.core.model_manifest import Manifest, TrunkEntry, read_manifest
from headstart.core.run.folder import RunFolder
from headstart.core.run.mirror.fetching import locate_run
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.unpacking import load_tensors
from headstart.core.types import PRESENT, TASKS, UNKNOWN, AnswerLayout, Prediction, format_labels
from headstart.heads import decision_rule, prediction
from headstart.networks.openvino_engine import Engine
from headstart.runtime.inputs.decoded_batches import Chunk, Source, decode_chunks
from headstart.runtime.inputs.picture_inputs import PictureInput, read_pictures
from headstart.uncertainty import ood_detection, selective_prediction
from headstart.uncertainty.selective_prediction import PredictionUncertainty
from headstart.uncertainty.temperature import apply_temperature

Errors: TypeAlias = Literal["raise", "rows"]


class Model:
    """A model read from its folder; unless it `declines`, it always answers, never `unknown`."""

    def __init__(self, folder: Path, manifest: Manifest, *, declines: bool = True) -> None:
        self.folder, self.manifest, self.declines = folder, manifest, declines
        self._engines: dict[int, tuple[Engine, ...]] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, in the order of the probabilities."""
        return self.manifest.class_names

    @property
    def layout(self) -> AnswerLayout:
        """What its answers hold."""
        return AnswerLayout(self.class_names, TASKS[self.manifest.task])

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The head's arrays."""
        return load_tensors(self.folder / self.manifest.head.arrays)

    @cached_property
    def uncertainty_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the uncertainty estimate as saved; empty for a model without one."""
        entry = self.manifest.doubt
        return load_tensors(self.folder / entry.arrays) if entry else {}

    @cached_property
    def _ood_arrays(self) -> dict[str, np.ndarray]:
        return ood_detection.prepare_arrays(self.uncertainty_arrays)

    def compile_trunks(self, batch: int) -> tuple[Engine, ...]:
        """The trunks compiled for a batch size, in the order of the manifest; once each.

        Raises:
            SetupError: OpenVINO is missing or cannot compile a trunk.
        """
        if batch not in self._engines:
            self._engines[batch] = tuple(
                Engine(
                    self.folder / trunk.ir,
                    threads=count_threads(),
                    batch=batch,
                    dtype=trunk.input.dtype,
                    views=trunk.input.views,
                    mapped=False,
                )
                for trunk in self.manifest.trunks
            )
        return self._engines[batch]

    def predict(
        self, pictures: PictureInput | Iterable[PictureInput], *, errors: Errors = "raise"
    ) -> Iterator[Prediction]:
        """Answer for pictures, or one, in their order; memory does not grow with their number.

        Args:
            pictures: What `headstart.predict` takes.
            errors: `raise` ends at the first picture that cannot be read; `rows` gives a `Prediction` with `error`.

        Raises:
            DataError: A picture cannot be read, or a table of paths.
            UsageError: Something is no picture by its type or shape, or `errors` is neither.
        """
        if errors not in get_args(Errors):
            raise UsageError(f"errors `{errors}` is not {' or '.join(get_args(Errors))}", where="errors")
        return self._answer_each(pictures, errors)

    def _answer_each(self, pictures: PictureInput | Iterable[PictureInput], errors: Errors) -> Iterator[Prediction]:
        for chunk in self.extract_features(read_pictures(pictures)):
            for answer in self.predict_chunk(chunk):
                if answer.error and errors == "raise":
                    hint = "with errors='rows' such a picture has an answer that says so"
                    raise DataError(f"this picture cannot be read: {answer.error}", where=answer.uri, hint=hint)
                yield answer

    def extract_features(self, files: Iterable[Source], *, batch: int | None = None) -> Iterator[Chunk]:
        """Files with their features, chunk by chunk: one by one when there are few, or as many as `batch` says."""
        source = iter(files)
        first = list(itertools.islice(source, INFERENCE_BATCH))
        batch = batch or (INFERENCE_BATCH if len(first) == INFERENCE_BATCH else 1)
        trunks = self.manifest.trunks
        files = itertools.chain(first, source)
        flow = decode_chunks(files, [t.input for t in trunks], threads=count_threads(), batch=batch)
        return self.run_trunks(flow, batch=batch) if first else flow

    def run_trunks(self, flow: Iterator[Chunk], *, batch: int = INFERENCE_BATCH) -> Iterator[Chunk]:
        """Decoded chunks with their features, in their order; one such flow at a time.

        Chunks are taken while the engines work on those before. A `batch` of 1 answers one picture the fastest.
        """
        for at, (trunk, engine) in enumerate(zip(self.manifest.trunks, self.compile_trunks(batch), strict=True)):
            flow = _run_trunk(engine, trunk, at, flow)
        return flow

    def join_features(self, chunk: Chunk) -> np.ndarray:
        """(B, D) float32, what the head reads of a chunk with features."""
        return np.concatenate([chunk.features[f.backbone, f.depth] for f in self.manifest.features], axis=1)

    def predict_probabilities(self, chunk: Chunk) -> np.ndarray:
        """(B, C) float32 of a chunk with features; rows of files that could not be read mean nothing."""
        features = self.join_features(chunk)
        try:
            probabilities = prediction.predict_probabilities(self.manifest.head.kind, self.arrays, features)
        except (KeyError, ValueError, IndexError, TypeError) as err:
            raise DataError(f"the head of the model does not fit it: {err!r}", where=str(self.folder)) from err
        if probabilities.shape[1] != len(self.class_names):
            problem = f"the head of the model answers for {probabilities.shape[1]} of {len(self.class_names)} classes"
            raise DataError(problem, where=str(self.folder))
        return apply_temperature(probabilities, self.manifest.calibration.temperature, self.layout.task)

    def assess_uncertainty(self, chunk: Chunk, probabilities: np.ndarray) -> PredictionUncertainty | None:
        """Prediction sets and novelty of a chunk with features; None for a model without an uncertainty estimate."""
        entry = self.manifest.doubt
        if entry is None:
            return None
        return selective_prediction.measure_uncertainty(
            entry, self._ood_arrays, probabilities, self.join_features(chunk), self.choose_classes(probabilities)
        )

    def predict_chunk(self, chunk: Chunk) -> list[Prediction]:
        """One answer for each file of a chunk with features, with its uncertainty."""
        probabilities = self.predict_probabilities(chunk)
        classes, uncertainty = self.choose_classes(probabilities), self.assess_uncertainty(chunk, probabilities)
        return [
            Prediction(uri=str(file), answer="", error=chunk.errors[at])
            if at in chunk.errors
            else self.make_prediction(str(file), probabilities[at], int(classes[at]), uncertainty, at)
            for at, file in enumerate(chunk.files)
        ]

    def make_prediction(
        self,
        uri: str,
        row_probabilities: np.ndarray,
        chosen: int,
        uncertainty: PredictionUncertainty | None = None,
        at: int = 0,
    ) -> Prediction:
        """The answer of (C,) calibrated probabilities and the chosen class, with row `at` of the uncertainty if any."""
        if self.layout.is_number:
            return self._make_number(uri, float(row_probabilities[0]), uncertainty, at)
        if self.layout.task.has_labels:
            return self._make_labels(uri, row_probabilities, uncertainty, at)
        name, by_class = self.class_names[chosen], dict(zip(self.class_names, row_probabilities.tolist(), strict=True))
        top, entry = int(np.argmax(row_probabilities)), self.manifest.doubt
        likeliest, probability = self.class_names[top], float(row_probabilities[top])
        rule = decision_rule.format_reasons(self.manifest.decision, name, likeliest)
        if uncertainty is None or entry is None:
            return Prediction(uri=uri, answer=name, probabilities=by_class, likeliest=likeliest, reasons=rule)
        unknown = self.declines and bool(uncertainty.unknown[at])
        return Prediction(
            uri=uri,
            answer=UNKNOWN if unknown else name,
            probabilities=by_class,
            likeliest=likeliest,
            plausible=selective_prediction.list_prediction_set(
                uncertainty, at, self.class_names, row_probabilities, chosen
            ),
            novelty=float(uncertainty.novelty[at]) if entry.novelty else None,
            unknown=unknown,
            reasons=selective_prediction.format_reasons(entry, uncertainty, at, likeliest, probability)
            if unknown
            else rule,
        )

    def _make_number(self, uri: str, value: float, uncertainty: PredictionUncertainty | None, at: int) -> Prediction:
        [name] = self.class_names
        number = Prediction(uri=uri, answer=f"{value:.6g}", number=value, probabilities={name: value}, likeliest=name)
        if uncertainty is None:
            return number
        half_width = float(self.uncertainty_arrays["thresholds"][0])
        return self._decline_strange(
            dataclasses.replace(number, low=value - half_width, high=value + half_width), uncertainty, at
        )

    def _make_labels(self, uri: str, p: np.ndarray, uncertainty: PredictionUncertainty | None, at: int) -> Prediction:
        by_label = dict(zip(self.class_names, p.tolist(), strict=True))
        labels = tuple(name for name, value in by_label.items() if value >= PRESENT)
        prediction = Prediction(
            uri=uri,
            answer=format_labels(labels),
            labels=labels,
            probabilities=by_label,
            likeliest=self.class_names[int(np.argmax(p))],
        )
        if uncertainty is None:
            return prediction
        ranked = np.argsort(-p, kind="stable")
        plausible, undecided = (
            tuple(self.class_names[c] for c in ranked if flags[at, c])
            for flags in (uncertainty.plausible, uncertainty.open)
        )
        return self._decline_strange(
            dataclasses.replace(prediction, plausible=plausible, open=undecided), uncertainty, at
        )

    def _decline_strange(self, prediction: Prediction, uncertainty: PredictionUncertainty, at: int) -> Prediction:
        """The same with its novelty, and declined where the picture is strange."""
        entry, name = self.manifest.doubt, prediction.likeliest
        assert entry is not None
        unknown = self.declines and bool(uncertainty.unknown[at])
        reasons = selective_prediction.format_reasons(entry, uncertainty, at, name, prediction.probabilities[name])
        return dataclasses.replace(
            prediction,
            answer=UNKNOWN if unknown else prediction.answer,
            novelty=float(uncertainty.novelty[at]) if entry.novelty else None,
            unknown=unknown,
            reasons=reasons if unknown else (),
        )

    def answer_declined(self, prediction: Prediction) -> Prediction:
        """The same with a class, by the model's threshold or costs, where the model declined to answer."""
        if not prediction.unknown:
            return prediction
        if prediction.labels is not None:
            return dataclasses.replace(prediction, answer=format_labels(prediction.labels), unknown=False)
        if prediction.number is not None:
            return dataclasses.replace(prediction, answer=f"{prediction.number:.6g}", unknown=False)
        probabilities = np.array([[prediction.probabilities[name] for name in self.class_names]], np.float32)
        name = self.class_names[int(self.choose_classes(probabilities)[0])]
        rule = decision_rule.format_reasons(self.manifest.decision, name, prediction.likeliest)
        return dataclasses.replace(prediction, answer=name, unknown=False, reasons=(*prediction.reasons, *rule))

    def choose_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """(B, C) probabilities -> (B,) positions in `class_names`, by the model's threshold or costs."""
        return decision_rule.apply_decision(self.manifest.decision, self.class_names, probabilities)


def _run_trunk(engine: Engine, trunk: TrunkEntry, at: int, flow: Iterator[Chunk]) -> Iterator[Chunk]:
    for chunk, outputs in engine.run((chunk, chunk.pictures[at]) for chunk in flow):
        for depth, features in zip(trunk.depths, outputs, strict=True):
            chunk.features[trunk.name, depth.name] = features
        yield chunk


def load(folder: str | Path, *, declines: bool = True) -> Model:
    """Read a saved model from its folder, or from a run folder; `declines` says whether it may answer `unknown`.

    Raises:
        DataError: There is no model, a newer version wrote it, or it is damaged.
    """
    path = locate_run(folder)
    if (path / "format.json").is_file():
        RunFolder(path).require_run()
        path = path / "model"
    return Model(path, read_manifest(path), declines=declines)
