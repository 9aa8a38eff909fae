"""Ways to bring the bands of a picture into a trunk that was trained on three, compared on multi-band sets.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.bands [--stamps stamps/usr/share/tuxpaint/stamps] [--count 400]

The bands are made from real pictures by fixed filters, each with noise, a unit and an offset of its own:
`colour`, 8 bands of the photographs of Tux Paint: mixes of red, green and blue, local filters and two bands of noise;
`texture`, 8 bands of the textile defects: filters of their grey, and two bands of noise;
`hidden`, 13 bands of the textile defects: two carry the picture, eleven show clouds and noise.
Each band is scaled by its 2nd to 98th percentile. EfficientNet-Lite0 is frozen; logistic regression on its depths
`stage5` and `last`, its strength by cross-validation, answers for held-out pictures of the same 4 folds. Differences
are paired, against the mean, with a t interval widened for the folds. `passes` counts runs of the trunk a picture.

Inflating the first convolution is a mix of bands before it: the first line printed is the largest difference of both
on the trunk's own first convolution.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.few_labels import stamps
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.backbones.sources.bundled import PLUGIN
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.settings import cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.heads.cross_validation import tune_head
from headstart.images import preprocessing
from headstart.networks.framework_state import silence_frameworks
from headstart.statistics.intervals import cross_validation_effect, mean_interval
from headstart.statistics.losses import log_losses

PRESET, DEPTHS, FOLDS = "efficientnet_lite0", ("stage5", "last"), 4
NOISE = 4.0  # grey levels
PATCHES, PATCH_PX = 16, 14  # of each picture, whose band means the learned mix sees
Pictures = np.ndarray  # (N, H, W, B) float32, each band scaled to 0..255
Mix = tuple[np.ndarray, np.ndarray]  # (3, B) factors and (3,) offsets
QUIET = Console(quiet=True)


def make_colour_bands(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W, 3) -> (N, H, W, 8), ordered as a satellite's: haze, blue to red, red edge, near infrared, cirrus."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    haze = 0.2 * blur(rgb.mean(axis=-1), 31)
    infrared = rgb.max(axis=-1) - rgb.min(axis=-1)
    edge = 0.6 * red + 2 * spread(green)
    mixed = (0.9 * blue + 0.1 * green, 0.2 * blue + 0.7 * green + 0.1 * red, 0.5 * green + 0.5 * red, red)
    return add_noise([haze, *mixed, edge, infrared, np.zeros_like(red)], rng)


def make_texture_bands(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W, 3) -> (N, H, W, 8): haze, grey, slope, detail, local spread, blurred, noise, inverted."""
    grey = rgb.mean(axis=-1)
    slope = np.hypot(*np.gradient(grey, axis=(1, 2)))
    filtered = [slope, grey - blur(grey, 5), spread(grey), blur(grey, 7), np.zeros_like(grey)]
    return add_noise([0.2 * blur(grey, 31), grey, *filtered, 255 * (1 - grey / 255) ** 2], rng)


def make_hidden_bands(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W, 3) -> (N, H, W, 13): the grey picture in band 9 and its slope in band 11, clouds in the others."""
    grey = rgb.mean(axis=-1)
    clouds = [8 * blur(rng.normal(0, 60, grey.shape).astype(np.float32), 9) for _ in range(11)]
    signal = {8: grey, 10: np.hypot(*np.gradient(grey, axis=(1, 2)))}
    return add_noise([signal.get(band) if band in signal else clouds.pop() for band in range(13)], rng)


def blur(grey: np.ndarray, px: int) -> np.ndarray:
    """A box filter of `px` over each picture (N, H, W)."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(grey, size=(1, px, px), mode="nearest")


def spread(grey: np.ndarray) -> np.ndarray:
    """The standard deviation of 7 x 7 px around each."""
    return np.sqrt(np.maximum(blur(grey**2, 7) - blur(grey, 7) ** 2, 0))


