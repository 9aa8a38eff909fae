"""Why a saved model answers as it does: a heat map on the picture, and the training pictures most like it.

Where every feature is the mean of a map, and the head is linear or counts neighbours, what each place adds is known
exactly and costs one pass (`cam`). For other trunks parts of the picture are taken away and the model is asked again
(`occlusion`, `scorecam`). Needs numpy, Pillow and OpenVINO only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.core.errors import UsageError, format_nearest
from headstart.core.types import PixelRanges, Prediction
from headstart.explanation import example_store, heatmap_overlay, map_arithmetic, occlusion
from headstart.explanation.exact_cam import exact_class_map
from headstart.explanation.example_store import ExampleStore, Neighbour
from headstart.explanation.feature_map_model import FeatureMapModel, FeatureMapPass, TrunkInputs
from headstart.explanation.map_arithmetic import Box
from headstart.images.codecs import open_picture
from headstart.images.preprocessing import read_bytes
from headstart.runtime.model import Model, load

AUTO, CAM, SCORECAM, OCCLUSION, GRADCAM = "auto", "cam", "scorecam", "occlusion", "gradcam"
METHODS = (AUTO, CAM, SCORECAM, OCCLUSION)  # Grad-CAM needs the training framework and is no part of the runtime
NAMES = {CAM: "exact CAM", SCORECAM: "Score-CAM", OCCLUSION: "occlusion", GRADCAM: "Grad-CAM"}
NEIGHBOURS = 4
SHOWN_PX = 640  # longer side of the picture that an overlay shows
_HEAT_PX = 112  # side of `heat`; finer than any map, coarse enough to send
NOTHING_ALIKE = "nothing it learnt from looks like it"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why a model answers as it does.

    Attributes:
        heat: (112, 112) float32 0..1 over `box`: what speaks for the class, relative to the strongest place.
        evidence: (g, g) float64 over `box`. By `cam`, the score of the class if the whole picture were like this place;
            its mean, with `elsewhere`, is `score`. By the others, in units of the method.
        score: The logit of the class minus the mean of the other logits, of a label its own; for heads that count
            neighbours by `cam`, half the difference of mean squared distances.
        elsewhere: Part of the score that belongs to no place, as that of a class token.
    """

    uri: str  # or the name under which the picture came
    prediction: Prediction
    class_name: str = ""  # of which the heat map speaks
    method: str = ""  # `cam`, `scorecam`, `occlusion` or `gradcam`
    why: str = ""  # this method
    heat: np.ndarray
    evidence: np.ndarray
    score: float = 0.0
    elsewhere: float = 0.0
    size: tuple[int, int] = (0, 0)  # px, upright
    box: Box = (0.0, 0.0, 0.0, 0.0)  # that the model saw, in px
    picture: np.ndarray  # (h, w, 3) uint8 of at most 640 px
    neighbours: tuple[Neighbour, ...] = ()  # the likest first
    prototypes: tuple[Neighbour, ...] = ()  # of `class_name`, the best first
    compared: str = ""  # why there are no neighbours


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatMap:
    """What a method gives: see `Explanation`."""

    method: str
    why: str
    evidence: np.ndarray
    score: float
    elsewhere: float = 0.0


HeatMapMethod = Callable[[TrunkInputs, FeatureMapPass, int], HeatMap]  # a picture, its maps and a class's position


