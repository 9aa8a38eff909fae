"""The model card: metadata that the hub reads, limits that were planted and found, nothing of the machine."""

import dataclasses
import re

import numpy as np
import pytest
import yaml as other_yaml
from huggingface_hub import ModelCard

import audit_sets
import tuned_samples
from headstart.api import commands
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage.serialization import format_yaml
from headstart.core.types import (
    AuditInput,
    Finding,
    FineTuningResult,
    Outcome,
    Score,
    SkippedFile,
    UncertaintyReport,
    Verdict,
)
from headstart.data.audit import load_checks
from headstart.evaluation.held_out_scores import WITHOUT_STRADDLING
from headstart.reporting.card import card_data, hub_metadata, limitations, markdown, slices
from headstart.reporting.card.write_card import format_card, write_card
from made_runs import TARGETS, TEST, TRUTH, N, dataset, write, wrong


@pytest.fixture
def made(tmp_path, context):
    """A function that writes a run and gathers what its card tells of."""

    def make(data=None, answers=None, **changes):
        path = write(
            tmp_path / "run",
            dataset(TARGETS) if data is None else data,
            wrong(0, 1) if answers is None else answers,
            **changes,
        )
        return card_data.read_card_input(context(name=path.name))

    return make


def section(card, name):
    return card.partition(f"## {name}\n")[2].partition("\n## ")[0]


def test_a_trained_network_is_told_from_a_head_and_from_one_of_which_nothing_was_kept(made):
    card, network, why = made(), tuned_samples.network(), "nothing of the training was kept"
    empty = np.empty((0, 3), np.float32)
    held_out = {"rows": np.empty(0, np.int64), "probabilities": empty, "probe_probabilities": empty}
    tuning = FineTuningResult(
        trials=(), logs=(), outcomes=(), network=network, scratch=None, taken=True, why=why, **held_out
    )

    def format_model(**changes):
        held = _with(tuning, network=_with(network, **changes))
        return section(format_card(_with(card, adapted=_with(card.adapted, tuning=held))), "Model and licence")

    assert "of a network of which 12 weights were trained." in format_model()
    assert f"with 12 fitted numbers on features of 1 trunk; {why}." in format_model(alpha=0.0)
    assert "with 12 fitted numbers on features of 1 trunk." in section(format_card(card), "Model and licence")


# ---------------------------------------------------------------- metadata


def test_the_hub_reads_the_metadata(made):
    card = ModelCard(format_card(made()))
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "headstart"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.datasets is None  # the hub takes names there for data sets of its own
    assert card.data.eval_results[0].dataset_name == "blocks"
    assert {"transfer-learning", "openvino"} <= set(card.data.tags)
    by_name = {one.metric_type: one for one in card.data.eval_results}
    assert card.data.metrics == list(by_name) == ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"]
    accuracy = by_name["accuracy"]
    assert accuracy.metric_value == pytest.approx(88 / 90, abs=1e-6)
    assert accuracy.dataset_split == "test"
    assert accuracy.metric_args["low"] < accuracy.metric_value < accuracy.metric_args["high"]
    assert accuracy.metric_args["n"] == 90
    assert card.data.eval_results[0].dataset_revision == dataset(TARGETS).digest


def test_several_licences_or_an_unknown_one_are_other(made, tmp_path):
    of = made()
    assert hub_metadata.make_metadata(of)["license"] == "apache-2.0"
    entry = of.model.trunks[0]

    def told(*licences):
        trunks = tuple(_with(entry, licence=licence) for licence in licences)
        return hub_metadata.make_metadata(_with(of, model=_with(of.model, trunks=trunks)))

    assert told("MIT", "MIT")["license"] == "mit"
    both = told("MIT", "Apache-2.0")
    assert (both["license"], both["license_name"]) == ("other", "mit-and-apache-2.0")
    assert told("see the model card")["license_name"] == "see-the-model-card"


def _with(value, **changes):

    return dataclasses.replace(value, **changes)


def test_metadata_keeps_its_order_and_one_line_a_text():
    value = {"b": "no", "a": ["---", "x: y # é ☂", 'quotes " and \\', "long " * 40], "c": {"d": -1e-7, "e": True}}
    text = format_yaml(value)
    assert other_yaml.safe_load(text) == value
    assert [line.split(":")[0] for line in text.splitlines() if line[0] not in " -"] == ["b", "a", "c"]
    assert "☂" in text and "---" not in text.splitlines()
    assert len(text.splitlines()) == 9


