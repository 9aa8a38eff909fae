# mypy: ignore-errors
"""Answer for pictures with the model in this folder: `python predict.py a.jpg b.png` prints one JSON line a picture.

Needs what `requirements.txt` names and nothing else; for DICOM pydicom too, for NIfTI nibabel. `-` instead of names
reads them from standard input, one a line (or with NUL between them); `--time 30` prints how long the model alone
takes for the first that can be read, in milliseconds. `Model(folder).predict(content)` does the same from Python, for
the bytes of a picture file.
"""

import argparse
import contextlib
import io
import json
import math
import os
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

# ---- values
from headstart.exporting.graph_answers import make_answer
from headstart.images.band_values import (
    is_array,
    is_tiff,
    load_array,
    mix_bands,
    open_geotiff,
    read_geotiff,
    reduce_array,
    reduce_size,
    stack_views,
)
from headstart.images.medical_values import (
    Volume,
    choose_place,
    count_dicom_frames,
    find_medical_format,
    open_dicom,
    read_dicom_values,
    split_slice,
)

# ---- values end here

HERE = pathlib.Path(__file__).resolve().parent
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
REACH = {"bilinear": 1.0, "bicubic": 2.0}  # half-width of the filter, in pixels of the coarser side
TURNS = dict(enumerate(("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE"), 2))
TURNS.update(enumerate(("ROTATE_270", "TRANSVERSE", "ROTATE_90"), 6))
MAX_PIXELS = 100_000_000


# ---- the runtime
def load(path, told):
    """A function from named inputs to named outputs; each export has its own here."""
    raise NotImplementedError(path, told)


# ---- the runtime ends here


@contextlib.contextmanager
def silence():
    """Hold back what a framework writes to standard error while it is loaded; shown after all when that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except BaseException:
            noise.seek(0)
            os.write(stderr, noise.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def decode(content, rules):
    """Bytes of a picture file -> (size_px, size_px, 3) RGB for each rule of `model.json`, upright.

    uint8, or float32 0..255 with fractions for a model of deeper pictures. ValueError with the reason where it cannot
    be read.
    """
    try:
        return [_decode(content, rule) for rule in rules]
    except Exception as err:  # Pillow has no common class for what it raises on bad bytes
        raise ValueError(str(err) or type(err).__name__) from err


def _decode(content, rule):
    size = rule["size_px"]
    side = math.ceil(size / rule["crop_fraction"]) if rule["resize"] == "crop" else size
    if rule["ranges"]["n_bands"]:
        levels = _read_bands(content, rule["ranges"], 2 * side)
        return _fit_levels(levels, levels.shape[1::-1], rule, None)
    if medical := find_medical_format(content[:400]):
        return _decode_medical(medical, content, rule)
    image = _open_image(content)
    extent = image.size
    if content.startswith(b"\xff\xd8\xff"):  # a JPEG is decoded at 1/2, 1/4 or 1/8, never below twice of what is needed
        drafted = image.draft(None, (2 * side, 2 * side))
        extent = drafted[1][2:] if drafted else image.size
    layout = _pixel_layout(image)
    image.load()
    turn = TURNS.get(_orientation(image))
    if rule["ranges"]["precise"]:
        return _fit_levels(_to_levels(image, layout, content, rule["ranges"]), extent, rule, turn)
    flat = _to_rgb(image, rule["ranges"])
    if ";16" in layout and not layout.startswith(("I", "F", "LA")):
        flat = _low_bytes(flat, image, content, rule["ranges"])
    small = _resize_to_input(flat, extent, rule)
    return np.asarray(small.transpose(Image.Transpose[turn]) if turn else small)


def _decode_medical(medical, content, rule):
    """A frame of a DICOM file, or a slice of a NIfTI volume."""
    ranges, (plane, place) = rule["ranges"], split_slice(rule["ranges"]["slice"])
    if medical == "DICOM":
        file = open_dicom(content)
        values, kind, ends = read_dicom_values(file, choose_place(count_dicom_frames(file), place), ranges["window"])
    else:
        volume = Volume(content, plane)
        values, kind, ends = volume.read_slice(choose_place(volume.count, place), ranges["window"])
    extent = values.shape[1::-1]
    if extent[0] * extent[1] > MAX_PIXELS:
        raise ValueError(f"{extent[0]} x {extent[1]} px is more than {MAX_PIXELS // 1_000_000} megapixels")
    ends = ends or (_find_ends(values, ranges, kind) if kind else None)
    if ranges["precise"]:
        return _fit_levels(_scale_precisely(values, *ends) if kind else values.astype(np.float32), extent, rule, None)
    levels = _to_bytes(values, *ends) if kind else values
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).convert("RGB")
    return np.asarray(_resize_to_input(image, extent, rule))


def _read_bands(content, ranges, least):
    """A picture of many bands as (h, w, 3 V) float32: each band scaled by its range, then summed by the weights."""
    with contextlib.ExitStack() as stack:
        if is_array(content):
            picture = load_array(content)
            (height, width, count), read = picture.shape, reduce_array
        elif is_tiff(content):
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # it warns of pictures without a place on the ground
            picture = stack.enter_context(open_geotiff(content))
            height, width, count, read = picture.height, picture.width, picture.count, read_geotiff
        else:
            height, width, count = 0, 0, "grey or colour, and no"
        if count != ranges["n_bands"]:
            raise ValueError(f"it has {count} bands, the training pictures have {ranges['n_bands']}")
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} px is more than {MAX_PIXELS // 1_000_000} megapixels")
        values, valid = read(picture, ranges["bands"], reduce_size((width, height), least))
    for at, band in enumerate(ranges["bands"]):
        if not valid[..., at].any():
            raise ValueError(f"no value of band {band} is data")
    return mix_bands(values, valid, ranges["band_ranges"], ranges["mix"])


def _fit_levels(levels, extent, rule, turn):
    """Levels (h, w, 1 or 3 V) float32 as (V * size_px, size_px, 3), each band resized by itself."""
    bands = []
    for at in range(max(3, len(rule["ranges"]["mix"]))):
        band = Image.fromarray(np.ascontiguousarray(levels[..., at % levels.shape[2]]))
        small = _resize_to_input(band, extent, rule, at % 3)
        bands.append(np.asarray(small.transpose(Image.Transpose[turn]) if turn else small))
    return np.clip(stack_views(bands), 0, 255)


def _to_levels(image, layout, content, ranges):
    """What the sensor saw as (h, w, 1 or 3) float32 0..255, every value kept."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        return _scale_precisely(values, *_find_ends(values, ranges))[..., None]
    if ";16" not in layout or layout.startswith(("I", "LA")) or image.mode not in ("RGB", "RGBA"):
        return np.asarray(_to_rgb(image, ranges)).astype(np.float32)
    values = np.asarray(image).astype(np.uint16) * 256 + np.asarray(_swap_bytes(content))
    if image.has_transparency_data:
        share = np.asarray(image.convert("RGBA"))[..., 3:] / np.float32(255)
        if image.mode != "RGB":
            values, share = values[..., :-1], values[..., -1:] / np.float32(65535)
        if share.min() < 1:
            white = (ranges["integers"] or (0, 65535))[1]
            values = white + (values - np.float32(white)) * share
    return _scale_precisely(values, *_find_ends(values, ranges, "integers"))


