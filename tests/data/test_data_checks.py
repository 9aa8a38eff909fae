import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import audit_sets
from headstart.core import registry
from headstart.core.types import AuditInput, SkippedFile
from headstart.data.audit import audit_dataset
from headstart.data.checks import d201_near_duplicates
from headstart.data.reading.read_dataset import read_dataset
from headstart.images.descriptors import hash_coefficients, transform_picture

TWENTY = np.repeat([0, 1], 10)


def ask(code, data, folds=5, **vectors):
    name = next(n for n in registry.list_plugins("data_checks") if n.startswith(code.lower() + "_"))
    return registry.load_plugin("data_checks", name)(AuditInput(data=data, folds=folds, **vectors))


def excuse(*reasons):
    files = tuple(SkippedFile(uri=f"a/{n}.jpg", reason=reason, detail="") for n, reason in enumerate(reasons))
    return dataclasses.replace(audit_sets.from_targets(TWENTY), excused=files)


def nest(*folders):
    """Ten pictures a class, in turn in sub-folders of these names; one lies directly in its class."""
    data = audit_sets.from_targets(TWENTY)
    uris = [f"class{t}/{folders[row % len(folders)]}/{row}.png" for row, t in enumerate(TWENTY)]
    return dataclasses.replace(data, uris=("class0/0.png", *uris[1:]))


def sizes(width, height):
    return audit_sets.from_targets(
        np.arange(len(width)) % 2, width_px=np.array(width, np.int32), height_px=np.array(height, np.int32)
    )


@pytest.mark.parametrize(
    ("code", "data", "status", "said"),
    [
        ("D001", audit_sets.from_targets(TWENTY), "passed", "all 20 files are used"),
        ("D001", excuse("hidden"), "tip", "1 file is not used: 1 hidden (`a/0.jpg`)"),
        (
            "D001",
            excuse("truncated", "too_many_pixels", "truncated", "unreadable"),
            "issue",
            "1 too many pixels, 2 truncated, 1 unreadable (`a/0.jpg`, `a/1.jpg`, `a/2.jpg` and 1 more)",
        ),
        ("D002", audit_sets.from_targets(TWENTY), "passed", "each of the 2 classes"),
        (
            "D002",
            audit_sets.from_targets([0, 2]),
            "issue",
            "1 class has no usable picture and can never be the answer: `cl",
        ),
        ("D002", audit_sets.from_targets([1, 1]), "issue", "1 class with usable pictures, and at least 2 are needed"),
        ("D003", audit_sets.from_targets(TWENTY), "passed", "at least 10 pictures for 5 folds"),
        ("D003", audit_sets.from_targets([0] * 9 + [1] * 4 + [2] * 2), "issue", "`class1` 4, `class2` 2"),
        ("D004", audit_sets.from_targets([0] * 29 + [1] * 10), "passed", "ratio 2.9"),
        (
            "D004",
            audit_sets.from_targets([0] * 30 + [1] * 10),
            "tip",
            "answering `class0` would already be right in 75%",
        ),
        ("D004", audit_sets.from_targets([0] * 100 + [1] * 10), "issue", "`class0` 100, smallest `class1` 10"),
        ("D005", sizes([250, 224], [250, 300]), "passed", "the smallest side of 2 pictures is 224 px"),
        ("D005", sizes([250, 31], [250, 300]), "issue", "1 picture with a side under 32 px (`class1/00001.png`)"),
        ("D005", sizes([250, 100], [250, 300]), "tip", "1 picture with a side under 224 px"),
        (
            "D006",
            sizes([300, 250, 250], [250, 250, 250]),
            "passed",
            "a centre crop loses 6% of a picture on average, 17% at",
        ),
        (
            "D006",
            sizes([100, 240, 100], [240, 100, 100]),
            "tip",
            "a centre crop would lose 39% of a picture on average, 58% of",
        ),
        ("D006", sizes([301, 250, 250], [100, 250, 250]), "tip", "1 picture with a side more than 3 times the other"),
        ("D006", sizes([250, 250, 1001], [250, 250, 1001]), "tip", "1 picture with 16 times more or fewer pixels"),
        ("D007", audit_sets.from_targets(TWENTY), "passed", "spread by at least 40.0"),
        (
            "D007",
            audit_sets.from_targets([0, 1], grey_std=np.array([0.4, 30.0])),
            "issue",
            "1 picture (50.0%) of one even",
        ),
        ("D008", audit_sets.from_targets(TWENTY), "passed", "20 pictures read as they are"),
        (
            "D008",
            audit_sets.from_targets([0, 1, 1], notes=("alpha on white", "", "alpha on white")),
            "tip",
            "2 pictures are no plain 8-bit RGB: alpha on white 2",
        ),
        ("D009", audit_sets.from_targets(TWENTY), "passed", "no two of 2 classes"),
        ("D009", nest("images"), "passed", "no two of 2 classes"),
        ("D009", nest("cat", "dog"), "issue", "`class0`, `class1` hold `cat`, `dog`, which look like the classes"),
        ("D009", nest("Train", "test"), "issue", "`class0`, `class1` hold `Train`, `test`, which look like splits"),
        ("D101", audit_sets.from_targets(TWENTY), "passed", "among 20"),
        ("D102", audit_sets.from_targets(TWENTY), "passed", "none of 20 pictures"),
        ("D103", audit_sets.from_targets(TWENTY), "passed", "no two of 20 pictures"),
        ("D104", audit_sets.from_targets(TWENTY), "not_applicable", "gives no splits"),
        ("D104", audit_sets.from_targets(TWENTY, split=["train", "test"] * 10), "passed", "two sides of test, train"),
        ("D201", audit_sets.from_targets(TWENTY), "skipped", "no vectors"),
        ("D202", audit_sets.from_targets(TWENTY), "skipped", "no vectors"),
        ("D203", audit_sets.from_targets(TWENTY), "skipped", "no vectors"),
    ],
)
def test_how_a_check_ends_and_what_it_says(code, data, status, said):
    found = ask(code, data)
    assert (found.code, found.status) == (code, status)
    assert said in found.why
    assert all(f.sentence in found.why and f.fix for f in found.findings) and bool(found.findings) == (
        status in ("issue", "tip")
    )


