"""Pictures as Python has them -> pictures in a fixed order: what the command line names, bytes, Pillow's, arrays.

Pictures in memory are written as PNG or TIFF, without loss, so that they take the way of a file: orientation,
transparency and depth are treated alike.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from headstart.core.errors import UsageError
from headstart.images.file_formats import PictureError
from headstart.runtime.inputs.decoded_batches import Content, Source
from headstart.runtime.inputs.image_sources import NamedSource, read_sources

PictureInput: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Content
KINDS = "a path, a folder, a pattern, the bytes of a file, a Pillow picture or an array"
_HINT = "arrays are uint8, RGB or grey: (H, W, 3), (H, W) or (N, H, W, 3); (255 * x).round().astype('uint8') for 0..1"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_TIFF_MODES = ("CMYK", "F", "I", "I;16", "I;16B", "I;16L")  # what PNG cannot hold, or would round


def read_pictures(pictures: PictureInput | Iterable[PictureInput]) -> Iterator[Source]:
    """Pictures in the order in which they are given; one may stand alone, in a list each may be of another kind.

    What is in memory is called `pictures[2]` by its place in the list, or by the file that Pillow read it from.

    Raises:
        UsageError: Something is no picture by its type, or an array by its shape or its numbers.
        DataError: A table of paths cannot be read.
    """
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind in "OU":  # of paths, or of pictures of unequal sizes
        pictures = pictures.ravel().tolist()
    if isinstance(pictures, str | os.PathLike | bytes | Image.Image | np.ndarray | Content):
        yield from _read_input(pictures, "picture")
    elif isinstance(pictures, Iterable):
        for at, picture in enumerate(pictures):
            yield from _read_input(picture, f"pictures[{at}]")
    else:
        raise _make_kind_error(pictures, "picture")


def _read_input(picture: Any, name: str) -> Iterator[Source]:
    if isinstance(picture, str | os.PathLike):
        yield from _read_named(os.fspath(picture))
    elif isinstance(picture, Content):
        yield picture
    elif isinstance(picture, bytes):
        yield Content(name, picture)
    elif isinstance(picture, Image.Image):
        yield _encode_image(picture, str(getattr(picture, "filename", "") or name))
    elif isinstance(picture, np.ndarray):
        yield from _encode_array(picture, name)
    else:
        raise _make_kind_error(picture, name)


def _make_kind_error(value: Any, name: str) -> UsageError:
    return UsageError(f"a value of type `{type(value).__name__}` is no picture", where=name, hint=f"pass {KINDS}")


def _read_named(name: str) -> Iterator[Source]:
    sources = read_sources([NamedSource(text=name)])
    yield next(sources, Content(name, PictureError("unreadable", "there is no picture in it")))
    yield from sources


def _encode_image(image: Image.Image, name: str) -> Content:
    try:
        if image.mode not in _PNG_MODES + _TIFF_MODES:
            image = image.convert("RGB")
        out, kind = io.BytesIO(), "TIFF" if image.mode in _TIFF_MODES else "PNG"
        image.save(out, kind, exif=image.getexif())
        return Content(name, out.getvalue())
    except (OSError, ValueError, SyntaxError) as err:  # it is read when it is needed
        return Content(name, PictureError("unreadable", f"Pillow cannot read it: {err}"))


def _encode_array(array: np.ndarray, name: str) -> Iterator[Content]:
    is_rgb = array.ndim in (3, 4) and array.shape[-1] == 3
    if array.dtype != np.uint8 or not (is_rgb or array.ndim == 2) or 0 in array.shape[-3:]:
        message = f"an array of {array.dtype} with the shape {array.shape} is no picture"
        raise UsageError(message, where=name, hint=_HINT)
    if array.ndim < 4:
        yield _encode_image(Image.fromarray(array), name)
    else:
        for at, each in enumerate(array):
            yield _encode_image(Image.fromarray(each), f"{name}[{at}]" if name.endswith("]") else f"pictures[{at}]")
