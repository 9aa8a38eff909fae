"""Adding a user's own file as a backbone: refused or copied into the cache, looked at, described and shown.

What the file does not tell is guessed, and the guess is said.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones.imported.description import (
    FILES,
    KERAS_HUB,
    SOURCE,
    WORDS,
    ImportedBackbone,
    address,
    describe,
    described,
    file_of,
    names,
)
from headstart.backbones.imported.file_copy import bring, content_of, kind_of, read_whole
from headstart.core.console import Console, format_bytes
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import InputSpec
from headstart.networks import cut_points, input_scaling
from headstart.networks.cut_points import Cut
from headstart.networks.formats import keras_archive, openvino_reader
from headstart.networks.input_scaling import Scaling

SIZE_PX = 224  # where the file takes any
_LONGEST = 100  # signs of a name
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}  # by Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What the user says of a file; what is empty is found, or guessed and said.

    Attributes:
        file: The file or SavedModel folder.
        name: Of the backbone; empty for the file's own.
        depths: Layers to cut at, `last` for what the classifier reads.
        size_px: Height and width of the pictures; 0 for the file's own.
        scale: Factor on 0..255.
        mean: Taken off after the factor, one number or three.
        std: Divided by, one number or three.
        channels: `rgb` or `bgr`; `rgb` where nothing is said.
        layout: `nchw` or `nhwc`.
        licence: Of the weights, best an SPDX identifier.
        trust: Let Python code in a `.keras` file run.
        resize: `crop` or `squash`, see `InputSpec`.
        interpolation: `bilinear` or `bicubic`.
        crop_fraction: Of the resized picture's side that a centre crop keeps; 0 for the usual one.
        told: By whom scale, mean and std are said, one clause.
        usual_px: The side where neither file nor user tell one.
        usual_layout: The same of the layout.
    """

    file: Path
    name: str = ""
    depths: tuple[str, ...] = ()
    size_px: int = 0
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = ""
    layout: str = ""
    licence: str = ""
    trust: bool = False
    resize: str = ""
    interpolation: str = ""
    crop_fraction: float = 0.0
    told: str = "given"
    usual_px: int = SIZE_PX
    usual_layout: str = ""


def add(wish: ImportRequest, store: Store, console: Console) -> ImportedBackbone:
    """Copy a file into the cache and describe it; the same file again only changes the description.

    Raises:
        UsageError: The name is taken by another file, or a wish does not fit the file.
        DataError: The file is refused, damaged, or no network that takes pictures.
        SetupError: OpenVINO or Keras is missing.
    """
    kind = kind_of(wish.file)
    if kind == "keras" and keras_archive.require_safe(wish.file, trust=wish.trust):
        kind = "lambda"
    made = brought(wish, kind, _name(wish), store, SOURCE)
    describe(SOURCE, made, store)
    tell(made, console)
    return made


def brought(wish: ImportRequest, kind: str, name: str, store: Store, source: str) -> ImportedBackbone:
    """A file copied into the cache and looked at; nothing says yet that it is a backbone.

    Raises:
        UsageError: The name is taken by another file, or a wish does not fit the file.
        DataError: The file is damaged, or no network that takes pictures.
        SetupError: OpenVINO or Keras is missing.
    """
    with read_whole(wish.file, kind, store) as ready:
        return _placed(wish, kind, name, ready, store, source)


def looked_again(found: ImportedBackbone, wish: ImportRequest, store: Store) -> ImportedBackbone | None:
    """The description of a copy that is in the cache, as another wish has it; None where the copy is not there whole.

    Raises:
        UsageError: The wish does not fit the file.
    """
    copy = file_of(found, store)
    if copy is None:
        return None
    return replace(_looked(copy, found.kind, wish), name=found.name, content=found.content)


