"""Explanations of a real run: exact sums, sanity checks, what is kept to compare with, and what is refused."""

import dataclasses
import hashlib
import io
import json
import shutil

import numpy as np
import pytest
from benchmarks import faithfulness
from PIL import Image

import headstart
from headstart.core import model_manifest
from headstart.core.errors import DataError, UsageError
from headstart.explanation import example_store, map_arithmetic
from headstart.explanation.explain_image import Explainer, overlay_png
from headstart.explanation.html_page import ExplanationPage
from headstart.images.file_formats import PictureError
from headstart.runtime import model
from headstart.testing.tiny_model import write_tiny_model

pytestmark = pytest.mark.medium
LITE0 = "bundled:efficientnet_lite0"
EACH = 40


@pytest.fixture(scope="module")
def pictures(textile, tmp_path_factory):
    """A folder with some textile pictures of each class."""
    root = tmp_path_factory.mktemp("explained") / "textile"
    for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
        (root / folder.name).mkdir(parents=True)
        for picture in sorted(folder.glob("*.jpg"))[:EACH]:
            shutil.copy(picture, root / folder.name)
    return root


@pytest.fixture(scope="module")
def run(pictures):
    """A finished run on Lite0; nobody may change it."""
    from headstart.core.console import Console

    return headstart.fit(
        pictures, out=pictures.parent / "run", backbones=LITE0, folds=3, console=Console(quiet=True)
    ).path


@pytest.fixture(scope="module")
def explainer(run):
    return Explainer(run)


@pytest.fixture(scope="module")
def unseen(textile):
    """Pictures of each class that the run did not have."""
    folders = sorted(p for p in textile.iterdir() if p.is_dir())
    return [file for folder in folders for file in sorted(folder.glob("*.jpg"))[EACH : EACH + 6]]


def test_the_places_add_up_to_the_logit_against_the_others(explainer, unseen):
    assert explainer.automatic[0] == "cam"
    for file in unseen[::5]:
        found = explainer.explain(file)
        assert found.evidence.mean() + found.elsewhere == pytest.approx(found.score, abs=1e-4)
        (chunk,) = explainer.model.extract_features([file])
        x = np.concatenate([chunk.features[f.backbone, f.depth] for f in explainer.model.manifest.features], axis=1)
        arrays, of = explainer.model.arrays, explainer.class_position(found.class_name)
        logits = x[0].astype(np.float64) @ arrays["weights"] + arrays["bias"]
        assert found.score == pytest.approx(logits[of] - np.delete(logits, of).mean(), abs=1e-3)


def test_the_answer_is_that_of_predict(explainer, run, unseen):
    (told,) = model.load(run).predict(unseen[:1])
    found = explainer.explain(unseen[0]).prediction
    assert (found.uri, found.answer, found.unknown) == (told.uri, told.answer, told.unknown)
    assert found.probabilities == pytest.approx(told.probabilities, abs=1e-5)


def test_a_head_at_random_gives_another_map(explainer, run, unseen, tmp_path):
    rng = np.random.default_rng(0)
    weights = explainer.model.arrays["weights"]
    drawn = rng.permuted(weights, axis=0)  # the same numbers on other features
    other = Explainer(with_head(run / "model", tmp_path / "model", drawn, explainer.model.arrays["bias"]))
    found = []
    for file in unseen[::2]:
        of = explainer.explain(file).class_name
        pair = [one.explain(file, class_name=of).evidence.ravel() for one in (explainer, other)]
        found.append(spearman(*pair))
        assert spearman(pair[0], explainer.explain(file, class_name=of).evidence.ravel()) == 1
    assert abs(np.mean(found)) < 0.4


def test_it_finds_what_the_model_goes_by_better_than_chance(explainer, unseen):
    gains = []
    for file in [*unseen[:4], *unseen[6:10], *unseen[12:16]]:
        found = explainer.explain(file)
        seen = explainer.map_model.decode_picture(str(file), file.read_bytes())
        own, random = faithfulness.faithfulness_gain(
            explainer.map_model, seen, found.evidence, explainer.class_position(found.class_name), random=1
        )
        gains.append(own - random)
    mean, half = np.mean(gains), 1.96 * np.std(gains, ddof=1) / np.sqrt(len(gains))
    assert mean - half > 0, f"{mean:.3f} +- {half:.3f} (n = {len(gains)})"


