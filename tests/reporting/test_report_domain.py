"""What a run says of another domain: the report's section, the card and the summary; and nothing without one."""

import dataclasses
import re

import numpy as np
import pytest

import browser
import made_runs
import report_samples as samples
from headstart.api.run import Run
from headstart.core.run.reader import FOLDERS
from headstart.core.storage.serialization import save_value
from headstart.core.types import (
    AdaptationTrial,
    DomainAdaptation,
    DomainShift,
    FeatureShift,
    Score,
    SkippedFile,
    TargetDomain,
    Verdict,
)
from headstart.domain_adaptation.shift.unlabelled_accuracy import UNTESTED
from headstart.reporting.card.write_card import write_card
from headstart.reporting.sections import domain, next_steps
from headstart.reporting.write_report import format_page
from judged_sets import dataset

T = 60
METHOD = "bootstrap; in 42 back-tests off by 0.050 on average, 0.240 at most"


def score(name, value, n=T, subject="", half=0.05, split="target", method="wilson"):
    return Score(
        split=split, name=name, value=value, low=value - half, high=value + half, n=n, subject=subject, method=method
    )


def make_shift(names, labelled=12):
    count = len(names)
    levels = ("stage3", 0.61, 0.2), ("stage4", 0.84, 0.003), ("stage5", 0.93, 0.003)
    accuracy = [
        score("accuracy", 0.61, subject="DoC", half=0.25, method=METHOD),
        score("accuracy", 0.55, subject="ATC", half=0.3, method=METHOD),
        score("accuracy", 0.5, subject="labelled", n=labelled, half=0.2),
    ]
    return DomainShift(
        levels=tuple(FeatureShift(feature=f"trunk@{at}", auc=score("roc_auc", auc), p=p) for at, auc, p in levels),
        verdict=Verdict(code="shift", answer="yes", sentence="the new pictures differ at 2 of 3 levels (AUC 0.930)"),
        label_verdict=Verdict(code="label_shift", answer="unclear", sentence="the answers point to other shares"),
        label_p=0.005,
        source_shares=np.full(count, 1 / count),
        target_shares=tuple(score("class_share", 0.5 / (1 + c), subject=name) for c, name in enumerate(names)),
        accuracy=tuple(accuracy),
        source_accuracy=score("accuracy", 0.9, n=150, split="cv", subject="source"),
        farthest=np.array([5, 3, 8]),
        strangeness=np.linspace(-2, 3, T).astype(np.float32),
        n_source=150,
        n_target=T,
    )


def make_adaptation(fit, names):
    rng = np.random.default_rng(0)
    before = samples.probabilities(np.arange(T) % len(names), len(names), rng)
    after = before.copy()
    after[:9] = np.roll(after[:9], 1, axis=1)
    trials = [
        ("coral", score("importance_weighted", 0.08, half=0.03), 0.7, "chosen", "", 0.88),
        ("none", None, 0.5, "beaten", "", 0.9),
        ("standardise", score("importance_weighted", 0.01, half=0.05), 0.5, "tied", "", 0.9),
        ("self_training", score("importance_weighted", -0.2, half=0.05), 0.3, "beaten", "", 0.9),
        ("transfer_components", None, 0.5, "failed", "too few pictures", 0.9),
    ]
    return DomainAdaptation(
        method="coral",
        params={"shrinkage": 0.1},
        rule="importance_weighted",
        why="`coral` beats no adaptation by the rule",
        trials=tuple(
            AdaptationTrial(
                method=method,
                params={"shrinkage": 0.1} if method == "coral" else {},
                scores=(),
                difference=difference,
                target=(score("accuracy", measured, n=12, half=0.2),),
                source=score("accuracy", plain, n=150, split="cv"),
                status=status,
                why=why,
                seconds=0.0,
            )
            for method, difference, measured, status, why, plain in trials
        ),
        features=fit.features,
        fitted=fit.fitted,
        source_rows=np.asarray(fit.cv_rows),
        mapped_probabilities=np.asarray(fit.cv_probabilities),
        train_probabilities=np.asarray(fit.train_probabilities),
        target_before=before,
        target_after=after,
    )


