"""D107: properties of the files that tell the class, planted in real pictures, and sets in which none does."""

import dataclasses

import numpy as np
import pytest
from benchmarks.planted.shortcuts import MARKS, names_property, plant

import audit_sets
from headstart.core.types import AuditInput
from headstart.data.checks.d107_shortcuts import PLUGIN as CHECK
from headstart.data.shortcuts import ALPHA, judge_properties


def ask(data):
    return CHECK(AuditInput(data=data, folds=5))


@pytest.mark.parametrize("kind", MARKS)
def test_a_planted_shortcut_is_named_with_its_score(kind, textile, tmp_path):
    outcome = ask(audit_sets.from_folder(plant(textile, tmp_path / "planted", kind, 0, each=30)))
    assert names_property(outcome, kind)
    finding = next(each for each in outcome.findings if each.sentence.startswith(MARKS[kind][0]))
    assert "balanced accuracy 0." in finding.sentence and "(n = 90; 0.33 is chance); one of" in finding.sentence
    assert "content" in finding.fix


def test_the_same_pictures_saved_alike_raise_no_warning(textile, tmp_path):
    outcome = ask(audit_sets.from_folder(plant(textile, tmp_path / "clean", "", 0, each=30)))
    assert outcome.status in ("passed", "tip")


def test_one_class_of_another_source_is_named_though_the_others_are_alike():
    """Of ten classes one is of another camera: balanced accuracy is near chance, and the class is told all the same."""
    targets = np.arange(300) % 10
    outcome = ask(audit_sets.from_targets(targets, cameras=tuple("ab"[int(t == 3)] for t in targets)))
    assert outcome.status == "issue"
    assert outcome.why.startswith("camera alone tells `class3` from all others: balanced accuracy 0.20 [")


def test_labels_that_have_nothing_to_do_with_the_files_raise_hardly_an_alarm(textile, tmp_path):
    data = audit_sets.from_folder(plant(textile, tmp_path / "clean", "", 0, each=30))
    rng = np.random.default_rng(0)
    drawn = [judge_properties(dataclasses.replace(data, targets=rng.permutation(data.targets))) for _ in range(20)]
    assert all(len(shortcuts) == 8 for shortcuts in drawn)
    assert sum(min(each.p for each in shortcuts) <= ALPHA for shortcuts in drawn) <= 1
    assert not any(each.is_certain for shortcuts in drawn for each in shortcuts)


def test_copies_and_groups_do_not_judge_what_they_taught():
    """Each of 12 patients has a size of its own and one class: the sizes are learnt by heart, and tell nothing."""
    patients = np.arange(240) % 12
    size = np.random.default_rng(1).permutation(12)[patients].astype(np.int32) + 100
    data = audit_sets.from_targets(patients % 2, width_px=size)
    assert ask(data).status == "issue"
    assert ask(dataclasses.replace(data, groups=tuple(map(str, patients)))).status == "passed"
    assert ask(dataclasses.replace(data, digests=tuple(map(str, patients)))).status == "passed"
    assert ask(dataclasses.replace(data, groups=("one",) * 240)).status == "not_applicable"


def test_numbers_that_count_each_class_by_itself_are_no_order():
    targets = np.repeat([0, 1], [100, 10])
    shared = audit_sets.from_targets(targets)
    own = tuple(f"class{t}/{n}.png" for t, n in zip(targets, [*range(100), *range(10)], strict=True))
    assert "one of 1 property" in ask(shared).why and ask(shared).status == "tip"
    assert ask(dataclasses.replace(shared, uris=own)).status == "not_applicable"


def test_of_targets_without_classes_nothing_is_said():
    data = audit_sets.from_targets(np.arange(40) % 2)
    numbers = dataclasses.replace(data, task="regression", targets=np.arange(40.0), class_names=())
    assert ask(numbers).status == "not_applicable"
