"""The report's part on fine-tuning: what it tells, from values alone, and how it looks in a real browser."""

import dataclasses
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

import browser
import report_samples as samples
import tuned_samples as tuned
from headstart.core import recipe as recipes
from headstart.core.storage import serialization
from headstart.core.types import FitResult
from headstart.reporting.sections import training
from headstart.reporting.write_report import format_page, write_report


@pytest.fixture
def dataset(tmp_path, context):
    """A function that reads a folder of small pictures: `dataset({"class": count})`."""
    from headstart.data.reading.read_dataset import read_dataset as read

    def make(classes):
        rng = np.random.default_rng(0)
        for name, count in classes.items():
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True)
            for at in range(count):
                Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / f"{at}.png")
        return read(str(tmp_path / "data"), ctx=context(data=tmp_path / "data", name="reading"))

    return make


@pytest.fixture
def three(dataset):
    return dataset({"global": 20, "local": 20, "nominal": 40})


def section(findings):
    """The part of the page as it is written, and as words."""
    text = format_page(findings)
    part = text[text.index('<section id="training"') :]
    part = part[: part.index("</section>")]
    words = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", part, flags=re.DOTALL))))
    return part, words


def test_without_fine_tuning_there_is_no_word_of_it(three):
    text = format_page(samples.findings(three, test=24))
    assert 'id="training"' not in text and 'href="#training"' not in text
    assert training.make_training_view(samples.findings(three, test=24)) is None


def test_the_section_tells_result_price_and_every_trial(three):
    part, words = section(tuned.findings(three, test=24))
    assert "The network is handed over." in words
    headings = re.findall(r"<h3>(.*?)</h3>", part)
    assert headings == [
        "Did it pay?",
        "How it went",
        "Class by class, against the frozen probe",
        "What the curves mean",
        "5 recipes tried",
        "How it was done",
    ]
    assert "from random weights" in words and "−0.150 [−0.180, −0.120] n = 24" in words
    assert "812,345" not in words and "812.3 k" in words
    assert "rate=0.5" in words and "loss is not finite at step 31, rate 0.5" in words
    assert "advice of M201" in words and "cut short" in words
    assert "from the cache: 4 views of 1,280 pictures".replace("from", "From", 1) in words
    assert "Left out: soup of the finalists" in words
    assert "way from the first weights to the tuned ones 75%" in words
    assert "epochs 9 (in cross-validation: all 12 epochs; no gain in 4 epochs)" in words


def test_trials_stand_best_first_and_failed_ones_have_no_number(three):
    found = training.make_training_view(tuned.findings(three, test=24))
    assert [t["trial"].number for t in found["trials"]] == [0, 1, 4, 2, 3]
    part, _ = section(tuned.findings(three, test=24))
    failed = part[part.index("failed") :]
    assert "<b>–</b>" in failed[: failed.index("</tr>")]


def test_a_score_that_is_higher_better_is_sorted_the_other_way():
    trial = tuned.trials(100)[0]
    of = [
        dataclasses.replace(trial, number=n, status="beaten", score=samples.sc("cv", "accuracy", value, 100))
        for n, value in enumerate((0.7, 0.9, 0.8))
    ]
    assert [t.number for t in sorted(of, key=training._trial_order)] == [1, 2, 0]


def test_curves_are_of_the_trial_that_was_handed_over_and_know_its_epoch(three):
    given = tuned.findings(three, test=24)
    other = tuned.log(np.full(12, 2.0), np.full(12, 2.0), 3, trial=1)
    given = dataclasses.replace(
        given,
        adapted=dataclasses.replace(
            given.adapted, tuning=dataclasses.replace(given.adapted.tuning, logs=(*given.adapted.tuning.logs, other))
        ),
    )
    found = training.make_training_view(given)
    assert found["folds"] == 5 and found["epoch"] == 9
    rows = found["epochs"]["rows"]
    assert len(rows) == 13 and rows[0]["rate"] is None
    learnt, held = rows[0]["scores"][:2]
    assert learnt is None and held == pytest.approx({"mean": 0.45, "low": 0.43, "high": 0.47})
    folds = [log for log in given.adapted.tuning.logs if log.trial == 0 and log.fold >= 0]
    at_9 = [log.epochs[8].val.log_loss for log in folds]
    assert rows[9]["scores"][1]["mean"] == pytest.approx(np.mean(at_9))
    assert rows[12]["scores"][1]["low"] == min(log.epochs[11].val.log_loss for log in folds if len(log.epochs) == 12)


