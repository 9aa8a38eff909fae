"""How strange held-out pictures look to the networks of a recipe's folds: what tells the limit of novelty.

To a trained network its own training pictures look familiar. So each fold's network measures the pictures that it did
not learn from against those that it did, in its own features; the distances of all folds together set the limit, as
out-of-fold scores do in CV+ (Barber 2021).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.data.strata import find_strata
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.search import fold_training
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import ood_detection


def measure_fold_distances(setup: TrainingSetup, trial: RecipeTrial) -> dict[str, np.ndarray]:
    """(M,) float64 distances of the pictures of a judged recipe, in the order of its verdict, by method."""
    verdict, training_set = trial.require_verdict(), setup.training_set
    strata = find_strata(training_set.data).labels[training_set.rows]
    distances: dict[str, list[np.ndarray]] = {method: [] for method in ood_detection.METHODS}
    for run in trial.runs:
        learnt = training_set.training_positions(run.log.fold)
        training = setup.prepare(trial.recipe, learnt)
        weights = fold_training.load_weights(setup, training, trial.number, run, verdict.epoch, verdict.alpha)
        training.network.set(weights)
        network = _end_at_features(training.network)
        sample = learnt[evenly_spaced(len(learnt), ood_detection.MOST)]
        x, held_x = (
            predict_logits(network, training.source.make_held_out(positions))
            for positions in (sample, training_set.held_out_positions(run.log.fold))
        )
        for method in ood_detection.METHODS:
            arrays, k = ood_detection.fit_references(x, strata[sample], method)
            distances[method].append(ood_detection.compute_distances(arrays, k, held_x))
    return {method: np.concatenate(parts) for method, parts in distances.items()}


def _end_at_features(network: Network) -> Network:
    """The network up to what its last linear layer reads: (B, D) standardised features and hidden units."""
    import keras

    layers = network.head.layers
    tensors = [layers["linear"].input, *([network.model.get_layer("head_relu").output] if "hidden" in layers else [])]
    joined = keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
    model = keras.Model({tensor.name: tensor for tensor in network.model.inputs}, joined)
    return dataclasses.replace(network, model=model)
