"""Small presets of every image family of KerasHub, with weights drawn from a seed, saved as KerasHub saves them."""

import warnings
from pathlib import Path

import numpy as np

SIDE = 64
SCALE, OFFSET = (0.02, 0.021, 0.019), (-2.1, -2.0, -1.9)
_VIT = {"patch_size": 16, "num_layers": 4, "num_heads": 2, "hidden_dim": 32}
_CONV = {"image_shape": (None, None, 3)}
_SHAPE = (SIDE, SIDE, 3)
_MOBILE = {
    "stackwise_expansion": [[40, 56], [64, 144], [72, 72]],
    "stackwise_num_blocks": [2, 2, 2],
    "stackwise_num_filters": [[16, 16], [24, 24], [32, 32]],
    "stackwise_kernel_size": [[3, 3], [5, 5], [3, 3]],
    "stackwise_num_strides": [[2, 1], [2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25], [0.3, 0.3]],
    "stackwise_activation": [["relu"] * 2, ["hard_swish"] * 2, ["hard_swish"] * 2],
    "stackwise_padding": [[1, 1], [2, 2], [1, 1]],
    "output_num_filters": 64,
    "depthwise_filters": 8,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "squeeze_and_excite": 0.5,
    "last_layer_filter": 64,
    "input_num_filters": 16,
    "input_activation": "hard_swish",
    "output_activation": "hard_swish",
}
_EFFICIENT = {
    "stackwise_width_coefficients": [1.0] * 4,
    "stackwise_depth_coefficients": [1.0] * 4,
    "stackwise_kernel_sizes": [3, 3, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 2],
    "stackwise_input_filters": [16, 16, 24, 40],
    "stackwise_output_filters": [16, 24, 40, 48],
    "stackwise_expansion_ratios": [1, 4, 4, 4],
    "stackwise_strides": [1, 2, 2, 2],
    "stackwise_squeeze_and_excite_ratios": [0.25] * 4,
    "stackwise_block_types": ["fused", "unfused", "unfused", "unfused"],
    "stackwise_force_input_filters": [0] * 4,
    "stackwise_nores_option": [False] * 4,
}
_RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 64, 64],
    "stackwise_num_blocks": [1, 1, 2],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "basic_block",
}
_CSP = {
    "stem_filters": 16,
    "stem_kernel_size": 3,
    "stem_strides": 1,
    "stackwise_num_filters": [16, 32, 48, 64],
    "stackwise_strides": [2, 2, 2, 2],
    "stackwise_depth": [1, 1, 1, 1],
    "block_type": "dark_block",
    "stage_type": "csp",
    "expand_ratio": [2.0],
    "stem_padding": "same",
}
_MIT = {
    "layerwise_depths": [1, 1, 1, 1],
    "num_layers": 4,
    "layerwise_num_heads": [1, 2, 2, 2],
    "layerwise_sr_ratios": [8, 4, 2, 1],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3, 3, 3],
    "layerwise_strides": [4, 2, 2, 2],
    "hidden_dims": [16, 32, 32, 64],
}
_HG = {
    "depths": [1, 1, 1, 1],
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 32, 64],
    "stem_channels": [3, 8, 16],
    "hidden_act": "relu",
    "use_learnable_affine_block": True,
    "stackwise_stage_filters": [
        (16, 8, 16, 1, 2, 3),
        (16, 16, 32, 1, 2, 3),
        (32, 16, 32, 1, 2, 5),
        (32, 32, 64, 1, 2, 5),
    ],
    "apply_downsample": [False, True, True, True],
    "use_lightweight_conv_block": [False, False, True, True],
}
_SWIN = {"embed_dim": 16, "depths": (1, 2, 1), "num_heads": (2, 4, 4), "window_size": 4, "patch_size": 4}
_DINO = {"patch_size": 16, "num_layers": 4, "num_heads": 2, "hidden_dim": 32, "num_register_tokens": 2}
_TEXT = {"vocabulary_size": 60, "embedding_dim": 32, "hidden_dim": 32, "num_layers": 1, "num_heads": 2}
_TEXT |= {"intermediate_dim": 64, "max_sequence_length": 8}

