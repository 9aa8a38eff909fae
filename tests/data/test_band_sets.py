"""Sets of pictures with many bands: which are read, how they are scaled, what is skipped, what lies together."""

import csv
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.reading.scenes import cut_blocks, join_touching
from headstart.testing.band_files import N_BANDS, make_bands, write_band_files, write_geotiff
from headstart.testing.image_files import make_scene

pytest.importorskip("rasterio")


@pytest.fixture
def read(context, store):
    """A function that reads a folder with an empty cache, and says what it does."""

    def read_aloud(folder, **settings):
        return read_dataset(folder, ctx=replace(context(data=folder, store=store, **settings), console=Console()))

    return read_aloud


def test_every_file_of_a_band_set_is_used_or_excused_for_its_reason(read, tmp_path):
    expected = write_band_files(tmp_path / "zoo")
    data = read(tmp_path / "zoo")
    found = dict.fromkeys(data.uris, "") | {file.uri: file.reason for file in data.excused}
    assert found == expected
    rows = list(csv.DictReader((tmp_path / "run" / "read" / "files.csv").read_text().splitlines()))
    assert Counter(row["use"] for row in rows) == Counter(reason or "used" for reason in expected.values())
    details = {file.uri.partition("/")[2]: file.detail for file in data.excused}
    assert "it has 13 bands, most pictures of the set have 5" in details["thirteen bands.tif"]
    assert "grey or colour, most pictures of the set have 5" in details["colour.png"]
    assert "no value of band 4 is data" in details["empty band.tif"]
    assert "complex" in details["complex.tif"]


def test_bands_are_scaled_alike_in_all_pictures_and_the_rule_is_told(read, tmp_path, capsys):
    for at in range(8):
        bands = make_bands(make_scene())
        bands[1] = 7  # of one value: tells nothing
        bands[2, :, :] = 0 if at < 6 else bands[2]  # hardly any data
        path = tmp_path / "set" / "ab"[at % 2] / f"{at}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_geotiff(bands, nodata=0))
    data = read(tmp_path / "set")
    ranges = data.reading.ranges
    assert ranges.n_bands == N_BANDS and ranges.bands == (1, 4, 5) and ranges.precise
    blue = make_bands(make_scene())[0]
    np.testing.assert_allclose(ranges.band_ranges[0], np.percentile(blue, [2, 98]), rtol=1e-6)
    told = capsys.readouterr().err
    assert "band 2 has one value alone in the pictures and is left out" in told
    assert "band 3 has hardly any data in the pictures and is left out" in told
    assert "bands 1, 4, 5 of 5, all that vary; the 2nd to 98th percentile" in told


def test_all_bands_may_be_read_three_at_a_time(read, tmp_path, capsys):
    write_band_files(tmp_path / "zoo")
    data = read(tmp_path / "zoo", bands="triples")
    assert data.reading.ranges.bands == (1, 2, 3, 4, 5)
    assert np.argmax(data.reading.ranges.mix, axis=1).tolist() == [0, 1, 2, 3, 4, 0]
    assert "three bands at a time: the trunk runs 2 times a picture" in capsys.readouterr().err
    for at in range(4):
        path = tmp_path / "colour" / "ab"[at % 2] / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene() + np.uint8(at)).save(path)
    with pytest.raises(UsageError, match="there are no bands to choose"):
        read(tmp_path / "colour", bands="triples", name="colour")


def test_chosen_bands_become_red_green_and_blue(read, tmp_path, capsys):
    write_band_files(tmp_path / "zoo")
    data = read(tmp_path / "zoo", bands="3,2,1")
    assert data.reading.ranges.bands == (3, 2, 1)
    assert data.reading.ranges.mix == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert "field/empty band.tif" not in {file.uri for file in data.excused}  # its band 4 is not read


def test_bands_are_refused_where_there_are_none(read, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(make_scene()).save(tmp_path / "set" / name / "1.png")
    with pytest.raises(UsageError, match="grey or colour"):
        read(tmp_path / "set", bands="3,2,1")
    for text in ("0,1", "a", "1,1", "", "1,,2"):
        with pytest.raises(UsageError, match="names no bands"):
            read(tmp_path / "set", bands=text)


def test_pictures_that_touch_on_the_ground_are_one_group(read, tmp_path, capsys):
    bands, side = make_bands(make_scene())[:, :32, :32], 320  # m
    grid = [(column * side, row * -side) for row in range(3) for column in range(4)]
    corners = [*grid, (5000, 0), (5100, 0), (70_000, 0), (90_000, 0)]
    for at, (left, top) in enumerate(corners):
        path = tmp_path / "set" / "ab"[at % 2] / f"{at}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_geotiff(bands + at, origin=(500_000 + left, 5_000_000 + top)))
    (tmp_path / "set" / "a" / "nowhere.tif").write_bytes(write_geotiff(bands + 99))
    data = read(tmp_path / "set")
    groups = {uri.partition("/")[2].split(".")[0]: group for uri, group in zip(data.uris, data.groups, strict=True)}
    assert groups["12"] == groups["13"] != groups["14"] != groups["15"] and groups["nowhere"] == ""
    cut = {groups[str(at)] for at in range(12)}
    assert len(cut) > 5 and all(" block " in group for group in cut)  # more than a fifth of the set
    assert "scenes on the ground are split whole" in capsys.readouterr().err
    assert len(set(groups.values())) == len(cut) + 4


def test_boxes_that_touch_are_joined_as_by_comparing_all_pairs():
    rng = np.random.default_rng(3)
    corner, size = rng.integers(0, 60, (150, 2)), rng.integers(1, 5, (150, 2))
    boxes = np.hstack([corner, corner + size]).astype(float)
    touch = np.all((boxes[:, None, :2] <= boxes[None, :, 2:]) & (boxes[None, :, :2] <= boxes[:, None, 2:]), axis=2)
    joined = np.arange(len(boxes))
    for _ in range(len(boxes)):
        joined = np.min(np.where(touch, joined[None], len(boxes)), axis=1)
    scenes = join_touching(boxes)
    assert 1 < len(np.unique(scenes)) < len(boxes)
    assert np.array_equal(scenes[:, None] == scenes[None], joined[:, None] == joined[None])
    assert set(cut_blocks(np.array([[0, 0, 1, 1], [9, 0, 10, 1], [9, 9, 10, 10.0]]))) == {0, 4, 24}
