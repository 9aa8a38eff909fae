"""AdaBN (Li et al. 2016): a trunk whose batch norms have the statistics of the target, and features through it.

The head goes on to learn from the original trunk's source features; `batch_statistics` tells why it may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbones.earlier_runs import tuned_network
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Feature, FitResult, FittedHead, Splits, TunedNetwork
from headstart.core.types.domain import NetworkCandidate, TargetDomain
from headstart.features.embeddings import join_columns
from headstart.finetuning.domain import batch_statistics
from headstart.finetuning.domain.candidate_features import embed_network
from headstart.finetuning.final_training import describe_trunk, network_file_name
from headstart.finetuning.network import plain_model
from headstart.images.decoded_cache import load_decoded
from headstart.networks import blocks, flops
from headstart.networks.devices import CPU, run_on
from headstart.networks.formats import keras_writer
from headstart.networks.framework_state import silence_frameworks

MOST = 512  # pictures of a domain that statistics come from
_DRAW = 91  # of these, among the uses of the run's seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredTrunk:
    """A trunk and its new statistics up to the deepest level; those up to a level before it are the first of them."""

    trunk: ResolvedBackbone
    model: Any  # functional `keras.Model`
    anatomy: blocks.TrunkBlocks
    statistics: dict[int, tuple[np.ndarray, np.ndarray]]  # by the id of a batch norm
    pictures: int  # of both domains together


def choose_levels(features: Sequence[Feature], trunk: ResolvedBackbone) -> dict[str, str]:
    """Method -> the level up to which statistics are adapted: the deepest that is read, and the one halfway to it."""
    names = [depth.name for depth in trunk.spec.depths]
    deepest = max(names.index(feature.depth) for feature in features)
    levels = {"adabn": names[deepest]}
    return levels | ({"adabn_lower": names[(deepest - 1) // 2]} if deepest else {})


def find_trunk(adapted: FitResult, ctx: Context) -> ResolvedBackbone:
    """The one trunk that the head reads.

    Raises:
        NoOpError: It reads several, or a trunk that is a graph for OpenVINO alone.
    """
    names = list(dict.fromkeys(feature.backbone for feature in adapted.features))
    if len(names) > 1:
        raise NoOpError(f"the head reads features of {len(names)} trunks, and one is adapted at a time")
    networks = (adapted.tuning.network,) if adapted.tuning else ()
    trunk = tuned_network.find_backbone(names[0], networks, ctx.run.path)
    if trunk.frozen_reason:
        raise NoOpError(f"its batch norms cannot be reached: {trunk.frozen_reason}")
    return trunk


def make_adabn_candidate(
    method: str,
    last: str,
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    target: TargetDomain,
    adapted: FitResult,
    measure: Callable[[], MeasuredTrunk],
    *,
    ctx: Context,
) -> NetworkCandidate:
    """The trunk of the head with statistics adapted up to the level `last`; `measure` is called unless it is written.

    Raises:
        NoOpError: The trunk has no batch norm there, the head reads several trunks, or there are too few pictures.
        SetupError: The adapted trunk could not be exported.
    """
    started = time.monotonic()
    train = np.asarray(splits.train, np.int64)
    head_x = join_columns(embeddings, adapted.features, train)
    folder = ctx.make_step_folder(tuned_network.ADAPTED_FOLDER)
    network = serialization.find_value(TunedNetwork, folder, method)
    if network is None or not tuned_network.network_file(network, ctx.run.path).is_file():
        head = _choose_head(adapted, head_x.shape[1], len(data.class_names))
        network = _write_network(method, last, measure(), adapted, head, len(train), ctx)
        serialization.save_value(network, folder, method)
    source_x, target_x, features = embed_network(network, data, train, target, ctx=ctx)
    return NetworkCandidate(
        method=method,
        params={"up_to": last},
        network=network,
        features=features,
        source_x=source_x,
        target_x=target_x,
        head_x=head_x,
        source_probabilities=None,
        seconds=time.monotonic() - started,
    )


def _choose_head(adapted: FitResult, dim: int, n_classes: int) -> FittedHead:
    """The head as it is, or zeros where its weights are not linear: `write_head` lays on the one that competed."""
    if adapted.fitted.kind == "linear":
        return adapted.fitted
    arrays = {"weights": np.zeros((dim, n_classes), np.float32), "bias": np.zeros(n_classes, np.float32)}
    return FittedHead(head="logistic", kind="linear", params={}, arrays=arrays, trainable_params=0)


def measure_trunk(
    data: Dataset, splits: Splits, target: TargetDomain, adapted: FitResult, *, ctx: Context
) -> MeasuredTrunk:
    """Build the head's trunk and measure both domains up to the deepest level that the head reads.

    Raises:
        NoOpError: The trunk has no batch norm there, the head reads several trunks, or there are too few pictures.
    """
    trunk, depths = find_trunk(adapted, ctx), tuple(feature.depth for feature in adapted.features)
    source_pictures = _load_sample(data, np.asarray(splits.train, np.int64), trunk, ctx)
    target_pictures = _load_sample(target.pictures, np.arange(len(target.pictures.uris)), trunk, ctx)
    with silence_frameworks(), run_on(CPU):
        model = trunk.build(ctx.store)
        anatomy = blocks.split_into_blocks(model, trunk.spec, depths)
        deepest = choose_levels(adapted.features, trunk)["adabn"]
        statistics = batch_statistics.adapt_statistics(model, anatomy, deepest, source_pictures, target_pictures)
    count = len(source_pictures) + len(target_pictures)
    return MeasuredTrunk(trunk=trunk, model=model, anatomy=anatomy, statistics=statistics, pictures=count)


def _write_network(
    method: str, last: str, measured: MeasuredTrunk, adapted: FitResult, head: FittedHead, n_train: int, ctx: Context
) -> TunedNetwork:
    trunk, anatomy, depths = measured.trunk, measured.anatomy, tuple(feature.depth for feature in adapted.features)
    statistics = {id(norm): measured.statistics[id(norm)] for norm in batch_statistics.list_batch_norms(anatomy, last)}
    with silence_frameworks(), run_on(CPU):
        plain = plain_model.make_adapted_model(
            measured.model, anatomy, depths, statistics, head.arrays, trunk.spec.name
        )
        keras_writer.write_keras(plain.model, ctx.make_step_folder("adapt") / f"{method}.keras")
        spec = describe_trunk(trunk.spec, f"{method}:", plain, "; then batch norm statistics of another domain")
        operations = float(flops.count_flops(plain.trunk)) * measured.pictures
    tuned = adapted.tuning.network if adapted.tuning else None
    grown = tuned is not None and tuned.spec.name == trunk.name
    return TunedNetwork(
        spec=spec,
        backbone=tuned.backbone if tuned and grown else trunk.name,
        recipe=tuned.recipe if tuned and grown else Recipe(strategy="probe", backbone=trunk.name, depths=depths),
        file=network_file_name(f"{method}:"),
        fitted=head,
        epochs=0,
        alpha=1.0,
        temperature=1.0,
        soup=(-1,),
        trainable_params=0,
        n_train=n_train,
        flops=operations,
    )


def _load_sample(data: Dataset, rows: np.ndarray, trunk: ResolvedBackbone, ctx: Context) -> np.ndarray:
    """(n, H, W, 3) pictures in an order drawn by the seed, at most `MOST`; views lie one after the other."""
    drawn = np.random.default_rng([ctx.seed, _DRAW]).permutation(rows)[:MOST]
    pictures = load_decoded(data, drawn, trunk.spec.input, store=ctx.store, console=ctx.console)
    side = trunk.spec.input.size_px
    return pictures.reshape(-1, side, side, 3)
