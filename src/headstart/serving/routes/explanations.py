"""Explanations over the network: heat map and nearest known pictures as JSON with pictures in base64."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from headstart.core.errors import HeadstartError
from headstart.images import preprocessing
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content
from headstart.runtime.outputs.answer_rows import DIGITS
from headstart.serving.inference.model_registry import ServedModel
from headstart.serving.request_limits import Refusal
from headstart.serving.routes import response_rows

if TYPE_CHECKING:
    from headstart.serving.inference.prediction_service import PredictionService


async def explain_picture(
    service: PredictionService, served: ServedModel, upload: Content, turn: asyncio.Semaphore
) -> dict[str, Any]:
    """What an answer rests on; the picture counts as waiting, and `turn` lets so many explanations run at a time.

    Raises:
        Refusal: 422 the picture cannot be read, 429 too much waits, 501 this model cannot be explained, 503 another
            one is about to take its place, 504 it takes too long.
    """
    service.load.admit_pictures()
    service.load.add_pictures(1)
    try:
        async with asyncio.timeout(service.limits.timeout_s):
            await turn.acquire()
            work = asyncio.create_task(asyncio.to_thread(_explain_upload, served, upload, service.limits.pixels))
            work.add_done_callback(lambda done: _release_turn(done, turn))
            return await asyncio.shield(work)
    except TimeoutError:
        raise Refusal(504, f"no explanation within {service.limits.timeout_s:g} s") from None
    finally:
        service.load.remove_picture(0)


def _release_turn(work: asyncio.Task[dict[str, Any]], turn: asyncio.Semaphore) -> None:
    """The turn ends with the thread, not with who asked: an explainer looks at one picture at a time."""
    turn.release()
    if not work.cancelled():
        work.exception()  # if nobody waits any more nobody learns of it


def _explain_upload(served: ServedModel, upload: Content, max_pixels: int) -> dict[str, Any]:
    from headstart.explanation import explain_image

    try:
        content = upload.read_bytes()
        preprocessing.decode_picture(content, served.model.manifest.trunks[0].input, max_pixels=max_pixels)
        if served.explainer is None:
            served.explainer = _make_explainer(served)
        explanation = served.explainer.explain(content)
    except PictureError as err:
        raise Refusal(422, f"{err.reason.replace('_', ' ')}: {err.detail}") from None
    except HeadstartError as err:
        raise Refusal(501, err.what) from None
    row = response_rows.answer_row(explanation.prediction, served.model.layout) | {"file": upload.name}
    return {
        "model": served.name,
        "answer": row,
        "class_name": explanation.class_name,
        "method": explain_image.NAMES.get(explanation.method, explanation.method),
        "why": explanation.why,
        "overlay_png": _encode_base64(explain_image.overlay_png(explanation)),
        "nearest": [
            {
                "class_name": neighbour.class_name,
                "similarity": round(float(neighbour.similarity), DIGITS),
                "thumbnail": _encode_base64(neighbour.thumbnail),
            }
            for neighbour in explanation.neighbours
        ],
        "compared": explanation.compared,
    }


def _make_explainer(served: ServedModel) -> Any:
    """What explains a model's answers; it is read from the folder, which may hold another model than is served."""
    from headstart.explanation import explain_image

    explainer = explain_image.Explainer(served.folder)
    if explainer.model.manifest != served.model.manifest:
        problem = "the folder of this model holds another one, which is not served yet"
        raise Refusal(503, problem, hint="ask again", headers={"Retry-After": "2"})
    return explainer


def _encode_base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode("ascii")
