"""A tuned network as a trunk: what fine-tuning saved is found, built and exported as any backbone is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.storage.cache import Store
from headstart.core.types import NETWORK_METHODS, BackboneSource, BackboneSpec, FitResult, TunedNetwork
from headstart.networks.formats import keras_archive
from headstart.networks.formats.keras_writer import FEATURES

ADAPTED_FOLDER = "domains"  # where a run describes them
MODELS = ("adapt/model.keras", "adapt/from_random.keras", *(f"adapt/{method}.keras" for method in NETWORK_METHODS))


def network_file(network: TunedNetwork, run: Path) -> Path:
    """The file of a run's network, which need not be there; `DataError` where the run names one of another place."""
    if network.file not in MODELS:
        hint = f"a run keeps its network as `{MODELS[0]}`; add a file of another place by `headstart backbones add`"
        raise DataError(f"the run `{run}` names `{network.file}` as its network", where=str(run / "adapt"), hint=hint)
    return run / network.file


@dataclass(slots=True, kw_only=True)
class TunedSource(BackboneSource):
    """A backbone source of one preset: a `keras.Model` file of a run."""

    name: str
    file: Path
    saved_spec: BackboneSpec

    def presets(self) -> tuple[str, ...]:
        """The one."""
        return (self.saved_spec.name,)

    def spec(self, preset: str) -> BackboneSpec:
        """As it was saved."""
        return self.saved_spec

    def available(self, preset: str, store: Store) -> bool:
        """Whether the file is there."""
        return self.file.is_file()

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """The file; nothing is fetched."""
        return self.file

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """Pictures (B, H, W, 3) float32 RGB 0..255 -> features (B, D); `DataError` where the file was changed."""
        import keras

        network = load_network(self.file)
        trunk = keras.Model(network.inputs, [network.get_layer(FEATURES).output], name="tuned")
        trunk.trainable = False
        return trunk


def load_network(file: Path) -> Any:
    """The `keras.Model` from pictures (B, H, W, 3) float32 RGB 0..255 to probabilities (B, C).

    `DataError` where the file is missing or damaged, or holds a pickle or Python code.
    """
    keras_archive.require_safe(file, trust=False)
    import keras

    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as err:
        hint = "run the `headstart fit` that made the run again"
        raise DataError(f"`{file.name}` is not the network that was saved: {err}", where=str(file), hint=hint) from err


def make_backbone(network: TunedNetwork, run: Path) -> ResolvedBackbone:
    """The trunk of a tuned network; `DataError` where the run names a file of another place."""
    source = TunedSource(name="tuned", file=network_file(network, run), saved_spec=network.spec)
    return ResolvedBackbone(name=network.spec.name, spec=network.spec, source=source, preset=network.spec.name)


def find_adapted(name: str, run: Path) -> TunedNetwork | None:
    """A trunk that a run adapted to another domain, by its name; None where it is none of these."""
    method = name.partition(":")[0]
    network = (
        serialization.find_value(TunedNetwork, run / ADAPTED_FOLDER, method) if method in NETWORK_METHODS else None
    )
    return network if network is not None and network.spec.name == name else None


def find_network(result: FitResult | None, run: Path) -> TunedNetwork | None:
    """The network of a run: the adapted one that its head reads, else the one that fine-tuning trained, if any."""
    if result is None:
        return None
    adapted = find_adapted(result.features[0].backbone, run) if result.features else None
    return adapted or (result.tuning.network if result.tuning else None)


def find_backbone(
    name: str, networks: Iterable[TunedNetwork | None], run: Path, *, console: Console | None = None
) -> ResolvedBackbone:
    """A trunk by name, one of the run's own networks or one of the sources'; with a `console` it may be fetched."""
    network = next((tuned for tuned in networks if tuned is not None and tuned.spec.name == name), None)
    network = network or find_adapted(name, run)
    if network is not None:
        return make_backbone(network, run)
    return loading.find_backbone(name, fetching=console is not None, console=console)
