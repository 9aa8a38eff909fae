"""The page of the map: what it holds of each picture, what it must never hold, and how it is used by hand and key."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

import pages
import report_samples as samples
from headstart.core.console import Console
from headstart.core.job import make_job
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.types import PictureMap
from headstart.data.reading.read_dataset import read_dataset
from headstart.reporting.picture_map.map_page import format_map_page
from headstart.reporting.picture_map.map_points import MISTAKE, OTHERS, SUSPECT, make_map_points
from headstart.reporting.write_report import format_page, write_report


@pytest.fixture(scope="module")
def report(textile, shared_store, tmp_path_factory):
    """Findings on 30 real pictures a class, and a map of them."""
    folder = tmp_path_factory.mktemp("data") / "textile"
    for source in sorted(path for path in textile.iterdir() if path.is_dir()):
        for picture in sorted(source.glob("*.jpg"))[:30]:
            (folder / source.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, folder / source.name)
    run, job = RunFolder(folder.parent / "reading"), make_job(data=str(folder))
    ctx = Context(job=job, run=run, store=shared_store, console=Console(quiet=True))
    return add_map(samples.findings(read_dataset(str(folder), ctx=ctx), test=45))


def add_map(report):
    count = len(report.dataset.uris)
    places = np.random.default_rng(3).random((count, 2), np.float32)
    return dataclasses.replace(report, picture_map=PictureMap(rows=np.arange(count), places=places))


def format_map(report):
    return format_map_page(report, make_map_points(report, report.picture_map))


def read_points(text):
    return json.loads(re.search(r'id="points">(.*?)</script>', text, re.DOTALL)[1])


def test_each_picture_has_its_place_label_answer_and_marks(report):
    points, data, judged = read_points(format_map(report)), report.dataset, report.evaluation
    places = np.asarray(report.picture_map.places)
    assert points["names"] == list(data.uris)
    np.testing.assert_allclose(np.array(points["x"]) / points["size"], places[:, 0], atol=2e-4)
    np.testing.assert_allclose(1 - np.array(points["y"]) / points["size"], places[:, 1], atol=2e-4)  # upwards
    assert [points["labelTexts"][label] for label in points["labels"]] == [data.class_names[t] for t in data.targets]
    answers = np.asarray(judged.probabilities).argmax(axis=1)
    shown = [points["answerTexts"][points["answers"][row]] for row in judged.rows]
    assert shown == [data.class_names[answer] for answer in answers]
    marks = np.array(points["marks"])
    assert np.array_equal(marks[judged.rows] & MISTAKE > 0, answers != np.asarray(data.targets)[judged.rows])
    assert sorted(np.flatnonzero(marks & SUSPECT)) == sorted(judged.suspects)
    assert (marks[report.splits.train] & MISTAKE).any()  # of cross-validation too
    assert set(np.array(points["sides"])[report.splits.test]) == {points["sideNames"].index("test")}


def test_names_are_escaped_and_paths_of_the_machine_stay_out(report):
    bad = "</script><script>alert(1)</script>"
    uris = (f"nominal/{bad}.jpg", *report.dataset.uris[1:])
    data = dataclasses.replace(report.dataset, uris=uris, class_names=(bad, *report.dataset.class_names[1:]))
    text = format_map(dataclasses.replace(report, dataset=data))
    assert bad not in text and read_points(text)["names"][0] == uris[0]
    assert str(report.dataset.root) not in text and report.job.data not in text
    assert "default-src 'none'" in text and not re.search(r"https?://(?!www\.w3\.org)", text)


def test_the_same_findings_give_the_same_bytes_and_without_thumbnails_no_picture(report):
    text = format_map(report)
    assert text == format_map(report) and text.count("data:image/jpeg;base64,") == 1
    bare = format_map(dataclasses.replace(report, job=dataclasses.replace(report.job, no_thumbnails=True)))
    assert "data:image" not in bare and "--no-thumbnails" in bare


def test_of_many_classes_the_largest_have_colours(report):
    count = len(report.dataset.uris)
    targets = np.minimum(np.arange(count) % 12, 9)
    names = tuple(f"class {number}" for number in range(10))
    data = dataclasses.replace(report.dataset, targets=targets, class_names=names)
    points = make_map_points(dataclasses.replace(report, dataset=data, evaluation=None), report.picture_map)
    colours = [group.colour for group in points.groups]
    assert colours[9] != OTHERS and colours.count(OTHERS) == 3 and len(set(colours)) == 8
    assert set(points.answers) == {""} and not points.marks.any()


def test_numbers_and_labels_are_coloured_too(report):
    values = np.random.default_rng(0).normal(size=len(report.dataset.uris))
    numbers = dataclasses.replace(report.dataset, task="regression", targets=values, class_names=())
    bare = dataclasses.replace(report, evaluation=None, adapted=None)
    points = make_map_points(dataclasses.replace(bare, dataset=numbers), report.picture_map)
    order = np.argsort(values)
    assert (np.diff(np.array(points.list_colours())[order]) >= 0).all() and len(points.groups) == 7
    flags = np.random.default_rng(0).random((len(values), 3)) < 0.4
    labels = dataclasses.replace(report.dataset, task="multilabel", targets=flags)
    points = make_map_points(dataclasses.replace(bare, dataset=labels), report.picture_map)
    assert points.members == [np.flatnonzero(row).tolist() for row in flags]
    assert points.list_colours()[int(np.flatnonzero(~flags.any(axis=1))[0])] == OTHERS


def test_the_report_shows_the_map_and_leads_to_it(report, context):
    path = write_report(report, ctx=context(data="textile"))
    text = path.read_text(encoding="utf-8")
    assert 'href="map.html"' in text and 'id="map"' in text and path.with_name("map.html").is_file()
    assert "map.html" not in format_page(dataclasses.replace(report, picture_map=None))


@pytest.mark.medium
def test_it_is_used_by_key_pointer_and_touch_on_a_desktop_and_in_the_dark_on_a_phone(report, context):
    path = write_report(report, ctx=context(data="textile"))
    with pages.opened() as browser:
        for size, scheme in ((pages.DESKTOP, "light"), (pages.PHONE, "dark")):
            with pages.page(browser, path.as_uri(), size=size, scheme=scheme) as page:
                page.get_by_role("link", name="Open the map").click()
                board, said, card = page.locator("#map"), page.locator("#said"), page.locator("#card")
                assert pages.overflows(page) == 0 and pages.faults(page) == [] and card.is_hidden()
                walk_by_keys(page, board, said, report)
                page.get_by_label("Show").select_option("2")
                assert page.locator("#count").inner_text() == f"{len(report.evaluation.suspects)} of 90"
                page.locator("[data-place]").first.click()
                first = report.dataset.uris[report.evaluation.suspects[0]]
                assert said.inner_text().startswith(first) and "label suspect" in card.inner_text()
                page.wait_for_function(
                    "document.getElementById('tile').getContext('2d').getImageData(9, 9, 1, 1).data[3]"
                )
                page.keyboard.press("Escape")
                assert card.is_hidden()
                point_at(page, board, report, tap=size == pages.PHONE)
                assert report.dataset.uris[0] in card.inner_text() and pages.overflows(page) == 0


def walk_by_keys(page, board, said, report):
    """Right as far as it goes and back again: each step is another picture; zoom does not lose it."""
    board.focus()
    names = []
    for key in ("Enter", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
        names.append(said.inner_text())
    assert all(names) and len(set(names)) >= 4
    width = board.bounding_box()["width"] - 36
    for key in ("Shift+ArrowRight", "Shift+ArrowLeft"):
        page.keyboard.press(key)
        names.append(said.inner_text())
        before, after = (report.picture_map.places[report.dataset.uris.index(n.split(",")[0])][0] for n in names[-2:])
        assert (after - before) * width * (-1 if key.endswith("Left") else 1) > 39
    for key in ("+", "+", "0"):
        page.keyboard.press(key)
        assert said.inner_text() == names[-1]


def point_at(page, board, report, *, tap):
    box, (x, y) = board.bounding_box(), report.picture_map.places[0].tolist()
    x, y = box["x"] + 18 + x * (box["width"] - 36), box["y"] + 18 + (1 - y) * (box["height"] - 36)
    page.touchscreen.tap(x, y) if tap else page.mouse.move(x, y)
