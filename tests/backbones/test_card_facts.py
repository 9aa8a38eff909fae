"""What a repository says of itself and of its pictures: read as far as it is stated, and no further."""

import pytest
from huggingface_hub import ModelInfo
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.backbones import card_facts
from headstart.backbones.huggingface import hub_api, preprocessor_config
from headstart.backbones.huggingface.hub_api import RepositoryFacts, RepositoryFile
from headstart.core.errors import DataError

MEAN = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def asked(**processor):
    return preprocessor_config.read_preprocessing(processor, {})


# ---------------------------------------------------------------- the card


def test_front_matter_is_read_as_far_as_it_is_flat():
    text = (
        "---\r\nlicense: apache-2.0  # of the weights\ntags:\n- vision\n- 'x y'\ndatasets: [imagenet-1k, \"food101\"]\n"
        "base_model:\n- org/first\nempty:\nmodel-index:\n- name: one\n  results:\n  - task: t\n---\nlicense: mit\n"
    )
    found = card_facts.parse_front_matter(text.replace("\r", ""))
    assert found["license"] == "apache-2.0" and found["tags"] == ["vision", "x y"]
    assert found["datasets"] == ["imagenet-1k", "food101"] and found["base_model"] == ["org/first"]
    assert card_facts.read_card(found).licence == "apache-2.0"
    assert (
        card_facts.parse_front_matter("no front matter\nlicense: mit\n")
        == {}
        == card_facts.parse_front_matter("---\nlicense: mit\n")
    )


@pytest.mark.parametrize(
    ("card", "tags", "licence"),
    [
        ({"license": "apache-2.0"}, ["license:mit"], "apache-2.0"),
        ({}, ["vision", "license:mit"], "mit"),
        ({"license": ["mit", "cc-by-nc-4.0"]}, [], "mit AND cc-by-nc-4.0"),
        ({"license": "other", "license_name": "acme-research"}, [], "other: acme-research"),
        ({"license": "a\x1b[31m\nb"}, [], "a\\x1b[31m b"),
        ({"license": {"id": "mit"}}, ["license:mit"], "mit"),
        ({}, [], "not stated"),
    ],
)
def test_the_licence_is_the_cards_then_the_tags(card, tags, licence):
    assert card_facts.read_card(card, tags).licence == licence


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "supervised"),
        ({"model_type": "dinov2", "architectures": ["Dinov2Model"]}, "self-supervised"),
        (
            {"model_type": "dinov2", "architectures": ["Dinov2ForImageClassification"]},
            "self-supervised, then supervised",
        ),
        ({"model_type": "siglip_vision_model"}, "image-text"),
        ({"model_type": "vit_mae"}, "self-supervised"),
        ({"model_type": "resnet"}, "not stated"),
        ({}, "not stated"),
    ],
)
def test_how_it_was_trained_is_told_by_what_it_is(config, method):
    assert card_facts.read_card({}, [], config).method == method


def test_data_and_domains_are_told_by_names():
    found = card_facts.read_card(
        {"datasets": ["ILSVRC/imagenet-1k"], "base_model": "org/big"}, ["medical", "chest-x-ray"]
    )
    assert found.pretrained_on == "ILSVRC/imagenet-1k; made of org/big"
    assert found.domains == ("photos", "medical")
    by_tags = card_facts.read_card({}, ["dataset:mnist", "base_model:finetune:org/big", 7])
    assert by_tags.pretrained_on == "mnist; made of org/big" and by_tags.domains == ("text",)
    assert card_facts.read_card({}, ["huggingface", "surface"]).domains == ()


def test_a_name_and_a_description_tell_something_too():
    assert card_facts.guess_training("resnet", "resnet_50_imagenet") == ("not stated", ("photos",))
    assert card_facts.guess_training("siglip", "siglip_base", "pre-trained on WebLi.") == ("image-text", ("photos",))
    assert card_facts.guess_training("hgnet", "hgnetv2_b6_in22k_in1k")[1] == ("photos",)


