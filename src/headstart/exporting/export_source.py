"""What an export is made of: the run's saved model, checked file by file, and where its trunks came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbones.downloads.shared_weights import pull_weights
from headstart.backbones.earlier_runs import tuned_network
from headstart.core.errors import DataError
from headstart.core.storage.hashing import canonical_json, to_plain
from headstart.core.types import InputSpec

if TYPE_CHECKING:
    import numpy as np

    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.model_manifest import Manifest, TrunkEntry
    from headstart.core.storage.cache import Store
    from headstart.core.types import TunedNetwork
    from headstart.runtime.model import Model

PRECISIONS = ("f32", "f16", "int8")
STRANGE_IN_8_BITS = "novelty and `unknown`: 8 bits move features further than strange pictures lie apart"


WriteModel = Callable[["ExportSource", Path, str, "list[np.ndarray]", str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exporter:
    """A format.

    `write(source, folder, precision, pictures, metadata)` writes the model's file. `pictures` calibrate int8, one array
    (n, H, W, 3) an input, else there are none; `metadata` is JSON. It raises SetupError where it cannot.
    """

    name: str  # the word of `--to`
    file: str  # name of the model's file or folder
    packages: tuple[str, ...]  # that the written `predict.py` needs besides numpy and Pillow
    making: tuple[str, ...]  # distributions that writing needs
    frozen: bool = False  # whether it takes trunks that are OpenVINO files alone
    cannot: Mapping[str, str]  # precision, kind of head, both or `int8 uncertainty` -> why it cannot be had
    runtime: str  # source of the function `load(path, told)` in `predict.py`
    write: WriteModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportSource:
    """A run's saved model and what it was made from."""

    model: Model  # `RUN/model`, every digest checked
    run: Path  # its folder
    networks: tuple[TunedNetwork, ...]  # that the run trained
    store: Store  # for the weights of trunks that were not trained
    console: Console
    draft: Path  # a folder for work in between
    with_uncertainty: bool = True  # whether novelty and `unknown` become part of the graph

    @property
    def manifest(self) -> Manifest:
        """Of the saved model."""
        return self.model.manifest

    @property
    def output(self) -> str:
        """The graph's output that answers."""
        return "number" if self.model.layout.is_number else "probabilities"

    def find_trunk(self, entry: TrunkEntry) -> ResolvedBackbone:
        """The trunk behind an entry, as its source knows it.

        Raises:
            UsageError: No source has it any more.
            SetupError: Its publisher's files cannot be had.
            DataError: What the source has now is another revision.
        """
        trunk = tuned_network.find_backbone(entry.name, self.networks, self.run, console=self.console)
        if trunk.spec.revision != entry.revision:
            raise DataError(
                f"the run's trunk `{entry.name}` is revision `{entry.revision}`; here is `{trunk.spec.revision}`",
                where=str(self.run),
                hint="export with the version of headstart that made the run, or `--to openvino`",
            )
        return trunk

    def fetch_weights(self) -> None:
        """Fetch weights that are not in the cache, as `fit` does; raises SetupError where they cannot be had."""
        for entry in self.manifest.trunks:
            trunk = self.find_trunk(entry)
            if trunk.seed is None and not trunk.source.available(trunk.preset, self.store):
                self.console.print_line("export", f"the weights of `{entry.name}` are not here and are fetched")
                pull_weights(trunk, self.store, self.console)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInput:
    """One input of the graph: pictures decoded by one rule, and the trunks that look at them."""

    name: str
    spec: InputSpec
    trunks: tuple[str, ...]


def decoding_rule(spec: InputSpec) -> dict[str, Any]:
    """What `predict.py` reads a picture by, as plain JSON."""
    names = ("size_px", "resize", "interpolation", "crop_fraction", *(("pad_rgb",) if spec.resize == "pad" else ()))
    return {name: to_plain(getattr(spec, name)) for name in names} | {"ranges": asdict(spec.ranges)}


def graph_inputs(manifest: Manifest) -> tuple[GraphInput, ...]:
    """One input for each way of decoding; trunks that want the same pictures share it."""
    by_rule: dict[Any, list[TrunkEntry]] = {}
    for entry in manifest.trunks:
        by_rule.setdefault(canonical_json(decoding_rule(entry.input)), []).append(entry)
    names = ["pictures"] if len(by_rule) == 1 else [f"pictures_{at}" for at in range(1, len(by_rule) + 1)]
    return tuple(
        GraphInput(name=name, spec=group[0].input, trunks=tuple(entry.name for entry in group))
        for name, group in zip(names, by_rule.values(), strict=True)
    )


def reason_against(exporter: Exporter, source: ExportSource, precision: str) -> str:
    """Why a format cannot take this model in this precision; empty where it can. Nothing is loaded for it."""
    kind = source.manifest.head.kind
    for key in (precision, kind, f"{precision} {kind}"):
        if key in exporter.cannot:
            return exporter.cannot[key]
    if exporter.frozen:
        return ""
    for entry in source.manifest.trunks:
        if why := source.find_trunk(entry).frozen_reason:
            return f"it takes Keras layers, and of `{entry.name}` there are none: {why}"
    return ""