def _placed(
    wish: ImportRequest, kind: str, name: str, ready: Path | None, store: Store, source: str
) -> ImportedBackbone:
    """Bring the file into the store, unless it is there, and look at it; `ready` as `read_whole` gives it."""
    content = content_of(wish.file, kind, ready)
    if name in names(source, store) and described(source, name, store).content != content:
        other = "choose another `--name`, or: " if source == SOURCE else ""
        of = name if source == SOURCE else f"{source}:{name}"
        raise UsageError(f"`{source}:{name}` is another file already", hint=f"{other}headstart backbones remove {of}")
    seen: list[ImportedBackbone] = []

    def look(copy: Path) -> ImportedBackbone:
        try:
            return replace(_looked(copy, kind, wish), name=name, content=content)
        except DataError as err:  # the user knows the file, not its copy
            err.what, err.where = err.what.replace(FILES[kind], wish.file.name), str(wish.file)
            raise

    def write(draft: Path) -> None:
        if ready is None:
            bring(wish.file, draft, kind)
        else:
            for one in ready.iterdir():
                shutil.move(one, draft / one.name)
        seen.append(look(draft / FILES[kind]))

    folder = store.make_entry("added", address(content), write)
    return seen[0] if seen else look(folder / FILES[kind])


def _name(wish: ImportRequest) -> str:
    """The backbone's name.

    Raises:
        UsageError: Nothing is left of it, or no system takes it as a file's name.
    """
    given = wish.name or wish.file.name.removesuffix(wish.file.suffix)
    name = cut_points.make_identifier(given, "").lower()
    if not name:
        raise UsageError(f"`{given}` has no letter or digit of a-z and 0-9", where="--name", hint="--name NAME")
    if name in _RESERVED or len(name) > _LONGEST:
        raise UsageError(f"`{name}` cannot be the name of a file on every system", where="--name", hint="--name NAME")
    return name


def tell(made: ImportedBackbone, console: Console, source: str = SOURCE) -> None:
    """What was found, line by line; a guess as a warning."""
    spec = made.input
    console.print_line(
        "added",
        f"{source}:{made.name}: {WORDS[made.kind]}, {format_bytes(made.bytes)}, {made.params / 1e6:.2f} M weights",
    )
    console.print_line("input", f"{spec.size_px} px, {spec.channels}, {made.layout}")
    how = f"x * {spec.scale:.6g} - {list(spec.mean)}, / {list(spec.std)}"
    if made.guess:
        fix = (
            "save the preset with its image converter"
            if source == KERAS_HUB
            else "set it with --scale, --mean and --std"
        )
        console.print_warning(f"scaling {how}: {made.scaling}; {fix}")
    else:
        console.print_line("scaling", f"{how}: {made.scaling}")
    for cut in made.cuts:
        place = f"a map of {cut.side} x {cut.side}" if cut.side else "a vector"
        console.print_line("depth", f"{cut.name}: {cut.dim} numbers, {place} at `{cut.layer}`")


# ---------------------------------------------------------------- looking


def _looked(copy: Path, kind: str, wish: ImportRequest) -> ImportedBackbone:
    look = _look_keras if kind == "keras" else _look_graph
    layout, size_px, found, cuts, params, flops = look(copy, wish)
    total = sum(one.stat().st_size for one in copy.parent.glob("model.*"))
    return ImportedBackbone(
        name="",
        kind=kind,
        content="",
        input=_input(size_px, found, wish),
        layout=layout,
        scaling=found.why,
        guess=found.guess,
        cuts=cuts,
        params=params,
        flops=max(1, flops),
        bytes=total,
        licence=wish.licence or "not stated",
        licence_note="" if wish.licence else "of your own file; say it with `backbones add --licence`",
        pretrained_on=f"not known: a file of your own, {wish.file.name}",
        family=WORDS[kind],
    )