@pytest.mark.parametrize(
    ("name", "value", "prior"),
    [
        ("ImageNet-1k", 81.3, 0.813),
        ("imagenet-1k", 0.75, 0.75),
        ("ILSVRC/imagenet-1k", 0.75, 0.75),
        ("ImageNet", 0.7, 0.7),
        ("Tiny ImageNet", 0.93, None),
        ("mini-imagenet", 0.93, None),
        ("imagenet-100", 0.93, None),
        ("imagenette", 0.99, None),
        ("ImageNet-Sketch", 0.5, None),
        ("ImageNet-V2", 0.7, None),
        ("imagenet-21k", 0.5, None),
        ("cifar10", 0.9, None),
        ("ImageNet-1k", "0.8", None),
        ("ImageNet-1k", 180, None),
    ],
)
def test_published_accuracy_is_taken_of_imagenet_alone(name, value, prior):
    result = {
        "dataset": {"name": name},
        "metrics": [{"type": "loss", "value": 1}, {"type": "accuracy", "value": value}],
    }
    found = card_facts.read_card({"model-index": [{"results": [result]}, "junk"]})
    assert found.prior == pytest.approx(prior) if prior else found.prior is None
    assert bool(found.prior_source) == (prior is not None)


# ---------------------------------------------------------------- the pictures


