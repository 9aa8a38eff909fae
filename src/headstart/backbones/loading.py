"""From a backbone's name to a trunk that runs: found among the sources, exported once, checked, kept in the cache.

`find_backbone` answers without any framework. Only when the cache does not hold a trunk is Keras loaded: it is built,
converted in float32 with uint8 pictures as input, run on real pictures by both engines, and kept only if the vectors
agree. Without OpenVINO, Keras does the work and a line says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import input_check, latency, source_lookup
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import NoOpError, SetupError, UsageError, format_nearest
from headstart.core.storage.cache import Store, default_store
from headstart.core.storage.files import write_json
from headstart.core.storage.hashing import to_plain
from headstart.core.types import BackboneSource, BackboneSpec
from headstart.core.types.backbone import NOT_HERE
from headstart.networks import openvino_engine
from headstart.networks.devices import CPU, Device, run_on

RANDOM = "random:"
RANDOM_SEED = 0
_DRAW = 2  # of random weights; raise when `fill_random` draws others
_FORMAT = 1  # of the cached files; raise when the export changes what it writes


def list_backbones() -> tuple[str, ...]:
    """All names of all sources, the bundled first."""
    sources = sorted(registry.list_plugins("backbones"), key=lambda name: (name != "bundled", name))
    return tuple(f"{name}:{preset}" for name in sources for preset in registry.load_plugin("backbones", name).presets())


def find_backbone(
    name: str, *, opening: bool = True, fetching: bool = False, console: Console | None = None
) -> ResolvedBackbone:
    """The trunk of a name: `bundled:efficientnet_lite0`, a preset alone if one source has it, or `random:` of it.

    Args:
        opening: A source may open what it cannot list, such as a path (`run:runs/mine`): its file is copied into the
            cache, and it gets a name.
        fetching: What is a publisher's, and not here, may be fetched to open it.

    Raises:
        UsageError: There is none, no control of it, or it would have to be fetched; the hint has the nearest names, or
            the command that fetches it.
        SetupError: It cannot be had.
        DataError: What a name leads to is no backbone.
    """
    if name.startswith(RANDOM):
        trained = find_backbone(name.removeprefix(RANDOM), opening=opening, fetching=fetching, console=console)
        return _make_random_init_control(trained)
    if is_listed(name):
        backbone = _resolve_listed(name)
        if fetching and backbone.spec.revision == NOT_HERE:
            backbone.source.pull(backbone.preset, default_store(console or Console()), console or Console())
            return _resolve_listed(name)
        return backbone
    listed_names = list_backbones()
    fits = _find_by_preset(name, listed_names)
    if not fits and opening and (opened := source_lookup.open_unlisted(name, console or Console(), fetching=fetching)):
        fits = [opened]
    if len(fits) != 1:
        raise _make_unknown_error(name, listed_names, fits)
    return find_backbone(fits[0], fetching=fetching, console=console)


def is_listed(name: str) -> bool:
    """Whether a whole name is in its source's list; other sources are not asked."""
    source, _, preset = name.partition(":")
    known = registry.list_plugins("backbones")
    return source in known and preset in registry.load_plugin("backbones", source).presets()


def _resolve_listed(name: str) -> ResolvedBackbone:
    source, _, preset = name.partition(":")
    plugin: BackboneSource = registry.load_plugin("backbones", source)
    return ResolvedBackbone(name=name, spec=plugin.spec(preset), source=plugin, preset=preset)


def find_for_option(
    option: str, name: str, *, fetching: bool = False, console: Console | None = None
) -> ResolvedBackbone:
    """`find_backbone`, whose `UsageError` then tells which option the name is of."""
    try:
        return find_backbone(name, fetching=fetching, console=console)
    except UsageError as err:
        raise type(err)(err.what, where=err.where or option, hint=err.hint) from err


def _find_by_preset(preset: str, listed_names: tuple[str, ...]) -> list[str]:
    """The names that end in a preset; of sources that ship it, where there are any, not the user's own."""
    fits = [name for name in listed_names if name.partition(":")[2] == preset]
    shipped = [name for name in fits if not registry.load_plugin("backbones", name.partition(":")[0]).is_users_own]
    return shipped or fits