def test_classes_are_scored_on_the_held_out_pictures_of_both(three):
    given = tuned.findings(three, test=24)
    found = training.make_training_view(given)["per_class"]
    tuning, y = given.adapted.tuning, np.asarray(three.targets)[given.adapted.tuning.rows]
    assert [row["name"] for row in found] == ["global", "local", "nominal"]
    for c, row in enumerate(found):
        own, probe = row["scores"][2:]
        assert own.value == pytest.approx(np.mean(tuning.probabilities[y == c].argmax(axis=1) == c))
        assert probe.value == pytest.approx(np.mean(tuning.probe_probabilities[y == c].argmax(axis=1) == c))
        assert own.n == np.sum(y == c) and own.low < own.value


def test_many_classes_are_listed_worst_first_and_what_is_left_is_said(dataset):
    data = dataset({f"c{n:02}": 4 for n in range(27)})
    given = tuned.findings(data, test=27)
    recalls = [row["scores"][2].value for row in training.make_training_view(given)["per_class"]]
    assert len(recalls) == 25 and recalls == sorted(recalls)
    _, words = section(given)
    assert "The lowest recall first; 2 more are not shown." in words


def test_what_was_not_trained_is_not_told(three):
    nothing = {
        "trials": (),
        "logs": (),
        "outcomes": (),
        "network": None,
        "taken": False,
        "rows": np.zeros(0, np.int64),
        "probabilities": np.zeros((0, 3), np.float32),
        "probe_probabilities": np.zeros((0, 3), np.float32),
        "why": "the budget of 5 s is too small for one epoch, which takes about 20 s",
    }
    part, words = section(tuned.findings(three, test=24, **nothing))
    assert "The frozen probe is handed over." in words and "too small for one epoch" in words
    assert re.findall(r"<h3>(.*?)</h3>", part) == ["Did it pay?", "How it was done"]


def test_the_network_from_random_weights_is_drawn_with_what_was_measured(three):
    given = tuned.findings(three, test=24)
    _, words = section(given)
    assert "training pictures, the same network from random weights" in words
    held = tuned.log(np.full(3, 0.9), np.full(3, 0.95), 3, start=1.1, fold=-1, trial=-1)
    known = given.adapted.tuning.logs[:-1]
    _, words = section(tuned.findings(three, test=24, logs=(*known, held)))
    assert "held-out pictures, the same network from random weights" in words
    without, words = section(tuned.findings(three, test=24, logs=known))
    assert "the same network from random weights" not in words and without.count("<svg viewBox") == 4


def test_one_fold_is_not_called_a_band(three):
    given = tuned.findings(three, test=24)
    one = [log for log in given.adapted.tuning.logs if log.fold == 0 and log.trial == 0]
    _, words = section(tuned.findings(three, test=24, logs=tuple(one)))
    assert "Trial 0, 1 fold, judged on" in words and "bands go" not in words


def test_the_epoch_that_counts_is_told_where_no_network_was_trained_on_all_pictures(three):
    given = tuned.findings(three, test=24)
    ended = [dataclasses.replace(log, best=7) for log in given.adapted.tuning.logs if log.fold >= 0]
    _, words = section(tuned.findings(three, test=24, logs=tuple(ended)))
    assert "the upright line is epoch 7, the one that counts" in words


def with_recipe(findings, **fields):
    """The same run, its recipe changed."""
    tuning = findings.adapted.tuning
    recipe = dataclasses.replace(tuned.RECIPE, **fields)
    trials = tuple(dataclasses.replace(each, recipe=recipe) for each in tuning.trials)
    tuning = dataclasses.replace(tuning, trials=trials, network=dataclasses.replace(tuning.network, recipe=recipe))
    return dataclasses.replace(findings, adapted=dataclasses.replace(findings.adapted, tuning=tuning))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"augment": 0.0}, "at the epoch's end: that may well be lower."),
        ({}, "and as they were seen, augmented: that may well be lower."),
        ({"mixup": 0.2, "dropout": 0.3}, "as they were seen, augmented, mixed and with dropout: that may"),
    ],
)
def test_of_training_pictures_it_says_what_the_recipe_does_to_them(three, fields, told):
    _, words = section(with_recipe(tuned.findings(three, test=24), **fields))
    assert told in words


def test_the_start_is_not_called_the_frozen_probe(three):
    _, words = section(tuned.findings(three, test=24))
    assert "Epoch 0 is the start: the logistic head that the training starts from, not the frozen probe" in words
    _, words = section(with_recipe(tuned.findings(three, test=24), start="random"))
    assert "Epoch 0 is the start: a head of random weights." in words