def test_a_score_of_which_the_ends_are_not_known_has_none(made):
    of = made()
    loss = next(s for s in of.evaluation.scores if s.name == "log_loss")
    lone = _with(loss, low=0.0, high=float("inf"))  # all pictures that judge look alike
    scores = tuple(lone if s is loss else s for s in of.evaluation.scores)
    card = ModelCard(format_card(_with(of, evaluation=_with(of.evaluation, scores=scores))))
    told = {one.metric_type: one.metric_args for one in card.data.eval_results}
    assert told["log_loss"] == {"low": 0.0, "confidence": 0.95, "n": 90, "interval": "t"}


# ---------------------------------------------------------------- text


def test_names_cannot_become_markup(made):
    names = ("a|b", "<script>alert(1)</script>", "`tick`\n# head")
    data = dataset(TARGETS, names=names, name="*set* | [x](y)")
    card = format_card(made(data))
    assert "<script>" not in re.sub(r"`[^`]*`", "", card)
    assert "\n# head" not in card
    assert all(line.count("|") == 4 for line in section(card, "Training data").splitlines() if line.startswith("| `a"))
    index = other_yaml.safe_load(card.split("---\n")[1])["model-index"]
    assert index[0]["name"] == index[0]["results"][0]["dataset"]["name"] == "*set* | [x](y)"


def test_the_card_says_nothing_of_the_machine_or_of_the_folders_name(made, tmp_path):
    card = format_card(made())
    assert "somewhere" not in card
    assert "nowhere" not in card
    assert str(tmp_path) not in card


def test_all_sections_are_there_in_order(made):
    card = format_card(made())
    heads = re.findall(r"^## (.*)$", card, re.M)
    assert heads == [
        "Intended use",
        "Training data",
        "Results",
        "Calibration and uncertainty",
        "Limits found",
        "Model and licence",
        "How to use",
    ]
    assert "Always answering `blue` gives 0.333." in card
    assert "| `green` | 20 | 30 |" in section(card, "Training data")
    assert "| accuracy | 0.978 [" in section(card, "Results")
    assert re.search(r"\| `red` \| 1\.000 \[0\.\d{3}, 1\.000\]", section(card, "Results"))


# ---------------------------------------------------------------- limits


def test_leaks_of_given_splits_stand_beside_the_score(made):
    given = made()
    assert "such pictures stay on one side" in section(format_card(given), "Training data")
    for count, told in ((0, "0 files on disk were"), (1, "1 file on disk was"), (2, "2 files on disk were")):
        files = (SkippedFile(uri="a.txt", reason="not_a_picture", detail=""),) * count
        skipping = dataclasses.replace(given, dataset=dataclasses.replace(given.dataset, excused=files))
        assert f"{told} not used" in section(format_card(skipping), "Training data")
    pairs = np.stack([np.asarray(given.splits.train)[:4], np.asarray(given.evaluation.rows)[:4]], axis=1)
    leaky = dataclasses.replace(given, splits=dataclasses.replace(given.splits, given=True, straddling=pairs))
    card = format_card(leaky)
    assert ", 4 of which look like a picture of another split," in card.partition("\n## ")[0]
    accuracy = next(s for s in given.evaluation.scores if s.name == "accuracy" and not s.subject)
    apart = dataclasses.replace(accuracy, n=accuracy.n - 4, value=0.75, subject=WITHOUT_STRADDLING)
    evaluation = dataclasses.replace(given.evaluation, scores=(*given.evaluation.scores, apart))
    grouped = dataclasses.replace(leaky.dataset, groups=("p1",) * len(leaky.dataset.uris))
    card_of_groups = format_card(dataclasses.replace(leaky, evaluation=evaluation, dataset=grouped))
    sentence = "4 of which share a group with a picture of another split, or look like one"
    for text in (card_of_groups.partition("\n## ")[0], section(card_of_groups, "Results")):
        assert f"{sentence} (the other {apart.n:,}: accuracy 0.750 [" in text
    assert "4 of them lie in another split than that one" in section(card, "Training data")


def test_a_weak_class_is_named_with_what_it_is_called(made):
    greens = np.flatnonzero(TRUTH == 1)[:18]
    [told] = [
        line for line in limitations.list_limitations(made(answers=wrong(*greens)), []) if line.startswith("Weak class")
    ]
    assert "of 30 pictures of `green` 12 are found (0.400 [" in told
    assert "18 are called `red`" in told


