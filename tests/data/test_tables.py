"""Tables of labels: every row is a picture or has a reason, and what a person writes wrong is told."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError
from headstart.core.job import Job, make_job
from headstart.core.run.opening import open_run
from headstart.core.storage import tables
from headstart.data.reading.label_texts import infer_task
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.reading.records import require_readable
from headstart.data.reading.unpacked_tables import find_order, write_memory_data


@pytest.fixture
def read(context, store):
    """A function that reads a table with an empty cache."""
    return lambda table, **settings: read_dataset(str(table), ctx=context(data=table, store=store, **settings))


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Six pictures below `img`."""
    for number in range(6):
        path = tmp_path / "img" / f"{'ab'[number % 2]}{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return tmp_path / "img"


NAMES = [f"{'ab'[number % 2]}{number}.png" for number in range(6)]
LABELS = ["cat", "dog"] * 3


def write_csv(path: Path, *rows: object, delimiter: str = ",") -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows(rows)
    return path


def write_form(path: Path, columns: dict[str, list]) -> Path:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        write_csv(
            path, list(columns), *(row.values() for row in rows), delimiter="\t" if path.suffix == ".tsv" else ","
        )
    return path


def manifest(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "read" / "files.csv").read_text().splitlines(keepends=True)))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_every_form_gives_the_same_data_set(read, pictures, tmp_path, name):
    columns = {
        "Image": NAMES,
        "class name": LABELS,
        "Patient_ID": [1, 1, 2, 2, 3, 3],
        "sample_weight": [1, 1, 1, 1, 1, 3],
    }
    data = read(write_form(tmp_path / name, columns), images=str(pictures))
    assert data.uris == tuple(sorted(NAMES)) and data.root == str(pictures) and data.name == "t"
    assert [data.class_names[target] for target in data.targets] == ["cat"] * 3 + ["dog"] * 3
    assert data.groups == ("1", "2", "3", "1", "2", "3")
    np.testing.assert_allclose(data.weights, np.array([1, 1, 1, 1, 1, 3]) * 6 / 8)
    assert {row["use"] for row in manifest(tmp_path / "run")} == {"used"}