@pytest.mark.parametrize(
    ("processor", "size_px", "resize", "fraction"),
    [
        ({"size": 224, "image_processor_type": "ViTFeatureExtractor"}, 224, "squash", 0),
        ({"size": {"height": 384, "width": 384}}, 384, "squash", 0),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224, "crop", 0.875),
        ({"size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}, 224, "crop", 1.0),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, 256, "crop", 1.0),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.9, "image_processor_type": "ConvNextImageProcessor"},
            224,
            "crop",
            0.9,
        ),
        ({"size": 384, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"}, 384, "squash", 0),
        (
            {"size": {"shortest_edge": 224}, "crop_size": 224, "image_processor_type": "LevitImageProcessor"},
            224,
            "crop",
            0.875,
        ),
        ({"do_resize": False}, 0, "", 0),
        ({}, 0, "", 0),
    ],
)
def test_sizes_are_read_as_each_processor_means_them(processor, size_px, resize, fraction):
    found = asked(**processor)
    assert (found.size_px, found.resize, found.crop_fraction) == (size_px, resize, fraction)
    assert bool(found.notes) == (processor.get("do_center_crop") is False)


def test_what_is_only_nearly_so_is_said():
    deit = asked(size=256, crop_size=224, resample=1)
    assert (deit.size_px, deit.crop_fraction, deit.interpolation) == (224, 0.875, "bicubic")
    assert "`lanczos`" in deit.notes[0] and "squashed to 256 px" in deit.notes[1]


def test_pictures_that_are_no_squares_are_cut_aloud():
    plain = asked(size={"shortest_edge": 224}, do_center_crop=False)
    assert (plain.size_px, plain.resize) == (224, "crop") and "the middle is cut out" in plain.notes[0]
    assert not asked(size={"shortest_edge": 224}, do_center_crop=True, crop_size=224).notes


def test_a_name_with_a_colon_is_an_item():
    card = card_facts.parse_front_matter("---\ndatasets:\n- a/b:c\n- d: e\n---\n")
    assert card_facts.read_card(card).pretrained_on == "a/b:c"


@pytest.mark.parametrize("head", ["a: [1", "- a", "a: !!python/object/apply:os.system [ls]", "a: \x00"])
def test_a_head_that_is_no_plain_yaml_says_nothing(head):
    assert card_facts.parse_front_matter(f"---\n{head}\n---\n") == {}


def test_scaling_is_in_our_order():
    plain = asked(**MEAN)
    assert plain.scale == pytest.approx(1 / 255) and plain.mean == (0.485, 0.456, 0.406)
    assert asked(**MEAN, do_normalize=False, rescale_factor=0.5).mean == (0.0, 0.0, 0.0)
    assert asked(**MEAN, do_normalize=False, rescale_factor=0.5).scale == 0.5
    assert asked(do_rescale=False, image_mean=127, image_std=128).scale == 1.0
    signed = asked(rescale_factor=1 / 127.5, rescale_offset=True, image_mean=0.0, image_std=1.0)
    assert signed.mean == (1.0, 1.0, 1.0)
    twice = asked(image_mean=0.5, image_std=0.5, include_top=True)
    assert twice.std == (0.25, 0.25, 0.25)
    turned = asked(do_flip_channel_order=True, size={"shortest_edge": 288}, crop_size=256)
    assert (turned.channels, turned.mean, turned.scale) == ("bgr", (0.0, 0.0, 0.0), pytest.approx(1 / 255))
    assert asked(size=224).scale is None


def test_timm_says_it_in_its_config():
    cfg = {
        "input_size": [3, 240, 240],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    found = preprocessor_config.read_preprocessing({}, {"architecture": "x", "pretrained_cfg": cfg})
    assert (found.size_px, found.resize, found.crop_fraction, found.interpolation) == (240, "crop", 0.9, "bicubic")
    assert found.scale == pytest.approx(1 / 255) and found.std == (0.5, 0.5, 0.5)
    assert (
        preprocessor_config.read_preprocessing({}, {"pretrained_cfg": cfg | {"crop_mode": "squash"}}).resize == "squash"
    )


@pytest.mark.parametrize(
    "processor",
    [
        {"size": {"height": 224, "width": 256}},
        {"size": [224, 256]},
        {"size": "224"},
        {"size": {"shortest_edge": 10**9}},
        {"size": 224, "crop_size": {"shortest_edge": -1}},
        {"size": {"shortest_edge": 224}, "crop_size": 256},
        {"image_mean": [0.5, 0.5], "image_std": 1},
        {"image_mean": "x", "image_std": 1},
        {"image_mean": 0, "image_std": 0},
        {"image_mean": float("nan"), "image_std": 1},
        {**MEAN, "rescale_factor": 0},
    ],
)
def test_what_no_picture_can_be_made_into_is_refused(processor):
    with pytest.raises(DataError):
        preprocessor_config.read_preprocessing(processor, {})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["CLIPImageProcessor", "x", "squash"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["height", "shortest_edge"]), inner),
    max_leaves=4,
)
_FIELDS = st.sampled_from(
    [
        *("size", "crop_size", "crop_pct", "image_mean", "image_std", "rescale_factor", "image_processor_type"),
        *("do_resize", "do_normalize", "do_center_crop", "resample", "input_size", "mean", "std"),
    ]
)


@settings(max_examples=60)
@given(st.dictionaries(_FIELDS, _JSON), st.booleans())
@example({"image_processor_type": "CLIPImageProcessor"}, False)
@example({"size": {"shortest_edge": 0}, "crop_size": 8}, False)
@example({"image_mean": 10**400, "image_std": 1}, False)
def test_whatever_is_stated_is_read_or_refused(facts, timm):
    try:
        found = (
            preprocessor_config.read_preprocessing({}, {"pretrained_cfg": facts})
            if timm
            else preprocessor_config.read_preprocessing(facts, {})
        )
    except DataError:
        return
    assert 0 <= found.size_px <= 4096 and 0 <= found.crop_fraction <= 1 and all(found.std)


def test_files_are_read_from_the_answer_with_care():
    lfs = {"sha256": "A" * 64, "size": -1, "pointerSize": 1}
    info = ModelInfo(id="a/b", siblings=[{"rfilename": "a", "size": 3}, {"rfilename": "b", "lfs": lfs}])
    facts = hub_api.read_model_info(info)
    assert facts.files == {"a": RepositoryFile(bytes=3), "b": RepositoryFile()} and facts.commit == ""
    assert hub_api.read_model_info(ModelInfo(id="a/b", sha="x", config="y", tags=[7])) == RepositoryFacts()
