"""Networks fine-tuned to a number, to several labels, and on bands: from the table to answers and a checked export."""

import csv

import numpy as np
import pytest
from PIL import Image

import headstart
from command_line import call
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.images import preprocessing
from headstart.statistics.losses import per_picture_loss
from network_files import tiny_keras

pytestmark = pytest.mark.slow
RECIPE = "part=all,epochs=10,batch=16,rate=1e-3"
SETTINGS = {"backbones": "saved_file:tiny", "strategy": "finetune", "recipe": RECIPE, "folds": 2}
NUMBER = {**SETTINGS, "recipe": "part=all,epochs=12,batch=8,rate=1e-3", "target": "angle", "weight": "weight"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a cache of its own, in which a tiny network is known, and striped pictures with two tables."""
    root = tmp_path_factory.mktemp("tuned")
    tiny_keras(root / "tiny.keras")
    rng, numbers, labels = np.random.default_rng(0), [("file", "angle", "weight")], [("file", "labels")]
    (root / "pictures").mkdir()
    places = np.indices((32, 32)) - 15.5
    for at in range(120):
        angle, period, phase = rng.uniform(0, 90), rng.choice([4, 9]), rng.uniform(0, 7)
        waves = np.cos(np.radians(angle)) * places[0] + np.sin(np.radians(angle)) * places[1]
        grey = 128 + 80 * np.sin(2 * np.pi * waves / period + phase) + rng.normal(0, 15, (32, 32))
        picture = np.clip(grey, 0, 255).astype(np.uint8)
        Image.fromarray(np.stack([picture] * 3, axis=-1)).save(root / "pictures" / f"{at:03}.png")
        numbers.append((f"{at:03}.png", f"{angle:.2f}", 1 + at % 2))
        names = [name for name, there in (("fine", period == 4), ("steep", angle > 45)) if there]
        labels.append((f"{at:03}.png", "|".join(names) or "|"))
    for name, rows in (("numbers", numbers), ("labels", labels)):
        with (root / "pictures" / f"{name}.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(root / "cache"))
        call("backbones", "add", root / "tiny.keras", light=False)
        yield root


def require_alike(run, folder):
    """The saved model, the network's own file and an export answer alike; some files and what was said of them."""
    files = [folder / uri for uri in run.dataset.uris[:8]]
    spec = run.dataset.adapt_input(run.adapted.tuning.network.spec.input)
    pictures = np.stack([preprocessing.decode_picture(file.read_bytes(), spec) for file in files])
    own = np.asarray(run.keras_model()(pictures.astype(np.float32)))
    answers, names = list(run.predict(files)), run.dataset.class_names
    said = [[a.number] if run.dataset.learning_task.is_number else [a.probabilities[n] for n in names] for a in answers]
    np.testing.assert_allclose(said, own, rtol=1e-3, atol=1e-3)
    out = run.path.parent / f"{run.path.name}-exported"
    [export] = headstart.export(run, to="openvino", out=out, console=Console(quiet=True))
    assert export["parity_max_abs"] < 1e-4
    return pictures


def require_learnt(run):
    """Every fold of the network that is handed over ends better than it began, and better than the frozen probe."""
    tuning, task = run.adapted.tuning, run.dataset.learning_task
    assert tuning.taken and run.adapted.strategy == "finetune" and not tuning.network.is_untrained
    assert all(log.epochs[log.best - 1].val.loss < log.start.loss for log in tuning.logs if log.fold >= 0)
    y = np.asarray(run.dataset.targets)[tuning.rows]
    own, probe = (
        per_picture_loss(task.metrics[0], y, np.asarray(p)).mean()
        for p in (tuning.probabilities, tuning.probe_probabilities)
    )
    assert own < probe
    [trial] = tuning.trials
    assert trial.paired.name == trial.score.name == task.metrics[0]
    assert [row.name for row in run.evaluation.paid][2:] == ["frozen probe", "fine-tuned", "from random weights"]
    assert {verdict.code for verdict in run.verdicts} >= {"fine_tuning", "negative_transfer", "data_saved"}


def test_a_network_learns_a_number(root):
    table = root / "pictures" / "numbers.csv"
    run = headstart.fit(table, out=root / "number", console=Console(quiet=True), **NUMBER)
    require_learnt(run)
    assert run.adapted.fitted.kind == "linear_identity" and run.adapted.calibrated is None
    pictures = require_alike(run, root / "pictures")
    assert 20 < float(np.asarray(run.keras_model()(pictures.astype(np.float32))).mean()) < 70  # degrees
    assert run.adapted.tuning.network.recipe.monitor == "r2" and run.adapted.tuning.network.temperature == 1
    page, card = (run.path / "report.html").read_text(), (run.path / "README.md").read_text()
    section = page[
        page.index('<section id="training"') : page.index("</section>", page.index('<section id="training"'))
    ]
    assert (
        "R2 by epoch" in section and "squared error, held-out" in section and "is in R2, picture by picture" in section
    )
    assert not any(word in section for word in ("accuracy", "recall", "log loss", "logistic", "emperature"))
    assert "of a network of which" in card
    again = headstart.fit(table, out=root / "number", console=Console(quiet=True), **NUMBER)
    assert again.adapted.tuning.network.spec.revision == run.adapted.tuning.network.spec.revision


def test_a_network_learns_several_labels(root):
    run = headstart.fit(
        root / "pictures" / "labels.csv",
        out=root / "labels",
        task="multilabel",
        console=Console(quiet=True),
        **SETTINGS,
    )
    require_learnt(run)
    assert run.adapted.fitted.kind == "linear_sigmoid" and run.adapted.temperature == 1
    require_alike(run, root / "pictures")
    picture, exports = str(root / "pictures" / "000.png"), root / "keras"
    [export] = headstart.export(run, to="keras", out=exports, console=Console(quiet=True))
    assert export["parity_max_abs"] < 1e-4 and export["label_agreement"] == 1
    for by_gradients in headstart.explain(run, [picture], method="gradcam"):
        [exact] = headstart.explain(run, [picture], class_name=by_gradients.class_name)
        assert exact.method == "cam" and by_gradients.score == pytest.approx(exact.score, abs=1e-3)
    page = (run.path / "report.html").read_text()
    assert "Micro F1 by epoch" in page and "binary log loss, held-out" in page


def test_a_network_is_tuned_on_bands(root):
    rng = np.random.default_rng(1)
    for name, period in (("fine", 3), ("wide", 8)):
        (root / "bands" / name).mkdir(parents=True)
        for at in range(40):
            angle, places = rng.uniform(0, 3.14), np.indices((40, 40))
            waves = np.sin(2 * np.pi * (np.cos(angle) * places[0] + np.sin(angle) * places[1]) / period)
            bands = np.stack([rng.normal(500, 90, (40, 40)), 900 + 300 * waves, rng.normal(70, 9, (40, 40)), 2 * waves])
            np.save(root / "bands" / name / f"{at:02}.npy", bands.astype(np.float32))
    settings = SETTINGS | {"recipe": f"{RECIPE},augment=0.3,domain=texture,wise=false"}
    run = headstart.fit(root / "bands", out=root / "banded", bands="4,1,2", console=Console(quiet=True), **settings)
    assert run.adapted.strategy == "finetune" and not run.adapted.tuning.network.is_untrained
    pictures = require_alike(run, root / "bands")
    assert pictures.dtype == np.float32 and np.abs(pictures - np.rint(pictures)).max() > 0.1  # nothing was rounded


def test_fields_of_a_recipe_that_say_nothing_of_the_targets_are_refused(root):
    settings = SETTINGS | {"recipe": "label_smoothing=0.1,cutmix=0.5,sampling=balanced,monitor=accuracy"}
    with pytest.raises(UsageError) as refused:
        headstart.fit(root / "pictures" / "numbers.csv", out=root / "no", target="angle", **settings)
    for part in ("label_smoothing `0.1`", "cutmix `0.5`", "sampling `balanced`", "monitor `accuracy`"):
        assert f"recipe {part} says nothing of numbers" in str(refused.value)
