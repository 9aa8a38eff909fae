"""Write `src/headstart/backbones/sources/keras_applications.json`: everything known of keras.applications without
Keras.

    python -m benchmarks.keras_applications_table

Sizes, operations, widths and file names are measured on the models themselves, built with random weights; the
addresses and checksums are those that Keras would fetch; top-1 accuracy and licences are copied from documentation.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "src/headstart/backbones/sources/keras_applications.json"
KERAS_TABLE = "ImageNet top-1, table of keras.applications' documentation"
KERAS_V3 = "ImageNet top-1, docstring of keras.applications' MobileNetV3"
IMAGENET = "ImageNet-1k, classification"
IMAGENET_21K = "ImageNet-21k, then ImageNet-1k, classification"

CAFFE = {"channels": "bgr", "mean": [103.939, 116.779, 123.68]}
TF = {"mean": [127.5] * 3, "std": [127.5] * 3}
TORCH = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
INSIDE = {}  # the network scales by itself

VGG = ("CC-BY-4.0", "released by the Visual Geometry Group at Oxford under Creative Commons Attribution")
RESNET = ("MIT", "ported from the weights that Kaiming He released under MIT")
OWN = ("MIT", "trained by the author of Keras, released under MIT")
TENSORFLOW = ("Apache-2.0", "ported from the TensorFlow models, released under Apache-2.0")
DENSE = ("BSD-3-Clause", "ported from the weights that the authors released under BSD-3-Clause")
NEXT = ("MIT", "ported from the ConvNeXt repository, whose code is under MIT")

# preset: class, family, side, scaling, inner depths (layer names, or strides), top-1, licence
SUMS = (8, 16)  # the last sum of a residual branch at 1/8 and at 1/16 of the input side
PRESETS = {
    "vgg16": ("VGG16", "vgg", 224, CAFFE, ("block3_conv3", "block4_conv3", "block5_conv3"), 0.713, VGG),
    "vgg19": ("VGG19", "vgg", 224, CAFFE, ("block3_conv4", "block4_conv4", "block5_conv4"), 0.713, VGG),
    "resnet50": ("ResNet50", "resnet", 224, CAFFE, ("conv3_block4_out", "conv4_block6_out"), 0.749, RESNET),
    "resnet101": ("ResNet101", "resnet", 224, CAFFE, ("conv3_block4_out", "conv4_block23_out"), 0.764, RESNET),
    "resnet152": ("ResNet152", "resnet", 224, CAFFE, ("conv3_block8_out", "conv4_block36_out"), 0.766, RESNET),
    "resnet50_v2": ("ResNet50V2", "resnet_v2", 224, TF, SUMS, 0.760, TENSORFLOW),
    "resnet101_v2": ("ResNet101V2", "resnet_v2", 224, TF, SUMS, 0.772, TENSORFLOW),
    "resnet152_v2": ("ResNet152V2", "resnet_v2", 224, TF, SUMS, 0.780, TENSORFLOW),
    "inception_v3": ("InceptionV3", "inception", 299, TF, ("mixed2", "mixed7"), 0.779, OWN),
    "inception_resnet_v2": (
        "InceptionResNetV2",
        "inception",
        299,
        TF,
        ("block35_10_ac", "block17_20_ac"),
        0.803,
        TENSORFLOW,
    ),
    "xception": ("Xception", "xception", 299, TF, SUMS, 0.790, OWN),
    "mobilenet": ("MobileNet", "mobilenet", 224, TF, ("conv_pw_5_relu", "conv_pw_11_relu"), 0.704, TENSORFLOW),
    "mobilenet_v2": ("MobileNetV2", "mobilenet", 224, TF, ("block_5_add", "block_12_add"), 0.713, TENSORFLOW),
    "mobilenet_v3_small": ("MobileNetV3Small", "mobilenet", 224, INSIDE, SUMS, 0.681, TENSORFLOW),
    "mobilenet_v3_large": ("MobileNetV3Large", "mobilenet", 224, INSIDE, SUMS, 0.756, TENSORFLOW),
    "densenet121": (
        "DenseNet121",
        "densenet",
        224,
        TORCH,
        ("conv3_block12_concat", "conv4_block24_concat"),
        0.750,
        DENSE,
    ),
    "densenet169": (
        "DenseNet169",
        "densenet",
        224,
        TORCH,
        ("conv3_block12_concat", "conv4_block32_concat"),
        0.762,
        DENSE,
    ),
    "densenet201": (
        "DenseNet201",
        "densenet",
        224,
        TORCH,
        ("conv3_block12_concat", "conv4_block48_concat"),
        0.773,
        DENSE,
    ),
}
for name, side, top1 in zip(
    range(8),
    (224, 240, 260, 300, 380, 456, 528, 600),
    (0.771, 0.791, 0.801, 0.816, 0.829, 0.836, 0.840, 0.843),
    strict=True,
):
    PRESETS[f"efficientnet_b{name}"] = (
        f"EfficientNetB{name}",
        "efficientnet",
        side,
        INSIDE,
        SUMS,
        top1,
        TENSORFLOW,
    )
for name, side, top1 in (
    ("b0", 224, 0.787),
    ("b1", 240, 0.798),
    ("b2", 260, 0.805),
    ("b3", 300, 0.820),
    ("s", 384, 0.839),
    ("m", 480, 0.853),
    ("l", 480, 0.857),
):
    PRESETS[f"efficientnet_v2_{name}"] = (
        f"EfficientNetV2{name.upper()}",
        "efficientnet_v2",
        side,
        INSIDE,
        SUMS,
        top1,
        TENSORFLOW,
    )
for name, top1 in (("Tiny", 0.813), ("Small", 0.823), ("Base", 0.853), ("Large", 0.863), ("XLarge", 0.867)):
    PRESETS[f"convnext_{name.lower()}"] = (f"ConvNeXt{name}", "convnext", 224, INSIDE, SUMS, top1, NEXT)
PRESETS["nasnet_mobile"] = (
    "NASNetMobile",
    "nasnet",
    224,
    TF,
    ("normal_concat_3", "normal_concat_8"),
    0.744,
    TENSORFLOW,
)
PRESETS["nasnet_large"] = ("NASNetLarge", "nasnet", 331, TF, ("normal_concat_5", "normal_concat_12"), 0.825, TENSORFLOW)
EXTRA_SCALE = "efficientnet_b"  # Keras adds a scaling only with weights="imagenet"; see the module


def official(make) -> dict[str, str]:
    """File name, address and checksum that Keras would fetch: its fetch function is stopped at the door."""
    from keras.src.utils import file_utils

    class Stop(Exception):
        pass

    def caught(fname, origin, cache_subdir="models", file_hash="", md5_hash="", **ignored):
        raise Stop({"file": fname, "url": origin, "md5": file_hash or md5_hash or ""})

    fetch, file_utils.get_file = file_utils.get_file, caught
    try:
        make(weights="imagenet", include_top=False)
    except Stop as found:
        return found.args[0]
    finally:
        file_utils.get_file = fetch
    raise AssertionError("Keras fetched nothing")


def official_file(model, path: Path) -> Path:
    """Write weights in the layout of Keras' own files, which is older than `.weights.h5`."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def flops(model) -> int:
    """Two operations a multiply-add of every convolution and dense layer, for one picture."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            total += flops(layer)
            continue
        places = int(np.prod([n or 1 for n in layer.output.shape[1:-1]])) if hasattr(layer, "output") else 0
        if isinstance(layer, keras.layers.SeparableConv2D):
            total += (
                2 * places * (int(np.prod(layer.depthwise_kernel.shape)) + int(np.prod(layer.pointwise_kernel.shape)))
            )
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            total += 2 * places * int(np.prod(layer.kernel.shape))
    return total


def inner(model, given: str | int, name: str) -> dict:
    """One inner depth: a layer's name as given, or the last sum before the side falls below input / `given`."""
    from headstart.backbones.sources.keras_applications import find_map

    where: str | dict = given if isinstance(given, str) else {"kind": "Add", "side": _side(model, given)}
    return {"name": name, "layer": where, "dim": find_map(model, where).shape[-1]}


