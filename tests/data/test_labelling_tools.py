"""Exports of labelling tools: what they say is what is learnt, and damage is told."""

import json

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import DataError, HeadstartError
from headstart.core.job import Job
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.reading.records import find_reader, require_readable

NAMES = [f"{number}.png" for number in range(6)]


@pytest.fixture
def pictures(tmp_path):
    """Six pictures below `img`."""
    (tmp_path / "img").mkdir()
    for number, name in enumerate(NAMES):
        values = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "img" / name)
    return tmp_path / "img"


@pytest.fixture
def read(context, store, pictures):
    """A function that reads a file of labels with the folder of pictures."""

    def read_file(path, **settings):
        name = f"run{len(list(path.parent.glob('run*')))}"
        ctx = context(data=path, store=store, name=name, images=str(pictures), **settings)
        return read_dataset(str(path), ctx=ctx)

    return read_file


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def by_name(data):
    return {uri: data.class_names[target] for uri, target in zip(data.uris, data.targets, strict=True)}


def coco(**changes):
    labels = [1, 2, 1, 2]
    return {
        "info": {},
        "images": [{"id": 10 + number, "file_name": name, "width": 24} for number, name in enumerate(NAMES)],
        "annotations": [
            {"id": 1, "image_id": 10 + at, "category_id": label, "bbox": [0, 0, 3, 3]}
            for at, label in enumerate(labels)
        ]
        + [{"id": 9, "image_id": 10, "category_id": 1}, {"id": 10, "image_id": 99, "category_id": 1}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    } | changes


def test_coco_categories_of_an_image_are_its_class(read, tmp_path):
    path = write(tmp_path / "instances.json", coco())
    assert find_reader(str(path)).name == "coco"
    data = read(path)
    assert by_name(data) == {"0.png": "cat", "1.png": "dog", "2.png": "cat", "3.png": "dog"}
    assert data.unlabelled == ("4.png", "5.png")
    assert [(row.uri, row.reason) for row in data.excused] == [("instances.json:6", "malformed_row")]


def ask(choices, name="kind", cancelled=False):
    values = [{"from_name": name, "type": "choices", "value": {"choices": choices}}]
    return {"was_cancelled": cancelled, "result": values if choices else []}


def test_label_studio_answers_of_annotators_who_agree(read, tmp_path):
    tasks = [
        {"data": {"image": "/data/upload/1/0.png"}, "annotations": [ask(["cat"]), ask(["cat"])]},
        {"data": {"image": "/data/upload/1/1.png"}, "annotations": [ask(["dog"]), ask(["cat"], cancelled=True)]},
        {"data": {"image": "/data/upload/1/2.png"}, "annotations": [ask(["dog"]), ask(["cat"])]},
        {"data": {"image": "/data/upload/1/3.png"}, "annotations": []},
    ]
    path = write(tmp_path / "project.json", tasks)
    assert find_reader(str(path)).name == "label_studio"
    data = read(path)
    assert by_name(data) == {"0.png": "cat", "1.png": "dog"} and data.unlabelled == ("3.png",)
    assert [(row.uri, row.reason, row.detail) for row in data.excused] == [
        ("2.png", "two_labels", "row 3 has several answers")
    ] * 2


def test_label_studio_with_several_questions_asks_for_one(read, tmp_path):
    def answer(kind, quality):
        return [{"result": [*ask([kind])["result"], *ask([quality], "quality")["result"]]}]

    tasks = [
        {"data": {"photo": f"/data/local-files/?d={name}"}, "annotations": answer("ab"[at % 2], "sharp")}
        for at, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "project.json", tasks)
    with pytest.raises(DataError, match="several questions a picture: `kind`, `quality`"):
        read(path)
    assert read(path, target="kind").class_names == ("a", "b")


def test_label_studio_short_form(read, tmp_path):
    tasks = [
        {"image": f"/data/upload/{name}", "id": at, "choice": "ab"[at % 2], "annotator": 1}
        for at, name in enumerate(NAMES)
    ]
    assert by_name(read(write(tmp_path / "min.json", tasks)))["1.png"] == "b"


def test_cvat_tags_and_subsets(read, tmp_path):
    images = "".join(
        f'<image id="{at}" name="{name}" subset="{"Train" if at < 4 else "Test"}"><tag label="{"ab"[at % 2]}"/>'
        f'<box label="x" xtl="1"/></image>'
        for at, name in enumerate(NAMES)
    )
    path = write(tmp_path / "annotations.xml", f"<?xml version='1.0'?><annotations><meta/>{images}</annotations>")
    data = read(path)
    assert by_name(data)["3.png"] == "b" and data.split == ("train",) * 4 + ("test",) * 2


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", '{"images": [], ', "as COCO annotations"),
        ("a.json", {"images": []}, "there is no 'categories'"),
        ("a.json", coco(annotations=[{"image_id": 1}]), "there is no 'category_id'"),
        ("a.json", [1, 2], "as an export of Label Studio"),
        ("a.json", [{"data": {"text": "hello"}, "annotations": []}], "names no picture"),
        ("a.xml", "<annotations><image id='1' name='0.png'>", "as an export of CVAT for images"),
        ("a.xml", "<annotations></annotations>", "names no picture"),
    ],
)
def test_damaged_exports_say_what_is_wrong(read, tmp_path, name, content, why):
    with pytest.raises(DataError, match=why):
        read(write(tmp_path / name, content))


def test_a_setting_that_the_form_lacks_is_refused(tmp_path):
    path = write(tmp_path / "a.json", coco())
    with pytest.raises(HeadstartError, match="`--target` would do nothing: .* is read as coco"):
        require_readable(Job(data=str(path), target="x"))
