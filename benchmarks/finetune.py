"""Fine-tuning: steps from kept activations against the whole network in the loop; share of compute; peak memory.

Both sides train the same blocks of EfficientNet-Lite0 by the same loop, optimiser and batches on real pictures. On the
left the map at the cut was computed once; on the right pictures come in and Keras computes the frozen part in the graph
of every step.
"""

import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import LITE0, context, measured, pictures, ratio
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.types import CLASSIFICATION
from headstart.finetuning.inputs import batches, cached_activations
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.network import trainable_network
from headstart.finetuning.objectives import make_objective
from headstart.finetuning.training import trainer
from headstart.images import decoded_cache as decoded

OBJECTIVE = make_objective(CLASSIFICATION, np.empty(0), 3)
LITE2, COUNT, TURNS = "bundled:efficientnet_lite2", 256, 3
BLOCKS = {1: ("last stage, cut after stage 5", 5), 2: ("last two stages, cut after stage 4", 2)}  # name, target


class Bench:
    """Some textile pictures and one trunk."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        from headstart.data.reading.read_dataset import read_dataset as read

        self.ctx = context(folder / "run")
        self.data = read(str(pictures(folder / "pictures", count)), ctx=self.ctx)
        self.rows, self.y = np.arange(count), np.asarray(self.data.targets)
        self.found = loading.find_backbone(name)
        self.model = self.found.build(self.ctx.store)
        self.shared: dict[str, Any] = {"store": self.ctx.store, "say": self.ctx.console}
        self.raw = decoded.load_decoded(self.data, self.rows, self.found.spec.input, **self.shared)

    def build(self, recipe: Recipe) -> trainable_network.Network:
        """What a recipe trains, from a random head: the pace does not depend on it."""
        return trainable_network.build_network(self.model, self.found.spec, recipe, start=None, objective=OBJECTIVE)

    def whole(self, made: trainable_network.Network) -> trainable_network.Network:
        """The same with the frozen part in front of it, in one graph."""
        import keras

        given = keras.Input(self.raw.shape[1:], name="pictures")
        below = trainable_network.build_lower_trunk(self.model, self.found.spec, made.cut)
        joined = keras.Model({"pictures": given}, made.model({"map": below(given)}))
        return dataclasses.replace(made, model=joined, cut="")

    def kept(self, cut: str, recipe: Recipe) -> batches.MapFeed:
        """Kept activations, of augmented views too where the recipe augments."""
        views = (
            {"views": 4, "policy": Policy(domain=recipe.augmentation.domain, strength=recipe.augmentation.augment)}
            if recipe.augmentation.augment
            else {}
        )
        kept = cached_activations.cache_maps(self.found, cut, self.data, self.rows, **self.shared, **views)
        return batches.MapFeed(maps=kept, positions=self.rows, y=self.y, objective=OBJECTIVE, recipe=recipe)

    def sent(self, recipe: Recipe, cut: str = "") -> batches.PictureFeed:
        """Pictures, decoded beforehand; with a cut the engine sends each through the frozen part."""
        below = (
            cached_activations.load_lower_trunk(self.found, cut, self.data, self.rows, **self.shared) if cut else None
        )
        given = {"positions": self.rows, "y": self.y, "objective": OBJECTIVE, "recipe": recipe}
        return batches.PictureFeed(pictures=self.raw, below=below, **given)


def recipe(blocks: int, epochs: int, **more: Any) -> Recipe:
    """The last blocks of the trunk, read at its last depth, in batches of 32."""
    return Recipe(depths=("last",), blocks=blocks, epochs=epochs, start="random", **more)


def trained(made: trainable_network.Network, how: Recipe, feed: Any) -> tuple[float, float]:
    """Pictures a second, and the share of the time that was compute; the first step, which compiles, is left out."""
    console = Console(quiet=True)
    done = trainer.train_network(
        made, how, feed, held=None, class_weight=None, folder=None, console=console, name="benchmark"
    )
    seconds = done.profile.compute_s + done.profile.wait_s
    return (done.steps - 1) * feed.batch / seconds, done.profile.share


def speed(bench: Bench) -> None:
    """Pictures a second from kept maps over those with the whole network in the loop, in turns."""
    for blocks, (name, target) in BLOCKS.items():
        short, long = recipe(blocks, 1), recipe(blocks, 8 // blocks**2)
        made = bench.build(long)
        whole, kept, sent = bench.whole(made), bench.kept(made.cut, long), bench.sent(short)
        turns = [(trained(made, long, kept), trained(whole, short, sent)[0]) for _ in range(TURNS)]
        ratio(
            f"{name}: from kept maps / whole network in the loop",
            _middle(k[0] / w for k, w in turns),
            target,
            at="least",
        )
        fast, slow = _middle(k[0] for k, _ in turns), _middle(w for _, w in turns)
        size = sum(column.nbytes for column in kept.maps.columns.values()) / len(kept.maps) / 1e3
        print(f"({fast:.0f} and {slow:.0f} pictures a second; {size:.0f} kB a picture kept; medians of {TURNS})")
        _share(name, (fast, _middle(k[1] for k, _ in turns)))


def share(bench: Bench) -> None:
    """The same share on the other ways into a network, all with augmentation."""
    how, every = recipe(2, 2, augment=0.5), recipe(1, 1, augment=0.5, part="all")
    made = bench.build(how)
    _share("kept views, cut after stage 4", trained(made, how, bench.kept(made.cut, how)))
    _share("pictures, all blocks", trained(bench.build(every), every, bench.sent(every)))
    for blocks, (name, _) in BLOCKS.items():
        fresh = recipe(blocks, 2, augment=0.5)
        made = bench.build(fresh)
        found = trained(made, fresh, bench.sent(fresh, made.cut))[1]
        print(f"({name}, fresh views through the frozen part at each step: {found:.2f}; views are kept where cheaper)")


def _share(name: str, found: tuple[float, float]) -> None:
    ratio(f"{name}: share of compute in the step time", found[1], 0.9, "", "least")


def memory() -> None:
    """Peak of a process that trains all of EfficientNet-Lite2 in batches of 32."""
    cost = measured([sys.executable, "-m", "benchmarks.finetune", "--child"])
    ratio("all blocks of EfficientNet-Lite2, batch 32: peak resident memory", cost.peak_rss / 1e9, 4, "GB")


def _middle(numbers: Any) -> float:
    return statistics.median(numbers)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        if "--child" in sys.argv:
            bench, how = Bench(Path(scratch), LITE2, 64), recipe(1, 2, augment=0.5, part="all")
            trained(bench.build(how), how, bench.sent(how))
            return
        bench = Bench(Path(scratch), LITE0, COUNT)
        speed(bench)
        share(bench)
    memory()


if __name__ == "__main__":
    main()
