"""Charts: pieces of a page that take its colours, name nothing twice and change nothing in the process."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from headstart.core.types import CalibrationBin
from headstart.reporting.charts import (
    ChartPoint,
    draw_by_epoch,
    draw_cost_and_score,
    draw_learning_curve,
    draw_reliability,
    draw_score_by_place,
)


def mark(x, y, kind="beaten", label="a"):
    return ChartPoint(x=x, y=y, low=y - 0.02, high=y + 0.02, label=label, kind=kind)


MARKS = [
    mark(0.8, 0.7, label="small"),
    mark(1.7, 0.8, "chosen", "best"),
    mark(30, 0.75, "tied", "large"),
    mark(0.8, 0.4, "control", "random"),
]
BINS = [
    CalibrationBin(low=0.4, high=0.6, n=20, confidence=0.5, accuracy=0.45),
    CalibrationBin(low=0.6, high=1.0, n=80, confidence=0.9, accuracy=0.95),
]
LATER = [(800, 0.74, 0.7, 0.78), (1600, 0.77, 0.71, 0.82)]
CURVE = [(25, 0.5, 0.4, 0.6), (100, 0.6, 0.55, 0.65), (400, 0.7, 0.66, 0.74)]


def cost(**changes):
    given = {
        "name": "cost",
        "x_label": "GFLOPs",
        "y_label": "accuracy",
        "title": "Accuracy & cost",
        "level": ("colours", 0.45),
    }
    return draw_cost_and_score(MARKS, **given | changes)


def by_place():
    marks = [mark(0, 0.7), mark(1, 0.8, "chosen"), mark(1, 0.8, "control")]
    places = ("early", "late")
    return draw_score_by_place(marks, places, name="place", x_label="depth", y_label="accuracy", title="By depth")


def epochs(chosen=2, **lines):
    held = np.array([[0.5, 0.4, 0.3, 0.2, np.nan], [0.6, 0.5, 0.4, np.nan, np.nan], [0.7, 0.6, 0.5, np.nan, np.nan]])
    given = {"held": held, "learnt": held - 0.1} | lines
    return draw_by_epoch(given, name="epochs", y_label="log loss", title="Loss & epochs", chosen=chosen)


CHARTS = {
    "epochs": epochs,
    "place": by_place,
    "cost": cost,
    "reliability": lambda: draw_reliability(BINS, [(0.3, 0.6), (0.9, 0.98)], name="reliability", title="<certainty>"),
    "forecast": lambda: draw_learning_curve(CURVE, LATER, name="later", y_label="accuracy", title="<more>"),
    "curve": lambda: draw_learning_curve(CURVE, name="curve", y_label="accuracy", title="learning"),
}


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_it_is_one_well_formed_element_with_a_title(draw):
    root = ET.fromstring(draw())
    assert root.tag == "svg" and root.get("role") == "img"
    assert root.find("title").text == root.get("aria-label")


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_the_page_gives_colours_and_font_and_nothing_points_outside(draw):
    text = draw()
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r'(href="|url\()#[^")]*', "", text))
    assert "var(--chart-ink)" in text and "var(--chart-accent)" in text
    assert "http" not in text and "font-family" not in text and "<style" not in text
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used == set(re.findall(r' id="([^"]+)"', text))


def test_what_is_expected_is_a_broken_line_with_its_own_band_and_ticks():
    drawn, measured = CHARTS["forecast"](), CHARTS["curve"]()
    assert drawn.count("stroke-dasharray: 6.4,4.8") == 1 and "stroke-dasharray: 6.4,4.8" not in measured
    assert "opacity: 0.16" in drawn and "opacity: 0.16" not in measured
    assert {"400", "800", "1,600"} <= {element.text for element in ET.fromstring(drawn).iter("text")}


def test_words_stay_text():
    words = [element.text for element in ET.fromstring(cost()).iter("text")]
    assert {"GFLOPs", "accuracy", "best", "small", "colours"} <= set(words)
    assert "large" not in words, "a dearer candidate that is not better has no name in the chart"


def test_the_same_data_give_the_same_bytes_and_names_are_of_the_chart():
    assert cost() == cost()
    ids = re.findall(r' id="([^"]+)"', cost(name="other"))
    assert ids and all(each.startswith("other-") for each in ids)


def test_one_candidate_alone_can_be_drawn():
    text = draw_cost_and_score([mark(0.8, 0.7, "chosen")], name="one", x_label="x", y_label="y", title="t")
    assert ">0.8</text>" in text


def test_only_controls_can_be_drawn():
    assert "<svg" in draw_cost_and_score([mark(0.8, 0.7, "control")], name="one", x_label="x", y_label="y", title="t")


def test_equal_scores_at_one_place_stand_side_by_side():
    uses = [element for element in ET.fromstring(by_place()).iter("use") if element.get("style")]
    texts = [element.text for element in ET.fromstring(by_place()).iter("text")]
    assert {"early", "late"} <= set(texts)
    spots = {(use.get("x"), use.get("y")) for use in uses}
    assert len({x for x, _ in spots}) >= 3


def strokes(text, role):
    """Points of the lines drawn in a colour, without bands."""
    found = re.findall(rf'<path d="([^"]+)"[^>]*style="fill: none; stroke: var\(--chart-{role}\)', text)
    return [path.split() for path in found]


def test_a_mean_over_folds_ends_where_fewer_than_half_still_train():
    (line,) = strokes(epochs(), "accent")
    assert line.count("L") == 2, "three epochs are known of three folds, the fourth of one alone"
    assert epochs().count("var(--chart-ink)") == epochs(chosen=None).count("var(--chart-ink)") + 1


def test_one_fold_has_no_band_and_what_was_not_measured_is_not_drawn():
    one = np.array([[0.5, 0.4, 0.3]])
    banded, plain = epochs(), epochs(held=one, learnt=np.full((1, 3), np.nan))
    assert "fill-opacity" in banded and "fill-opacity" not in plain
    assert not strokes(plain, "second")


def test_no_setting_of_matplotlib_is_changed():
    import matplotlib

    before = dict(matplotlib.rcParams)
    for draw in CHARTS.values():
        draw()
    assert dict(matplotlib.rcParams) == before