def _input(size_px: int, found: Scaling, wish: ImportRequest) -> InputSpec:
    usual = InputSpec(size_px=size_px)
    return InputSpec(
        size_px=size_px,
        resize=wish.resize or usual.resize,
        interpolation=wish.interpolation or usual.interpolation,
        crop_fraction=wish.crop_fraction or usual.crop_fraction,
        channels=wish.channels or usual.channels,
        scale=found.scale,
        mean=found.mean,
        std=found.std,
    )


_Looked = tuple[str, int, Scaling, tuple[Cut, ...], int, int]


def _look_keras(copy: Path, wish: ImportRequest) -> _Looked:
    from headstart.networks import flops as cost
    from headstart.networks.openvino_conversion import silence_frameworks

    if wish.layout == "nchw":
        raise UsageError("a `.keras` file with channels first is not read", where="--layout", hint="export it as ONNX")
    with silence_frameworks():
        import keras

        model = keras_archive.load_archive(copy)
    size_px = _size(keras_archive.find_side_px(model), wish)
    flat = keras_archive.flatten_model(model, size_px)
    cuts = cut_points.choose_cuts(*keras_archive.list_nodes(flat), wish.depths)
    found = _given(wish) or input_scaling.guess_scaling(
        keras_archive.find_first_arithmetic(flat), keras_archive.find_first_kernel(flat), nchw=False
    )
    by_name = {one.name: one for one in flat.operations}
    part = keras.Model(flat.inputs, [by_name[cut.layer].output for cut in cuts])
    return "nhwc", size_px, found, cuts, int(part.count_params()), int(cost.count_flops(part))


def _look_graph(copy: Path, wish: ImportRequest) -> _Looked:
    model = openvino_reader.read_model(copy)
    order = openvino_reader.find_layout(model, wish.layout, wish.usual_layout)
    size_px = _size(openvino_reader.find_side_px(model, order), wish)
    openvino_reader.fix_input_size(model, order, size_px)
    cuts = cut_points.choose_cuts(*openvino_reader.list_nodes(model, order), wish.depths)
    found = _given(wish)
    if openvino_reader.takes_uint8(model):
        if found:
            raise UsageError("the file takes uint8 pictures and scales them itself", where="--scale, --mean, --std")
        found = Scaling(**input_scaling.NONE, why="in the graph, which takes uint8")
    if found is None:
        found = input_scaling.guess_scaling(
            openvino_reader.find_first_arithmetic(model), openvino_reader.find_first_kernel(model), nchw=order == "nchw"
        )
    params, flops = openvino_reader.count_cost(model, cuts)
    return order, size_px, found, cuts, params, flops


def _size(own: int, wish: ImportRequest) -> int:
    if own and wish.size_px and own != wish.size_px and wish.file.suffix == ".keras":
        raise UsageError(f"the file takes pictures of {own} px, not {wish.size_px}", where="--size")
    return wish.size_px or own or wish.usual_px


def _given(wish: ImportRequest) -> Scaling | None:
    """The scaling that the user says, whatever is not said left at nothing; None where nothing is."""
    if wish.scale is None and not wish.mean and not wish.std:
        return None
    scale = 1.0 if wish.scale is None else wish.scale
    for where, given in (("--scale", (scale,)), ("--mean", wish.mean), ("--std", wish.std)):
        if not all(map(math.isfinite, given)):
            raise UsageError(f"`{','.join(map(str, given))}` leaves no number of the pictures", where=where)
    if any(one == 0 for one in (scale, *wish.std)):
        raise UsageError("a scale or std of 0 leaves nothing of the pictures", where="--scale, --std")
    return Scaling(
        scale=scale, mean=_three(wish.mean, "--mean", 0.0), std=_three(wish.std, "--std", 1.0), why=wish.told
    )


def _three(given: Sequence[float], where: str, usual: float) -> tuple[Any, Any, Any]:
    found = tuple(given) or (usual,)
    if len(found) not in (1, 3):
        raise UsageError(f"`{','.join(map(str, given))}` is not one number or three", where=where)
    first, *rest = found * 3 if len(found) == 1 else found
    return (first, rest[0], rest[1])
