"""Features of both domains through an adapted trunk."""

from __future__ import annotations

import numpy as np

from headstart.backbones.earlier_runs import tuned_network
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Feature, TunedNetwork
from headstart.core.types.domain import TargetDomain
from headstart.features.embeddings import take_vectors
from headstart.features.extraction import extract_features


def embed_network(
    network: TunedNetwork, data: Dataset, train: np.ndarray, target: TargetDomain, *, ctx: Context
) -> tuple[np.ndarray, np.ndarray, tuple[Feature, ...]]:
    """(M, D) float32 of source rows `train`, (T, D) of the target, and what they are; OpenVINO runs the trunk."""
    backbone = tuned_network.make_backbone(network, ctx.run.path)
    (depth,) = network.spec.depths
    target_rows = np.arange(len(target.pictures.uris))
    source = extract_features(data, backbone, train, ctx=ctx)
    of_target = extract_features(target.pictures, backbone, target_rows, ctx=ctx, below="domains")
    feature = Feature(backbone=network.spec.name, depth=depth.name, dim=depth.dim)
    return (
        take_vectors(source, depth.name, train),
        take_vectors(of_target, depth.name, target_rows),
        (feature,),
    )
