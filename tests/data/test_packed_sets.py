"""Sets whose pictures are no files of their own: Parquet, Hugging Face folders, WebDataset shards."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.reading.records import find_reader, require_readable
from headstart.images.preprocessing import read_bytes


def encode(number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


PICTURES = [encode(number) for number in range(6)]


@pytest.fixture
def read(context, store):
    """A function that reads a location; every picture's bytes are those that went in."""

    def read_location(location, name="run", **settings):
        data = read_dataset(str(location), ctx=context(data=location, store=store, name=name, **settings))
        assert {read_bytes(f"{data.root}/{uri}") for uri in data.uris} <= set(PICTURES)
        return data

    return read_location


def labels_by_picture(data):
    """Class and split of each of `PICTURES`; None where it is not used."""
    labels = {
        read_bytes(f"{data.root}/{uri}"): (data.class_names[target], split)
        for uri, target, split in zip(data.uris, data.targets, data.split, strict=True)
    }
    return [labels.get(picture) for picture in PICTURES]


@pytest.mark.parametrize("as_records", [True, False])
def test_parquet_with_bytes(read, tmp_path, as_records):
    image = [{"bytes": picture, "path": "x.png"} if as_records else picture for picture in PICTURES]
    table = pyarrow.table({"image": image, "label": ["a", "b"] * 3})
    parquet.write_table(table, tmp_path / "set.parquet")
    data = read(tmp_path / "set.parquet")
    assert labels_by_picture(data) == [("a", ""), ("b", "")] * 3 and data.name == "set"
    assert read(tmp_path / "set.parquet", name="again").digest == data.digest


def save_to_disk(folder, pictures, labels, names):
    """What `Dataset.save_to_disk` writes."""
    folder.mkdir(parents=True)
    table = pyarrow.table({"image": [{"bytes": picture, "path": None} for picture in pictures], "kind": labels})
    with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    features = {"image": {"_type": "Image"}, "kind": {"names": names, "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def test_a_hugging_face_folder_with_splits_and_class_names(read, tmp_path):
    root = tmp_path / "flowers"
    save_to_disk(root / "train", PICTURES[:4], [0, 1, 0, -1], ["rose", "tulip"])
    save_to_disk(root / "test", PICTURES[4:], [1, 0], ["rose", "tulip"])
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert find_reader(str(root)).name == "huggingface"
    data = read(root)
    rose, tulip = ("rose", "train"), ("tulip", "train")
    assert labels_by_picture(data) == [rose, tulip, rose, None, ("tulip", "test"), ("rose", "test")]
    assert len(data.unlabelled) == 1 and data.name == "flowers"
    (root / "test" / "data-00000-of-00001.arrow").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be read as Arrow"):
        read(root, target="kind", name="damaged")
    (root / "test" / "state.json").unlink()
    with pytest.raises(DataError, match="it has no `_data_files`"):
        require_readable(Job(data=str(root)))


def zip_pictures(path, *names):
    """A zip with one of `PICTURES` a name, and a page in its top folder."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{names[0].partition('/')[0]}/README.md", "a page")
        for name, picture in zip(names, PICTURES, strict=False):
            archive.writestr(name, picture)
    return path


def test_class_folders_are_found_in_one_top_folder_of_an_archive(read, tmp_path):
    classes = ("cats/a.png", "cats/b.png", "dogs/c.png", "dogs/d.png")
    data = read(zip_pictures(tmp_path / "set.zip", *(f"set/{name}" for name in classes)))
    assert labels_by_picture(data)[:4] == [("cats", "")] * 2 + [("dogs", "")] * 2
    assert data.uris[0] == "set/cats/a.png" and [file.uri for file in data.excused] == ["set/README.md"]
    with_splits = ("set/train/cats/a.png", "set/train/dogs/b.png", "set/Test/cats/c.png", "set/Test/dogs/d.png")
    data = read(zip_pictures(tmp_path / "splits.zip", *with_splits), name="splits")
    assert labels_by_picture(data)[:4] == [(name, split) for split in ("train", "test") for name in ("cats", "dogs")]
    data = read(zip_pictures(tmp_path / "one.zip", *(f"train/{name}" for name in classes)), name="one")
    assert labels_by_picture(data)[:4] == [("cats", "train")] * 2 + [("dogs", "train")] * 2
    with pytest.raises(DataError, match="only one class has usable pictures: `cats`"):
        read(zip_pictures(tmp_path / "cats.zip", *classes[:2]), name="cats")


def write_shard(path, samples):
    """A tar with the members of each sample, in the order of WebDataset."""
    with tarfile.open(path, "w") as tar:
        for key, members in samples.items():
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_shards_give_labels_splits_and_reasons(read, tmp_path):
    (tmp_path / "shards").mkdir()
    first = {f"{at:04}": {"png": PICTURES[at], "cls": str(30 + at % 2).encode()} for at in range(3)}
    first["0001"]["seg.png"] = b"a mask"
    first["0003"], first["0004"] = {"png": PICTURES[3]}, {"cls": b"30"}
    write_shard(tmp_path / "shards" / "train-0000.tar", first)
    records = {str(at): {"png": PICTURES[at], "json": json.dumps({"label": 30 + at % 2}).encode()} for at in (4, 5)}
    write_shard(tmp_path / "shards" / "test-0000.tar", records)
    assert find_reader(str(tmp_path / "shards")).name == "webdataset"
    data = read(tmp_path / "shards")
    train, test = [("30", "train"), ("31", "train")], [("30", "test"), ("31", "test")]
    assert labels_by_picture(data) == [*train, train[0], None, *test]
    assert data.unlabelled == ("train-0000.tar/0003.png",)
    assert [(row.uri, row.reason) for row in data.excused] == [("train-0000.tar/0004", "no_path")]


def test_one_shard_with_many_numbers_is_of_classes_and_class_folders_in_a_tar_are_not_taken_for_it(read, tmp_path):
    many = {str(at): {"png": encode(at), "cls": str(at).encode()} for at in range(25)}
    shard = write_shard(tmp_path / "one.tar", many)
    listing = find_reader(str(shard)).list_pictures(str(shard), Job(data=str(shard)), frozenset())
    assert listing.label_pictures(listing.uris, []).task == "classification"
    folders = write_shard(tmp_path / "folders.tar", {f"{'ab'[at % 2]}/{at}": {"png": PICTURES[at]} for at in range(6)})
    assert find_reader(str(folders)).name == "class_folders"
    content = shard.read_bytes()
    (tmp_path / "one.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cut short or damaged"):
        read(tmp_path / "one.tar")


def test_a_hugging_face_column_of_several_classes(context, store, tmp_path):
    root, pictures = tmp_path / "flowers", [encode(number) for number in range(10)]
    save_to_disk(root, pictures, [[0], [0, 1], [], *[[1]] * 7], ["rose", "tulip"])
    content = json.loads((root / "dataset_info.json").read_text())
    content["features"]["kind"] = {"feature": content["features"]["kind"], "_type": "Sequence"}
    (root / "dataset_info.json").write_text(json.dumps(content))
    data = read_dataset(str(root), ctx=context(data=root, store=store, name="run"))
    assert data.task == "multilabel" and data.class_names == ("rose", "tulip")
    first = {read_bytes(f"{data.root}/{uri}"): row.tolist() for uri, row in zip(data.uris, data.targets, strict=True)}
    assert [first[picture] for picture in pictures[:4]] == [[True, False], [True, True], [False, False], [False, True]]