# family -> class of KerasHub's, settings, depths of the trunk
FAMILIES = {
    "resnet": ("ResNetBackbone", {**_CONV, **_RESNET, "use_pre_activation": False}, ("stage3", "stage4", "last")),
    "vgg": (
        "VGGBackbone",
        {**_CONV, "stackwise_num_repeats": [1, 1, 1, 2, 2], "stackwise_num_filters": [8, 8, 16, 16, 24]},
        ("stage3", "stage4", "last"),
    ),
    "densenet": (
        "DenseNetBackbone",
        {**_CONV, "stackwise_num_repeats": [1, 1, 1, 2], "growth_rate": 8},
        ("stage3", "stage4", "last"),
    ),
    "efficientnet": ("EfficientNetBackbone", {**_CONV, **_EFFICIENT}, ("stage3", "stage4", "last")),
    "mobilenet": ("MobileNetBackbone", {**_CONV, **_MOBILE}, ("stage3", "stage4", "last")),
    "mit": ("MiTBackbone", {"image_shape": _SHAPE, **_MIT}, ("stage3", "stage4", "last")),
    "vit": ("ViTBackbone", {"image_shape": _SHAPE, **_VIT, "mlp_dim": 64}, ("block1", "block2", "block3", "last")),
    "deit": (
        "DeiTBackbone",
        {"image_shape": _SHAPE, **_VIT, "intermediate_dim": 64},
        ("block1", "block2", "block3", "last"),
    ),
    "swin": ("SwinTransformerBackbone", {"image_shape": _SHAPE, **_SWIN}, ("stage3", "last")),
    "dinov2": (
        "DINOV2Backbone",
        {"image_shape": _SHAPE, **_DINO, "intermediate_dim": 64, "position_embedding_shape": _SHAPE},
        ("block1", "block2", "block3", "last"),
    ),
    "dinov3": (
        "DINOV3Backbone",
        {"image_shape": _SHAPE, **_DINO, "intermediate_dim": 64},
        ("block1", "block2", "block3", "last"),
    ),
    "clip": ("CLIPBackbone", {}, ("block1", "block2", "block3", "last")),
    "siglip": ("SigLIPBackbone", {}, ("block1", "block2", "block3", "last")),
    "cspnet": ("CSPNetBackbone", {**_CONV, **_CSP}, ("stage3", "stage4", "last")),
    "xception": (
        "XceptionBackbone",
        {
            **_CONV,
            "stackwise_conv_filters": [[16, 32], [32, 48], [48, 64], [64, 72]],
            "stackwise_pooling": [True, True, True, False],
        },
        ("stage3", "last"),
    ),
    "hgnet": ("HGNetV2Backbone", {**_CONV, **_HG}, ("stage3", "stage4", "last")),
}


def backbone(family, seed=3):
    """A backbone of KerasHub's, every weight of it drawn anew: none is left at a value that hides a mistake."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Swin's layers build themselves with a warning
        made = _built(family)
    rng = np.random.default_rng(seed)
    for weight in made.weights:
        if "position_ids" in weight.path or "seed" in weight.path:
            continue
        drawn = 0.1 * rng.standard_normal(weight.shape)
        if weight.name in ("gamma", "moving_variance", "lambda1", "scale"):
            drawn = 1 + drawn
        elif len(weight.shape) > 1:
            drawn = drawn * 10 / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(drawn)
    if family == "dinov2":  # saved once, kept twice: as trained, and for the side of the pictures
        made.embeddings.position_embeddings.assign(made.embeddings.interpolated_position_embeddings)
    return made


def _built(family):
    import keras_hub

    models = keras_hub.models
    name, settings, _ = FAMILIES[family]
    if family in ("clip", "siglip"):
        kind = {"clip": "CLIP", "siglip": "SigLIP"}[family]
        tower = {"image_shape": _SHAPE, **_VIT, "intermediate_dim": 64}
        vision = getattr(models, f"{kind}VisionEncoder")(**tower)
        more = {"projection_dim": 32} if family == "siglip" else {}
        text = getattr(models, f"{kind}TextEncoder")(**_TEXT, **more)
        made = getattr(models, name)(vision, text, **({"projection_dim": 24} if family == "clip" else {}))
    else:
        made = getattr(models, name)(**settings)
    return made


def converter():
    """A preprocessor of KerasHub's: to SIDE px, with a scaling of its own."""
    import keras_hub

    return keras_hub.layers.ImageConverter(
        image_size=(SIDE, SIDE), scale=SCALE, offset=OFFSET, interpolation="bilinear"
    )


def save(family, folder: Path, seed=3):
    """A preset folder; gives the backbone in it."""
    made = backbone(family, seed)
    made.save_to_preset(str(folder))
    converter().save_to_preset(str(folder))
    return made


def official(preset):
    """A network of the size of an official preset, with drawn weights, and its side; a small tower reads texts."""
    import keras_hub

    models = keras_hub.models
    if preset == "dinov2_small":
        shape = {"image_shape": (518, 518, 3), "position_embedding_shape": (518, 518)}
        size = {"patch_size": 14, "num_layers": 12, "num_heads": 6, "hidden_dim": 384, "intermediate_dim": 1536}
        return models.DINOV2Backbone(**size, **shape), 518
    size = {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072}
    vision = models.SigLIPVisionEncoder(**size, image_shape=(224, 224, 3))
    text = {**_TEXT, "embedding_dim": 768, "hidden_dim": 768, "num_heads": 12}
    return models.SigLIPBackbone(vision, models.SigLIPTextEncoder(**text, projection_dim=768)), 224


def save_official(preset, folder: Path):
    """A preset folder of the official size and layout, as KerasHub saves it."""
    import keras_hub

    made, side = official(preset)
    made.save_to_preset(str(folder))
    how = {"scale": 1 / 127.5, "offset": -1.0, "interpolation": "bicubic"}
    keras_hub.layers.ImageConverter(image_size=(side, side), **how).save_to_preset(str(folder))


def pictures(count=3, side=SIDE, seed=0):
    """(count, side, side, 3) uint8: slopes with noise on them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    plain = np.stack([255 * x, 255 * y, 128 + 0 * x], -1)
    return np.clip(plain + rng.normal(0, 40, (count, side, side, 3)), 0, 255).astype(np.uint8)