def test_given_splits_and_times_are_kept(read, pictures, tmp_path):
    rows = [
        (name, label, split, day)
        for name, label, split, day in zip(
            NAMES,
            LABELS,
            ["Training", "train", "Validation", "val", "TEST", "test"],
            ["2024-01-01", "2024-01-02T10:00:00+01:00", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06"],
            strict=True,
        )
    ]
    data = read(write_csv(pictures / "labels.csv", ("file", "label", "fold", "date"), *rows))
    assert dict(zip(data.uris, data.split, strict=True)) == dict(
        zip(NAMES, ["train", "train", "val", "val", "test", "test"], strict=True)
    )
    assert dict(zip(data.uris, data.times, strict=True))["b1.png"] == 1704186000.0


def test_every_row_is_in_the_manifest_with_its_reason(read, pictures, tmp_path, capsys):
    table = write_csv(
        tmp_path / "labels.csv",
        ("path", "label", "when"),
        *((f"img/{name}", label, at) for at, (name, label) in enumerate(zip(NAMES[:4], LABELS[:4], strict=True), 1)),
        ("img/a0.png", "cat", 9),  # again
        ("img/a4.png", "cat", 9),
        ("./img/a4.png", "dog", 9),  # two labels
        ("img/gone.png", "cat", 9),
        ("", "cat", 9),
        ("img/b5.png", "nan", 9),  # no label
        ("img/a2.png", "", 9),  # named before
        ("img/b1.png", "dog", "soon"),  # no time
    )
    data = read(table, time="when")
    rows = manifest(tmp_path / "run")
    assert len(rows) == 12
    assert sorted((row["file"], row["use"]) for row in rows if row["use"] != "used") == [
        ("img/a0.png", "duplicate_row"),
        ("img/a2.png", "duplicate_row"),
        ("img/a4.png", "two_labels"),
        ("img/a4.png", "two_labels"),
        ("img/b1.png", "no_time"),
        ("img/b5.png", "unlabelled"),
        ("img/gone.png", "missing"),
        ("labels.csv:10", "no_path"),
    ]
    assert data.unlabelled == ("img/b5.png",) and len(data.uris) == 4
    notes = [row["note"] for row in rows if row["use"] == "two_labels"]
    assert notes == [
        "row 7 gives it another label than row 8",
        "row 8 gives it another label than row 7",
    ]


def test_lines_of_json_are_parsed_together_and_a_bad_one_costs_itself_alone(tmp_path):
    lines = [json.dumps({"path": f"{number}.png", "label": "ab"[number % 2]}) for number in range(1000)]
    lines[150], lines[300], lines[450], lines[999] = "{", "", '{"path": "x"}, {"path": "y"}', "[1]"
    lines[600] = '{"path": "600.png"}'
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    rows = dict(tables.read_rows(path, ["path", "label"]))
    assert len(rows) == 999 and 301 not in rows
    bad = [number for number, row in rows.items() if isinstance(row, tables.MalformedRow)]
    assert bad == [151, 451, 1000]
    assert rows[601] == ["600.png", None] and rows[152] == ["151.png", "b"]


def test_all_problems_of_a_refused_table_are_in_a_file_of_the_run(pictures, tmp_path, capsys):
    rows = [(NAMES[0], "cat"), *((f"gone{number}.png", "dog") for number in range(8))]
    table = write_csv(tmp_path / "labels.csv", ("path", "label"), *rows)
    run, job = tmp_path / "refused", make_job(data=str(table), images=str(pictures))

    def read_in_run():
        with open_run(run, job, Console()) as ctx:
            return read_dataset(table, ctx=ctx)

    with pytest.raises(DataError, match="only one class has usable pictures") as refusal:
        read_in_run()
    assert f"`{run / 'problems.csv'}` lists all 8" in refusal.value.hint
    assert capsys.readouterr().err.count("missing: `gone") == 5
    lines = list(csv.DictReader((run / "problems.csv").read_text().splitlines()))
    assert [(line["file"], line["reason"]) for line in lines] == [(f"gone{n}.png", "missing") for n in range(8)]
    for number in range(8):
        shutil.copy(pictures / NAMES[1 + number % 5], pictures / f"gone{number}.png")
    assert len(read_in_run().uris) == 9  # the same folder serves, and the list goes
    assert not (run / "problems.csv").exists()


def test_all_labels_that_are_no_numbers_are_listed(context, store, pictures, tmp_path):
    rows = [(name, f"about {at}") for at, name in enumerate(NAMES)]
    table = write_csv(tmp_path / "labels.csv", ("path", "label"), *rows)
    ctx = context(data=table, store=store, images=str(pictures), task="regression")
    with pytest.raises(DataError, match="6 of 6 labels are no numbers"):
        read_dataset(table, ctx=ctx)
    lines = list(csv.DictReader((ctx.run.path / "problems.csv").read_text().splitlines()))
    assert sorted(line["detail"] for line in lines) == [f"its label is `about {at}`" for at in range(6)]


def test_five_skipped_rows_are_told_and_the_others_counted(context, store, pictures, tmp_path, capsys):
    rows = [(name, label) for name, label in zip(NAMES, LABELS, strict=True)] + [(f"{n}.png", "cat") for n in range(7)]
    table = write_csv(tmp_path / "labels.csv", ("path", "label"), *rows)
    ctx = context(data=table, store=store, images=str(pictures))
    ctx.console = Console()
    read_dataset(str(table), ctx=ctx)
    text = capsys.readouterr().err
    assert text.count("No such file") == 5 and "and 2 more such: read/files.csv has each" in text
    assert "13 rows in `labels.csv`; columns: path `path`, target `label`" in text


def test_labels_that_differ_by_spelling_alone_are_told_and_merged_when_asked(read, pictures, tmp_path):
    labels = ["cat", " Cat", "cat", "1", "1.0", "01"]
    table = write_csv(tmp_path / "labels.csv", ("path", "label"), *zip(NAMES, labels, strict=True))
    apart = read(table, images=str(pictures))
    assert apart.class_names == (" Cat", "01", "1", "1.0", "cat")
    merged = read(table, images=str(pictures), merge_labels=True, name="merged")
    assert merged.class_names == ("1", "cat") and np.bincount(merged.targets).tolist() == [3, 3]
    again = write_csv(tmp_path / "again.csv", ("path", "label"), *zip(NAMES, labels, strict=True), (NAMES[0], "CAT "))
    twice = read(again, images=str(pictures), merge_labels=True, name="twice")
    assert [file.reason for file in twice.excused if file.uri == NAMES[0]] == ["duplicate_row"]


def test_spellings_are_told(context, store, pictures, tmp_path, capsys):
    table = write_csv(tmp_path / "t.csv", ("path", "label"), *zip(NAMES, ["cat", "Cat ", "dog"] * 2, strict=True))
    ctx = context(data=table, store=store, images=str(pictures))
    ctx.console = Console()
    read_dataset(str(table), ctx=ctx)
    assert "`cat` (2) = `Cat ` (2); --merge-labels takes them as one" in capsys.readouterr().err


def test_a_column_that_is_not_there_shows_the_nearest_and_all_problems_at_once(pictures, tmp_path):
    table = write_csv(tmp_path / "labels.csv", ("filename", "diagnosis", "patient"), ("a0.png", "x", "p"))
    with pytest.raises(DataError) as caught:
        require_readable(Job(data=str(table), target="diagnoses", group="patients"))
    assert "no column `diagnoses`" in caught.value.what and "no column `patients`" in caught.value.what
    assert "`diagnosis`" in caught.value.hint and "its columns: `filename`, `diagnosis`, `patient`" in caught.value.hint
    unknown = write_csv(tmp_path / "x.csv", ("img/a0.png", "cat", "5"), ("img/b1.png", "dog", "5"))
    with pytest.raises(DataError, match="as paths of pictures.*as labels") as caught:
        require_readable(Job(data=str(unknown)))
    assert "is its first line a header?" in caught.value.hint


def test_the_folder_where_the_paths_exist_is_named(read, pictures, tmp_path):
    rows = [("path", "label"), *((f"img/{name}", label) for name, label in zip(NAMES, LABELS, strict=True))]
    with pytest.raises(DataError) as caught:
        read(write_csv(pictures / "labels.csv", *rows))
    assert caught.value.hint == f"--images {tmp_path} makes them exist"
    (tmp_path / "tables").mkdir()
    rows = [("path", "label"), *((f"/old/disk/img/{name}", label) for name, label in zip(NAMES, LABELS, strict=True))]
    table = write_csv(tmp_path / "tables" / "labels.csv", *rows)
    with pytest.raises(DataError, match="none of the pictures"):
        read(table)
    assert read(table, images=str(tmp_path), name="trimmed").uris[0] == "img/a0.png"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda name: name.removesuffix(".png"), ""),
        (lambda name: f" {name} ", ""),
        (lambda name: f"..\\img\\{name}", ""),
        (lambda name: f"../img/{name}", ""),
    ],
)
def test_paths_are_read_as_people_write_them(read, pictures, tmp_path, change, where):
    rows = [(change(name), label) for name, label in zip(NAMES, LABELS, strict=True)]
    data = read(write_csv(pictures / "labels.csv", ("path", "label"), *rows))
    assert len(data.uris) == 6 and not data.excused
    assert {Path(data.root, uri) for uri in data.uris} == {pictures / name for name in NAMES}