@pytest.fixture(scope="module")
def detector(run, explainer, unseen, tmp_path_factory):
    """A model that tells cloth with a button on it from cloth without."""
    rng = np.random.default_rng(0)
    x, y = [], []
    for file in unseen * 2:
        for there in (False, True):
            seen = explainer.map_model.decode_picture("", planted(file, rng.integers(30, 180, 2) if there else None))
            x.append(explainer.map_model.compute_maps(seen).features)
            y.append(there)
    x, y = np.array(x, np.float64), np.array(y, np.float64) * 2 - 1
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = (x - centre) / scale
    w = z.T @ np.linalg.solve(z @ z.T + 30 * np.eye(len(z)), y - y.mean()) / scale
    weights, bias = np.stack([-w, w], axis=1), np.array([centre @ w, -(centre @ w)])
    folder = tmp_path_factory.mktemp("detector") / "model"
    return Explainer(with_head(run / "model", folder, weights, bias, class_names=("without", "with")))


@pytest.mark.parametrize(("method", "count"), [("cam", 4), ("occlusion", 2), ("scorecam", 2)])
def test_the_map_moves_with_the_object(detector, unseen, method, count):
    hits = 0
    places = [(60, 60), (160, 160), (60, 160), (160, 60)][:count]
    for file, corner in zip(unseen[::5], places, strict=False):
        found = detector.explain(planted(file, corner), method=method, class_name="with")
        row, column = np.unravel_index(np.argmax(found.heat), found.heat.shape)
        left, top, right, bottom = found.box
        x = left + (column + 0.5) * (right - left) / found.heat.shape[1]
        y = top + (row + 0.5) * (bottom - top) / found.heat.shape[0]
        hits += abs(x - corner[0] - BUTTON / 2) < 32 and abs(y - corner[1] - BUTTON / 2) < 32
    assert hits >= (count + 2) / 2


BUTTON = 36


def planted(file, corner):
    """A textile picture with a button at (left, top), or without, as the bytes of a file."""
    from PIL import ImageDraw

    image = Image.open(file).convert("RGB")
    if corner is not None:
        left, top = (int(value) for value in corner)
        ImageDraw.Draw(image).ellipse(
            (left, top, left + BUTTON, top + BUTTON), fill=(200, 40, 40), outline=(20, 20, 20), width=4
        )
    out = io.BytesIO()
    image.save(out, "BMP")
    return out.getvalue()


