"""Pictures of another domain as they are read: what is refused, what is left out, where their labels come from."""

import shutil

import numpy as np
import pytest
from PIL import Image

from headstart.api.preflight import preflight
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.reader import RunReader
from headstart.core.types import TargetDomain
from headstart.data.reading.read_dataset import read_dataset
from headstart.domain_adaptation.target_domain import LEAST, read_target

CLASSES = ("cat", "dog")


def draw_picture(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).resize((40, 40)).save(path)


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
    with pytest.raises(DataError, match=f"has {LEAST - 1} pictures; fewer than {LEAST} tell nothing"):
        read()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"adaptation": ("coral",)}, "adaptation has no effect without pictures of a new domain"),
        ({"target_labels": "learn"}, "target_labels has no effect without pictures of a new domain"),
        ({"unlabeled": "new", "adaptation": ("corall",)}, "there is no way to adapt `corall`"),
        ({"unlabeled": "new", "adaptation": ("none", "coral")}, "`none` excludes other methods"),
        ({"unlabeled": "new", "adaptation": ("mmd",)}, "`mmd` trains a network, and strategy `probe` trains none"),
    ],
)
def test_settings_that_do_nothing_are_refused_before_anything_starts(folders, monkeypatch, settings, what):
    monkeypatch.chdir(folders)
    problems = preflight(Job(data="source", **settings), folders / "run", Console(quiet=True))
    assert what in [problem.what for problem in problems]