def test_of_many_classes_the_weakest_are_named_and_tables_stay_short(made):
    names, y = tuple(f"kind {at:03d}" for at in range(120)), np.arange(120 * 24) % 120
    answers = y[-120 * 12 :].copy()
    bad = np.flatnonzero(answers < 11)
    answers[bad] = (answers[bad] + 20) % 120  # all of eleven classes
    of = made(dataset(y, names=names), answers)
    told = limitations.list_limitations(of, [])
    weak = [line for line in told if line.startswith("Weak class:")]
    assert len(weak) == 8
    assert "of 12 pictures of `kind 000` 0 are found" in weak[0] and "12 are called `kind 020`" in weak[0]
    assert any(line.startswith("Weak classes: 11 of 120 are found surely less often") for line in told)
    card = format_card(of)
    assert "`kind 019` and 100 more" in card
    for section_name, file in (("Training data", "read/files.csv"), ("Results", "evaluate/scores.csv")):
        text = section(card, section_name)
        assert text.count("\n| `kind ") == 100
        assert "The 100 of 120 classes" in text and file in text
    assert "| `kind 010` | 0.000 [" in section(card, "Results")


def test_a_class_of_look_alikes_is_not_surely_weak(made):
    greens, clusters = np.flatnonzero(TRUTH == 1), np.arange(N)
    clusters[(N - TEST) + greens] = N  # all of them one picture
    of = made(answers=wrong(*greens), clusters=clusters)
    assert "Weak class" not in "\n".join(limitations.list_limitations(of, []))


def test_a_class_of_one_picture_is_not_surely_weak(made):
    y = np.append(np.arange(N - 1) % 2, 2)
    answers = np.append(y[-TEST:-1], 0)
    assert "Weak class" not in "\n".join(limitations.list_limitations(made(dataset(y), answers), []))


def test_a_model_that_declines_nothing_is_not_said_to(made):
    of = made()
    assert "It always names one of its classes" in section(format_card(of), "Intended use")
    never = doubt_of(floors=np.full(3, np.inf))
    assert "It always names one of its classes" in section(format_card(_with(of, uncertainty=never)), "Intended use")
    assert "It may answer `unknown`" in section(format_card(_with(of, uncertainty=doubt_of())), "Intended use")


def test_no_class_is_weak_by_luck(made):
    assert not [
        line for line in limitations.list_limitations(made(answers=wrong(0, 1, 2)), []) if line.startswith("Weak class")
    ]


def test_a_slice_in_which_the_model_fails_is_found(made):
    contrast = np.tile(np.linspace(5, 80, 30), 5)[:N].astype(np.float32)
    dull = np.flatnonzero(contrast[-TEST:] < np.quantile(contrast, 1 / 3))
    of = made(dataset(TARGETS, grey_std=contrast), wrong(*dull[::2]))
    cut = slices.make_slices(of)
    assert {one.by for one in cut} == {"contrast"}  # all else is the same in every picture
    assert [one.name for one in cut if one.is_weak] == ["flat"]
    flat = next(one for one in cut if one.name == "flat")
    assert flat.score.value == pytest.approx(0.5)
    assert flat.apart.high < 0
    assert "Weak slice: contrast `flat` has accuracy 0.500 [" in format_card(of)


