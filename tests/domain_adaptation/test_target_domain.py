"""Pictures of another domain as they are read: what is refused, what is left out, where their labels come from."""

import os
import shutil
import sys

import numpy as np
import pytest

import headstart
from drawn_pictures import draw_picture
from headstart.api import commands
from headstart.api.fit_steps import FitSteps
from headstart.api.preflight import preflight
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.reader import RunReader
from headstart.core.types import TargetDomain
from headstart.data.reading.read_dataset import read_dataset
from headstart.domain_adaptation.target_domain import LEAST, read_target

CLASSES = ("cat", "dog")


@pytest.fixture
def folders(tmp_path):
    """Twelve labelled pictures of two classes in `source`, and in `new` as many as are needed."""
    for number in range(12):
        draw_picture(tmp_path / "source" / CLASSES[number % 2] / f"{number}.png", number)
    for number in range(100, 100 + LEAST):
        draw_picture(tmp_path / "new" / f"{number}.png", number)
    return tmp_path


@pytest.fixture
def read(context, store, folders):
    """A function that reads the target; `settings` are those of the job."""

    def read_both(location="new", **settings):
        source_ctx = context(data=folders / "source", store=store, unlabeled=str(folders / location), **settings)
        source = read_dataset(str(folders / "source"), ctx=source_ctx)
        return read_target(str(folders / location), source, ctx=source_ctx), source_ctx

    return read_both


def test_labels_come_from_the_folder_labelled_and_copies_are_left_out_by_name(read, folders, capsys):
    for number in (200, 201, 202):
        draw_picture(folders / "new" / "labelled" / "dog" / f"{number}.png", number)
    shutil.copy(folders / "source" / "cat" / "0.png", folders / "new" / "copied.png")
    target, ctx = read()
    assert target.copies == ("copied.png",) and "`copied.png`" in capsys.readouterr().err
    assert len(target.labels) == LEAST + 3 and target.labels[target.labelled].tolist() == [1, 1, 1]
    assert all("labelled/dog/" in target.pictures.uris[row] for row in target.labelled)
    found = RunReader(ctx.run.path).read(TargetDomain)
    assert found.pictures.uris == target.pictures.uris and found.labels.tolist() == target.labels.tolist()
    assert str(folders) not in (ctx.run.path / "domains/target/value.json").read_text()


def test_a_table_has_labels_in_a_column(read, folders):
    rows = ["file,label"] + [f"new/{number}.png,{'cat' if number < 105 else ''}" for number in range(100, 100 + LEAST)]
    (folders / "new.csv").write_text("\n".join(rows) + "\n")
    target, _ = read("new.csv")
    assert target.labels.tolist() == [0] * 5 + [-1] * (LEAST - 5)


def write_table(path, columns, labels="", folder="new"):
    """A table with a row a picture of `new`; the first five have something in the second column."""
    rows = [f"{folder}/{number}.png,{labels if number < 105 else ''}" for number in range(100, 100 + LEAST)]
    path.write_text("\n".join([columns, *rows]) + "\n")


def test_a_column_of_a_new_table_is_one_of_labels_by_its_name_alone(context, store, folders, read):
    write_table(folders / "new.csv", "path,note", "blurred")
    assert not len(read("new.csv")[0].labelled)
    rows = "".join(f"source/{CLASSES[number % 2]}/{number}.png,{CLASSES[number % 2]}\n" for number in range(12))
    (folders / "old.csv").write_text(f"path,kind\n{rows}")  # of two columns the other
    for column, count in (("kind", 5), ("note", 0)):
        write_table(folders / "new.csv", f"path,{column}", "dog")
        ctx = context(data=folders / "old.csv", store=store, unlabeled=str(folders / "new.csv"), name=column)
        assert preflight(ctx.job, folders / "other", Console(quiet=True), training=True) == []
        target = read_target(ctx.job.unlabeled, read_dataset(ctx.job.data, ctx=ctx), ctx=ctx)
        assert len(target.labelled) == count