def _side(model, stride: int) -> int:
    shapes = [op.output.shape for op in model.operations if type(op).__name__ == "Add"]
    wanted = model.input.shape[1] / stride
    return min({shape[1] for shape in shapes if len(shape) == 4}, key=lambda side: abs(side - wanted))


def row(preset: str) -> dict:
    """Everything about one preset."""
    import keras

    name, family, side, scaling, depths, top1, (licence, note) = PRESETS[preset]
    make = getattr(keras.applications, name)
    keras.backend.clear_session()
    model = make(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3))
    with tempfile.TemporaryDirectory() as folder:
        size = official_file(model, Path(folder) / "weights.h5").stat().st_size
    kind = "block" if family == "vgg" else "stage"
    rows = [inner(model, given, f"{kind}{number}") for number, given in enumerate(depths, start=3)]
    found = official(make)
    return {
        "class": name,
        "family": family,
        "side": side,
        "scaling": scaling,
        "depths": [*rows, {"name": "last", "layer": "", "dim": model.output.shape[-1]}],
        "params": model.count_params(),
        "flops": flops(model),
        "bytes": round(size, -5),
        **found,
        "top1": top1,
        "top1_source": KERAS_V3 if "v3" in preset and "mobilenet" in preset else KERAS_TABLE,
        "pretrained_on": IMAGENET_21K if preset in ("convnext_base", "convnext_large", "convnext_xlarge") else IMAGENET,
        "licence": licence,
        "licence_note": note,
        "stem": "stem_conv" if preset.startswith(EXTRA_SCALE) else "",
    }


def main() -> None:
    """Write the table."""
    table = {}
    for preset in PRESETS:
        table[preset] = row(preset)
        print(
            preset,
            table[preset]["params"],
            f"{table[preset]['flops'] / 1e9:.2f} GFLOP",
            [(d["layer"], d["dim"]) for d in table[preset]["depths"]],
            table[preset]["file"],
            flush=True,
        )
    TARGET.write_text(json.dumps(table, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
