"""Small pictures as tiles of a few large ones: a page with 20,000 opens at once and decodes what is looked at."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from headstart.core.settings import count_threads
from headstart.core.types import Dataset
from headstart.images.thumbnails import encode_jpeg, read_thumbnail

COLUMNS = 20  # tiles across a sheet, and down
MANY, SIDE_PX, SIDE_OF_MANY_PX = 5_000, 64, 40
_QUALITY, _GREY = 60, (128, 128, 128)


def make_sheets(data: Dataset, rows: np.ndarray) -> tuple[int, list[str]]:
    """Side of a tile in px, and `data:` addresses of sheets that hold pictures of rows (M,) in their order.

    A file that cannot be read any more is a grey tile.
    """
    side_px = SIDE_PX if len(rows) <= MANY else SIDE_OF_MANY_PX
    paths = [os.path.join(data.root, data.uris[row]) for row in rows.tolist()]  # noqa: PTH118 - names of any bytes
    sheets = []
    with ThreadPoolExecutor(count_threads()) as pool:
        for start in range(0, len(paths), COLUMNS**2):
            part = paths[start : start + COLUMNS**2]
            tiles = pool.map(lambda path: read_thumbnail(path, side_px, data.reading.ranges), part)
            lines = -(-len(part) // COLUMNS)
            sheet = Image.new("RGB", (min(len(part), COLUMNS) * side_px, lines * side_px), _GREY)
            for place, tile in enumerate(tiles):
                if tile:
                    line, column = divmod(place, COLUMNS)
                    corner = (
                        column * side_px + (side_px - tile.width) // 2,
                        line * side_px + (side_px - tile.height) // 2,
                    )
                    sheet.paste(tile, corner)
            sheets.append("data:image/jpeg;base64," + base64.b64encode(encode_jpeg(sheet, _QUALITY)).decode("ascii"))
    return side_px, sheets
