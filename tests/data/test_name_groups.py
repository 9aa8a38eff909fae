"""Groups that file names tell: patients, videos and bursts among real pictures, and names that tell nothing."""

import dataclasses
import re

import pytest
from PIL import Image
from test_data_checks import ask

import audit_sets
from headstart.core.errors import UsageError
from headstart.core.job import make_job
from headstart.data.name_groups import find_name_groups
from headstart.data.reading.read_dataset import read_pictures


@pytest.fixture(scope="module")
def quarters(textile, tmp_path_factory):
    """Four quarters of 12 pictures of each of two classes; one picture is one patient, in train and test."""
    folder = tmp_path_factory.mktemp("quarters")
    for number, label in enumerate(("local", "nominal")):
        for at, source in enumerate(sorted((textile / label).glob("*.jpg"))[:12]):
            with Image.open(source) as image:
                for scan in range(4):
                    x, y = 125 * (scan % 2), 125 * (scan // 2)
                    target = folder / ("train", "test")[scan % 2] / label / f"patient{12 * number + at:03}_{scan}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    image.crop((x, y, x + 125, y + 125)).save(target)
    return folder, audit_sets.from_folder(folder)


def rename(data, format_name, deal=lambda group, scan: group):
    """The same pictures under other names, without splits."""
    found = [re.fullmatch(r"\w+/(\w+)/patient(\d+)_(\d)\.png", uri).groups() for uri in data.uris]
    uris = [f"{label}/{format_name(deal(int(group), int(scan)), int(scan))}" for label, group, scan in found]
    return dataclasses.replace(data, uris=tuple(uris), split=("",) * len(uris))


@pytest.mark.parametrize(
    ("format_name", "pattern"),
    [
        (lambda group, scan: f"patient{group:03}_scan{scan}.png", r"(?:^|/)(patient[0-9]+)_[^/]*$"),
        (lambda group, scan: f"P{group:04}-{'LR'[scan % 2]}-{scan}.png", r"(?:^|/)(P[0-9]+)\-[^/]*$"),
        (lambda group, scan: f"v{group}/frame{scan:04}.png", r"(?:^|/)(v[0-9]+)/[^/]*$"),
        (lambda group, scan: f"IMG_{group % 6}_12{group:02}_BURST{scan}.png", r"(?:^|/)(IMG_[0-9]+_[0-9]+)_[^/]*$"),
    ],
)  # fmt: skip
def test_names_that_hold_groups_are_found_with_their_expression(quarters, format_name, pattern):
    data = rename(quarters[1], format_name)
    groups = find_name_groups(data)
    assert groups.pattern == pattern and groups.closeness < 0.6
    by_pattern = [re.search(pattern, uri)[1] for uri in data.uris]
    assert tuple(by_pattern) == groups.names and len(set(by_pattern)) == 24
    outcome = ask("D106", data)
    assert outcome.status == "issue" and "tell 24 groups" in outcome.why and "of at most 4 pictures" in outcome.why
    assert pattern in outcome.findings[0].fix and len(outcome.findings[0].rows) == 96


def test_names_that_pictures_do_not_confirm_raise_nothing(quarters):
    def deal(group, scan):
        return group // 12 * 12 + (group + 5 * scan) % 12

    data = rename(quarters[1], lambda group, scan: f"patient{group:03}_scan{scan}.png", deal)
    assert find_name_groups(data) is None and ask("D106", data).status == "passed"
    data = rename(quarters[1], lambda group, scan: f"textile_{4 * group + scan:04}.png")
    assert ask("D106", data).status == "passed"


def test_groups_on_two_sides_of_given_splits_are_counted(quarters):
    assert "24 of them lie on two sides of the given splits" in ask("D106", quarters[1]).why
    added = tuple("" if side == "test" else side for side in quarters[1].split)  # pictures of --more are of no side
    assert "two sides" not in ask("D106", dataclasses.replace(quarters[1], split=added)).why


def test_a_group_setting_by_name_groups_a_folder(quarters, context):
    folder = quarters[0]
    ctx = context(data=str(folder), group="name:(patient[0-9]+)_")
    data = read_pictures(folder, ctx=ctx)
    assert data.groups == tuple(re.search(r"patient\d+", uri)[0] for uri in data.uris)
    assert ask("D106", data).status == "not_applicable"
    assert "24 groups on two sides of the given splits" in ask("D105", data).why
    with pytest.raises(UsageError, match="finds a group in no path, such as `test/local/patient"):
        read_pictures(folder, ctx=context(data=str(folder), group="name:(subject[0-9]+)_"))


def test_a_group_setting_by_name_wins_over_the_column_of_a_table(quarters, tmp_path, context):
    folder, data = quarters
    lines = [f"{uri},{uri.split('/')[1]},all" for uri in data.uris]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *lines]))
    settings = {"data": str(tmp_path / "labels.csv"), "images": str(folder), "group": "name:(patient[0-9]+)_"}
    assert len(set(read_pictures(settings["data"], ctx=context(**settings)).groups)) == 24


@pytest.mark.parametrize(("group", "why"), [("name:(a", "is no regular expression"), ("name:ab", "has no bracket")])
def test_a_wrong_expression_is_refused_at_the_start(group, why):
    with pytest.raises(UsageError, match=why):
        make_job(data="pictures", group=group)