def test_slices_do_not_repeat_themselves_and_few_pictures_are_told_by_the_interval(made):
    of = made()
    lit = np.zeros((N, 64), np.float32)
    lit[np.arange(N), np.tile([0, 21, 63], N // 3 + 1)[:N]] = 1
    facts = dataclasses.replace(of.dataset.facts, histogram=lit)
    cut = slices.make_slices(_with(of, dataset=dataclasses.replace(of.dataset, facts=facts)))
    assert {(one.by, one.name) for one in cut} == {("brightness", name) for name in ("dark", "middle", "light")}
    accuracy = next(s for s in of.evaluation.scores if s.split == "test" and s.name == "accuracy")
    wide = tuple(_with(s, low=0.8, high=1.0) if s is accuracy else s for s in of.evaluation.scores)
    said = limitations.list_limitations(_with(of, evaluation=_with(of.evaluation, scores=wide)), [])
    assert said[0].startswith("Few pictures judge: 90 of them tell the accuracy no closer than 0.978 [0.800, 1.000].")


def test_sub_folders_and_shapes_are_slices(made):
    uris = tuple(
        f"{('blue', 'green', 'red')[t]}/{'monday' if at % 2 else 'tuesday'}/{at:03d}.jpg"
        for at, t in enumerate(TARGETS)
    )
    wide = np.where(np.arange(N) % 2, 64, 32).astype(np.int32)
    cut = slices.make_slices(made(dataset(TARGETS, uris=uris, width_px=wide)))
    assert {(one.by, one.name) for one in cut if one.by == "folder"} == {("folder", "monday"), ("folder", "tuesday")}
    assert {one.name for one in cut if one.by == "shape"} == {"wider than high", "higher than wide"}
    assert all(one.score.n == 45 for one in cut if one.by in ("folder", "shape"))


def test_few_pictures_make_no_slice(made):
    notes = ("alpha on white",) * 3 + ("",) * (N - 3)
    assert slices.make_slices(made(dataset(TARGETS, notes=notes))) == []


def test_brightness_of_black_white_and_green():
    cells = np.eye(64, dtype=np.float32)[[0, 63, 0b001100]]
    np.testing.assert_allclose(slices.mean_brightness(cells), [32, 224, 32 + 0.587 * 192], rtol=1e-6)


def test_the_card_says_of_shortcuts_what_the_audit_measured(made):
    """Cameras that go by the class, and none; a run of an earlier release, without the check, says nothing."""
    planted = audit_sets.from_targets(TARGETS, cameras=tuple("abc"[t] for t in TARGETS))
    alike = audit_sets.from_targets(TARGETS[:-1] % 2)
    of = made()

    def tell(data):
        outcomes = (check(AuditInput(data=data, folds=5)) for check in load_checks("files") if check.code == "D107")
        audits = (_with(of.audits[0], outcomes=tuple(outcomes)),)
        limits = limitations.list_limitations(_with(of, audits=audits), [])
        return [line for line in limits if "D107" in line or "hortcut" in line]

    assert tell(planted)[0].startswith("Shortcut: camera alone tells the class: balanced accuracy 1.00 \\[")
    assert len(tell(planted)) == 1  # and not again among the findings of the audit
    (absent,) = tell(alike)
    assert absent.startswith("Shortcuts: of 1 property none tells the class; the strongest is number in the file")
    assert "marks inside the pictures, such as a stamp, a text or a background, are not looked for" in absent
    assert "hortcut" not in format_card(of).partition("## Limits found")[2]


def test_label_suspects_say_how_many_are_right_after_all(made):
    of = made()
    told = [
        next(line for line in limitations.list_limitations(_with(of, evaluation=evaluation), []) if "Labels:" in line)
        for evaluation in (
            _with(of.evaluation, suspects=np.arange(20), wrong_labels=(3.4, 0.2, 7.9)),
            _with(of.evaluation, suspects=np.arange(20)),  # of a run that did not estimate it
        )
    ]
    assert "20 pictures carry a label" in told[0]
    assert "Expect 17 of these 20 (12 to 20) to be right after all" in told[0]
    assert "Many of them are right after all" in told[1] and "half" not in told[1]


def test_issues_of_the_audit_are_told_without_folders(made):
    finding = Finding(
        code="D101", severity="warning", sentence="`deep/folder/a.jpg` is twice there", uris=("deep/folder/a.jpg",)
    )
    issue = Outcome(code="D101", name="exact duplicates", status="issue", why="", findings=(finding,))
    of = made()
    told = limitations.list_limitations(_with(of, audits=(_with(of.audits[0], outcomes=(issue,)),)), [])
    assert "Data, D101: `a.jpg` is twice there." in told


def test_of_verdicts_those_are_limits_that_were_not_hoped_for(made):
    of = made()
    said = {
        "transfer": "yes",
        "negative_transfer": "yes",
        "overfitting": "no",
        "enough_data": "no",
        "data_saved": "yes",
    }
    verdicts = tuple(Verdict(code=code, answer=answer, sentence=f"about {code}") for code, answer in said.items())
    told = "\n".join(limitations.list_limitations(_with(of, evaluation=_with(of.evaluation, verdicts=verdicts)), []))
    assert [code for code in said if f"about {code}".replace("_", "\\_") in told] == [
        "negative_transfer",
        "overfitting",
        "enough_data",
    ]


def doubt_of(scores=(), floors=None):
    """Doubt that declines where no class keeps its floor."""
    return UncertaintyReport(
        coverage=0.9,
        promise=0.9,
        score="least_ambiguous",
        by_class=False,
        thresholds=np.zeros(3),
        floors=np.zeros(3) if floors is None else floors,
        kept=0.99,
        n=60,
        split="test",
        why="60 held-out pictures set the thresholds",
        novelty=None,
        scores=scores,
    )


def test_coverage_is_not_promised_for_a_new_domain(made):
    card = made()

    def format_caution(*scores, has_target=True):
        report = _with(doubt_of(scores), has_target=has_target)
        return section(format_card(_with(card, uncertainty=report)), "Calibration and uncertainty")

    measured = Score(
        split="target", name="coverage", value=0.7, low=0.5, high=0.8, n=25, subject="new domain", method="wilson"
    )
    assert "In the new domain that need not hold: too few pictures there have a label" in format_caution()
    told = "In the new domain that need not hold: of its labelled pictures it is 0.700 [0.500, 0.800] (n = 25)."
    assert told in format_caution(measured)
    assert "new domain" not in format_caution(has_target=False)


def test_doubt_is_told_and_what_it_does_not_notice_is_a_limit(made):
    def score(name, subject, value):
        return Score(split="test", name=name, value=value, low=value - 0.05, high=value + 0.04, n=60, subject=subject)

    scores = (
        score("ece", "before", 0.12),
        score("ece", "after", 0.06),
        score("coverage", "", 0.92),
        score("unknown", "photographs", 0.9),
        score("novelty_auc", "photographs", 0.95),
        score("novelty_auc", "hidden class red", 0.6),
    )
    of = _with(made(), uncertainty=doubt_of(scores))
    told = section(format_card(of), "Calibration and uncertainty")
    assert (
        "Calibration error 0.120 [0.070, 0.160] before that, 0.060 [0.010, 0.100] after it (n = 60), as in the results"
        in told
    )
    assert "of 90 % of pictures. 60 held-out pictures set the thresholds." in told
    assert "| share answered `unknown` (photographs) | 0.900 [0.850, 0.940] | 60 |" in told
    assert "It may answer `unknown`" in format_card(of)
    unnoticed = [line for line in limitations.list_limitations(of, []) if line.startswith("Strange pictures")]
    assert len(unnoticed) == 1
    assert "hidden class red is told with ROC AUC 0.600" in unnoticed[0]


# ---------------------------------------------------------------- licence


def test_what_follows_from_a_licence(made):
    of = made()
    assert "so it may be used, changed and passed on, also for money" in format_card(of)
    strict = _with(
        of.model, trunks=(_with(of.model.trunks[0], licence="CC-BY-NC-4.0", licence_note="Ask the authors."),)
    )
    told = format_card(_with(of, model=strict))
    assert "this is on no list of permissive licences" in told
    assert "Ask the authors." in told
    assert other_yaml.safe_load(told.split("---\n")[1])["license"] == "cc-by-nc-4.0"


# ---------------------------------------------------------------- in a run


def test_the_stage_writes_the_file_and_report_writes_it_again(tmp_path, context):
    path = write(tmp_path / "run", dataset(TARGETS), wrong(0))
    written = write_card(ctx=context(name="run"))
    assert written == path / "README.md"
    first = written.read_text()
    written.unlink()
    commands.report(path, console=Console(quiet=True))
    assert written.read_text() == first


def test_an_unfinished_run_has_no_card(tmp_path, context):
    path = write(tmp_path / "run", dataset(TARGETS), wrong(0))
    (path / "evaluate" / "value.json").unlink()
    with pytest.raises(DataError, match="has not come to `evaluate` yet"):
        write_card(ctx=context(name="run"))


def test_words_of_others_are_code_or_plain():
    assert markdown.format_code("a`b") == "``a`b``"
    assert markdown.format_code("`a`") == "`` `a` ``"
    assert markdown.format_code("a|b") == "`a¦b`"
    assert markdown.escape_markup("a_b*c|d<e>") == "a\\_b\\*c\\|d\\<e\\>"
    assert markdown.format_sentence("class `a_b` has 3*4") == "class `a_b` has 3\\*4"


@pytest.mark.parametrize(("answer", "limits"), [("no", 1), ("unclear", 1), ("yes", 0)])
def test_an_unknown_that_does_not_work_is_told_in_words(made, answer, limits):
    sentence = "`unknown` does not work here: it declines 0.0 % of 103 handwritten digits"
    verdict = Verdict(code="unknown", answer=answer, sentence=sentence)
    told = format_card(_with(made(), uncertainty=_with(doubt_of(), verdict=verdict)))
    assert section(told, "Limits found").count(f"Unknown: {sentence}.") == limits
    assert ("does not work here (see the limits)" in section(told, "Intended use")) == (answer == "no")


def test_a_model_that_cannot_say_unknown_is_told_so(made):
    of = made()
    never, seldom = (
        "\n".join(limitations.list_limitations(_with(of, uncertainty=doubt_of(floors=floors)), []))
        for floors in (np.full(3, np.inf), np.zeros(3))
    )
    assert "This model cannot say `unknown`: too few pictures" in never
    assert "This model says `unknown` only where its prediction set is empty: too few pictures" in seldom
