"""Copies of real pictures, changed as people change them, and what the checks of copies say of them."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import audit_sets
from headstart.core import registry
from headstart.core.types import AuditInput
from headstart.data.duplicates import crop_search, near_duplicate_search
from headstart.data.duplicates.copy_detection import find_near_pairs, match_pictures
from headstart.images.descriptors import describe_picture

SIDE = 128


def ask(code, data, **about):
    checks = [registry.load_plugin("data_checks", name) for name in registry.list_plugins("data_checks")]
    return next(check for check in checks if check.code == code)(AuditInput(data=data, folds=5, **about))


def cut_tiles():
    """24 different pictures: squares of the two sample photographs."""
    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    boxes = [(x, y, x + SIDE, y + SIDE) for x in range(0, 600, 150) for y in range(0, 299, 145)]
    return [photo.crop(box) for photo in photos for box in boxes]


@pytest.fixture(scope="module")
def tiles():
    return cut_tiles()


def save(root, pictures):
    """`pictures` by `class/name`."""
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / f"{name}.png")
    return audit_sets.from_folder(root)


def encode(picture):
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def name_tiles(tiles):
    return {f"{'ab'[number % 2]}/tile{number:02}": tile for number, tile in enumerate(tiles)}


def list_links(found, data):
    return {tuple(data.uris[row].removesuffix(".png") for row in link) for link in found.links}


def test_mirrored_and_turned_copies_are_found_and_told_apart(tiles, tmp_path):
    flip = Image.Transpose
    copies = {
        "a/tile00_mirror": tiles[0].transpose(flip.FLIP_LEFT_RIGHT),
        "a/tile02_turned": tiles[2].transpose(flip.ROTATE_90),
        "a/tile04_upright": tiles[4].resize((100, 100)),
    }
    data = save(tmp_path, name_tiles(tiles) | copies)
    found = ask("D103", data)
    assert list_links(found, data) == {(name.rpartition("_")[0], name) for name in copies}
    assert "8 of 64 hash bits, 2 of them mirrored or turned" in found.why
    clean = ask("D103", save(tmp_path / "clean", name_tiles(tiles)))
    assert clean.status == "passed"


def test_a_mirrored_copy_in_the_test_split_is_a_leak(tiles, tmp_path):
    data = save(tmp_path, name_tiles(tiles) | {"b/copy": tiles[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT)})
    sides = tuple("test" if "copy" in uri else "train" for uri in data.uris)
    assert len(ask("D104", dataclasses.replace(data, split=sides)).findings[0].rows) == 2


def test_a_turned_picture_under_another_label_must_be_closer():
    """A 6 that is turned is a 9."""
    rng = np.random.default_rng(0)
    phash, turned = rng.integers(0, 2**64, 20, np.uint64), rng.integers(0, 2**64, (20, 7), np.uint64)
    turned[0, 1], turned[4, 0] = phash[1] ^ np.uint64(0b111), phash[5] ^ np.uint64(0b11)
    turned[2, 6] = phash[12] ^ np.uint64(0b1111)
    data = audit_sets.from_targets(np.arange(20) % 2, phash=phash, turned_phash=turned)
    pairs, is_turned, _ = find_near_pairs(data)
    assert pairs.tolist() == [[4, 5], [2, 12]] and is_turned.all()


def test_turned_pairs_are_those_of_all_with_all():
    rng = np.random.default_rng(1)
    hashes, turned = (rng.integers(0, 2**64, shape, np.uint64) for shape in (400, (400, 7)))
    for row in range(0, 120, 3):
        flips = sum(1 << int(bit) for bit in rng.choice(64, row % 7, replace=False))
        turned[row, row % 7] = hashes[(row * 5 + 1) % 400] ^ np.uint64(flips)
    pairs, bits = near_duplicate_search.find_turned_pairs(hashes, turned, 4)
    distance = np.bitwise_count(turned[:, :, None] ^ hashes).min(axis=1)
    near = {tuple(sorted(pair)) for pair in np.argwhere((distance <= 4) & ~np.eye(400, dtype=bool)).tolist()}
    assert set(map(tuple, pairs.tolist())) == near and len(near) > 20
    assert bits.tolist() == [min(distance[a, b], distance[b, a]) for a, b in pairs.tolist()]


def test_turned_copies_of_what_a_model_learnt_are_known_in_other_pictures(tiles, tmp_path):
    data = save(tmp_path, name_tiles(tiles[:20]))
    others = [tiles[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT), tiles[22], tiles[1].resize((99, 99))]
    for number, picture in enumerate(others):
        picture.save(tmp_path / f"{number}.png")
    facts = [describe_picture((tmp_path / f"{number}.png").read_bytes()) for number in range(3)]
    is_copy, is_alike = match_pictures(data, np.arange(20), ["x", "y", "z"], facts)
    assert not is_copy.any() and is_alike.tolist() == [True, False, True]
    earlier = dataclasses.replace(data, facts=dataclasses.replace(data.facts, turned_phash=np.empty((0, 7))))
    assert match_pictures(earlier, np.arange(20), ["x", "y", "z"], facts)[1].tolist()[1:] == [False, True]


def test_cropped_copies_are_found_wherever_they_were_cut(tiles, tmp_path):
    boxes = {"a/tile00": (0, 0, 108, 108), "b/tile05": (20, 10, 120, 110), "a/tile08": (0, 0, 128, 100)}
    named = name_tiles(tiles)
    crops = {f"{name}_crop": named[name].crop(box) for name, box in boxes.items()}
    data = save(tmp_path, named | crops | {"b/bright": tiles[3].point(lambda level: min(255, int(1.1 * level)))})
    found = ask("D108", data)
    assert list_links(found, data) == {(name, f"{name}_crop") for name in boxes}
    assert not {link for link in ask("D103", data).links if link in found.links}
    sides = tuple("test" if "_crop" in uri else "train" for uri in data.uris)
    assert "3 pairs across the given splits" in ask("D108", dataclasses.replace(data, split=sides)).why
    added = tuple("" if "_crop" in uri else "train" for uri in data.uris)  # pictures of --more are of no side
    assert "across" not in ask("D108", dataclasses.replace(data, split=added)).why
    assert ask("D108", dataclasses.replace(data, root=str(tmp_path / "gone"))).status == "passed"


def test_cropped_copies_are_told_from_other_pictures_of_the_scene(tiles, tmp_path):
    """Tiles that overlap by less than three quarters, and small digits that are merely alike."""
    from sklearn.datasets import load_digits

    assert ask("D108", save(tmp_path / "tiles", name_tiles(tiles))).status == "passed"
    digits = [Image.fromarray((p * 15.9).astype(np.uint8)).resize((32, 32)) for p in load_digits().images[:120]]
    assert ask("D108", save(tmp_path / "digits", name_tiles(digits))).status == "passed"


def test_hashes_of_windows_are_those_of_the_cut_pictures(tiles):
    facts = [describe_picture(encode(tile)) for tile in tiles[:6]]
    windows = crop_search.hash_windows(np.stack([fact.coefficients for fact in facts]))
    for number, box in list(enumerate(crop_search.list_windows()))[::40]:
        edges = tuple(round(SIDE * edge) for edge in box)
        cut = [describe_picture(encode(tile.crop(edges))).phash for tile in tiles[:6]]
        bits = np.bitwise_count(windows[:6, number] ^ np.array(cut, np.uint64))
        assert np.median(bits) <= 6, box  # the sky of one tile has hardly any contrast