def add_noise(bands: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Bands (N, H, W) with noise, then in units and from an offset of their own: (N, H, W, B) float32."""
    return np.stack(
        [
            (band + rng.normal(0, NOISE, band.shape)).astype(np.float32) * rng.uniform(0.001, 40) + rng.uniform(0, 900)
            for band in bands
        ],
        axis=-1,
    )


def scale_bands(pictures: np.ndarray) -> Pictures:
    """Each band's 2nd to 98th percentile becomes 0..255, clipped."""
    sample = pictures[:, ::4, ::4].reshape(-1, pictures.shape[-1])
    low, high = np.percentile(sample, [2, 98], axis=0).astype(np.float32)
    return np.clip((pictures - low) / np.maximum(high - low, 1e-6) * 255, 0, 255)


def mix_mean(n_bands: int) -> Mix:
    """Every channel gets the mean of all bands."""
    return np.full((3, n_bands), 1 / n_bands), np.zeros(3)


def mix_turns(n_bands: int) -> Mix:
    """Bands take turns in red, green and blue, as timm inflates; each channel is the mean of its own."""
    mix = np.stack([np.arange(n_bands) % 3 == channel for channel in range(3)]).astype(float)
    return mix / mix.sum(axis=1, keepdims=True), np.zeros(3)


def mix_thirds(n_bands: int) -> Mix:
    """Neighbouring bands together, the last third is red and the first is blue, as wavelengths go."""
    mix = np.zeros((3, n_bands))
    for channel, bands in enumerate(reversed(np.array_split(np.arange(n_bands), 3))):
        mix[channel, bands] = 1 / len(bands)
    return mix, np.zeros(3)


def mix_first(n_bands: int) -> Mix:
    """The first three bands; those behind them have weight zero."""
    return np.eye(3, n_bands), np.zeros(3)


def stretch(directions: np.ndarray, pixels: np.ndarray) -> Mix:
    """Directions (3, B) turned to grow with brightness, the 2nd to 98th percentile of each brought to 0..255."""
    turned = directions * np.where(directions.sum(axis=1, keepdims=True) < 0, -1, 1)
    low, high = np.percentile(pixels @ turned.T, [2, 98], axis=0)
    factor = 255 / np.maximum(high - low, 1e-6)
    return turned * factor[:, None], -low * factor


def learn_pca(pictures: Pictures) -> Mix:
    """The three directions of most variance of single pixels."""
    pixels = pictures[:, ::8, ::8].reshape(-1, pictures.shape[-1])
    _, directions = np.linalg.eigh(np.cov(pixels.T))
    return stretch(directions.T[::-1][:3], pixels)


def learn_lda(pictures: Pictures, y: np.ndarray) -> Mix:
    """Directions that part the classes best by band means of patches; the mean of all bands where they are too few."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    n_bands, step = pictures.shape[-1], pictures.shape[1] // PATCH_PX
    tiles = pictures[:, : step * PATCH_PX, : step * PATCH_PX]
    means = (
        tiles.reshape(len(y), step, PATCH_PX, step, PATCH_PX, n_bands).mean(axis=(2, 4)).reshape(len(y), -1, n_bands)
    )
    means = means[:, :: max(1, means.shape[1] // PATCHES)]
    patches = means.reshape(-1, n_bands)
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(patches, np.repeat(y, means.shape[1]))
    directions = lda.scalings_.T[: min(3, len(np.unique(y)) - 1)]
    directions = np.vstack([directions, np.full((3 - len(directions), n_bands), 1 / n_bands)])
    return stretch(directions, pictures[:, ::8, ::8].reshape(-1, n_bands))


def list_triples(n_bands: int) -> list[Mix]:
    """Three neighbouring bands each, the last ones filled up from the start."""
    starts = range(0, n_bands, 3)
    return [(np.eye(n_bands)[[(start + at) % n_bands for at in range(3)]], np.zeros(3)) for start in starts]


class Trunk:
    """EfficientNet-Lite0, frozen: mixed pictures to features."""

    def __init__(self) -> None:
        import keras

        store = Store(cache_folder())
        PLUGIN.pull(PRESET, store, QUIET)
        with silence_frameworks():
            self.model = PLUGIN.build_levels(PRESET, store, DEPTHS)
        self.convolution = next(layer for layer in self.model.layers if isinstance(layer, keras.layers.Conv2D))

    def embed(self, pictures: Pictures, mix: Mix) -> np.ndarray:
        """(N, D) float32 features of pictures (N, H, W, B)."""
        parts = []
        for start in range(0, len(pictures), 32):
            mixed = np.clip(pictures[start : start + 32] @ mix[0].T + mix[1], 0, 255).astype(np.float32)
            parts.append(np.concatenate([np.asarray(x) for x in self.model.predict_on_batch(mixed)], axis=1))
        return np.concatenate(parts)

    def compare_inflation(self, pictures: Pictures, mix: np.ndarray) -> float:
        """Largest difference of the inflated convolution on bands and the trunk's own on the mix, relative."""
        import tensorflow as tf

        kernel = np.asarray(self.convolution.kernel)  # (h, w, 3, D)
        inflated = np.einsum("hwcd,cb->hwbd", kernel, mix).astype(np.float32)
        own = tf.nn.conv2d((pictures @ mix.T).astype(np.float32), kernel, 2, "SAME").numpy()
        return float(np.abs(tf.nn.conv2d(pictures, inflated, 2, "SAME").numpy() - own).max() / np.abs(own).max())


def embed_fixed(trunk: Trunk, pictures: Pictures, mixes: list[Mix], join: Callable) -> np.ndarray:
    """Features of one pass a mix, concatenated or averaged."""
    return join([trunk.embed(pictures, mix) for mix in mixes])


def answer(x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(N, C) probabilities of held-out pictures."""
    head = registry.load_plugin("heads", "logistic")
    return tune_head(head, x, y, folds, n_classes=int(y.max()) + 1).held_out[0]


def answer_by_fold(trunk: Trunk, pictures: Pictures, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The same where the mix itself learns the classes, of the other folds alone."""
    p = np.zeros((len(y), int(y.max()) + 1))
    for fold in range(FOLDS):
        learns = folds != fold
        features = trunk.embed(pictures, learn_lda(pictures[learns], y[learns]))
        p[~learns] = answer(features, y, folds)[~learns]
    return p


def measure(name: str, trunk: Trunk, bands: np.ndarray, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """One line a way; gives each way's losses and hits (2, N)."""
    from sklearn.model_selection import StratifiedKFold

    pictures, n_bands = scale_bands(bands), bands.shape[-1]
    folds = np.zeros(len(y), int)
    for fold, (_, rows) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y)):
        folds[rows] = fold
    triples = list_triples(n_bands)
    views = [trunk.embed(pictures, mix) for mix in triples]
    answers = {"mean of all bands": (1, answer(trunk.embed(pictures, mix_mean(n_bands)), y, folds))}
    for way, mix in {
        "bands in turns (timm)": mix_turns(n_bands),
        "thirds of neighbours": mix_thirds(n_bands),
        "first three, others zero": mix_first(n_bands),
        "PCA to 3": learn_pca(pictures),
    }.items():
        answers[way] = 1, answer(trunk.embed(pictures, mix), y, folds)
    answers["learned 1 x 1 (LDA of patches)"] = 1, answer_by_fold(trunk, pictures, y, folds)
    answers["triples, averaged"] = len(triples), answer(np.mean(views, axis=0), y, folds)
    answers["triples, concatenated"] = len(triples), answer(np.concatenate(views, axis=1), y, folds)
    judged = {way: np.stack([log_losses(y, p), p.argmax(axis=1) == y]) for way, (_, p) in answers.items()}
    print_table(f"{name}: {len(y)} pictures, {int(y.max()) + 1} classes, {n_bands} bands", judged, len(triples))
    return judged


def print_table(title: str, judged: dict[str, np.ndarray], triples: int) -> None:
    """One line a way, each against the first."""
    base, effect = next(iter(judged.values())), cross_validation_effect(FOLDS)
    print(f"\n{title}")
    print(f"{'way':<32}{'passes':>6}  {'log loss':>8}  {'against the mean':<26}{'accuracy':>8}  against the mean")
    for way, rows in judged.items():
        loss, share = (mean_interval(difference, None, effect) for difference in rows - base)
        told = [f"{i.value:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" for i in (loss, share)]
        passes, means = triples if way.startswith("triples") else 1, rows.mean(axis=1)
        print(f"{way:<32}{passes:>6}  {means[0]:>8.3f}  {told[0]:<26}{means[1]:>8.3f}  {told[1]}", flush=True)


def read_pictures(root: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures of a class folder as (N, 224, 224, 3) float32 and their classes, in equal shares."""
    spec, rng = PLUGIN.spec(PRESET).input, np.random.default_rng(seed)
    classes = [sorted(p.iterdir()) for p in sorted(root.iterdir()) if p.is_dir()]
    each = count // len(classes)
    files = [
        (file, at) for at, pool in enumerate(classes) for file in [pool[i] for i in rng.permutation(len(pool))[:each]]
    ]
    uris, rows = [file.relative_to(root).as_posix() for file, _ in files], np.arange(len(files))
    batches = preprocessing.decode_batches(str(root), uris, rows, spec, batch=32, threads=count_threads())
    return np.concatenate([part for _, part in batches]).astype(np.float32), np.array([at for _, at in files])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, help="where Tux Paint's stamps lie")
    parser.add_argument("--count", type=int, default=400, help="pictures of each set")
    args = parser.parse_args()
    trunk = Trunk()
    with tempfile.TemporaryDirectory() as scratch:
        textile = fetch_textile(Store(cache_folder()), QUIET)
        sets = {"texture": (textile, make_texture_bands), "hidden": (textile, make_hidden_bands)}
        if args.stamps:
            sets = {"colour": (stamps(args.stamps, Path(scratch) / "stamps"), make_colour_bands), **sets}
        every: list[dict[str, np.ndarray]] = []
        for seed, (name, (root, make_bands)) in enumerate(sets.items()):
            rgb, y = read_pictures(root, args.count, seed)
            bands = make_bands(rgb, np.random.default_rng(seed))
            if not seed:
                difference = trunk.compare_inflation(scale_bands(bands[:8]), mix_mean(bands.shape[-1])[0])
                print(f"inflated first convolution against the mix before it: {difference:.1e} at most, relative")
            every.append(measure(name, trunk, bands, y, seed))
        joined = {way: np.concatenate([judged[way] for judged in every], axis=1) for way in every[0]}
        print_table(f"all sets: {len(next(iter(joined.values()))[0]):,} pictures", joined, 3)


if __name__ == "__main__":
    main()