@pytest.fixture(scope="module")
def plain():
    return samples.findings(dataset(600), test=150)


@pytest.fixture(scope="module")
def shifted(plain):
    pictures = dataset(T)
    labels = np.where(np.arange(T) < 12, np.arange(T) % 3, -1)
    target = TargetDomain(pictures=dataclasses.replace(pictures, targets=labels), labels=labels, copies=("twice.jpg",))
    names = plain.dataset.class_names
    return dataclasses.replace(
        plain, target=target, shift=make_shift(names), adaptation=make_adaptation(plain.adapted, names)
    )


def section(page):
    text = re.search(r'<section id="domain".*?</section>', page, re.S)[0]
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", text, flags=re.S))


def words(text):
    """A page's words without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_it_tells_the_shift_what_was_adapted_and_whom_it_hurts(shifted):
    page = format_page(shifted)
    text = section(page)
    assert 'href="#domain"' in page
    assert (
        "The new domain The new pictures differ from the labelled ones; accuracy on them is 0.500 [0.300, 0.700] "
        "(12 with a label), 90.0 % on the labelled; after adaptation it is 0.700 [0.500, 0.900]: "
        "correlations matched (CORAL)."
    ) in text
    assert "60 new pictures beside 150 labelled ones; 1 picture that both sets held was left out" in text
    assert "Do they look different? yes" in text
    assert "off by 0.050 on average, 0.240 at most" in text
    assert "Labels measure it where their pictures were drawn at random" in text
    assert "17.1 % new" in text
    assert "9 answers of 60 to new pictures changed" in text
    assert (
        "by importance weighted, 1 of 3 ways would be worse than none: correlations matched, then self-training."
        in text
    )
    assert "takes accuracy from 0.900 to 0.880, on labelled new ones from 0.500 to 0.700" in text
    assert re.search(r"correlations matched, then self-training worse", text)
    assert re.search(r"mean and deviation matched tied", text)
    assert re.search(r"failed Too few pictures\.", text)


def first_screen(report):
    page = format_page(report)
    return words(re.search(r"<h1>.*?</h1>", page, re.S)[0] + re.search(r'<section id="result".*?<h3>', page, re.S)[0])


def test_the_first_screen_says_which_domain_and_which_model(shifted, plain):
    text = first_screen(shifted)
    assert "answered rightly (labelled domain, before adaptation)" in text
    assert "Labelled domain, before adaptation accuracy , test" in text
    assert "New domain accuracy, before adaptation 50.0 % 95 % interval 30.0 % to 70.0 %, n = 12 with a label" in text
    assert "accuracy, after adaptation 70.0 % 95 % interval 50.0 % to 90.0 %, n = 12 with a label; correlations" in text
    assert (
        "What follows is of the labelled domain, before adaptation; prediction sets and unknown are of the adapted"
        in text
    )
    unlabelled = dataclasses.replace(shifted.shift, accuracy=shifted.shift.accuracy[:2])
    trials = tuple(dataclasses.replace(trial, target=()) for trial in shifted.adaptation.trials)
    adaptation = dataclasses.replace(shifted.adaptation, trials=trials)
    text = first_screen(dataclasses.replace(shifted, shift=unlabelled, adaptation=adaptation))
    assert "accuracy, before adaptation 36 % to 86 % a 95 % band, estimated without labels from 60 pictures" in text
    assert "accuracy, after adaptation not known correlations matched (CORAL); no new picture has a label" in text
    by_labels = dataclasses.replace(shifted.adaptation, rule="labels")
    assert "the same labels chose it: optimistic" in first_screen(dataclasses.replace(shifted, adaptation=by_labels))
    nothing = dataclasses.replace(shifted.adaptation, method="none", params={})
    text = first_screen(dataclasses.replace(shifted, adaptation=nothing))
    assert "answered rightly (labelled domain) The result Labelled domain accuracy" in text
    assert "What follows is of the labelled domain." in text
    assert "adaptation none none of 4 ways is better beyond doubt" in text
    text = first_screen(dataclasses.replace(shifted, adaptation=None))
    assert "adaptation none as asked: the shift was measured alone" in text
    assert "domain" not in first_screen(plain)


def test_labels_of_new_pictures_are_asked_for_first_where_they_are_few(shifted, plain):
    first, second, *rest = next_steps.list_next_steps(shifted)
    assert "Label 20 to 40 of the new pictures (12 so far): random ones to measure accuracy" in first.sentence
    assert first.command == "headstart suggest RUN -n 40 --sheet next.html"
    assert "`NEW/labelled/CLASS`" in second.sentence
    assert second.command == "headstart fit DATA --unlabeled NEW --target-labels learn"
    assert len(rest) == 3
    assert "NEW that of the new ones" in first_screen(shifted)
    enough = dataclasses.replace(shifted, shift=make_shift(shifted.dataset.class_names, labelled=20))
    steps = next_steps.list_next_steps(enough)
    assert not any("labelled/CLASS" in step.sentence for step in steps)
    assert "headstart fit DATA --unlabeled NEW --strategy auto --budget 10m" in [step.command for step in steps]
    assert not any("NEW" in step.command for step in next_steps.list_next_steps(plain))


def test_files_of_the_new_domain_that_are_skipped_are_counted_and_named(shifted):
    assert "left out; 0 new files skipped." in section(format_page(shifted))
    files = [("cut.jpg", "truncated"), ("none.jpg", "empty_file"), ("half.jpg", "truncated")]
    excused = tuple(SkippedFile(uri=uri, reason=reason, detail="") for uri, reason in files)
    target = dataclasses.replace(shifted.target, pictures=dataclasses.replace(shifted.target.pictures, excused=excused))
    text = section(format_page(dataclasses.replace(shifted, target=target)))
    assert "left out; 3 new files skipped. cut short: 2 files cut.jpg half.jpg the file has no bytes: 1 file" in text


def test_a_way_that_is_right_more_often_but_not_chosen_is_explained(shifted):
    assert domain.format_surpassed(shifted.adaptation) == ""
    chosen, *others = shifted.adaptation.trials
    better = dataclasses.replace(others[1], target=(score("accuracy", 0.8, n=12, half=0.1),))
    adaptation = dataclasses.replace(shifted.adaptation, trials=(chosen, others[0], better, *others[2:]))
    title = "mean and deviation matched is right on more of the labelled new pictures, 0.800 instead of 0.700"
    assert domain.format_surpassed(adaptation) == f"{title}; from 20 labels on they decide, 12 are too few"
    other = dataclasses.replace(better, method="coral", params={"shrinkage": 0.5})
    both = dataclasses.replace(adaptation, trials=(chosen, other, *others))
    assert domain.format_surpassed(both).startswith("correlations matched (CORAL), shrinkage 0.5 is right on more of")
    by_labels = dataclasses.replace(adaptation, rule="labels")
    text = section(format_page(dataclasses.replace(shifted, adaptation=by_labels)))
    assert f"M{title[1:]}; log loss decides all the same" in text
    assert "gain against no adaptation in log loss on labelled new pictures: above 0" in text


def test_it_shows_the_pictures_whose_answer_changed(shifted):
    page = format_page(shifted)
    names, target, adaptation = shifted.dataset.class_names, shifted.target, shifted.adaptation
    before, after = adaptation.target_before.argmax(axis=1), adaptation.target_after.argmax(axis=1)
    hurt = np.flatnonzero((before == target.labels) & (after != target.labels))
    assert len(hurt)
    shown = words(re.search(r"<h4>Where it hurts.*?(<h4>|</section>)", page, re.S)[0])
    for row in hurt:
        assert (
            f"is {names[before[row]]} now {names[after[row]]} {target.pictures.uris[row].rpartition('/')[2]}" in shown
        )


def test_nothing_adapted_is_a_verdict_too(shifted):
    plain = dataclasses.replace(
        shifted.adaptation, method="none", params={}, target_after=shifted.adaptation.target_before
    )
    text = section(format_page(dataclasses.replace(shifted, adaptation=plain)))
    assert "nothing is adapted, since no way is better beyond doubt" in text
    assert "What changed" not in text


def test_a_band_that_says_nothing_is_no_number(shifted):
    shift = dataclasses.replace(shifted.shift, accuracy=shifted.shift.accuracy[1:2])
    text = section(format_page(dataclasses.replace(shifted, shift=shift, adaptation=None)))
    assert "accuracy on them is between 25 % and 85 % (estimated without labels)" in text
    untested = (score("accuracy", 0.5, subject="ATC", half=0.5, method=UNTESTED),)
    shift = dataclasses.replace(shift, accuracy=untested)
    text = section(format_page(dataclasses.replace(shifted, shift=shift, adaptation=None)))
    assert "accuracy on them is not known (the confidence of a trained network tells nothing without labels)" in text
    assert "the band claims nothing" in text


def test_the_shift_stands_alone_where_nothing_was_adapted(shifted):
    text = section(format_page(dataclasses.replace(shifted, adaptation=None, target=None)))
    assert "What was adapted" not in text
    assert "Do they look different? yes" in text


def test_a_run_without_another_domain_has_no_such_section(plain):
    page = format_page(plain)
    assert 'id="domain"' not in page
    assert "labelled domain" not in page


def test_card_and_summary_say_that_scores_are_of_the_labelled_domain(tmp_path, context):
    data = made_runs.dataset(made_runs.TARGETS)
    path = made_runs.write(tmp_path / "run", data, made_runs.wrong(3, 7))
    ctx = context(name="run")
    assert Run(path).summary()["domain"] is None
    assert "new domain" not in Run(path).format_text()
    save_value(make_shift(data.class_names), path / FOLDERS[DomainShift])
    save_value(make_adaptation(Run(path).adapted, data.class_names), path / FOLDERS[DomainAdaptation])
    new = made_runs.dataset(np.zeros(3), name="new")
    new = dataclasses.replace(new, excused=(SkippedFile(uri="a.txt", reason="not_a_picture", detail=""),) * 2)
    save_value(TargetDomain(pictures=new, labels=np.array([0, -1, -1]), copies=()), path / FOLDERS[TargetDomain])
    run = Run(path)
    assert run.summary()["domain"]["method"] == "coral"
    assert "new domain: the model is adapted to 60 new pictures" in run.format_text()
    card = write_card(ctx=ctx).read_text()
    assert "## The new domain\n\n- 3 pictures, 1 with a label. 2 files on disk were not used; the report names" in card
    assert "The model is adapted to 60 new pictures, and scores are of the labelled domain before that" in card
    assert (
        "between 36 % and 86 % (estimated without labels), in it 0.610 by difference of confidences (Guillory 2021) "
        r"and 0.550 by average thresholded confidence (Garg 2022), 0.500 \[0.300, 0.700\] measured on new pictures"
    ) in card
    assert "(n = 90), labelled domain, before adaptation" in run.format_text()
    assert [trial["status"] for trial in run.summary()["domain"]["trials"]][:2] == ["chosen", "beaten"]


def test_the_section_fits_a_wide_and_a_narrow_window(shifted, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(format_page(shifted), encoding="utf-8")
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (1280, 390):
        overflow, complaints = browser.ask(page, script, tmp_path, width=width, fragment="#domain")
        assert (overflow, complaints) == (0, [])