@pytest.mark.parametrize("images", ["", "photos"])
def test_paths_of_two_tables_start_where_each_lies(context, store, folders, images):
    """What an error says of the new table leaves the labelled one as it is."""
    (folders / "photos").mkdir()
    (folders / "source").rename(folders / "photos" / "source")
    rows = "".join(f"source/{CLASSES[number % 2]}/{number}.png,{CLASSES[number % 2]}\n" for number in range(12))
    (folders / ("old.csv" if images else "photos/old.csv")).write_text(f"path,kind\n{rows}")
    data, tables = folders / ("old.csv" if images else "photos/old.csv"), folders / "tables"
    tables.mkdir()
    write_table(tables / "new.csv", "path")

    def read(table):
        settings = {"images": str(folders / images)} if images else {}
        ctx = context(data=data, store=store, unlabeled=str(table), name=table.parent.name, **settings)
        return read_target(ctx.job.unlabeled, read_dataset(ctx.job.data, ctx=ctx), ctx=ctx)

    with pytest.raises(DataError, match="none of the pictures is below") as caught:
        read(tables / "new.csv")
    assert caught.value.hint == f"move `{tables}/new.csv` into `{folders}`, where its paths start"
    (tables / "new.csv").rename(folders / "new.csv")
    assert len(read(folders / "new.csv").labels) == LEAST


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_pictures_beside_the_class_folders_of_labelled_are_refused(read, folders, form):
    for name in ("loose.png", "cat/300.png"):
        draw_picture(folders / "new" / "labelled" / name, 300 + len(name))
    location = "new"
    if form == "archive":
        location = "new.zip"
        shutil.make_archive(str(folders / "new"), "zip", folders, "new")
    with pytest.raises(
        DataError, match=r"^1 picture directly in `.*labelled`, in no folder of a class: .*labelled/loose.png"
    ) as caught:
        read(location)
    assert (caught.value.where, "labelled/CLASS" in caught.value.hint) == ("--unlabeled", True)
    (folders / "new" / "labelled" / "loose.png").unlink()
    if form == "archive":
        shutil.make_archive(str(folders / "new"), "zip", folders, "new")
    assert read(location)[0].labels.max() == 0


def test_what_tells_nothing_of_a_domain_is_refused(read, folders):
    with pytest.raises(UsageError, match="no picture of the new domain has a label to learn"):
        read(target_labels="learn")
    with pytest.raises(DataError, match="all 12 pictures in .* are among the labelled ones"):
        read("source")
    draw_picture(folders / "new" / "labelled" / "dogg" / "1.png", 300)
    with pytest.raises(DataError, match=r"no classes of the labelled pictures: `dogg` \(1\)") as caught:
        read()
    assert "did you mean `dog`" in caught.value.hint
    shutil.rmtree(folders / "new" / "labelled")
    (folders / "new" / "100.png").unlink()
    with pytest.raises(DataError, match=f"has {LEAST - 1} pictures; fewer than {LEAST} pictures tell nothing"):
        read()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"adaptation": ("coral",)}, "adaptation has no effect without pictures of a new domain"),
        ({"target_labels": "learn"}, "target_labels has no effect without pictures of a new domain"),
        ({"unlabeled": "new", "adaptation": ("corall",)}, "there is no way to adapt `corall`"),
        ({"unlabeled": "new", "adaptation": ("CORAL",)}, "there is no way to adapt `CORAL`"),
        ({"unlabeled": "new", "adaptation": ("none", "coral")}, "`none` excludes other methods"),
        ({"unlabeled": "new", "adaptation": ("mmd",)}, "`mmd` trains a network, and strategy `probe` trains none"),
        (
            {"unlabeled": "new", "adaptation": ("none",), "target_labels": "learn"},
            "labels of a new domain are learnt by adapting to it, and adaptation `none` does nothing",
        ),
        (
            {"unlabeled": "new", "adaptation": ("optimal_transport",)},
            "adaptation `optimal_transport` needs the extra `adaptation`; not installed: `ot`",
        ),
    ],
)
def test_settings_that_do_nothing_are_refused_before_anything_starts(folders, monkeypatch, settings, what):
    monkeypatch.chdir(folders)
    monkeypatch.setitem(sys.modules, "ot", None)  # as if it were not installed
    problems = preflight(Job(data="source", **settings), folders / "run", Console(quiet=True), training=True)
    assert [problem.what for problem in problems] == [what]
    assert all(problem.hint for problem in problems)
    if "CORAL" in what:
        assert problems[0].hint.startswith("did you mean `coral`")


@pytest.mark.parametrize("settings", [{}, {"adaptation": ("auto", "subspace")}, {"target_labels": "learn"}])
def test_what_has_a_sense_is_not_refused(folders, settings):
    job = Job(data=str(folders / "source"), unlabeled=str(folders / "new"), **settings)
    assert preflight(job, folders / "run", Console(quiet=True), training=True) == []


