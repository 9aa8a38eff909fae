"""Write `src/headstart/backbones/sources/keras_hub.json`: the image presets that the installed KerasHub names.

    python -m benchmarks.keras_hub_table

Names, descriptions, handles and numbers of weights are KerasHub's own; a licence is stated only where the publisher of
the weights states one for the family, and where that was read is told.
"""

import json
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src/headstart/backbones/sources/keras_hub.json"
UNKNOWN = ("unknown: KerasHub states none", "KerasHub's presets carry no licence")
APACHE = ("Apache-2.0", "as Google's model cards state it; KerasHub's presets carry no licence")

# class of backbone -> family, licence of the published weights, with where it is stated
FAMILIES = {
    "ResNetBackbone": ("resnet", UNKNOWN),
    "VGGBackbone": ("vgg", UNKNOWN),
    "DenseNetBackbone": ("densenet", UNKNOWN),
    "EfficientNetBackbone": ("efficientnet", UNKNOWN),
    "MobileNetBackbone": ("mobilenet", UNKNOWN),
    "MiTBackbone": (
        "mit",
        ("NVIDIA Source Code License for SegFormer", "for research and evaluation only, not for commercial use"),
    ),
    "ViTBackbone": ("vit", APACHE),
    "DeiTBackbone": ("deit", UNKNOWN),
    "SwinTransformerBackbone": ("swin", UNKNOWN),
    "DINOV2Backbone": ("dinov2", ("Apache-2.0", "as Meta's repository of DINOv2 states it")),
    "DINOV3Backbone": ("dinov3", ("DINOv3 License", "Meta's own terms, with limits on use")),
    "SigLIPBackbone": ("siglip", APACHE),
    "CLIPBackbone": ("clip", UNKNOWN),
    "MetaCLIP2Backbone": ("metaclip2", UNKNOWN),
    "CSPNetBackbone": ("cspnet", UNKNOWN),
    "XceptionBackbone": ("xception", UNKNOWN),
    "HGNetV2Backbone": ("hgnet", UNKNOWN),
}
OTHERWISE = {  # presets of another publisher than the rest of their family
    "medsiglip_900m_448": UNKNOWN,
}


def main() -> None:
    """Write the table."""
    import keras_hub

    table = {}
    for kind, (family, licence) in FAMILIES.items():
        for name, facts in getattr(keras_hub.models, kind).presets.items():
            stated, note = OTHERWISE.get(name, licence)
            table[name] = {
                "family": family,
                "description": " ".join(facts["metadata"]["description"].split()),
                "params": facts["metadata"]["params"],
                "handle": facts["kaggle_handle"],
                "licence": stated,
                "licence_note": note,
            }
    TARGET.write_text(json.dumps(table, indent=1) + "\n", encoding="ascii")
    print(f"{len(table)} presets of KerasHub {keras_hub.__version__}")


if __name__ == "__main__":
    main()