class Explainer:
    """Explains the answers of one saved model; one picture at a time.

    Raises:
        DataError: There is no model, a newer version wrote it, or it or what is kept beside it is damaged.
    """

    def __init__(self, folder: str | Path, *, model: Model | None = None) -> None:
        self.model = model or load(folder)
        self.map_model = FeatureMapModel(self.model)
        beside = self.model.folder.parent / example_store.FOLDER
        self.examples: ExampleStore | str = example_store.read_examples(beside, self.model.folder)

    @cached_property
    def automatic(self) -> tuple[str, str]:
        """The method that `auto` takes, and why."""
        if self.map_model.exact:
            why = "every feature that the head reads is the mean of a map, so what each place adds is known exactly"
            linear = self.model.manifest.head.kind != "neighbours"
            return CAM, why if linear else f"{why}; the training pictures that vote are held fixed"
        return OCCLUSION, "not every feature is the mean of a map, so places are covered and the model is asked again"

    def choose_method(self, method: str) -> tuple[str, str]:
        """The method to use, and why.

        Raises:
            UsageError: There is no such method, or this model's trunk does not allow it.
        """
        if method == AUTO:
            return self.automatic
        if method not in METHODS:
            hint = format_nearest(method, METHODS) or f"known: {', '.join(METHODS)}"
            raise UsageError(f"there is no method `{method}`", where="--method", hint=hint)
        if method == CAM and not self.map_model.exact:
            message = "`cam` is exact only where every feature is the mean of a map; this model's are not"
            raise UsageError(message, where="--method", hint="--method occlusion works for every model")
        if method == SCORECAM and not self.map_model.mapped:
            message = "`scorecam` needs a map above the features, and this model's graph has none"
            raise UsageError(message, where="--method", hint="--method occlusion works for every model")
        return method, "it was asked for"

    def class_position(self, class_name: str) -> int:
        """A class's position.

        Raises:
            UsageError: The model knows no such class.
        """
        names = self.model.class_names
        if class_name not in names:
            hint = format_nearest(class_name, names) or f"its classes: {', '.join(names)}"
            raise UsageError(f"the model knows no class `{class_name}`", where="--class", hint=hint)
        return names.index(class_name)

    def explain(
        self,
        picture: bytes | str | Path,
        *,
        method: str = AUTO,
        class_name: str = "",
        name: str = "",
        neighbours: int = NEIGHBOURS,
        heat_map_method: HeatMapMethod | None = None,
    ) -> Explanation:
        """Explain one answer: the class named, or the first of `list_explained_classes`.

        Args:
            name: What to call a picture that comes as bytes.
            neighbours: How many training pictures to show.
            heat_map_method: Makes the map instead of `method`: Grad-CAM's, which the runtime does not have.

        Raises:
            PictureError: It cannot be read.
            UsageError: There is no such method or class.
        """
        content = picture if isinstance(picture, bytes) else read_bytes(str(picture))
        chosen_method, why = ("", "") if heat_map_method else self.choose_method(method)
        maps = self.map_model.decode_picture(name if isinstance(picture, bytes) else str(picture), content)
        map_pass = self.map_model.compute_maps(maps)
        prediction = self.model.predict_chunk(map_pass.chunk)[0]
        position = self.class_position(class_name or list_explained_classes(prediction)[0])
        heat_map = (
            heat_map_method(maps, map_pass, position)
            if heat_map_method
            else self._make_heat_map(chosen_method, why, maps, map_pass, position)
        )
        return self.describe_heat_map(content, maps, map_pass, prediction, position, heat_map, neighbours=neighbours)

    def _make_heat_map(
        self, method: str, why: str, maps: TrunkInputs, map_pass: FeatureMapPass, position: int
    ) -> HeatMap:
        if method == CAM:
            return self.exact_heat_map(maps, map_pass, position, why)
        score = float(self.map_model.class_margins([picture[None] for picture in maps.pictures], position)[0])
        if method == SCORECAM:
            evidence = occlusion.score_cam(self.map_model, maps, map_pass, position)
        else:
            evidence = occlusion.occlusion_map(self.map_model, maps, position)
        return HeatMap(method=method, why=why, evidence=evidence, score=score)

    def exact_heat_map(self, maps: TrunkInputs, map_pass: FeatureMapPass, position: int, why: str) -> HeatMap:
        """The map by exact CAM."""
        evidence, elsewhere, score = exact_class_map(self.model, maps, map_pass, position)
        return HeatMap(method=CAM, why=why, evidence=evidence, score=score, elsewhere=elsewhere)

    def describe_heat_map(
        self,
        content: bytes,
        maps: TrunkInputs,
        map_pass: FeatureMapPass,
        prediction: Prediction,
        position: int,
        heat_map: HeatMap,
        *,
        neighbours: int = NEIGHBOURS,
    ) -> Explanation:
        """An explanation with what the run keeps to compare with."""
        name, examples = self.model.class_names[position], self.examples
        store = None if isinstance(examples, str) else examples
        nearest = store.find_nearest(map_pass.features, neighbours) if store else ()
        alike = tuple(neighbour for neighbour in nearest if neighbour.similarity > 0)  # what lies across is not like it
        return Explanation(
            uri=maps.name,
            prediction=prediction,
            class_name=name,
            method=heat_map.method,
            why=heat_map.why,
            heat=map_arithmetic.resize_map(map_arithmetic.positive_share(heat_map.evidence), (_HEAT_PX, _HEAT_PX)),
            evidence=heat_map.evidence,
            score=heat_map.score,
            elsewhere=heat_map.elsewhere,
            size=maps.size,
            box=maps.box,
            picture=thumbnail_of(content, self.map_model.model.manifest.trunks[0].input.ranges),
            neighbours=alike,
            prototypes=store.list_prototypes(name, map_pass.features) if store else (),
            compared=examples if isinstance(examples, str) else NOTHING_ALIKE if nearest and not alike else "",
        )


def unreadable_picture(name: str, error: str) -> Explanation:
    """In the place of an explanation: why the file could not be read; it has neither picture nor map."""
    nothing, prediction = np.zeros((0, 0), np.float32), Prediction(uri=name, answer="", error=error)
    no_picture = np.zeros((0, 0, 3), np.uint8)
    return Explanation(uri=name, prediction=prediction, heat=nothing, evidence=nothing, picture=no_picture)


def list_explained_classes(prediction: Prediction) -> tuple[str, ...]:
    """What heat maps speak of: the labels or the class answered, or the likeliest; the likeliest label first."""
    if prediction.labels and not prediction.unknown:
        return tuple(sorted(prediction.labels, key=lambda name: -prediction.probabilities[name]))
    if prediction.labels is None and not prediction.unknown and prediction.answer in prediction.probabilities:
        return (prediction.answer,)
    return (prediction.likeliest or max(prediction.probabilities, key=lambda name: prediction.probabilities[name]),)


def thumbnail_of(content: bytes, ranges: PixelRanges, most: int = SHOWN_PX) -> np.ndarray:
    """(h, w, 3) uint8 of a picture file, upright, its longer side at most `most` px."""
    picture = open_picture(content, ranges=ranges)
    image = picture.decode_rgb(least=min(most, min(picture.size)))
    image.thumbnail((most, most))
    return np.asarray(picture.turn_upright(image))


def draw_explanation(explanation: Explanation) -> Image.Image:
    """The heat map on its picture."""
    return heatmap_overlay.draw_overlay(explanation.picture, explanation.heat, explanation.box, explanation.size)


def overlay_png(explanation: Explanation) -> bytes:
    """The same as the bytes of a PNG file."""
    return heatmap_overlay.encode_image(draw_explanation(explanation), "PNG")
