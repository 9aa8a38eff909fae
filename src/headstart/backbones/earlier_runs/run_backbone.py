"""The tuned trunk of an earlier run as a backbone: copied into the cache by content, with its inner feature levels.

Tuned networks keep the names of layers, so the backbone before tells the inner levels. What the head read is
`features`.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from headstart.backbones import loading
from headstart.backbones.earlier_runs import tuned_network
from headstart.backbones.imported import description
from headstart.core.errors import HeadstartError, UsageError
from headstart.core.run.folder import RunFolder
from headstart.core.run.reader import RunReader
from headstart.core.storage.cache import Store
from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.core.types import Dataset, FitResult, Splits, TunedNetwork
from headstart.networks import blocks
from headstart.networks.cut_points import Cut
from headstart.networks.formats import keras_archive
from headstart.networks.formats.keras_writer import FEATURES

SOURCE = "run"


def open_run(path: Path, store: Store) -> str:
    """Copy a run's tuned network into the cache and describe it; its name, the run folder's and the content's digits.

    `UsageError` where the run trained no network, `DataError` where it is no run, or damaged.
    """
    RunFolder(path).require_run()
    result = RunReader(path).find(FitResult)
    network = tuned_network.find_network(result, path)
    file = tuned_network.network_file(network, path) if network else None
    if network is None or file is None or not file.is_file():
        raise _explain_no_trunk(path, result)
    keras_archive.require_safe(file, trust=False)  # before anything of it is kept
    content = file_digest(file)
    name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', path.resolve().name)}-{content[:8]}"

    def write(draft: Path) -> None:
        shutil.copyfile(file, draft / description.FILES["keras"])

    store.make_entry("added", description.copy_key(content), write)
    if name not in description.list_names(SOURCE, store):
        data = RunReader(path).find(Dataset)
        place = compute_digest(path.resolve().as_posix())
        backbone = replace(_describe(file, network, name, content, data), place=place)
        description.write_description(SOURCE, backbone, store, _list_training_digests(path, network, data))
    return name


def _list_training_digests(path: Path, network: TunedNetwork, data: Dataset | None) -> frozenset[str]:
    """Digests of all pictures but those of the test split, and of those that the trunk before it learnt from."""
    source, _, earlier_preset = network.backbone.partition(":")
    earlier_digests = description.read_training_digests(SOURCE, earlier_preset) if source == SOURCE else frozenset()
    splits = RunReader(path).find(Splits)
    test_rows = set(splits.test.tolist()) if splits else set()
    own_digests = (digest for row, digest in enumerate(data.digests if data else ()) if row not in test_rows)
    return earlier_digests | frozenset(own_digests)


def find_by_folder(path: Path, store: Store) -> str:
    """The name of the network that came from a folder which is gone; empty where none did, or several."""
    return description.find_by_place(SOURCE, compute_digest(path.resolve().as_posix()), store)


def _explain_no_trunk(path: Path, result: FitResult | None) -> UsageError:
    if result is None:
        return UsageError(f"the run `{path}` has not come to its model yet", hint="run the command that made it again")
    names = list(dict.fromkeys(feature.backbone for feature in result.features))
    listing = ", ".join(f"`{name}`" for name in names)
    what = f"the run `{path}` kept a frozen probe: it has no trunk of its own, its features are those of {listing}"
    hint = f"--backbones {','.join(names)}; `headstart fit DATA --strategy finetune` trains a trunk"
    return UsageError(what, hint=hint)


def _describe(
    file: Path, network: TunedNetwork, name: str, content: str, data: Dataset | None
) -> description.ImportedBackbone:
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():
        cuts = _find_cuts(file, network)
    spec, task = network.spec, f"`{data.name}`, {len(data.class_names)} classes" if data else "an earlier task"
    return description.ImportedBackbone(
        name=name,
        kind="keras",
        content=content,
        input=replace(spec.input, resize=data.reading.resize or spec.input.resize) if data else spec.input,
        layout="nhwc",
        scaling="in the graph",
        guess=False,
        cuts=cuts,
        params=spec.params,
        flops=max(1, spec.flops),
        bytes=file.stat().st_size,
        licence=spec.licence,
        licence_note=spec.licence_note,
        pretrained_on=f"{spec.pretrained_on} on {task} ({network.n_train:,} pictures)",
        family=spec.family,
        prior=spec.prior,
        scaled=True,
        prior_source=f"that of {network.backbone}, from which it was tuned: {spec.prior_source}",
        method=f"{spec.method}, then tuned",
        domains=spec.domains,
    )


def _find_cuts(file: Path, network: TunedNetwork) -> tuple[Cut, ...]:
    """The inner feature levels of the backbone it grew from that the network still has, then its features."""
    model = tuned_network.load_network(file)
    single = [operation for operation in model.operations if not isinstance(operation.output, list)]
    shapes = {operation.name: tuple(operation.output.shape[1:]) for operation in single}
    features = Cut(name=FEATURES, layer=FEATURES, dim=int(shapes[FEATURES][0]), side=0)
    inner = []
    for level, (layer, shape) in _find_inner_levels(network).items():
        is_features = (level,) == tuple(network.recipe.depths)  # its mean over the picture is `features`
        if not is_features and shapes.get(layer) == shape:
            inner.append(Cut(name=level, layer=layer, dim=shape[-1], side=shape[0]))
    return (*inner, features)


def _find_inner_levels(network: TunedNetwork) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Level of the original backbone -> the layer that gives its map, as tuned networks name it, and its shape."""
    try:
        original = loading.find_backbone(network.backbone)
        # names and shapes alone: no weights are needed
        model = original.source.build(original.preset, Store(Path()), seed=0)
    except HeadstartError:  # its source is not here
        return {}
    anatomy = blocks.split_into_blocks(model, original.spec, [depth.name for depth in original.spec.depths])
    producers = blocks.map_producers(model)
    return {
        level: (anatomy.names[id(producers[id(maps)])], tuple(maps.shape[1:])) for level, maps in anatomy.maps.items()
    }
