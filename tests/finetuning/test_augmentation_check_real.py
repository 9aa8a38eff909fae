"""Auditions by a real trunk on real pictures: handwriting faces one way, cloth does not."""

import dataclasses
import re
import time

import numpy as np
import pytest
from PIL import Image

from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.settings import INFERENCE_BATCH
from headstart.finetuning.inputs.augmentation_check import MOST, find_safe_domain
from headstart.finetuning.search import augmentation_choice
from headstart.images import preprocessing
from small_nets import classes

MIRRORED = "mirroring left and right"
N = 48


@pytest.fixture(scope="module")
def lite(shared_store, textile):
    """Pictures (n, S, S, 3) uint8 -> features of the inner depths of Lite0 with its ImageNet weights; its input."""
    found = loading.find_backbone("bundled:efficientnet_lite0")
    some = [
        preprocessing.decode_picture(f.read_bytes(), found.spec.input)
        for f in sorted((textile / "local").glob("*.jpg"))[:8]
    ]
    engine = loading.load_engine(found, shared_store, Console(quiet=True), np.stack(some), threads=2)

    def features(seen):
        batches = ((at, seen[at : at + INFERENCE_BATCH]) for at in range(0, len(seen), INFERENCE_BATCH))
        return np.concatenate([np.concatenate(out[:-1], axis=1) for _, out in engine.run(batches)])

    return features, found.spec.input


def costs(why):
    """Words of each change that the sentence tells -> least log loss that it costs, for certain."""
    return {words: float(low) for words, low in re.findall(r"([a-z][\w ]+) [-+][\d.]+ \[([-+][\d.]+), ", why)}


@pytest.mark.medium
def test_a_written_two_is_not_its_mirror_image(lite):
    """Handwritten twos (scikit-learn's digits) against mirrored ones: which way it faces is all that differs."""
    from sklearn.datasets import load_digits

    features, spec = lite
    known, y = load_digits(), np.arange(N) % 2
    twos = (known.images[known.target == 2][:N] * 15).astype(np.uint8)
    size = (spec.size_px, spec.size_px)
    drawn = [Image.fromarray(two[:, ::-1] if label else two) for two, label in zip(twos, y, strict=True)]
    x = np.stack([np.asarray(one.resize(size, Image.Resampling.BILINEAR).convert("RGB")) for one in drawn])
    found = find_safe_domain(features, x, y, objective=classes(2))
    assert found.domain == "digits"
    assert costs(found.why)[MIRRORED] > 0.03


@pytest.mark.medium
def test_cloth_is_its_mirror_image(lite, textile):
    features, spec = lite
    folders = sorted(p for p in textile.iterdir() if p.is_dir())
    files = [f for folder in folders for f in sorted(folder.glob("*.jpg"))[: N // 3]]
    x = np.stack([preprocessing.decode_picture(f.read_bytes(), spec) for f in files])
    found = find_safe_domain(features, x, np.repeat(np.arange(3), N // 3), objective=classes(3))
    assert found.domain == "texture"
    assert costs(found.why).get(MIRRORED, 0.0) <= 0


def test_what_a_head_knows_by_chance_is_not_listened_to():
    """Classes drawn by lot: now and then a head looks better than guessing, and no change could make it worse."""
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    for seed in (2, 7, 44):  # of the first 60 those that look like knowledge
        y = np.random.default_rng(seed).permutation(60) % 2
        found = find_safe_domain(lambda seen: x, np.zeros((60, 4, 4, 3), np.uint8), y, objective=classes(2))
        assert found.domain == "digits"
        assert "too little to tell" in found.why


def test_less_time_means_fewer_pictures_and_a_recipe_has_no_bound(context):
    backbone, settings = "bundled:efficientnet_lite0", {"strategy": "auto", "backbones": "efficientnet_lite0"}
    early = context(budget="1h", **settings)
    late = dataclasses.replace(early, started=time.monotonic() - 0.99 * 3600)
    assert augmentation_choice.count_affordable(backbone, early) == MOST
    assert augmentation_choice.count_affordable(backbone, late) < 40
    given = context(budget="1s", name="b", recipe="epochs=1", **settings)
    assert augmentation_choice.count_affordable(backbone, given) == MOST
