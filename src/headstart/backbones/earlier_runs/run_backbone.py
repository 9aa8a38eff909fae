"""The tuned trunk of an earlier run as a backbone: copied into the cache by content, with its inner depths.

A tuned network keeps the names of its layers, so the backbone it grew from tells where the inner depths are. Its own
features, as its head read them, are the depth `features`.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from headstart.backbones import loading
from headstart.backbones.earlier_runs import tuned_network
from headstart.backbones.imported import description
from headstart.backbones.imported.description import ImportedBackbone
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
    """Copy a run's tuned network into the cache and describe it.

    Args:
        path: The run folder.
        store: The cache.

    Returns:
        Its name from now on: the folder's own name and the first digits of the content, no path.

    Raises:
        UsageError: The run trained no network.
        DataError: It is no run, or damaged.
    """
    RunFolder(path).require_run()
    adapted = RunReader(path).find(FitResult)
    network = adapted.tuning.network if adapted and adapted.tuning else None
    file = tuned_network.file_of(network, path) if network else None
    if network is None or file is None or not file.is_file():
        raise _no_trunk(path, adapted)
    keras_archive.require_safe(file, trust=False)  # before anything of it is kept
    content = file_digest(file)
    name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', path.resolve().name)}-{content[:8]}"

    def write(draft: Path) -> None:
        shutil.copyfile(file, draft / description.FILES["keras"])

    store.make_entry("added", description.address(content), write)
    if name not in description.names(SOURCE, store):
        data = RunReader(path).find(Dataset)
        made = replace(_described(file, network, name, content, data), place=_place(path))
        description.describe(SOURCE, made, store, _learnt_from(path, network, data))
    return name


def _learnt_from(path: Path, network: TunedNetwork, data: Dataset | None) -> frozenset[str]:
    """Digests of all pictures but those of the test split, and of those that the trunk before it learnt from."""
    source, _, before = network.backbone.partition(":")
    known = description.learnt_from(SOURCE, before) if source == SOURCE else frozenset()
    splits = RunReader(path).find(Splits)
    held = set(splits.test.tolist()) if splits else set()
    own = (one for row, one in enumerate(data.digests if data else ()) if row not in held)
    return known | frozenset(own)


def remembered(path: Path, store: Store) -> str:
    """The name of the network that came from a folder which is gone; empty where none did, or several."""
    known = [
        name
        for name in description.names(SOURCE, store)
        if description.described(SOURCE, name, store).place == _place(path)
    ]
    return known[0] if len(known) == 1 else ""


def _place(path: Path) -> str:
    return compute_digest(path.resolve().as_posix())


def _no_trunk(path: Path, adapted: FitResult | None) -> UsageError:
    if adapted is None:
        return UsageError(f"the run `{path}` has not come to its model yet", hint="run the command that made it again")
    names = list(dict.fromkeys(feature.backbone for feature in adapted.features))
    told = ", ".join(f"`{name}`" for name in names)
    return UsageError(
        f"the run `{path}` kept a frozen probe: it has no trunk of its own, its features are those of {told}",
        hint=f"--backbones {','.join(names)}; `headstart fit DATA --strategy finetune` trains a trunk",
    )


def _described(file: Path, network: TunedNetwork, name: str, content: str, data: Dataset | None) -> ImportedBackbone:
    from headstart.networks.openvino_conversion import silence_frameworks

    with silence_frameworks():
        cuts = _cuts(file, network)
    of, task = network.spec, f"`{data.name}`, {len(data.class_names)} classes" if data else "an earlier task"
    return ImportedBackbone(
        name=name,
        kind="keras",
        content=content,
        input=of.input,
        layout="nhwc",
        scaling="in the graph",
        guess=False,
        cuts=cuts,
        params=of.params,
        flops=max(1, of.flops),
        bytes=file.stat().st_size,
        licence=of.licence,
        licence_note=of.licence_note,
        pretrained_on=f"{of.pretrained_on} on {task} ({network.n_train:,} pictures)",
        family=of.family,
        prior=of.prior,
        scaled=True,
        prior_source=f"that of {network.backbone}, from which it was tuned: {of.prior_source}",
        method=f"{of.method}, then tuned",
        domains=of.domains,
    )


def _cuts(file: Path, network: TunedNetwork) -> tuple[Cut, ...]:
    """The inner depths of the backbone it grew from that the network still has, then its features."""
    model = tuned_network.load(file)
    shapes = {one.name: tuple(one.output.shape[1:]) for one in model.operations if not isinstance(one.output, list)}
    own = Cut(name=FEATURES, layer=FEATURES, dim=int(shapes[FEATURES][0]), side=0)
    found = []
    for depth, (layer, shape) in _inner(network).items():
        same = (depth,) == tuple(network.recipe.depths)  # its mean over the picture is `features`
        if not same and shapes.get(layer) == shape:
            found.append(Cut(name=depth, layer=layer, dim=shape[-1], side=shape[0]))
    return (*found, own)


def _inner(network: TunedNetwork) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Depth of the original backbone -> the layer that gives its map, as tuned networks name it, and its shape."""
    try:
        of = loading.find_backbone(network.backbone)
        model = of.source.build(of.preset, Store(Path()), seed=0)  # names and shapes alone: no weights are needed
    except HeadstartError:  # its source is not here
        return {}
    anatomy = blocks.split_into_blocks(model, of.spec, [depth.name for depth in of.spec.depths])
    givers = blocks.map_producers(model)
    return {depth: (anatomy.names[id(givers[id(maps)])], tuple(maps.shape[1:])) for depth, maps in anatomy.maps.items()}