def _scale_precisely(values, low, high):
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, low)
    levels = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    levels = (levels - low) * (255.0 / (high - low) if high != low else 0.0)
    return np.clip(levels, 0, 255).astype(np.float32)


def _open_image(content):
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:  # its text names an object in memory
        raise ValueError("it is not a picture that can be read") from None
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise ValueError(f"{image.size[0]} x {image.size[1]} px is more than {MAX_PIXELS // 1_000_000} megapixels")
    if image.format == "TIFF":
        count, colours = image.tag_v2.get(277, 1), {2: 3, 5: 4, 6: 3, 8: 3}.get(image.tag_v2.get(262), 1)
        if count > colours and not (count == colours + 1 and image.tag_v2.get(338, ()) in ((1,), (2,))):
            raise ValueError(f"a TIFF of {count} bands is not read: grey, RGB, RGB with transparency and CMYK are")
    return image


def _orientation(image):
    """As EXIF tells it, 1 to 8; 1 where that cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # broken metadata of a sound picture
        return 1


def _pixel_layout(image):
    args = image.tile[0].args if image.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _low_bytes(high, image, content, ranges):
    """Pillow keeps the high byte of 16-bit colour, which is enough where black to white are all 16 bits."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        return high
    values = np.asarray(high).astype(np.uint16) * 256
    ends = ranges["integers"] or (0, 4095 if values.max(initial=0) < 4096 else 65535)
    if tuple(ends) == (0, 65535):
        return high
    values += np.asarray(_to_rgb(_swap_bytes(content), ranges))
    _require_inside(values, *ends)
    return Image.fromarray(_to_bytes(values, *ends))


def _swap_bytes(content):
    """The low bytes of 16-bit colour."""
    again = _open_image(content)
    again.tile = [tile._replace(args=_other_byte(tile.args)) for tile in again.tile]
    again.load()
    return again


def _other_byte(args):
    """The same layout read with the other byte order, which makes Pillow keep the low byte."""
    if isinstance(args, tuple):
        return (_other_byte(args[0]), *args[1:])
    layout, _, order = str(args).rpartition(";16")
    return f"{layout};16{'L' if order == 'B' else 'B'}"


