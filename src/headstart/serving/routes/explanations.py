"""Explanations over the network: heat map and nearest known pictures as JSON with pictures in base64."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from headstart.core.errors import HeadstartError
from headstart.images import preprocessing
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content
from headstart.serving.inference.model_registry import Served
from headstart.serving.request_limits import Refused
from headstart.serving.routes import response_rows

if TYPE_CHECKING:
    from headstart.serving.inference.prediction_service import PredictionService


async def explain(desk: PredictionService, served: Served, upload: Content, turn: asyncio.Semaphore) -> dict[str, Any]:
    """What an answer rests on.

    Args:
        desk: Its limits hold; the picture counts as one that waits.
        served: The model.
        upload: The picture.
        turn: An explanation takes as long as many answers: so many at a time.

    Raises:
        Refused: 422 the picture cannot be read, 429 too much waits, 501 this model cannot be explained, 503 another
            one is about to take its place, 504 it takes too long.
    """
    desk.load.admit()
    desk.load.pictures += 1
    try:
        async with asyncio.timeout(desk.limits.timeout_s):
            await turn.acquire()
            work = asyncio.create_task(asyncio.to_thread(_explained, served, upload, desk.limits.pixels))
            work.add_done_callback(lambda done: _over(done, turn))
            return await asyncio.shield(work)
    except TimeoutError:
        raise Refused(504, f"no explanation within {desk.limits.timeout_s:g} s") from None
    finally:
        desk.load.pictures -= 1


def _over(done: asyncio.Task[dict[str, Any]], turn: asyncio.Semaphore) -> None:
    """The turn ends with the thread, not with who asked: an explainer looks at one picture at a time."""
    turn.release()
    if not done.cancelled():
        done.exception()  # if nobody waits any more it is told to nobody


def _explained(served: Served, upload: Content, max_pixels: int) -> dict[str, Any]:
    from headstart.explanation import explain_image as explain

    try:
        content = upload.read_bytes()
        preprocessing.decode_picture(content, served.model.manifest.trunks[0].input, max_pixels=max_pixels)
        if served.explainer is None:
            served.explainer = _explainer(served)
        found = served.explainer.explain(content)
    except PictureError as err:
        raise Refused(422, f"{err.reason.replace('_', ' ')}: {err.detail}") from None
    except HeadstartError as err:
        raise Refused(501, err.what) from None
    row = response_rows.row(found.prediction) | {"file": upload.name}
    nearest = [
        {
            "class_name": one.class_name,
            "similarity": round(float(one.similarity), response_rows.DIGITS),
            "thumbnail": _base64(one.thumbnail),
        }
        for one in found.neighbours
    ]
    heat = _base64(explain.overlay_png(found))
    method = explain.NAMES.get(found.method, found.method)
    told = {"model": served.name, "answer": row, "method": method, "why": found.why, "overlay_png": heat}
    return told | {"nearest": nearest, "compared": found.compared}


def _explainer(served: Served) -> Any:
    """What explains a model's answers; it is read from the folder, which may hold another model than is served."""
    from headstart.explanation import explain_image as explain

    made = explain.Explainer(served.folder)
    if made.model.manifest != served.model.manifest:
        what = "the folder of this model holds another one, which is not served yet"
        raise Refused(503, what, hint="ask again", headers={"Retry-After": "2"})
    return made


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode("ascii")
