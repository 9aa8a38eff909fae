"""The processor as two devices of one kind, which only a fresh process can show; prints what training on them gives."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

import small_network
from headstart.core.console import Console
from headstart.core.job import make_job
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.storage.cache import Store
from headstart.finetuning.domain.losses import DiscrepancyLoss
from headstart.finetuning.search.training_cost import TrainingCost
from headstart.finetuning.training import trainer
from headstart.finetuning.training.train_step import TrainStep
from headstart.networks import devices
from headstart.networks.devices import Device
from headstart.testing.devices import replace_gpus

TWO = tuple(Device(name="Bench GPU", place=f"cpu:{number}", memory_bytes=2**31) for number in range(2))
OTHER = Device(name="Other GPU", place="cpu:1")
PLACES = ("cpu:0", "cpu:1")
MEASURE = trainer.measure_step_s
X, Y = small_network.pictures(48)


class Killed(BaseException):
    """In place of a kill -9."""


def fit(places=PLACES, folder=None, on_epoch=None, **fields):
    """A training of six steps in two epochs, of batches of 15 that are no multiple of two."""
    how = small_network.recipe(batch=15, epochs=2, rate=2e-3, ema=0.9, l2_sp=0.1, clip=1.0, **fields)
    return trainer.train_network(
        small_network.network(how), how, small_network.Feed(X, Y, how), held=small_network.Held(X[:9], Y[:9]),
        class_weight=np.array([1.0, 2.0, 0.5]), folder=folder, keep_epochs=True, on_epoch=on_epoch,
        console=Console(quiet=True), name="spread", places=places,
    )  # fmt: skip


def take_steps(places, parts):
    """Losses and logits of steps of 15, 4 and 1 pictures in so many parts, and the weights after them, in a row."""
    how = small_network.recipe(optimiser="sgd")
    network = small_network.network(how)
    taken, stepper = [], TrainStep(network, how, None, parts, places=places)
    for first, end in ((0, 15), (15, 19), (19, 20)):
        loss, logits = stepper.take_step({"pictures": X[first:end]}, np.eye(3, dtype=np.float32)[Y[first:end]], 1e-2)
        taken += [np.array(loss), logits]
    return np.concatenate([np.ravel(array) for array in (*taken, *network.get().values())])


def gap(first, second):
    """The largest difference of two trainings' weights after the last epoch."""
    pairs = [(first.weights(2)[path], weight) for path, weight in second.weights(2).items()]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def resume(folder):
    """A training that dies in its second epoch, and goes on."""

    def die(row):
        if row.epoch == 2:
            raise Killed
        return False

    try:
        fit(folder=folder, on_epoch=die, dropout=0.3)
    except Killed:
        return fit(folder=folder, dropout=0.3)
    raise AssertionError("it was not killed")


def choose(folder, step_s, domain=None, **fields):
    """What a run decides where a step takes so long on one device and on two, and its lines; it measures at None."""
    stream, how = io.StringIO(), small_network.recipe(**fields)
    network = small_network.network(how)
    training = SimpleNamespace(
        recipe=how.with_fields(backbone="small:trunk"), network=network, feed=small_network.Feed(X, Y, how)
    )
    trainer.measure_step_s = (lambda *_, places: step_s[len(places) // 2]) if step_s else MEASURE
    store, shapes = Store(folder / "cache"), SimpleNamespace(measure_shape=lambda _: SimpleNamespace(cut=""))
    ctx = Context(job=make_job(data="."), run=RunFolder(folder), store=store, console=Console(err=stream))
    cost = TrainingCost(training_set=None, networks=shapes, sources=None, ctx=ctx)
    places = [cost.choose_places(training, domain) for _ in range(2)][1]
    decided = [decision["value"] for decision in ctx.run.read_decisions()]
    return {"places": places, "decided": decided, "lines": stream.getvalue().splitlines()}


def main(folder: Path) -> None:
    """Train and choose, and print one JSON object."""
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = fit(()), fit()
    facts = {
        "one_to_two": gap(one, two),
        "moved": max(float(np.abs(one.weights(2)[path] - start).max()) for path, start in one.weights(0).items()),
        "losses": [[row.loss for row in made.rows] for made in (one, two)],
        "resumed": gap(fit(dropout=0.3), resume(folder / "killed")),
        "float16": gap(two, fit(precision="mixed_float16")),
        "tails": [float(np.abs(take_steps(PLACES, parts) - take_steps((), 1)).max()) for parts in (1, 3)],
    }
    with replace_gpus(*TWO), devices.run_on(TWO[0]):
        facts["faster"] = choose(folder / "run", (0.2, 0.1))
        facts["again"] = choose(folder / "run", (0.1, 0.2))
        facts["slower"] = choose(folder / "slower", (0.1, 0.2))
        facts["norms"] = choose(folder / "run", (0.2, 0.1), batch_norm="train")
        facts["domain"] = choose(folder / "domain", (0.2, 0.1), DiscrepancyLoss(steps=6))
        facts["measured"] = choose(folder / "measured", None)
    with replace_gpus(TWO[0]), devices.run_on(TWO[0]):
        facts["alone"] = choose(folder / "alone", (0.2, 0.1))
    with replace_gpus(*TWO), devices.run_on(TWO[0]):
        facts["joined"] = choose(folder / "alone", (0.2, 0.1))
    with replace_gpus(TWO[0], OTHER), devices.run_on(TWO[0]):
        facts["unlike"] = [device.place for device in devices.list_replicas()]
        try:
            choose(folder / "run", (0.2, 0.1))
        except Exception as err:
            facts["fewer"] = str(err)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