def _to_rgb(image, ranges):
    """8-bit RGB: transparency on white, deep grey by its range, the first frame of several."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        return Image.fromarray(_to_bytes(values, *_find_ends(values, ranges))).convert("RGB")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _find_ends(values, ranges, kind=""):
    """Black and white of more than 8 bits: the training pictures', or without one what this file seems to have."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no value in it is a finite number")
    low, high = float(finite.min()), float(finite.max())
    kind = kind or ("floats" if values.dtype.kind == "f" else "integers")
    if kind == "floats":
        usual = (0.0, 1.0 if high <= 1 else 255.0) if low >= 0 and high <= 255 else (low, high)
    else:
        usual = (0.0, 4095.0 if high <= 4095 else 65535.0) if low >= 0 and high <= 65535 else (low, high)
    _require_inside(values, *(ranges[kind] or usual))
    return ranges[kind] or usual


def _require_inside(values, low, high):
    if np.mean(np.isfinite(values) & ((values < low) | (values > high))) > 0.5:
        raise ValueError(f"more than half of its values lie outside {low:g} to {high:g}, the range in training")


def _to_bytes(values, low, high):
    finite = np.isfinite(values)
    factor = np.float32(255.0 / (high - low) if high != low else 0.0)
    scaled = (np.where(finite, values, low).astype(np.float32) - np.float32(low)) * factor + 0.5
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _resize_to_input(image, extent, rule, band=0):
    """`squash`: to the square. `pad`: longer side to size_px, in the middle. `crop`: the middle, and only that.

    For `crop` the shorter side becomes size_px / crop_fraction.
    """
    size, kind, (width, height) = rule["size_px"], rule["interpolation"], extent
    if rule["resize"] == "squash":
        return image.resize((size, size), FILTERS[kind], box=(0, 0, width, height))
    if rule["resize"] == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        colour = tuple(rule["pad_rgb"])
        canvas = Image.new(image.mode, (size, size), colour if image.mode == "RGB" else colour[band])
        small = image.resize(inner, FILTERS[kind], box=(0, 0, width, height))
        canvas.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return canvas
    ratio = min(width, height) * rule["crop_fraction"] / size
    room = int((size / rule["crop_fraction"] - size) / 2)
    margin = min(room, math.ceil(REACH[kind] * max(ratio, 1.0) / ratio))
    half = (size + 2 * margin) * ratio / 2
    left, top = max(0.0, width / 2 - half), max(0.0, height / 2 - half)
    box = (left, top, min(width, width / 2 + half), min(height, height / 2 + half))
    wide = image.resize((size + 2 * margin,) * 2, FILTERS[kind], box=box)
    return wide.crop((margin, margin, margin + size, margin + size))


class Model:
    """The model of a folder; `told` is its `model.json`."""

    def __init__(self, folder=HERE):
        self.told = json.loads((pathlib.Path(folder) / "model.json").read_text(encoding="utf-8"))
        self.names = [entry["name"] for entry in self.told["inputs"]]
        with silence():
            self.run = load(pathlib.Path(folder) / self.told["file"], self.told)

    def inputs(self, content):
        """Name -> (1, size_px, size_px, 3) of a picture file's bytes; ValueError where it cannot be read."""
        return {
            name: picture[None] for name, picture in zip(self.names, decode(content, self.told["inputs"]), strict=True)
        }

    def predict(self, content):
        """The answer for a picture file's bytes, with probabilities and uncertainty."""
        return make_answer(self.run(self.inputs(content)), self.told)


def time_model(model, content, turns):
    """Milliseconds of the model alone on one picture: the median and the 95th of 100, after five unmeasured ones."""
    inputs, times_ms = model.inputs(content), []
    for turn in range(turns + 5):
        start = time.perf_counter()
        model.run(inputs)
        times_ms += [1000 * (time.perf_counter() - start)] if turn >= 5 else []
    return {"p50_ms": float(np.percentile(times_ms, 50)), "p95_ms": float(np.percentile(times_ms, 95)), "turns": turns}


def list_files(files):
    """The files that are named, or those that standard input names where `-` is."""
    if files != ["-"]:
        return files
    content = sys.stdin.buffer.read()
    names = content.split(b"\0") if b"\0" in content else (line.rstrip(b"\r") for line in content.split(b"\n"))
    return [os.fsdecode(name) for name in names if name]


def main():
    """Answer for the files, line by line; exit code 1 when none of them could be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--time", type=int, default=0, metavar="TURNS")
    args = parser.parse_args()
    model, first = Model(), None
    for name in list_files(args.files):
        try:
            if pathlib.Path(name).is_dir():
                raise ValueError("it is a folder")
            content = pathlib.Path(name).read_bytes()
            prediction = model.predict(content)
            first = first or content
        except (OSError, ValueError) as err:
            prediction = {"answer": None, "error": str(err)}
        print(json.dumps({"file": name, **prediction}), flush=True)
    if args.time and first:
        print(json.dumps(time_model(model, first, args.time)))
    return 0 if first else 1


if __name__ == "__main__":
    sys.exit(main())
