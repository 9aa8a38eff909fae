"""Checks of what files look like: wrong suffixes, blur, darkness, overexposure, odd shapes; in real pictures."""

import shutil

import pytest
from PIL import Image, ImageFilter
from test_data_checks import ask

import audit_sets


@pytest.fixture
def folder(textile, tmp_path):
    """Thirty clean pictures in two classes."""
    for name in ("nominal", "local"):
        files = sorted((textile / name).glob("*.jpg"))[:15]
        (tmp_path / "set" / name).mkdir(parents=True)
        for file in files:
            shutil.copy(file, tmp_path / "set" / name)
    return tmp_path / "set"


def edit(folder, count, edit_picture):
    """Overwrite the first pictures; their rows are the first ones."""
    for file in sorted(folder.rglob("*.jpg"))[:count]:
        with Image.open(file) as image:
            edit_picture(image.convert("RGB")).save(file, "JPEG", quality=90)
    return audit_sets.from_folder(folder)


def test_clean_cloth_raises_none(folder):
    data = audit_sets.from_folder(folder)
    assert {ask(code, data).status for code in ("D010", "D011", "D012")} == {"passed"}


@pytest.mark.parametrize("radius", [3, 6])
def test_blurred_pictures_are_found(folder, radius):
    data = edit(folder, 3, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))
    outcome = ask("D011", data)
    assert outcome.status == "issue" and "3 pictures blurred" in outcome.why
    assert sorted(outcome.findings[0].rows) == [0, 1, 2] and not outcome.findings[0].remove_rows  # to be looked at


def test_pictures_of_few_pixels_are_not_judged_for_blur(folder):
    for file in sorted(folder.rglob("*.jpg"))[:3]:
        with Image.open(file) as image:
            image.convert("RGB").filter(ImageFilter.GaussianBlur(6)).resize((31, 31)).save(file, "JPEG", quality=90)
    assert ask("D011", audit_sets.from_folder(folder)).why.startswith("sharpness of 27 pictures")


def test_a_set_that_is_soft_throughout_has_no_blurred_pictures(folder):
    data = edit(folder, 30, lambda image: image.filter(ImageFilter.GaussianBlur(4)))
    assert ask("D011", data).status == "passed"
    assert ask("D011", audit_sets.from_targets([0, 1] * 9)).status == "not_applicable"


@pytest.mark.parametrize(
    ("level", "word", "usual"),
    [
        (lambda v: v * 0.1, "dark", "below grey level 40"),
        (lambda v: min(255, v * 3), "overexposed", "above grey level"),
    ],
)
def test_dark_and_overexposed_pictures_are_found(folder, level, word, usual):
    outcome = ask("D012", edit(folder, 2, lambda image: image.point(level)))
    (finding,) = outcome.findings
    assert outcome.status == "issue" and f"2 pictures {word}" in finding.sentence and usual in finding.sentence
    assert finding.rows == (0, 1) and not finding.remove_rows


def test_dark_pictures_of_a_dark_set_are_usual(folder):
    data = audit_sets.from_folder(folder)
    data.facts.get_measure("grey_high")[:] = 20
    assert ask("D012", data).status == "passed"


def test_a_suffix_that_is_not_that_of_the_bytes_is_told(folder):
    first, second, third = sorted(folder.rglob("*.jpg"))[:3]
    first.rename(first.with_suffix(".png"))
    second.rename(second.with_suffix(""))
    third.rename(third.with_suffix(".1234"))
    data = audit_sets.from_folder(folder)
    outcome = ask("D010", data)
    assert outcome.status == "tip" and "the suffix promises: 1 `.png` is JPEG (" in outcome.why
    assert [data.uris[row] for row in outcome.findings[0].rows] == [f"local/{first.stem}.png"]


def test_long_pictures_are_named_with_their_ratio(folder):
    data = edit(folder, 1, lambda image: image.resize((260, 40)))
    (finding,) = ask("D006", data).findings
    assert "3 times the other, at most 6.5 times (`local/" in finding.sentence and finding.rows == (0,)