def test_imbalance_is_answered_with_class_weights():
    found = ask("D004", audit_sets.from_targets([0] * 100 + [1] * 5))
    assert "--class-weight balanced" in found.findings[0].fix


def test_only_train_counts_where_splits_are_given():
    split = ["train"] * 12 + ["test"] * 20
    data = audit_sets.from_targets([0] * 9 + [1] * 3 + [1] * 20, split=split)
    assert "`class1` 3" in ask("D003", data).why and ask("D003", data).status == "issue"
    assert "ratio 3.0" in ask("D004", data).why


def test_a_class_of_one_picture_is_an_error_that_names_the_file():
    found = ask("D003", audit_sets.from_targets([0] * 9 + [1]))
    assert found.findings[0].severity == "error" and found.findings[0].uris == ("class1/00009.png",)


def test_sub_folders_of_the_same_names_stop_the_run():
    (finding,) = ask("D009", nest("train", "test")).findings
    assert finding.severity == "error" and "`train/cat`" in finding.fix
    given = dataclasses.replace(nest("cat", "dog"), split=("train",) * 20)
    assert ask("D009", given).status == "passed"  # `class0` is the split there, and `cat` the class


def test_folders_of_pictures_whose_labels_a_table_gives_say_nothing(tmp_path, store, context):
    """A table of pictures that lie in `train/cat` has no class folders, whatever their paths begin with."""
    lines = ["path,label"]
    for row in range(8):
        side, label = ("train", "test")[row % 2], ("cat", "dog")[row // 4]
        path = tmp_path / "pictures" / label / side / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(row).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
        lines.append(f"pictures/{label}/{side}/{row}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    status = {}
    for name in ("labels.csv", "pictures"):
        ctx = context(tmp_path / name, store=store, name=f"run of {name}")
        ctx.only_audits = True
        outcomes = audit_dataset(read_dataset(str(tmp_path / name), ctx=ctx), ctx=ctx).outcomes
        status[name] = next(outcome.status for outcome in outcomes if outcome.code == "D009")
    assert status == {"labels.csv": "not_applicable", "pictures": "issue"}


def test_colours_veto_equal_hashes():
    histogram = np.zeros((12, 64), np.float32)
    histogram[:, 0] = 1
    histogram[1] = np.eye(64)[40]
    phash = np.random.default_rng(0).integers(0, 2**64, 12, dtype=np.uint64)
    phash[1] = phash[2] = phash[0]
    found = ask("D103", audit_sets.from_targets(np.arange(12) % 2, phash=phash, histogram=histogram))
    assert found.links == ((0, 2),)


def test_blank_pictures_are_not_near_duplicates_of_each_other():
    hashes = np.zeros(12, np.uint64)
    data = audit_sets.from_targets(np.arange(12) % 2, phash=hashes, grey_std=np.zeros(12, np.float32))
    found = ask("D103", data)
    assert found.status == "passed" and "12 blank pictures left out" in found.why


def test_the_limit_follows_sets_that_all_look_alike():
    """Tiny drawings of ten digits: 8 bits would tie 1,289 pairs together, the limit chosen is lower."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    pictures = [Image.fromarray((p.reshape(8, 8) * 15.9).astype(np.uint8)) for p in pixels]
    phash = np.array([hash_coefficients(transform_picture(p))[0] for p in pictures], np.uint64)
    found = ask("D103", audit_sets.from_targets(targets, phash=phash))
    assert "within 6 of 64 hash bits" in found.why and len(found.links) < 0.2 * len(targets)


def test_copies_of_every_picture_do_not_hide_each_other():
    """Where every picture of a small set has a copy, copies are what is usual; they must be found all the same."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 64))
    twice = np.concatenate([vectors, vectors + 0.05 * rng.normal(size=vectors.shape)]).astype(np.float32)
    phash = rng.integers(0, 2**64, 40, dtype=np.uint64)
    data = audit_sets.from_targets(np.arange(80) % 2, phash=np.concatenate([phash, phash ^ np.uint64(0b1111)]))
    pairs = {(row, row + 40) for row in range(40)}
    assert set(ask("D103", data).links) == pairs
    assert set(ask("D201", data, vectors=twice, rows=np.arange(80)).links) == pairs


def test_very_many_vectors_need_an_index(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 40)).astype(np.float32)
    vectors[70] = vectors[20] + 0.01
    data, rows = audit_sets.from_targets(np.arange(100) % 2), np.arange(100)
    monkeypatch.setattr(d201_near_duplicates, "MOST_ROWS", 99)
    with monkeypatch.context() as without:
        without.setattr(d201_near_duplicates, "list_missing_packages", lambda extra: ["usearch"])
        found = ask("D201", data, vectors=vectors, rows=rows)
        assert found.status == "skipped" and "[neighbours]" in found.why
        assert "100 pictures are more than the 99" in found.why
    pytest.importorskip("usearch")
    found = ask("D201", data, vectors=vectors, rows=rows)
    assert found.links == ((20, 70),) and "knows the nearest picture of" in found.why


def test_foreign_pictures_are_named_where_features_have_a_mean_far_from_zero():
    """As the activations of networks have: about their mean, foreign ones would be no further off than any others."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 2, (2, 60))
    own, foreign = (kind + 0.3 * rng.normal(size=(count, 60)) for kind, count in zip(shape, (200, 5), strict=True))
    data = audit_sets.from_targets(np.arange(205) % 2)
    found = ask("D202", data, vectors=np.concatenate([own, foreign]).astype(np.float32), rows=np.arange(205))
    assert found.status == "tip" and set(found.findings[0].rows) == set(range(200, 205))
    assert ask("D202", data, vectors=own.astype(np.float32), rows=np.arange(200)).status == "passed"


def test_every_check_has_its_section_in_the_docs():
    page = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text()
    for name in registry.list_plugins("data_checks"):
        check = registry.load_plugin("data_checks", name)
        section = re.search(rf"^## {check.code} {re.escape(check.name)}$(.*?)(?=^## |\Z)", page, re.M | re.S)
        assert section, check.code
        assert all(word in section[1] for word in ("Looks at", "Says", "Do")), check.code


def test_labels_that_few_pictures_have_are_named():
    targets = np.zeros((40, 3), bool)
    targets[:20, 0], targets[:4, 1], targets[::2, 2] = True, True, True
    data = dataclasses.replace(audit_sets.from_targets([0] * 40), task="multilabel", targets=targets)
    data = dataclasses.replace(data, class_names=("often", "seldom", "half"))
    found = ask("D003", data)
    assert found.status == "issue" and found.why.startswith("1 label with fewer than 5 pictures, the folds asked for")
    assert "`seldom` 4" in found.why
    assert ask("D004", data).why == "the targets are sets of labels, and it asks about classes"
    assert ask("D102", data).status == "passed"
