"""Weights files in the layout of Keras' official ones, which tests write themselves: nothing can be downloaded here."""

import warnings
from unittest import mock

import numpy as np

from headstart.backbones.sources.keras_applications import PLUGIN, _read_table
from headstart.networks import random_init

# Of keras.applications; `test_families_end_to_end.py` takes every one from its file to features.
ONE_OF_EACH_KIND = ["vgg16", "resnet50", "resnet50_v2", "inception_v3", "inception_resnet_v2", "xception", "mobilenet"]
ONE_OF_EACH_KIND += ["mobilenet_v2", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "efficientnet_v2_b0"]
ONE_OF_EACH_KIND += ["convnext_tiny", "nasnet_mobile"]

# Family -> the module of keras.applications that says how pictures are scaled.
PREPROCESS = {
    "vgg": "vgg16",
    "resnet": "resnet50",
    "resnet_v2": "resnet_v2",
    "inception": "inception_v3",
    "xception": "xception",
    "mobilenet": "mobilenet",
    "densenet": "densenet",
    "efficientnet": "efficientnet",
    "efficientnet_v2": "efficientnet_v2",
    "convnext": "convnext",
    "nasnet": "nasnet",
}


def write(preset, folder, seed=5):
    """Write the official file of a preset of keras.applications, without the classifier, under its official name.

    Kernels are drawn as those of a random twin, so that signals neither die nor explode. Nothing is left at 0 or 1,
    where a file that was not read would not show.

    Returns:
        The file.
    """
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    row, side = _read_table()[preset], PLUGIN.spec(preset).input.size_px
    make = getattr(keras.applications, row["class"])
    model = make(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3))
    random_init.fill_random(model, seed)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        if "variance" in name or "gamma" in name:
            weight.assign(rng.uniform(0.8, 1.2, weight.shape))
        elif len(weight.shape) == 1 and "count" not in name:
            weight.assign(0.1 * rng.standard_normal(weight.shape))
        elif len(weight.shape) > 1 and row["class"].startswith(("EfficientNetB", "MobileNetV3")):
            weight.assign(weight * 2**0.5)  # swish and its gates let half of a random signal through
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / row["file"], "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras' writer and NumPy 2; only tests write
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return folder / row["file"]


def preprocess_as_keras(preset, pictures):
    """Pictures (n, H, W, 3) float32 0..255, scaled as the documentation of Keras says for a preset."""
    import keras

    module = "mobilenet_v3" if preset.startswith("mobilenet_v3") else PREPROCESS[_read_table()[preset]["family"]]
    return getattr(keras.applications, module).preprocess_input(pictures)


def answer_as_keras(preset, file, pictures):
    """(n, D) pooled features of uint8 pictures (n, H, W, 3) by the model that Keras makes of a file it has fetched.

    It is asked by the word `imagenet`: with a file's path instead, Keras would leave out EfficientNet's second scaling.
    """
    import keras
    from keras.src.utils import file_utils

    from small_nets import answer

    make = getattr(keras.applications, _read_table()[preset]["class"])
    with mock.patch.object(file_utils, "get_file", lambda *words, **options: str(file)):
        by_word = make(weights="imagenet", include_top=False, pooling="avg", input_shape=pictures.shape[1:])
    return answer(by_word, preprocess_as_keras(preset, pictures.astype(np.float32)))
