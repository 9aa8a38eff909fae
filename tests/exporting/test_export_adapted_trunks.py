"""Every trunk that is adapted to another domain goes into every format and answers there as its run does.

Drawn stripes and a small network. Whether an adaptation pays is not asked here: the choice is made to take it.
Trainings on both domains write one kind of network: all formats are loaded for one of them, three for the others.
"""

import numpy as np
import pytest
from PIL import Image

import headstart
from command_line import call
from drawn_pictures import write_stripes
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.types import TRAINED_METHODS, DomainAdaptation
from headstart.domain_adaptation import adapt_to_target
from headstart.domain_adaptation.choice.guarded_choice import GuardedChoice
from network_files import tiny_keras

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)
TRAINED = {"strategy": "finetune", "recipe": "epochs=2,batch=16"}


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Labelled stripes, and others under a dark and tinted camera; the network is in the cache."""
    root = tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(root / "cache"))
        tiny_keras(root / "tiny.keras")
        call("backbones", "add", root / "tiny.keras", light=False)
        source = write_stripes(root / "source", 20)
        (root / "target").mkdir()
        for number, path in enumerate(sorted(write_stripes(root / "drawn", 20).rglob("*.png"))):
            pixels = np.asarray(Image.open(path)) * np.array([0.7, 0.45, 0.4]) + 5
            Image.fromarray(pixels.astype(np.uint8)).save(root / "target" / f"{number}.png")
        yield source, root / "target"


@pytest.mark.parametrize("method", ["adabn", *TRAINED_METHODS])
def test_an_adapted_trunk_answers_in_every_format_as_its_run(method, domains, tmp_path, monkeypatch):
    def take(candidates, _problem):
        (candidate,) = (each for each in candidates if each.method == method and not each.failure)
        return GuardedChoice(candidate=candidate, rule="labels", why="taken by the test", trials=())

    monkeypatch.setattr(adapt_to_target, "choose_adaptation", take)
    settings = {"backbones": "saved_file:tiny", "folds": 2, "repeats": 1, "adaptation": method, "resize": "crop"}
    if method in TRAINED_METHODS:
        settings |= TRAINED
    source, target = domains
    run = headstart.fit(source, unlabeled=target, out=tmp_path / "run", console=QUIET, **settings)
    assert run.find(DomainAdaptation).network.spec.name.startswith(f"{method}:")
    formats = registry.list_plugins("exporters") if method in ("adabn", "mmd") else ("keras", "onnx", "openvino")
    exports = headstart.export(run.path, formats, tmp_path / "out", console=QUIET)
    assert {export["format"] for export in exports} == set(formats)
    for export in exports:
        assert export["parity_max_abs"] < 1e-4 and export["label_agreement"] == 1.0, export["format"]
        assert export["compared"] >= 10