def _make_unknown_error(name: str, listed_names: tuple[str, ...], fits: list[str]) -> UsageError:
    if fits:
        return UsageError(f"the backbone `{name}` is in several sources", hint=f"write one of {', '.join(fits)}")
    shipped = tuple(source_lookup.list_shipped())
    away = next((known for known in shipped if known.partition(":")[2] == name), "")
    if away:
        return UsageError(f"the backbone `{name}` is not here yet", hint=f"write {away}, which fetches it")
    hint = _suggest_with_word(name, (*listed_names, *shipped))
    for names in (listed_names, shipped):
        candidates = names if ":" in name else [known.partition(":")[2] for known in names]
        hint = hint or format_nearest(name.lower(), candidates)
    return UsageError(f"no backbone is named `{name}`", hint=hint or "headstart backbones list")


def _suggest_with_word(name: str, names: Iterable[str]) -> str:
    source, _, preset = name.rpartition(":")
    word = re.sub("[-_]", "", preset.lower()).replace("effnet", "efficientnet")
    matches = [known for known in names if known.startswith(source) and word in known.replace("_", "")] if word else []
    return f"did you mean {', '.join(f'`{known}`' for known in matches[:3])}?" if matches else ""


def _make_random_init_control(trained: ResolvedBackbone) -> ResolvedBackbone:
    if trained.frozen_reason:
        raise UsageError(f"there is no random-init control: {trained.frozen_reason}", hint="leave `random:` out")
    spec = replace(
        trained.spec,
        name=RANDOM + trained.name,
        revision=f"{trained.spec.revision}-{_DRAW}-random{RANDOM_SEED}",
        pretrained_on="nothing: random weights",
        licence_note="",
        download_bytes=0,
        prior=0.0,
        prior_source="random weights know nothing",
        method="none",
        domains=(),
    )
    return replace(trained, name=RANDOM + trained.name, spec=spec, seed=RANDOM_SEED)


def trunk_key(trunk: ResolvedBackbone, precision: str = "f32") -> dict[str, Any]:
    """What the cached files depend on. Keras is not in it: whichever version exported them, parity was asserted."""
    spec = trunk.spec
    return {
        "format": _FORMAT,
        "backbone": spec.name,
        "revision": spec.revision,
        "depths": spec.depths,
        "input": spec.input,
        "precision": precision,
        "engine": openvino_engine.find_openvino_version(),
    }


def make_trunk_folder(
    trunk: ResolvedBackbone,
    store: Store,
    console: Console,
    pictures: np.ndarray,
    precision: str = "f32",
    *,
    maps: bool = False,
) -> Path:
    """The trunk as OpenVINO files, made and checked when the cache does not hold it.

    With them comes `parity.json`. Of a trained trunk the first layer is checked once: whether it sees what it was
    trained on. If not, a warning says so.

    Args:
        pictures: (8, H, W, 3) uint8 or float32, real ones, as the trunk's input wants them: parity is measured on them.
            For `int8` up to 256, which it is calibrated on.
        precision: `f32` or `int8`.
        maps: Also give the map (B, h, w, c) under the pooling of every depth but the last, `map_<depth>`; f32 only.

    Raises:
        SetupError: The weights, an engine or NNCF are missing, or the engines disagree.
    """
    built: list[Any] = []

    def write(draft: Path) -> None:
        from headstart.networks import blocks, openvino_conversion
        from headstart.networks.framework_state import silence_frameworks

        kind = f"{precision}, with feature maps" if maps else precision
        console.print_line("trunk", f"{trunk.name}: made once for {openvino_engine.find_openvino_version()} in {kind}")
        source = make_trunk_folder(trunk, store, console, pictures) / "trunk.xml" if precision == "int8" else None
        with silence_frameworks(), run_on(CPU):
            if source:
                openvino_conversion.quantise_trunk(source, pictures, draft)
            elif trunk.frozen_reason:
                if maps:
                    raise NoOpError(trunk.frozen_reason, hint="--strategy probe takes it frozen")
                trunk.source.write_openvino(trunk.preset, store, pictures, draft)
            else:
                names = tuple(f"map_{depth.name}" for depth in trunk.spec.depths[:-1]) if maps else ()
                model = trunk.build(store)
                with_maps = blocks.add_map_outputs(model, trunk.spec, names) if maps else model
                openvino_conversion.convert_trunk(with_maps, trunk.spec, pictures, draft, maps=names)
                built.append(model)
        write_json(draft / "key.json", to_plain(address))  # whose it is, for `backbones verify` and `prune`

    address = trunk_key(trunk, precision)
    if maps:
        address["maps"] = True
    if precision == "int8":
        address["calibrated_on"] = hashlib.sha256(pictures.tobytes()).hexdigest()
    entry = store.make_entry("trunks", address, write)
    if precision == "f32" and not maps and trunk.seed is None and not trunk.frozen_reason and _is_of_source(trunk):
        input_check.check_cached_trunk(trunk, next(iter(built), None), entry, store, pictures, console)
    return entry