def test_absolute_paths_outside_the_table_share_a_root(read, pictures, tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [(str(pictures / name), label) for name, label in zip(NAMES, LABELS, strict=True)]
    data = read(write_csv(tmp_path / "tables" / "labels.csv", ("path", "label"), *rows))
    assert data.root == str(pictures) and data.uris[0] == "a0.png"


def test_a_table_of_three_rows_is_read_and_one_class_refused(read, pictures):
    table = write_csv(pictures / "labels.csv", ("path", "label"), *zip(NAMES[:3], ["a", "b", "a"], strict=True))
    assert len(read(table).uris) == 3
    table = write_csv(pictures / "one.csv", ("path", "label"), *zip(NAMES[:3], ["a", "a", "a"], strict=True))
    with pytest.raises(DataError, match="only one class has usable pictures: `a` with 3"):
        read(table, name="one")
    (pictures / "none.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="names no picture"):
        read(pictures / "none.csv", name="none")


def test_a_column_found_by_its_name_costs_no_row(read, pictures):
    rows = zip(NAMES, LABELS, range(6), ["late"] * 6, strict=True)
    data = read(write_csv(pictures / "labels.csv", ("path", "label", "fold", "time"), *rows))
    assert len(data.uris) == 6 and not any(data.split) and data.times is None
    with pytest.raises(DataError, match="no value of column `fold` is a split"):
        read(pictures / "labels.csv", split="fold", name="asked")


def test_settings_of_a_table_are_refused_for_folders(tmp_path, pictures):
    with pytest.raises(HeadstartError, match="`--target` would do nothing: .* is read as class folders"):
        require_readable(Job(data=str(tmp_path), target="label"))
    with pytest.raises(DataError, match="there is no folder `imgs`"):
        require_readable(Job(data=str(write_csv(tmp_path / "t.csv", ("path", "label"))), images="imgs"))


def test_pictures_in_no_row_are_counted(context, store, pictures, tmp_path, capsys):
    table = write_csv(tmp_path / "t.csv", ("path", "label"), *zip(NAMES[:4], LABELS[:4], strict=True))
    ctx = context(data=table, store=store, images=str(pictures))
    ctx.console = Console()
    read_dataset(str(table), ctx=ctx)
    assert "2 pictures below" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a", "b", "3"], "classification"),
        ([str(number) for number in range(20)], "classification"),
        ([str(number) for number in range(21)], "regression"),
        (["0.5", "1"], "regression"),
        (["1", "nan-like"], "classification"),
    ],
)
def test_the_task_is_inferred_with_a_reason(labels, task):
    assert infer_task([(label,) for label in labels])[0] == task


