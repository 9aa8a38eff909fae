"""Trunks that are adapted to another domain, by the command line: what is printed, what is resumed, what is claimed.

Drawn stripes, and others under a paler and tinted camera; a small network, in processes of its own.
"""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from command_line import call, differing
from drawn_pictures import write_stripes
from network_files import tiny_keras

pytestmark = pytest.mark.slow
NOISE = re.compile(r"tensorflow|retracing|Traceback|WARNING|Warning:|cuda|oneDNN|absl|^[IWEF]0000", re.MULTILINE)
COUNT, LABELLED = 40, 12  # pictures a class, and of these with a label in the new domain
COMMON = ("--backbones", "saved_file:tiny", "--folds", "2", "--repeats", "1")
TRAINED = ("--strategy", "finetune", "--recipe", "epochs=2,batch=16", "--adaptation", "adabn,mmd")


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """The labelled pictures and the new ones; the network is in the cache."""
    root = tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(root / "cache"))
        tiny_keras(root / "tiny.keras")
        call("backbones", "add", root / "tiny.keras", light=False)
        for folder in sorted(write_stripes(root / "drawn", 2 * COUNT).iterdir()):
            for number, path in enumerate(sorted(folder.glob("*.png"))):
                place = f"target/labelled/{folder.name}" if number < LABELLED else "target"
                place = root / (place if number < COUNT else f"source/{folder.name}")
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place / f"{folder.name}_{number:02}.png")
        for path in (root / "target").rglob("*.png"):
            pixels = np.asarray(Image.open(path)) * np.array([0.4, 0.3, 0.25]) + np.array([0, 40, 80])
            Image.fromarray(pixels.astype(np.uint8)).save(path)
        yield root / "source", root / "target"


def test_a_finetuning_fit_prints_nothing_of_its_frameworks_and_says_what_is_not_known(domains, tmp_path):
    source, target = domains
    unlabeled, run = tmp_path / "unlabeled", tmp_path / "run"
    shutil.copytree(target, unlabeled, ignore=shutil.ignore_patterns("labelled"))
    stdout, stderr = call("fit", source, "--unlabeled", unlabeled, *COMMON, *TRAINED, "--out", run, light=False)
    assert NOISE.findall(stderr) == [] and NOISE.findall(stdout) == []
    assert "warning: adabn: left out: the network has learnt all labelled pictures" in stderr
    assert "mmd:saved_file:tiny: adapted to" in stderr and "adabn:saved_file" not in stderr
    assert "\nnew domain: " in stdout and "it need not hold in the new one" in stdout
    answer, _ = call("predict", run, next(unlabeled.glob("*.png")), "--format", "jsonl")
    assert set(json.loads(answer)["probabilities"]) == {"across", "along", "aslant"}


def test_labels_of_the_new_domain_judge_an_adapted_trunk_and_its_head_is_written_once(domains, tmp_path):
    source, target = domains
    run, cut = tmp_path / "run", tmp_path / "cut"
    words = ("fit", source, "--unlabeled", target, *COMMON, "--adaptation", "adabn", "--target-labels", "learn")
    stdout, _ = call(*words, "--out", run, light=False)
    assert f"new domain: the model is adapted to {3 * COUNT} new pictures" in stdout
    [(share, n)] = re.findall(r"of the new domain ([\d.]+) % .* of (\d+) labelled pictures", stdout)
    assert int(n) == 3 * LABELLED and 50 < float(share) <= 100
    assert "need not hold" not in stdout
    shutil.copytree(run, cut)  # as a kill leaves it before the trunk is adapted
    shutil.rmtree(cut / "domains" / "adaptation")
    for path in (*(cut / "domains").glob("adabn*"), cut / "adapt" / "adabn.keras", cut / "report.html"):
        path.unlink()
    _, stderr = call(*words, "--out", cut, light=False)
    assert NOISE.findall(stderr) == []
    assert differing(run, cut) == []
    call(*words, "--out", cut)  # no training framework is loaded, as is checked there