@pytest.mark.parametrize("step", ["audit", "embed", "rank"])
def test_only_a_fit_looks_at_a_new_domain(folders, step):
    with pytest.raises(UsageError, match="unlabeled has no effect here"):
        getattr(headstart, step)(folders / "source", unlabeled=folders / "new", out=folders / "run")
    assert not (folders / "run").exists()


@pytest.mark.parametrize(
    ("location", "kind", "what", "hint"),
    [
        ("nwe", DataError, "there is no folder `nwe`", "did you mean `new`"),
        ("empty", DataError, "`empty` has 0 files; fewer than 30 pictures tell nothing of a domain", "give more"),
        ("new.zip", DataError, "there is no file `new.zip`", "did you mean `new`"),
        ("notes.xyz", DataError, "`notes.xyz` is a file, not a folder or an archive", "or a table of their paths"),
        ("notes.csv", DataError, "no column of the table `notes.csv` is known by its name as paths", "--path"),
        ("source", UsageError, "`source` is the folder of the labelled ones", "name a folder outside"),
        ("link", UsageError, "`link` is the folder of the labelled ones", "name a folder outside"),
        ("source/cat", UsageError, "`source/cat` lies in `source`, so that its pictures are read", "to `unlabeled`"),
    ],
)
def test_a_location_that_cannot_be_a_domain_is_refused_before_anything_starts(
    folders, monkeypatch, location, kind, what, hint
):
    monkeypatch.chdir(folders)
    (folders / "empty").mkdir()
    (folders / "notes.xyz").touch()
    (folders / "notes.csv").write_text("size,colour\n1,red\n")
    (folders / "link").symlink_to("source")
    job = Job(data="source", unlabeled=location)
    [problem] = preflight(job, folders / "run", Console(quiet=True), training=True)
    assert (problem.where, problem.kind) == ("--unlabeled", kind)
    assert problem.what.startswith(what) and hint in problem.hint