def test_several_labels_are_refused_before_a_picture_is_opened(read, pictures, tmp_path):
    table = write_csv(tmp_path / "labels.csv", ("path", "label"), *zip(NAMES, ["cat|dog", *LABELS[1:]], strict=True))
    for name in NAMES:
        (pictures / name).write_bytes(b"never looked at")
    with pytest.raises(DataError, match=f"1 pictures have several labels.*`{NAMES[0]}`: cat, dog"):
        read(table, images=str(pictures), task="classification")


def test_an_unlabelled_folder_is_no_class(read, tmp_path, pictures):
    for name, folder in zip(NAMES, ["cat", "dog", "cat", "dog", "Unlabeled", "unlabelled"], strict=True):
        (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
        (pictures / name).rename(tmp_path / "set" / folder / name)
    data = read(tmp_path / "set")
    assert data.class_names == ("cat", "dog")
    assert data.unlabelled == ("Unlabeled/a4.png", "unlabelled/b5.png")
    assert [row["use"] for row in manifest(tmp_path / "run")].count("unlabelled") == 2


def test_a_table_in_memory_is_one_data_set_whatever_library_it_is_of(store, pictures, tmp_path, read):
    import pandas
    import polars
    import pyarrow

    columns = {
        "image": [str(pictures / name) for name in NAMES],
        "label": LABELS,
        "patient": [1.0, 1.0, 2.0, 2.0, None, 3.0],
    }
    forms = [columns, pandas.DataFrame(columns), pyarrow.table(columns), polars.DataFrame(columns)]
    tables = {write_memory_data(form, None, store) for form in forms}
    assert len({table.read_text().replace("NaN", "null") for table, _ in tables}) == 1 and not any(
        has for _, has in tables
    )
    data = read(next(iter(tables))[0])
    assert data.uris == tuple(sorted(NAMES)) and data.groups == ("1", "2", "", "1", "2", "3")
    with pytest.raises(DataError, match="`set` is no data to learn from"):
        write_memory_data({"a"}, None, store)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(0, 256, (4, 9, 11, 3), dtype=np.uint8),
        np.random.default_rng(0).integers(0, 256, (4, 9, 11), dtype=np.uint8),
        np.random.default_rng(0).integers(0, 65536, (4, 9, 11), dtype=np.uint16),
        np.random.default_rng(0).normal(0, 1000, (4, 9, 11)).astype(np.float32),
    ],
)
def test_arrays_of_pictures_survive_bit_for_bit(store, read, values):
    table, has_pictures = write_memory_data(values, np.array([0, 1, 0, 1]), store)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert has_pictures and [row["label"] for row in rows] == [0, 1, 0, 1]
    for row, picture in zip(rows, values, strict=True):
        with Image.open(table.parent / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image), picture)
    data = read(table)
    assert data.class_names == ("0", "1") and len(data.uris) == 4
    with pytest.raises(DataError, match="4 pictures have 3 labels"):
        write_memory_data(values, [1, 2, 3], store)