def _is_of_source(trunk: ResolvedBackbone) -> bool:
    """Whether it comes from a source, not from a run's own training."""
    return trunk.source.name in registry.list_plugins("backbones")


def load_engine(
    trunk: ResolvedBackbone,
    store: Store,
    console: Console,
    pictures: np.ndarray,
    *,
    threads: int,
    precision: str = "f32",
    cut: str = "",
) -> openvino_engine.Engine | Any:
    """The trunk, ready to `run` batches: compiled by OpenVINO, or where that is absent by Keras, which is said.

    It takes pictures of the type and height of `pictures`, of several views one below the other. With `cut`, a level
    but the last, only the part up to it runs: the map there, (b, h, w, c), then the pooled features of each level up
    to it.
    """
    side = pictures.shape[2]
    views, pictures = pictures.shape[1] // side, pictures.reshape(-1, side, side, 3)[: len(pictures)]
    if openvino_engine.find_openvino_version() is None:
        return _load_keras_engine(trunk, store, console, pictures, precision, cut)
    path = make_trunk_folder(trunk, store, console, pictures, precision, maps=bool(cut)) / "trunk.xml"
    outputs, dtype = cut_outputs(trunk.spec, cut) if cut else None, str(pictures.dtype)
    compile_trunk = partial(openvino_engine.Engine, path, threads=threads, dtype=dtype)
    engine = compile_trunk(outputs=outputs, views=views)

    def measure() -> dict[str, float]:  # one pass
        stream = engine if views == 1 else compile_trunk()
        return latency.measure_latency(stream, partial(compile_trunk, batch=1), pictures)

    if not cut and precision == "f32" and _is_of_source(trunk):
        latency.measure_once(trunk.spec, store, measure, threads=threads, engine=openvino_engine.engine_name())
    return engine


def _load_keras_engine(
    trunk: ResolvedBackbone, store: Store, console: Console, pictures: np.ndarray, precision: str, cut: str
) -> Any:
    if trunk.frozen_reason:
        raise SetupError(f"without OpenVINO nothing can run it: {trunk.frozen_reason}", hint="pip install openvino")
    if precision != "f32":
        raise SetupError(f"precision `{precision}` needs OpenVINO", hint="pip install openvino")
    from headstart.networks.openvino_conversion import KerasEngine

    console.print_line("trunk", f"{trunk.name}: without OpenVINO Keras computes the vectors (slower, float32)")
    model = _build_keras_model(trunk, store, CPU, cut)
    if not cut and trunk.seed is None and _is_of_source(trunk):
        input_check.warn_of_wrong_input(input_check.check_input(model, trunk.spec, pictures), trunk.name, console)
    return KerasEngine(model)


def load_device_engine(
    trunk: ResolvedBackbone, store: Store, console: Console, device: Device, *, cut: str = ""
) -> Any:
    """The trunk on a device, run by Keras in float32; see `load_engine`. A frozen graph has none."""
    from headstart.networks.device_engine import DeviceEngine

    model = _build_keras_model(trunk, store, device, cut)
    return DeviceEngine(model, device, lambda text: console.print_line("engine", f"{trunk.name}: {text}"))


def _build_keras_model(trunk: ResolvedBackbone, store: Store, device: Device, cut: str) -> Any:
    from headstart.networks import blocks
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks(), run_on(device):
        model = trunk.build(store)
        if not cut:
            return model
        names = cut_outputs(trunk.spec, cut)
        with_maps = blocks.add_map_outputs(model, trunk.spec, names[:1])
        return type(with_maps)(with_maps.inputs, with_maps.outputs[: len(names)])


def cut_outputs(spec: BackboneSpec, cut: str) -> tuple[str, ...]:
    """Names of what the part of a trunk up to a cut gives: `map_<cut>`, then each depth up to it."""
    names = tuple(depth.name for depth in spec.depths)
    return (f"map_{cut}", *names[: names.index(cut) + 1])
