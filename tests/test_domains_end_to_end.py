"""Pictures of another domain, without labels, from a fit to what is served: real textile under another camera."""

import io
import shutil

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageFilter

import headstart
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.types import NO_ADAPTATION, DomainAdaptation
from headstart.runtime.usage_log import read_reference
from headstart.statistics.intervals import mean_interval

pytestmark = pytest.mark.slow
KINDS, COUNT = ("global", "local", "nominal"), 50
SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "20s", "folds": 3, "repeats": 1, "resize": "crop"}
QUIET = Console(quiet=True)


def change_camera(image):
    """Darker, blurred, tinted, and compressed."""
    values = np.asarray(image.filter(ImageFilter.GaussianBlur(image.width / 120)), np.float32) / 255
    dark = Image.fromarray((255 * values**1.3 * np.array([0.62, 0.55, 0.42])).astype(np.uint8))
    buffer = io.BytesIO()
    dark.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


@pytest.fixture(scope="module")
def folders(textile, tmp_path_factory):
    """Labelled pictures, others under the same and under another camera, and what these show."""
    root = tmp_path_factory.mktemp("domains")
    for kind in KINDS:
        files = sorted((textile / kind).glob("*.jpg"))[: 2 * COUNT]
        for number, path in enumerate(files):
            name = f"{kind}_{number}.png"
            with Image.open(path) as image:
                picture = image.convert("RGB")
            if number % 2:
                pictures = {f"source/{kind}/{name}": picture}
            else:
                other = change_camera(picture)
                pictures = {f"same/{name}": picture, f"other/{name}": other, f"truth/{kind}/{name}": other}
            for place, each in pictures.items():
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                each.save(root / place, compress_level=1)
    return root


@pytest.fixture(scope="module")
def adapted(folders):
    return headstart.fit(
        folders / "source", unlabeled=folders / "other", out=folders / "adapted", console=QUIET, **SETTINGS
    )


def mark_answers(run, folder):
    """Whether each picture is answered with the class of its folder, whatever is declined."""
    files = sorted(folder.rglob("*.png"))
    return np.array([answer.likeliest == answer.uri.split("/")[-2] for answer in headstart.predict(run, files)], float)


def test_a_planted_shift_is_mended_and_a_harmless_one_left_alone(folders, adapted):
    plain = headstart.fit(
        folders / "source", unlabeled=folders / "same", out=folders / "plain", console=QUIET, **SETTINGS
    )
    assert plain.find(DomainAdaptation).method == NO_ADAPTATION
    assert adapted.find(DomainAdaptation).method != NO_ADAPTATION
    gain = mark_answers(adapted.path, folders / "truth") - mark_answers(plain.path, folders / "truth")
    assert mean_interval(gain).low > 0 and gain.mean() >= 0.05


def test_new_pictures_are_known_drift_compares_with_them_and_they_are_what_to_label(folders, adapted):
    files = sorted((folders / "other").glob("*.png"))
    assert np.mean([answer.unknown for answer in headstart.predict(adapted.path, files)]) < 0.1
    reference = read_reference(adapted.path / "model")
    assert reference.split == "target" and reference.counts.answered == len(files)
    suggested = headstart.suggest(adapted.path, count=5).chosen
    assert {suggestion.prediction.uri for suggestion in suggested} <= {str(path) for path in files}


def test_a_killed_run_ends_as_the_unbroken_one(folders, adapted):
    cut = folders / "cut"  # as a kill leaves it between the shift and the adaptation
    shutil.copytree(adapted.path, cut)
    for name in ("domains/adaptation", "adapt", "model", "doubt", "evaluate"):
        shutil.rmtree(cut / name)
    (cut / "report.html").unlink()
    headstart.fit(folders / "source", unlabeled=folders / "other", out=cut, console=QUIET, **SETTINGS)
    for path in sorted(path for path in adapted.path.rglob("*") if path.is_file()):
        place = path.relative_to(adapted.path)
        if place.parts[0] in ("model", "domains", "adapt", "doubt", "evaluate") or place.name == "decisions.jsonl":
            assert (cut / place).read_bytes() == path.read_bytes(), place


def test_an_adapted_head_is_exported_as_any_other(adapted, tmp_path):
    """Every format reads the same linear head; adapted trunks go into all of them in test_export_adapted_trunks.py."""
    exports = headstart.export(adapted.path, ("onnx", "openvino"), tmp_path / "out", console=QUIET)
    assert [export["format"] for export in exports] == ["onnx", "openvino"]
    assert all(export["parity_max_abs"] < 1e-4 and export["label_agreement"] == 1 for export in exports)


def test_pictures_of_other_things_are_refused(folders, tmp_path):
    """Pieces of a portrait; white digits on black, at 0.62 times the distance of the kind, are let through."""
    rng = np.random.default_rng(0)
    (tmp_path / "portrait").mkdir()
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        for number in range(40):
            side = int(rng.integers(80, 300))
            left, top = (int(rng.integers(0, length - side + 1)) for length in portrait.size)
            portrait.crop((left, top, left + side, top + side)).save(tmp_path / "portrait" / f"{number}.png")
    with pytest.raises(DataError, match="seem to show other things than the labelled ones: .* times that of"):
        headstart.fit(
            folders / "source", unlabeled=tmp_path / "portrait", out=tmp_path / "run", console=QUIET, **SETTINGS
        )
