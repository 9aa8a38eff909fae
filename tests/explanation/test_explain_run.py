"""Which pictures a run keeps and explains, and what the report says of them, from values alone."""

import dataclasses
import re

import numpy as np
import pytest

import report_samples as samples
from headstart.core.errors import DataError
from headstart.core.types import Explained, MapRow
from headstart.explanation import example_selection, example_store
from headstart.explanation.explain_run import GROUPS, _choose_held_out
from headstart.heads.decision_rule import choose_classes
from headstart.reporting.write_report import format_page
from headstart.testing.tiny_model import write_tiny_model
from judged_sets import dataset


def test_classes_share_the_room_and_small_ones_leave_theirs():
    targets = np.repeat(np.arange(4), [2, 40, 1000, 1000])
    rows = example_selection.choose_rows(np.arange(len(targets)), targets, 4)
    assert np.bincount(targets[rows]).tolist() == [2, 40, 229, 229]
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(("n_classes", "each"), [(250, 2), (400, 2), (100, 5)])
def test_each_of_many_classes_keeps_two_at_least(n_classes, each):
    targets = np.repeat(np.arange(n_classes), 9)
    assert set(np.bincount(targets[example_selection.choose_rows(np.arange(len(targets)), targets, n_classes)])) == {
        each
    }


def test_rows_that_did_not_learn_are_not_kept():
    targets = np.repeat(np.arange(2), 10)
    assert set(example_selection.choose_rows(np.arange(0, 20, 2), targets, 2)) == set(range(0, 20, 2))


def test_right_and_wrong_are_told_by_what_is_answered(three):
    drawn = np.array([[0.7, 0.3, 0], [0.9, 0.1, 0], [0.6, 0.4, 0], [0.95, 0.05, 0]])
    evaluation = dataclasses.replace(three.evaluation, rows=np.arange(4), probabilities=drawn)
    data = dataclasses.replace(three.dataset, targets=np.array([1, 0, 0, 1, *three.dataset.targets[4:]]))
    by_threshold = choose_classes(drawn, positive=1, threshold=0.2)
    assert by_threshold.tolist() == [1, 0, 1, 0]
    found = dict(_choose_held_out(data, evaluation, by_threshold))
    right, wrong = ({row for row, group in found.items() if group.startswith(word)} for word in ("right", "wrong"))
    assert (right, wrong) == ({0, 1}, {2, 3})
    assert found[1] == "right, most sure"
    assert found[3] == "wrong, most sure"


@pytest.fixture(scope="module")
def three():
    return samples.findings(dataset(120), test=40)


def explained(given):
    row = int(given.evaluation.rows[0])
    one = MapRow(
        row=row,
        group=GROUPS[0],
        answer="unknown",
        class_name="ash",
        confidence=0.7,
        file="map0.jpg",
        neighbours=(1, 2),
        similarities=(0.9, 0.8),
    )
    return Explained(method="cam", why="so", kept=80, bytes=1, prototypes={"ash": (1, 2)}, maps=(one,))


def section(given):
    found = re.search(r'<section id="looks".*?</section>', format_page(given), re.S)
    return re.sub(r"<[^>]+>|\s+", " ", found[0]) if found else ""


def test_the_report_says_whether_what_it_explains_was_held_out(three):
    given = dataclasses.replace(three, explained=explained(three), overlays={"map0.jpg": b"jpeg"})
    assert "Held-out pictures, right and wrong" in section(given)
    assert "likeness 0.90" in section(given)
    evaluation = dataclasses.replace(three.evaluation, split="cv")
    told = section(dataclasses.replace(given, evaluation=evaluation))
    assert "Training pictures, for none was held back" in told
    assert "Held-out" not in told


def test_pictures_that_are_not_like_it_are_not_shown_as_if_they_were(three):
    found = explained(three)

    def told(*similarities):
        maps = (dataclasses.replace(found.maps[0], similarities=similarities),)
        return section(dataclasses.replace(three, explained=dataclasses.replace(found, maps=maps), overlays=jpegs))

    jpegs = {"map0.jpg": b"jpeg"}
    assert "It looks like these:" in told(0.4, -0.1)
    assert told(0.4, -0.1).count("likeness") == 1
    assert "Nothing it learnt from looks like it." in told(0.0, -0.1)
    assert "likeness" not in told(0.0, -0.1)


def test_a_run_of_before_has_no_such_section_and_a_map_that_is_gone_is_left_out(three):
    assert section(three) == ""
    told = section(dataclasses.replace(three, explained=explained(three)))
    assert "right, most sure" not in told
    assert "What stands for each class" in told


def test_kept_pictures_that_do_not_name_all_their_files_are_refused(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    example_store.write_examples(
        tmp_path / "explain", model, (), {example_store.VECTORS: b"v", example_store.SCALE: b"s"}
    )
    with pytest.raises(DataError, match=r"damaged: `thumbnails\.bin`"):
        example_store.read_examples(tmp_path / "explain", model)
