import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import audit_sets
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Audit, BackboneSpec, Embeddings, EmbedKey, FeatureLevel, InputSpec, SkippedFile
from headstart.data.audit import audit_dataset, load_checks
from headstart.data.splits import draw_splits


def jpeg(picture, quality=95):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


COPIES = {
    "jpeg": lambda p: jpeg(p, 50),
    "resized": lambda p: jpeg(p.resize((p.width * 6 // 10, p.height * 6 // 10))),
    "brighter": lambda p: jpeg(ImageEnhance.Brightness(p).enhance(1.08)),
}


def outcome(audit, code):
    return next(o for o in audit.outcomes if o.code == code)


def embeddings(vectors, rows=None):
    """Given vectors as the last of two depths."""
    vectors = np.asarray(vectors, np.float32)
    depths = (FeatureLevel(name="stage1", dim=2), FeatureLevel(name="last", dim=vectors.shape[1]))
    size = InputSpec(size_px=32)
    spec = BackboneSpec(
        name="test:given", family="given", revision="1", input=size, depths=depths, params=0, flops=0, licence="",
        licence_note="", pretrained_on="", download_bytes=0, prior=0.0, prior_source="",
    )  # fmt: skip
    key = EmbedKey(backbone=spec.name, revision="1", input=size, depths=depths, precision="f32", engine="none")
    known = np.arange(len(vectors)) if rows is None else np.asarray(rows)
    both = {"stage1": np.zeros((len(vectors), 2), np.float32), "last": vectors}
    return Embeddings(key=key, spec=spec, rows=known, vectors=both, seconds=0.0, cached=0, latency_ms=1.0)


def test_every_check_is_a_file_with_help_and_a_code_of_its_own():
    names = registry.list_plugins("data_checks")
    plugins = {name: registry.load_plugin("data_checks", name) for name in names}
    assert len({p.code for p in plugins.values()}) == len(names) >= 14
    for name, plugin in plugins.items():
        assert name.startswith(plugin.code.lower() + "_") and plugin.phase in ("files", "vectors")
        assert registry.read_summary("data_checks", name).endswith(".")


def test_textile_pictures_raise_no_alarm_though_they_look_alike(small_textile, context):
    data = audit_sets.from_folder(small_textile(120))
    audit = audit_dataset(data, ctx=context())
    assert {o.status for o in audit.outcomes if o.code != "D107"} == {"passed", "not_applicable"}
    assert outcome(audit, "D107").status == "tip"  # the bytes of a JPEG grow with the defect that it shows
    assert [o.code for o in audit.outcomes] == sorted(c.code for c in load_checks("files"))
    assert np.array_equal(audit.clusters, np.arange(360))


@pytest.mark.parametrize("how", COPIES)
def test_planted_copies_of_real_pictures_are_found_and_stay_together(how, small_textile, context):
    root = small_textile(60)
    originals = sorted((root / "local").glob("*.jpg"))[::3]
    for path in originals:
        (root / "local" / f"copy_{path.name}").write_bytes(COPIES[how](Image.open(path)))
    data = audit_sets.from_folder(root)
    ctx = context()
    audit = audit_dataset(data, ctx=ctx)
    row = {uri: number for number, uri in enumerate(data.uris)}
    pairs = [(row[f"local/{p.name}"], row[f"local/copy_{p.name}"]) for p in originals]
    together = [bool(audit.clusters[a] == audit.clusters[b]) for a, b in pairs]
    assert np.mean(together) >= 0.95
    assert len(np.unique(audit.clusters)) == len(data.uris) - sum(together)
    assert outcome(audit, "D103").status == "issue"
    splits = draw_splits(data, audit.clusters, ctx=ctx)
    sides = np.isin(np.arange(len(data.uris)), splits.test)
    assert all(sides[a] == sides[b] for (a, b), same in zip(pairs, together, strict=True) if same)


def test_exact_copies_in_a_class_and_under_two_labels(small_textile, context):
    root = small_textile(30)
    first, second = sorted((root / "global").glob("*.jpg"))[:2]
    for name in ("copy1.jpg", "copy2.jpg"):
        shutil.copy(first, root / "global" / name)
    shutil.copy(second, root / "nominal" / "other.jpg")
    data = audit_sets.from_folder(root)
    audit = audit_dataset(data, ctx=context())
    inside, across = outcome(audit, "D101"), outcome(audit, "D102")
    assert "2 exact copies of 1 picture in the same class" in inside.why
    assert sorted(data.uris[r] for r in inside.findings[0].rows) == sorted(
        [f"global/{first.name}", "global/copy1.jpg", "global/copy2.jpg"]
    )
    assert "1 picture is under two labels" in across.why
    rows = across.findings[0].rows
    assert {data.uris[r] for r in rows} == {f"global/{second.name}", "nominal/other.jpg"}
    assert len(np.unique(audit.clusters[list(rows)])) == 1
    assert outcome(audit, "D103").status == "passed"


def test_copies_across_given_splits_are_told_and_left_where_they_are(small_textile, context, tmp_path):
    source = small_textile(40)
    root = tmp_path / "given"
    for folder in source.iterdir():
        for number, path in enumerate(sorted(folder.iterdir())):
            target = root / ("test" if number >= 30 else "train") / folder.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    leak = sorted((root / "train" / "local").iterdir())
    shutil.copy(leak[0], root / "test" / "local" / "leak0.jpg")
    (root / "test" / "local" / "leak1.jpg").write_bytes(COPIES["jpeg"](Image.open(leak[1])))
    data = audit_sets.from_folder(root)
    ctx = context()
    audit = audit_dataset(data, ctx=ctx)
    told = outcome(audit, "D104")
    assert told.status == "issue" and "2 of 32 in `test`" in told.why
    splits = draw_splits(data, audit.clusters, ctx=ctx)
    assert [data.uris[r] for r in splits.test] == [u for u in data.uris if u.startswith("test/")]
    assert {tuple(data.uris[r] for r in pair) for pair in splits.straddling} == {
        (f"train/local/{leak[0].name}", "test/local/leak0.jpg"),
        (f"train/local/{leak[1].name}", "test/local/leak1.jpg"),
    }


def test_vectors_add_links_to_those_of_the_files(context):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 40))
    vectors[70] = vectors[20] + 0.01 * rng.normal(size=40)
    digests = [f"{row:064d}" for row in range(100)]
    digests[5] = digests[4]
    data = audit_sets.from_targets(np.arange(100) // 50, digests=digests)
    ctx = context()
    before = audit_dataset(data, ctx=ctx)
    after = audit_dataset(data, ctx=ctx, embeddings=embeddings(vectors), before=before)
    assert after.phase == "vectors" and [o.code for o in after.outcomes] == ["D201", "D202", "D203", "D204"]
    assert outcome(after, "D201").links == ((20, 70),) and "1 of them under two labels" in outcome(after, "D201").why
    assert (after.clusters[[5, 70]] == [4, 20]).all() and len(np.unique(after.clusters)) == 98
    assert np.array_equal(
        serialization.load_value(Audit, ctx.make_step_folder("audit"), "vectors").clusters, after.clusters
    )
    assert serialization.load_value(Audit, ctx.make_step_folder("audit"), "files").outcomes == before.outcomes


def test_vectors_of_a_few_rows_speak_of_those_rows(context):
    rows = np.arange(0, 100, 2)
    vectors = np.random.default_rng(0).normal(size=(50, 40))
    vectors[9] = vectors[3] * 1.5
    audit = audit_dataset(
        audit_sets.from_targets(np.arange(100) // 50), ctx=context(), embeddings=embeddings(vectors, rows)
    )
    assert outcome(audit, "D201").links == ((6, 18),)


def test_a_foreign_picture_is_a_tip(context):
    rng = np.random.default_rng(0)
    vectors = np.concatenate(
        [rng.normal(size=(100, 8)) * 0.3 + 3 * np.eye(8)[rng.integers(0, 4, 100)], np.ones((1, 8))]
    )
    vectors[100] = -4 * np.eye(8)[6]
    audit = audit_dataset(audit_sets.from_targets(np.arange(101) % 2), ctx=context(), embeddings=embeddings(vectors))
    assert outcome(audit, "D202").status == "tip" and outcome(audit, "D202").findings[0].rows[0] == 100


def test_look_alikes_beyond_the_cap_are_not_chained_and_it_is_said(context, capsys):
    n = 200
    walk = np.array([sum(1 << bit for bit in range(i % 60)) for i in range(60)] * 4, np.uint64)[:n]
    data = audit_sets.from_targets(np.arange(n) % 2, phash=walk)
    ctx = context()
    ctx.console = Console()
    audit = audit_dataset(data, ctx=ctx)
    assert np.unique(audit.clusters, return_counts=True)[1].max() == 50
    assert "would chain more than 50 pictures" in capsys.readouterr().err


def test_hopeless_classes_stop_the_run_all_at_once(context):
    data = audit_sets.from_targets([0] * 20 + [1, 2] + [3] * 20)
    with pytest.raises(DataError) as caught:
        audit_dataset(data, ctx=context())
    assert "class `class1` has 1 picture (`class1/00020.png`)" in caught.value.what
    assert "class `class2` has 1 picture" in caught.value.what
    assert caught.value.where == "class1/00020.png, class2/00021.png" and "add pictures" in caught.value.hint


def test_a_class_missing_from_given_train_stops_the_run(context):
    data = audit_sets.from_targets([0] * 10 + [1] * 10 + [2] * 4, split=["train"] * 20 + ["test"] * 4)
    with pytest.raises(DataError, match="class `class2` has 0 pictures in `train`"):
        audit_dataset(data, ctx=context())


def test_lines_tell_the_phase_the_counts_and_each_issue(context, capsys):
    import dataclasses

    bad = (
        SkippedFile(uri="a/\udcff\n.jpg", reason="truncated", detail="ends early"),
        SkippedFile(uri="a/.DS_Store", reason="hidden", detail="a hidden file"),
    )
    data = dataclasses.replace(audit_sets.from_targets([0] * 50 + [1] * 3), excused=bad)
    ctx = context()
    ctx.console = Console()
    audit = audit_dataset(data, ctx=ctx)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"audit       files: {len(audit.outcomes)} checks, 3 issues, 0 tips"
    unused = "1 truncated (`a/\\udcff\\n.jpg`); 1 file is not used: 1 hidden (`a/.DS_Store`)"
    assert said[1] == f"audit       D001 1 file is not used: {unused}"
    assert said[2].startswith("audit       D003 1 class with fewer than 5 pictures, the folds asked for: `class1` 3")
    assert said[3].startswith("audit       D004 largest class `class0` 50, smallest `class1` 3, ratio 16.7")
    assert json.loads((ctx.make_step_folder("audit") / "files.json").read_text())["phase"] == "files"