def test_a_folder_that_may_not_be_read_is_refused_before_anything_starts(folders):
    (folders / "new.csv").write_text("file\nnew/100.png\n")

    def list_problems(name):
        job = Job(data=str(folders / "source"), unlabeled=str(folders / name))
        return [p.what for p in preflight(job, folders / "run", Console(quiet=True), training=True)]

    assert list_problems("new") == list_problems("new.csv") == []  # all is loaded that is needed
    for folder in (folders, *folders.parents):
        if folder == folders or folder.name.startswith(("pytest-", "popen-")):  # pytest's own, of this user alone
            folder.chmod(0o755)
    for name in ("new", "new.csv"):
        (folders / name).chmod(0)
    child = os.fork()
    if child == 0:  # root reads everything
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            whats = [what for name in ("new", "new.csv") for what in list_problems(name)]
            os._exit(0 if [what.count("Permission denied") for what in whats] == [1, 1] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_files_of_which_none_is_a_picture_are_refused(read, folders):
    (folders / "texts").mkdir()
    for number in range(LEAST):
        (folders / "texts" / f"{number}.txt").write_text("words")
    with pytest.raises(DataError, match="no usable picture in `texts`: 30 not a picture"):
        read("texts")
    rows = "".join(f"texts/{number}.txt\n" for number in range(LEAST))
    (folders / "texts.csv").write_text(f"file\n{rows}")
    with pytest.raises(DataError, match="no usable picture in `texts`: 30 not a picture"):
        read("texts.csv")


def test_pictures_beside_the_labelled_ones_and_around_them_are_read(context, store, folders):
    shutil.copytree(folders / "new", folders / "all")
    shutil.copytree(folders / "source", folders / "all" / "mine")
    shutil.copytree(folders / "new", folders / "source" / "unlabeled")
    for data, unlabeled, copies in (("source", "source/unlabeled", 0), ("all/mine", "all", 12)):
        ctx = context(data=folders / data, store=store, unlabeled=str(folders / unlabeled), name=f"run{copies}")
        assert preflight(ctx.job, ctx.run.path, Console(quiet=True), training=True) == []
        target = read_target(ctx.job.unlabeled, read_dataset(ctx.job.data, ctx=ctx), ctx=ctx)
        assert len(target.copies) == copies and len(target.labels) == LEAST


def test_columns_that_only_the_labelled_table_has_are_not_asked_of_the_other(context, store, folders):
    rows = "".join(f"source/{CLASSES[number % 2]}/{number}.png,{CLASSES[number % 2]}\n" for number in range(12))
    (folders / "old.csv").write_text(f"photo,diagnosis\n{rows}")
    (folders / "new.csv").write_text("file\n" + "".join(f"new/{number}.png\n" for number in range(100, 100 + LEAST)))
    settings = {"path": "photo", "target": "diagnosis", "unlabeled": str(folders / "new.csv")}
    ctx = context(data=folders / "old.csv", store=store, **settings)
    assert preflight(ctx.job, folders / "run", Console(quiet=True), training=True) == []
    target = read_target(ctx.job.unlabeled, read_dataset(ctx.job.data, ctx=ctx), ctx=ctx)
    assert len(target.labels) == LEAST and not len(target.labelled)


def test_columns_of_a_table_beside_class_folders_can_be_named(read, folders):
    rows = "".join(f"{number}.png,{'cat' if number < 105 else ''}\n" for number in range(100, 100 + LEAST))
    (folders / "new.csv").write_text(f"photo,kind\n{rows}")
    settings = {"path": "photo", "target": "kind", "images": str(folders / "new")}
    target, ctx = read("new.csv", **settings)
    assert preflight(ctx.job, folders / "other", Console(quiet=True), training=True) == []
    assert len(target.labelled) == 5
    idle = Job(data=str(folders / "source"), unlabeled=str(folders / "new"), path="photo")
    [problem] = preflight(idle, folders / "other", Console(quiet=True), training=True)
    assert "`--path` would do nothing" in problem.what


def test_a_plan_counts_the_new_pictures_and_their_passes(folders):
    for number in (200, 201):
        draw_picture(folders / "new" / "labelled" / "dog" / f"{number}.png", number)
    settings = {"backbones": "bundled:efficientnet_lite0", "console": Console(quiet=True)}
    plain, plan = (commands.plan(folders / "source", unlabeled=new, **settings) for new in ("", folders / "new"))
    assert plain["new_domain"] is None
    assert plan["new_domain"] == {"pictures": LEAST + 2, "labelled": 2}
    per_picture_s = (plan["estimate"]["seconds"] - plain["estimate"]["seconds"]) / (LEAST + 2)
    assert per_picture_s == pytest.approx(plain["estimate"]["seconds"] / plain["pictures"])
    assert plan["seconds"] > plain["seconds"]
    assert f"of {LEAST + 2} pictures of the new domain pass {LEAST + 2} through" in plan["estimate"]["assumptions"][-1]


@pytest.mark.parametrize("form", ["array", "table"])
def test_pictures_in_memory_are_read_up_to_what_is_refused(folders, monkeypatch, capsys, form):
    """Only so far: that no label can be learnt is known once all of them are read."""
    monkeypatch.setenv("HEADSTART_CACHE", str(folders / "cache"))
    paths = [str(folders / "new" / f"{number}.png") for number in range(100, 100 + LEAST)]
    unlabeled = {"file": paths}
    if form == "array":
        unlabeled = np.random.default_rng(0).integers(0, 256, (LEAST, 40, 40, 3), np.uint8)
    with pytest.raises(UsageError, match="no picture of the new domain has a label to learn"):
        headstart.fit(folders / "source", unlabeled=unlabeled, target_labels="learn", out=folders / "run")
    assert f"{LEAST} pictures of the new domain, " in capsys.readouterr().err
    with pytest.raises(DataError, match="a `list` is no data to learn from"):
        headstart.fit(folders / "source", unlabeled=paths, out=folders / "run")


def test_a_killed_run_goes_on_with_the_same_pictures_of_the_new_domain_alone(context, store, folders):
    def begin():
        ctx = context(data=folders / "source", store=store, unlabeled=str(folders / "new"))
        _ = FitSteps(ctx).files_audit
        return ctx.run.find_decision("unlabeled")

    first = begin()
    draw_picture(folders / "new" / "300.png", 300)
    second = begin()  # it had only been looked at
    assert second != first
    (folders / "run" / "splits").mkdir()
    assert begin() == second
    (folders / "new" / "labelled" / "cat").mkdir(parents=True)
    (folders / "new" / "300.png").rename(folders / "new" / "labelled" / "cat" / "300.png")
    with pytest.raises(DataError, match=r"new` changed since the run .* began: 1 new, 1 gone"):
        begin()
