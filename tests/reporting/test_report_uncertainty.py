"""The report's section on doubt: what it tells, before and after, and that it stays away from runs without any."""

import dataclasses
import re

import numpy as np
import pytest

import report_samples as samples
from headstart.core.types import Verdict
from headstart.reporting.sections import uncertainty
from headstart.reporting.write_report import format_page
from judged_sets import dataset


@pytest.fixture(scope="module")
def given():
    return samples.findings(dataset(600), test=150)


def section(page):
    return re.sub(r"<[^>]+>|\s+", " ", re.search(r'<section id="uncertainty".*?</section>', page, re.S)[0])


def test_it_tells_certainty_sets_and_what_is_declined(given):
    page = format_page(given)
    assert 'href="#uncertainty"' in page
    told = re.sub(" +", " ", section(page))
    assert "93.1 % [90.1 %, 96.1 %] of 150 pictures have their class in the prediction set, 1.27 classes each" in told
    assert "90 % asked for" in told
    assert "in the worst class, ash , 91.0 % [88.0 %, 94.0 %] (n = 50)" in told
    assert "Declined as unknown: 2.0 % [1.0 %, 3.0 %] of 150 known pictures, 95.0 %" in told
    assert "of 40 handwritten digits" in told
    assert "surer by the temperature 0.800" in told
    assert "calibration error 0.080 [0.050, 0.110] n = 150 0.040 [0.010, 0.070] n = 150" in told
    assert "lower is better. With the temperature they are those of the result" in told
    assert "covered, class ash 0.910" in told
    assert "hidden class beech – 0.710" in told
    assert "the distance to the fifth nearest training picture" in told
    assert "(nearest 0.710 and mahalanobis 0.690)" in told


def test_a_run_of_before_has_no_such_section(given):
    page = format_page(dataclasses.replace(given, uncertainty=None))
    assert 'id="doubt"' not in page
    assert 'href="#uncertainty"' not in page


def test_without_novelty_it_says_that_nothing_is_declined_for_it(given):
    kept = tuple(s for s in given.uncertainty.scores if s.name != "novelty_auc")
    found = dataclasses.replace(given.uncertainty, novelty=None, scores=kept, thresholds=np.full(3, np.inf))
    told = section(format_page(dataclasses.replace(given, uncertainty=found)))
    assert "This model says unknown only where its prediction set is empty: too few pictures" in re.sub(" +", " ", told)


def test_that_unknown_does_not_work_stands_among_the_verdicts(given):
    verdict = Verdict(code="unknown", answer="no", sentence="`unknown` does not work here: it declines nothing")
    found = dataclasses.replace(given.uncertainty, verdict=verdict)
    page = format_page(dataclasses.replace(given, uncertainty=found))
    shown = re.sub(r"<[^>]+>|\s+", " ", re.search(r'<section id="verdicts".*?</section>', page, re.S)[0])
    assert "Does it know what it does not know?" in shown
    assert "unknown does not work here: it declines nothing" in re.sub(" +", " ", shown)


def test_of_many_classes_the_worst_are_told(given):
    names = tuple(f"class {at:02}" for at in range(40))
    scores = tuple(samples.sc("test", "coverage", 0.99 - at / 100, 20, subject=name) for at, name in enumerate(names))
    found = dataclasses.replace(given.uncertainty, scores=scores)
    data = dataclasses.replace(given.dataset, class_names=names)
    told = uncertainty.make_uncertainty_view(dataclasses.replace(given, uncertainty=found, dataset=data))["by_class"]
    assert len(told) == 25
    assert told[0][0] == "class 39"