def with_head(source, target, weights, bias, **changes):
    """A copy of a model with another linear head."""
    from safetensors.numpy import save_file

    shutil.copytree(source, target)
    read = model_manifest.read_manifest(target)
    path = target / read.head.arrays
    path.unlink()
    save_file({"weights": np.ascontiguousarray(weights, np.float32), "bias": np.asarray(bias, np.float32)}, path)
    head = dataclasses.replace(read.head, kind="linear", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    if "class_names" in changes:
        changes |= {"doubt": None, "decision": model_manifest.Decision(positive="", threshold=None, costs=None)}
    model_manifest.write_manifest(dataclasses.replace(read, head=head, **changes), target)
    return target


def spearman(a, b):
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


# ---------------------------------------------------------------- places


def test_the_heat_lies_where_the_model_looked(explainer, tmp_path):
    wide = Image.effect_noise((300, 200), 60).convert("RGB")
    wide.save(tmp_path / "wide.png")
    found = explainer.explain(tmp_path / "wide.png")
    assert found.size == (300, 200)
    assert found.box == pytest.approx((62.5, 12.5, 237.5, 187.5))  # the middle seven eighths of the shorter side
    drawn = np.asarray(Image.open(io.BytesIO(overlay_png(found))).convert("L"), float)
    assert drawn.shape == (200, 300)
    outside, inside = drawn[:, :55].mean(), drawn[20:180, 70:230].mean()
    assert outside < 0.7 * inside


def test_a_picture_on_its_side_is_explained_upright(explainer, tmp_path):
    image = Image.effect_noise((300, 200), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "side.jpg", exif=exif)
    found = explainer.explain(tmp_path / "side.jpg")
    assert found.size == (200, 300)
    assert found.picture.shape == (300, 200, 3)


def test_the_same_picture_gives_the_same_bytes(explainer, unseen):
    one, other = explainer.explain(unseen[0]), explainer.explain(unseen[0].read_bytes(), name="elsewhere")
    assert overlay_png(one) == overlay_png(other)
    assert other.uri == "elsewhere"


# ---------------------------------------------------------------- kept pictures


def test_a_training_picture_is_most_like_itself(explainer, pictures):
    for entry in explainer.examples.index.entries[::20]:
        first, second, *_ = explainer.explain(pictures / entry.uri).neighbours
        assert (first.uri, first.class_name) == (entry.uri, entry.class_name)
        assert first.similarity == pytest.approx(1, abs=2e-3)
        assert second.similarity < first.similarity
        assert Image.open(io.BytesIO(first.thumbnail)).size == (96, 96)


def test_where_nothing_is_alike_it_says_so(explainer, unseen, monkeypatch, tmp_path):
    page = ExplanationPage()
    page.add_explanation(explainer.explain(unseen[0]), "a.png")
    page.write_page(tmp_path / "index.html")
    assert "<p>It looks like these:</p>" in (tmp_path / "index.html").read_text()
    vectors = explainer.examples.similarities(np.zeros_like(explainer.examples._centre))  # along the mean's own way
    monkeypatch.setattr(explainer.examples, "similarities", lambda features: -np.abs(vectors))
    found = explainer.explain(unseen[0])
    assert (found.neighbours, found.compared) == ((), "nothing it learnt from looks like it")
    assert explainer.explain(unseen[0], neighbours=0).compared == ""


def test_the_first_prototype_is_most_like_its_class(explainer):
    entries = explainer.examples.index.entries
    wide = explainer.examples._vectors
    for name in explainer.model.class_names:
        own = np.array([at for at, entry in enumerate(entries) if entry.class_name == name])
        alike = (wide[own] @ wide[own].T).mean(axis=0)
        (first,) = [at for at in own if entries[at].prototype == 1]
        assert alike[list(own).index(first)] == pytest.approx(alike.max(), abs=1e-3)
        assert sorted(entries[at].prototype for at in own if entries[at].prototype) == [1, 2, 3]


def test_what_is_kept_needs_no_data_set_and_is_the_same_again(run, explainer, unseen, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    shutil.copytree(run / "explain", tmp_path / "explain")
    again = Explainer(tmp_path / "model").explain(unseen[0])
    assert again.neighbours == explainer.explain(unseen[0]).neighbours
    assert again.compared == ""


def test_a_model_alone_and_another_model_say_why_there_is_nothing_to_compare_with(run, unseen, tmp_path):
    shutil.copytree(run / "model", tmp_path / "older" / "model")
    found = Explainer(tmp_path / "older" / "model").explain(unseen[0])
    assert found.neighbours == found.prototypes == ()
    assert "keeps no training pictures" in found.compared
    shutil.copytree(run / "explain", tmp_path / "tiny" / "explain")
    assert "another model" in Explainer(write_tiny_model(tmp_path / "tiny" / "model")).examples


@pytest.mark.parametrize("file", ["vectors.npy", "thumbnails.bin", "examples.json"])
def test_kept_pictures_that_were_changed_are_refused(run, tmp_path, file):
    shutil.copytree(run / "model", tmp_path / "model")
    shutil.copytree(run / "explain", tmp_path / "explain")
    path = tmp_path / "explain" / file
    path.write_bytes(path.read_bytes().replace(b"textile_0001", b"textile_9999") + b" ")
    if file == "examples.json":
        assert json.loads(path.read_text())["digest"]
    with pytest.raises(DataError, match=file.replace(".", r"\.")):
        Explainer(tmp_path / "model")


def test_the_stage_shows_right_and_wrong_and_the_report_holds_them(run):
    from headstart.core.storage import serialization as values
    from headstart.core.types import Explained

    found = values.load_value(Explained, run / "explain")
    assert found.method == "cam"
    assert found.kept == len(json.loads((run / "explain" / "examples.json").read_text())["entries"])
    evaluation = headstart.load(run).evaluation
    data, rows = headstart.load(run).dataset, list(evaluation.rows)
    for one in found.maps:
        right = evaluation.probabilities[rows.index(one.row)].argmax() == data.targets[one.row]
        assert one.group.startswith("right" if right else "wrong")
        assert one.row not in one.neighbours
        with Image.open(run / "explain" / one.file) as drawn:
            assert drawn.size == (250, 250)
    assert {one.group for one in found.maps} >= {"right, most sure", "right, least sure"}
    page = (run / "report.html").read_text()
    assert page.count('<article class="look">') == len(found.maps)
    assert "What stands for each class" in page


# ---------------------------------------------------------------- other trunks


def test_a_trunk_whose_features_are_no_means_of_maps_is_asked_again(tmp_path, paint):
    explainer = Explainer(write_tiny_model(tmp_path / "model"))  # one depth looks at the upper half alone
    assert explainer.automatic[0] == "occlusion"
    half = Image.new("RGB", (64, 64), "blue")
    half.paste("red", (0, 0, 32, 64))
    half.save(tmp_path / "half.png")
    found = explainer.explain(tmp_path / "half.png", class_name="red")
    assert found.heat[:, :40].mean() > 5 * found.heat[:, -40:].mean()
    with pytest.raises(UsageError, match="exact only"):
        explainer.explain(tmp_path / "half.png", method="cam")


def test_two_trunks_of_other_sizes_add_up_in_one_map(run, explainer, unseen, tmp_path):
    """The same trunk twice, once of the whole picture: both maps lie where each saw the picture."""
    from safetensors.numpy import save_file

    shutil.copytree(run / "model", tmp_path / "model")
    read = model_manifest.read_manifest(tmp_path / "model")
    (trunk,) = read.trunks
    shutil.copytree(tmp_path / "model" / "trunk0", tmp_path / "model" / "trunk1")
    whole = dataclasses.replace(
        trunk,
        name="second:whole",
        input=dataclasses.replace(trunk.input, resize="squash"),
        ir="trunk1/trunk.xml",
        files=model_manifest.entry_files(tmp_path / "model", "trunk1"),
    )
    more = tuple(dataclasses.replace(f, backbone="second:whole") for f in read.features)
    path = tmp_path / "model" / read.head.arrays
    arrays = {n: np.array(a) for n, a in explainer.model.arrays.items()}
    path.unlink()
    save_file({"weights": np.concatenate([arrays["weights"]] * 2), "bias": arrays["bias"]}, path)
    head = dataclasses.replace(read.head, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    model_manifest.write_manifest(
        dataclasses.replace(read, trunks=(trunk, whole), features=read.features + more, head=head, doubt=None),
        tmp_path / "model",
    )
    found = Explainer(tmp_path / "model").explain(unseen[0])
    assert found.box == (0, 0, 250, 250)
    assert found.evidence.mean() == pytest.approx(found.score, abs=1e-4)


# ---------------------------------------------------------------- refused


def test_what_is_no_picture_no_class_and_no_method_is_told(explainer, run, unseen, tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(PictureError):
        explainer.explain(tmp_path / "text.jpg")
    good, bad = headstart.explain(run, [unseen[0], tmp_path / "text.jpg"])
    assert good.prediction.error == ""
    assert bad.prediction.error.startswith("not a picture")
    with pytest.raises(UsageError, match="no class `globl`") as told:
        headstart.explain(run, [unseen[0]], class_name="globl")
    assert "`global`" in told.value.hint
    with pytest.raises(UsageError, match="no method `camera`"):
        headstart.explain(run, [unseen[0]], method="camera")
    with pytest.raises(DataError, match="frozen probe"):
        headstart.explain(run, [unseen[0]], method="gradcam")


def test_a_class_that_is_not_the_answer_may_be_asked_about(explainer, unseen):
    found = explainer.explain(unseen[0])
    least = min(found.prediction.probabilities, key=found.prediction.probabilities.get)
    other = explainer.explain(unseen[0], class_name=least)
    assert other.class_name == least
    assert other.score < 0 < found.score
    assert map_arithmetic.positive_share(other.evidence) is not None


def test_examples_of_a_newer_format_are_left_alone(run, tmp_path):
    shutil.copytree(run / "explain", tmp_path / "explain")
    path = tmp_path / "explain" / "examples.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": example_store.FORMAT + 1}))
    assert "newer version" in example_store.read_examples(tmp_path / "explain", run / "model")
