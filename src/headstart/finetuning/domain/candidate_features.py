"""Features of both domains through an adapted trunk, and the head that is laid on it in the end."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.backbones.earlier_runs import tuned_network
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Feature, FittedHead, TunedNetwork
from headstart.core.types.domain import TargetDomain
from headstart.features.embeddings import take_vectors
from headstart.features.extraction import extract_features
from headstart.networks.formats import keras_writer
from headstart.networks.framework_state import silence_frameworks


def embed_network(
    network: TunedNetwork, data: Dataset, train: np.ndarray, target: TargetDomain, *, ctx: Context
) -> tuple[np.ndarray, np.ndarray, tuple[Feature, ...]]:
    """(M, D) float32 of source rows `train`, (T, D) of the target, and what they are; OpenVINO runs the trunk."""
    backbone = tuned_network.make_backbone(network, ctx.run.path)
    (depth,) = network.spec.depths
    target_rows = np.arange(len(target.pictures.uris))
    source = extract_features(data, backbone, train, ctx=ctx)
    of_target = extract_features(target.pictures, backbone, target_rows, ctx=ctx, below=tuned_network.ADAPTED_FOLDER)
    feature = Feature(backbone=network.spec.name, depth=depth.name, dim=depth.dim)
    return (
        take_vectors(source, depth.name, train),
        take_vectors(of_target, depth.name, target_rows),
        (feature,),
    )


def write_head(network: TunedNetwork, head: FittedHead, *, ctx: Context) -> TunedNetwork:
    """The network with this linear head on its features, in its `keras.Model` file too; its trunk stays.

    The file is left alone where it has that head already: no framework is loaded for it.
    """
    changed, file = dataclasses.replace(network, fitted=head), tuned_network.network_file(network, ctx.run.path)
    folder, method = ctx.make_step_folder(tuned_network.ADAPTED_FOLDER), network.spec.name.partition(":")[0]
    saved = serialization.find_value(TunedNetwork, folder, method)  # the file is written first, so that it is as new
    if saved is None or not _has_equal_weights(saved.fitted, head):
        with silence_frameworks():
            model = tuned_network.load_network(file)
            model.get_layer("logits").set_weights([head.arrays["weights"], head.arrays["bias"]])
            keras_writer.write_keras(model, file)
    serialization.save_value(changed, folder, method)
    return changed


def _has_equal_weights(one: FittedHead, other: FittedHead) -> bool:
    return all(np.array_equal(one.arrays[name], other.arrays[name]) for name in ("weights", "bias"))
