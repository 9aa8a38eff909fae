"""Adding a user's own file as a backbone: refused or copied into the cache, looked at, described and shown.

What the file does not state is guessed, and a line says so.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones.imported import description
from headstart.backbones.imported.description import FILES, KERAS_HUB, SOURCE, WORDS, ImportedBackbone
from headstart.backbones.imported.file_copy import compute_content, copy_file, detect_kind, open_onnx_as_ir
from headstart.core.console import Console, format_bytes
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import InputSpec
from headstart.networks import cut_points, input_scaling
from headstart.networks.formats import keras_archive, openvino_reader
from headstart.networks.input_scaling import Scaling

SIZE_PX = 224  # where the file takes any
_MAX_NAME_LENGTH = 100  # signs of a name
_RESERVED_NAMES = ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))  # Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What the user says of a file or SavedModel folder; what is empty is found, or guessed and said.

    Attributes:
        name: Of the backbone; empty for the file's own.
        depths: Layers to cut at, `last` for what the classifier reads.
        size_px: Height and width of the pictures; 0 for the file's own.
        scale: Factor on 0..255.
        mean: Taken off after the factor, one number or three.
        std: Divided by, one number or three.
        layout: `nchw` or `nhwc`.
        trust: Let Python code in a `.keras` file run.
        crop_fraction: Of the resized picture's side that a centre crop keeps; 0 for the usual one.
        scaling_source: By whom scale, mean and std are said, one clause.
        usual_px: The side where neither file nor user tell one; `usual_layout` the same of the layout.
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
    scaling_source: str = "given"
    usual_px: int = SIZE_PX
    usual_layout: str = ""


def add_file(request: ImportRequest, store: Store, console: Console) -> ImportedBackbone:
    """Copy a file into the cache and describe it; the same file again only changes the description.

    `UsageError` where the name is another file's or the request does not fit, `DataError` where the file is refused,
    damaged or no network that takes pictures, `SetupError` without OpenVINO or Keras.
    """
    kind = detect_kind(request.file)
    if kind == "keras" and keras_archive.require_safe(request.file, trust=request.trust):
        kind = "lambda"
    backbone = import_file(request, kind, _make_name(request), store, SOURCE)
    description.write_description(SOURCE, backbone, store)
    print_description(backbone, console)
    return backbone


def import_file(request: ImportRequest, kind: str, name: str, store: Store, source: str) -> ImportedBackbone:
    """A file copied into the cache and looked at, not yet listed as a backbone; errors are those of `add_file`."""
    with open_onnx_as_ir(request.file, kind, store) as graph_folder:
        return _store_file(request, kind, name, graph_folder, store, source)


def inspect_again(backbone: ImportedBackbone, request: ImportRequest, store: Store) -> ImportedBackbone | None:
    """The description of a copy as another request has it; None where the copy is lost, `UsageError` at a misfit."""
    copy = description.find_copy(backbone, store)
    if copy is None:
        return None
    return replace(_inspect_copy(copy, backbone.kind, request), name=backbone.name, content=backbone.content)


def _store_file(
    request: ImportRequest, kind: str, name: str, graph_folder: Path | None, store: Store, source: str
) -> ImportedBackbone:
    """Bring the file into the store, unless it is there, and look at it; `graph_folder` as of `open_onnx_as_ir`."""
    content = compute_content(request.file, kind, graph_folder)
    earlier = description.find_description(source, name, store)
    if earlier and earlier.content != content:
        rename_hint = "choose another `--name`, or: " if source == SOURCE else ""
        full_name = name if source == SOURCE else f"{source}:{name}"
        hint = f"{rename_hint}headstart backbones remove {full_name}"
        raise UsageError(f"`{source}:{name}` is another file already", hint=hint)
    inspected: list[ImportedBackbone] = []

    def inspect(copy: Path) -> ImportedBackbone:
        try:
            return replace(_inspect_copy(copy, kind, request), name=name, content=content)
        except DataError as err:  # the user knows the file, not its copy
            err.what, err.where = err.what.replace(FILES[kind], request.file.name), str(request.file)
            raise

    def write(draft: Path) -> None:
        if graph_folder is None:
            copy_file(request.file, draft, kind)
        else:
            for file in graph_folder.iterdir():
                shutil.move(file, draft / file.name)
        inspected.append(inspect(draft / FILES[kind]))

    folder = store.make_entry("added", description.copy_key(content), write)
    return inspected[0] if inspected else inspect(folder / FILES[kind])


def _make_name(request: ImportRequest) -> str:
    stem = request.name or request.file.name.removesuffix(request.file.suffix)
    name = cut_points.make_identifier(stem, "").lower()
    if not name:
        raise UsageError(f"`{stem}` has no letter or digit of a-z and 0-9", where="--name", hint="--name NAME")
    if name in _RESERVED_NAMES or len(name) > _MAX_NAME_LENGTH:
        raise UsageError(f"`{name}` cannot be the name of a file on every system", where="--name", hint="--name NAME")
    return name


def print_description(backbone: ImportedBackbone, console: Console, source: str = SOURCE) -> None:
    """What was found, line by line; a guess as a warning."""
    spec = backbone.input
    size, weights = format_bytes(backbone.bytes), f"{backbone.params / 1e6:.2f} M weights"
    console.print_line("added", f"{source}:{backbone.name}: {WORDS[backbone.kind]}, {size}, {weights}")
    console.print_line("input", f"{spec.size_px} px, {spec.channels}, {backbone.layout}")
    formula = f"x * {spec.scale:.6g} - {list(spec.mean)}, / {list(spec.std)}"
    if backbone.guess:
        is_preset = source == KERAS_HUB
        fix = "save the preset with its image converter" if is_preset else "set it with --scale, --mean and --std"
        console.print_warning(f"scaling {formula}: {backbone.scaling}; {fix}")
    else:
        console.print_line("scaling", f"{formula}: {backbone.scaling}")
    for cut in backbone.cuts:
        place = f"a map of {cut.side} x {cut.side}" if cut.side else "a vector"
        console.print_line("level", f"{cut.name}: {cut.dim} numbers, {place} at `{cut.layer}`")


def _inspect_copy(copy: Path, kind: str, request: ImportRequest) -> ImportedBackbone:
    inspect = _inspect_keras if kind == "keras" else _inspect_graph
    layout, size_px, scaling, cuts, params, flops = inspect(copy, request)
    options: dict[str, Any] = {"resize": request.resize, "interpolation": request.interpolation}
    options |= {"channels": request.channels, "crop_fraction": request.crop_fraction}
    stated = {name: value for name, value in options.items() if value}
    return ImportedBackbone(
        name="",
        kind=kind,
        content="",
        input=InputSpec(size_px=size_px, scale=scaling.scale, mean=scaling.mean, std=scaling.std, **stated),
        layout=layout,
        scaling=scaling.why,
        guess=scaling.guess,
        cuts=cuts,
        params=params,
        flops=max(1, flops),
        bytes=sum(file.stat().st_size for file in copy.parent.glob("model.*")),
        licence=request.licence or "not stated",
        licence_note="" if request.licence else "of your own file; say it with `backbones add --licence`",
        pretrained_on=f"not known: a file of your own, {request.file.name}",
        family=WORDS[kind],
    )


_Inspection = tuple[str, int, Scaling, tuple[cut_points.Cut, ...], int, int]


def _inspect_keras(copy: Path, request: ImportRequest) -> _Inspection:
    from headstart.networks import flops as cost
    from headstart.networks.framework_state import silence_frameworks

    if request.layout == "nchw":
        raise UsageError("a `.keras` file with channels first is not read", where="--layout", hint="export it as ONNX")
    with silence_frameworks():
        import keras

        model = keras_archive.load_archive(copy)
    size_px = _choose_size(keras_archive.find_side_px(model), request)
    flat = keras_archive.flatten_model(model, size_px)
    cuts = cut_points.choose_cuts(*keras_archive.list_nodes(flat), request.depths)
    scaling = _make_scaling(request) or input_scaling.guess_scaling(
        keras_archive.find_first_arithmetic(flat), keras_archive.find_first_kernel(flat), nchw=False
    )
    by_name = {operation.name: operation for operation in flat.operations}
    trunk = keras.Model(flat.inputs, [by_name[cut.layer].output for cut in cuts])
    return "nhwc", size_px, scaling, cuts, int(trunk.count_params()), int(cost.count_flops(trunk))


def _inspect_graph(copy: Path, request: ImportRequest) -> _Inspection:
    model = openvino_reader.read_model(copy)
    order = openvino_reader.find_layout(model, request.layout, request.usual_layout)
    size_px = _choose_size(openvino_reader.find_side_px(model, order), request)
    openvino_reader.fix_input_size(model, order, size_px)
    cuts = cut_points.choose_cuts(*openvino_reader.list_nodes(model, order), request.depths)
    scaling = _make_scaling(request)
    if openvino_reader.takes_uint8(model):
        if scaling:
            raise UsageError("the file takes uint8 pictures and scales them itself", where="--scale, --mean, --std")
        scaling = Scaling(**input_scaling.NONE, why="in the graph, which takes uint8")
    if scaling is None:
        scaling = input_scaling.guess_scaling(
            openvino_reader.find_first_arithmetic(model), openvino_reader.find_first_kernel(model), nchw=order == "nchw"
        )
    params, flops = openvino_reader.count_cost(model, cuts)
    return order, size_px, scaling, cuts, params, flops


def _choose_size(files_px: int, request: ImportRequest) -> int:
    if files_px and request.size_px and files_px != request.size_px and request.file.suffix == ".keras":
        raise UsageError(f"the file takes pictures of {files_px} px, not {request.size_px}", where="--size")
    return request.size_px or files_px or request.usual_px


def _make_scaling(request: ImportRequest) -> Scaling | None:
    """The scaling that the user says, whatever is not said left at nothing; None where nothing is."""
    if request.scale is None and not request.mean and not request.std:
        return None
    scale = 1.0 if request.scale is None else request.scale
    for where, values in (("--scale", (scale,)), ("--mean", request.mean), ("--std", request.std)):
        if not all(map(math.isfinite, values)):
            raise UsageError(f"`{','.join(map(str, values))}` leaves no number of the pictures", where=where)
    if 0 in (scale, *request.std):
        raise UsageError("a scale or std of 0 leaves nothing of the pictures", where="--scale, --std")
    return Scaling(
        scale=scale,
        mean=_require_three(request.mean, "--mean", 0.0),
        std=_require_three(request.std, "--std", 1.0),
        why=request.scaling_source,
    )


def _require_three(values: Sequence[float], where: str, default: float) -> tuple[Any, Any, Any]:
    numbers = tuple(values) or (default,)
    if len(numbers) not in (1, 3):
        raise UsageError(f"`{','.join(map(str, values))}` is not one number or three", where=where)
    first, second, third = numbers * 3 if len(numbers) == 1 else numbers
    return first, second, third