def test_arrays_that_would_lose_values_are_refused(store):
    with pytest.raises(DataError, match="float64"):
        write_memory_data(np.zeros((2, 4, 4)), [0, 1], store)


def test_columns_of_yes_and_no_are_labels(read, pictures, tmp_path):
    rows = [("1", "0", ""), ("true", "Yes", "0"), ("0", "no", "0"), ("", "", ""), ("0", "1", "-1"), ("1.0", "0", "1")]
    header = ("path", "cat", "dog", "wild")
    table = write_csv(tmp_path / "labels.csv", header, *((name, *row) for name, row in zip(NAMES, rows, strict=True)))
    with pytest.raises(DataError, match="4 pictures have labels, and at least 10"):
        read(table, images=str(pictures), target="cat, dog,wild")
    with pytest.raises(DataError, match="no column `dgo`") as refused:
        read(table, images=str(pictures), target="cat,dgo,wild")
    assert "did you mean `dog`" in refused.value.hint


def test_labels_of_columns_are_joined_row_by_row(tmp_path):
    from headstart.core.job import Job
    from headstart.data.reading.label_tables import choose_columns, read_annotations

    rows = [("a", 1, 0, ""), ("b", "true", "Yes", 0), ("c", 0, "no", 0), ("d", "", "", ""), ("e", 0, 1, -1)]
    header = ("path", "cat", "dog", "wild")
    table = write_csv(tmp_path / "labels.csv", header, *rows)
    job = Job(data=str(table), target="cat,dog,wild")
    found = read_annotations(table, choose_columns(table, header, job), job)
    assert found.labels == [("cat",), ("cat", "dog"), ("",), ()]
    [skipped] = found.skipped
    assert skipped.reason == "no_label" and skipped.detail.endswith("column `wild` holds `-1`")


def test_rows_of_one_picture_are_joined_where_several_labels_are_asked_for(tmp_path):
    from headstart.data.reading.annotations import _drop_repeated_rows
    from headstart.data.reading.records import Record

    rows = [Record("a", ("x",)), Record("a", ("y",)), Record("b", ("",)), Record("b", ("x",)), Record("a", ("x",))]
    chosen, _, skipped = _drop_repeated_rows(rows, range(1, 6), join=True)
    assert {uri: record.labels for uri, record in chosen.items()} == {"a": ("x", "y"), "b": ("x",)}
    assert [row.reason for row in skipped] == ["duplicate_row"]
    chosen, _, skipped = _drop_repeated_rows(rows, range(1, 6), join=False)
    assert not chosen and [row.reason for row in skipped].count("two_labels") == 4


def test_labels_of_an_array_may_be_lists_sets_or_a_matrix(store):
    import pandas as pd

    values, matrix = np.zeros((3, 4, 4), np.uint8), np.array([[1, 0], [1, 1], [0, 0]])
    forms = [[["a"], ["a", "b"], []], [{"a"}, {"b", "a"}, set()], pd.DataFrame(matrix, columns=["a", "b"])]
    assert len({write_memory_data(values, form, store) for form in forms}) == 1
    rows = [json.loads(line) for line in write_memory_data(values, matrix, store)[0].read_text().splitlines()]
    assert [row["label"] for row in rows] == [["0"], ["0", "1"], []]
    with pytest.raises(DataError, match=r"labels of shape \(3, 2\) for 3 pictures are no matrix of 0 and 1"):
        write_memory_data(values, matrix * 2, store)


def test_an_ordered_column_of_pandas_tells_the_order_of_its_grades():
    import pandas

    grades = pandas.Categorical(["high", "low", "high"], ["low", "medium", "high"], ordered=True)
    frame, job = pandas.DataFrame({"file": ["a", "b", "c"], "wear": grades}), Job(data="x", target="wear")
    assert find_order(frame, None, job) == ("low", "medium", "high")
    assert find_order(frame.rename(columns={"wear": "label"}), None, Job(data="x")) == ("low", "medium", "high")
    assert find_order(np.zeros((3, 4, 4), np.uint8), pandas.Series(grades), Job(data="x")) == ("low", "medium", "high")
    assert find_order(frame.astype({"wear": "category"}).assign(wear=list(grades)), None, job) == ()
    assert find_order(frame.assign(wear=pandas.Categorical(grades.astype(str))), None, job) == ()
    assert find_order(frame, None, Job(data="x", target="absent")) == ()  # the reader tells that