@pytest.mark.parametrize(
    ("alpha", "soup", "stopped", "told"),
    [
        (0.0, (0,), "all 12 epochs", "None of the training helped: the network has its first weights, those before"),
        (
            0.75,
            (0,),
            "all 12 epochs",
            "The network stands 75% of the way from its first weights to those of this epoch.",
        ),
        (0.0, (0,), "loss is not finite at step 3, rate 1", "broke off: the network has its first weights."),
        (0.0, (0, 1), "all 12 epochs", ""),
        (1.0, (0,), "all 12 epochs", ""),
    ],
    ids=["none", "part", "broken", "soup", "all"],
)
def test_a_network_that_did_not_go_all_the_way_is_explained(three, alpha, soup, stopped, told):
    given = tuned.findings(three, test=24)
    logs = [
        dataclasses.replace(log, stopped=stopped) if log.name.startswith("final") else log
        for log in given.adapted.tuning.logs
    ]
    made = dataclasses.replace(tuned.network(), alpha=alpha, soup=soup)
    _, words = section(tuned.findings(three, test=24, network=made, logs=tuple(logs)))
    assert told in words
    assert told or ("its first weights" not in words)
    assert ("the one that counts" in words) == ("its first weights, those" not in words and "broke off" not in words)


def test_raw_curves_and_compared_scores_are_told_apart(three):
    _, words = section(tuned.findings(three, test=24))
    assert "Every curve is raw: a recipe's score in the tables below comes after a temperature" in words


def test_it_is_the_same_from_the_run_folder(three, context):
    given = tuned.findings(three, test=24)
    ctx = context(name="stored")
    serialization.save_value(given.adapted, ctx.make_step_folder("adapt"))
    back = dataclasses.replace(given, adapted=serialization.find_value(FitResult, ctx.run.path / "adapt"))
    assert format_page(back) == format_page(given)


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(small_textile, context):
    """The report of a fine-tuned run on some real pictures."""
    from headstart.data.reading.read_dataset import read_dataset as read

    folder = small_textile(30)
    data = read(str(folder), ctx=context(data=folder, name="reading"))
    return write_report(tuned.findings(data, test=45), ctx=context(data=folder))


@pytest.mark.medium
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_it_fits_every_screen(page, tmp_path, width):
    script = """(() => {
      document.querySelectorAll('#training details').forEach((d) => { d.open = true; });
      const seen = [...document.querySelectorAll('#training svg.chart')].filter((c) => c.getBoundingClientRect().width);
      return {page: document.documentElement.scrollWidth, charts: seen.length};
    })()"""
    found, errors = browser.ask(page, script, tmp_path, width=width)
    assert found == {"page": width, "charts": 4}
    assert errors == []


@pytest.mark.medium
@pytest.mark.parametrize(("width", "most"), [(1280, 8_000), (390, 13_000)])
def test_it_is_not_tall_either(page, tmp_path, width, most):
    found, _ = browser.ask(page, "document.documentElement.scrollHeight", tmp_path, width=width)
    assert 3_000 < found < most


@pytest.mark.medium
@pytest.mark.parametrize("width", [1200, 1280])
def test_its_tables_need_no_side_scroll_on_a_laptop(page, tmp_path, width):
    labels = ["Did it pay", "All recipes", "Each class of the network and of the frozen probe"]
    script = f"""{json.dumps(labels)}.map((label) => {{
      document.querySelectorAll('details').forEach((part) => {{ part.open = true; }});
      const at = document.querySelector(`.scroll[aria-label="${{label}}"]`);
      return at.scrollWidth - at.clientWidth;
    }})"""
    found, _ = browser.ask(page, script, tmp_path, width=width)
    assert found == [0, 0, 0]


@pytest.mark.medium
def test_the_recipe_can_be_copied_and_breaks_at_commas_alone(page, tmp_path):
    script = """(() => {
      const at = document.querySelector('#training pre.wrapped');
      at.closest('details').open = true;
      const parts = [...at.querySelectorAll('span')];
      const lines = new Set(parts.map((part) => part.getBoundingClientRect().top));
      return {text: at.innerText, whole: parts.every((part) => part.getClientRects().length === 1), lines: lines.size};
    })()"""
    found, _ = browser.ask(page, script, tmp_path, width=1200)
    assert found["text"].strip() == recipes.format_recipe(tuned.RECIPE)
    assert found["whole"] and 1 < found["lines"] <= 3
