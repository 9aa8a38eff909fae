"""What a GPU gives: pictures a second of OpenVINO on the processor and of Keras on the device, and steps of training.

Where no GPU can be used the reason is printed, and Keras runs on the processor in its place.

python -m benchmarks.devices [BACKBONE …]
"""

import sys
import time

import numpy as np

from benchmarks.common import LITE0
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.recipe import make_recipe
from headstart.core.settings import INFERENCE_BATCH, cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.core.types import CLASSIFICATION
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.finetuning.network.trainable_network import build_network
from headstart.finetuning.objectives import make_objective
from headstart.finetuning.training.train_step import TrainStep
from headstart.images.preprocessing import decode_picture
from headstart.networks import devices, openvino_engine
from headstart.networks.devices import CPU, Device
from headstart.networks.framework_state import silence_frameworks
from headstart.networks.openvino_conversion import compare_vectors
from headstart.testing.sample_photos import fetch_labelled_photos

COUNT, SECONDS, STEPS, BATCH = 64, 3.0, 5, 32


def images_per_s(engine, pictures: np.ndarray) -> float:
    """Pictures a second, after one pass through all of them."""
    cut = [(at, pictures[at : at + INFERENCE_BATCH]) for at in range(0, len(pictures), INFERENCE_BATCH)]
    list(engine.run(cut))
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + SECONDS:
        count += sum(len(vectors[0]) for _, vectors in engine.run(cut * 4))
    return count / (time.perf_counter() - began)


def steps_per_s(trunk, store: Store, device: Device, precision: str) -> float:
    """Steps a second of training the whole trunk, compiling left out."""
    objective = make_objective(CLASSIFICATION, np.empty(0), 10)
    fields = {"backbone": trunk.name, "depths": (trunk.spec.depths[-1].name,), "strategy": "finetune", "part": "all"}
    recipe = make_recipe({**fields, "start": "random", "precision": precision, "batch": BATCH})
    side = trunk.spec.input.size_px
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, side, side, 3)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[np.arange(BATCH) % 10]
    with silence_frameworks(), devices.run_on(device), repeat_bit_for_bit():
        network = build_network(trunk.build(store), trunk.spec, recipe, start=None, objective=objective)
        stepper = TrainStep(network, recipe, None)
        given = {network.model.inputs[0].name: pictures}
        stepper.take_step(given, targets, 1e-4)
        began = time.perf_counter()
        for _ in range(STEPS):
            stepper.take_step(given, targets, 1e-4)
        return STEPS / (time.perf_counter() - began)


def main() -> None:
    """Print one block a backbone."""
    store, console, seen = Store(cache_folder()), Console(quiet=True), devices.list_gpus()
    device = seen.gpus[0] if seen.gpus else CPU
    print(seen.reason or f"{device.name}: {device.memory_bytes} bytes free, compute capability {device.capability}")
    photos = fetch_labelled_photos(store, console)
    for name in sys.argv[1:] or [LITE0]:
        trunk = loading.find_backbone(name)
        trunk.source.pull(trunk.preset, store, console)
        first = [decode_picture(path.read_bytes(), trunk.spec.input) for path in photos][:COUNT]
        pictures = np.resize(np.stack(first), (COUNT, *first[0].shape))
        openvino = loading.load_engine(trunk, store, console, pictures[:8], threads=count_threads())
        keras = loading.load_device_engine(trunk, store, console, device)
        print(f"\n{name}: pictures a second, decoded")
        print(
            f"  {openvino_engine.engine_name()} on {count_threads()} threads{images_per_s(openvino, pictures):>10.1f}"
        )
        print(f"  {devices.engine_name(device)}, {keras.batch} at once{images_per_s(keras, pictures):>10.1f}")
        (_, ours), (_, theirs) = (next(engine.run([(0, pictures[:8])])) for engine in (openvino, keras))
        worst = max(compare_vectors(a, b)["max_relative"] for a, b in zip(theirs, ours, strict=True))
        print(f"  largest difference of the largest value: {worst:.1e}")
        for precision in dict.fromkeys(("float32", device.precision if device.is_gpu else "float32")):
            rate = steps_per_s(trunk, store, device, precision)
            print(
                f"  training all of it on {device.name} in {precision}, {BATCH} a step: {rate:.2f} steps/s", flush=True
            )


if __name__ == "__main__":
    main()
