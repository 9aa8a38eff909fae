"""From a folder, an archive and a bucket to the same model: fits, predictions, and what they leave in files."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import headstart
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.run.reader import RunReader
from headstart.core.storage.locations import object_store
from object_servers import S3_KEYS, serve_s3

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "10m"}
pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def place(textile, tmp_path_factory):
    """A folder with `set`, the same as `set.zip`, and both in the bucket `shop` of a server."""
    place = tmp_path_factory.mktemp("places")
    with serve_s3() as server:
        files = [path for name in ("global", "local") for path in sorted((textile / name).glob("*.jpg"))[:12]]
        contents = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}
        for name, content in contents.items():
            (place / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "set" / name).write_bytes(content)
        with zipfile.ZipFile(place / "set.zip", "w") as archive:
            for name, content in reversed(contents.items()):
                archive.writestr(name, content)
        table = "file,label\n" + "".join(f"{name},{name.partition('/')[0]}\n" for name in contents)
        server.put("shop", {f"sets/textile/{name}": content for name, content in contents.items()})
        coco = {"categories": [{"id": at, "name": name} for at, name in enumerate(("global", "local"))]}
        coco["images"] = [{"id": at, "file_name": name} for at, name in enumerate(contents)]
        coco["annotations"] = [
            {"image_id": at, "category_id": int(name.startswith("local"))} for at, name in enumerate(contents)
        ]
        shard = io.BytesIO()
        with tarfile.open(fileobj=shard, mode="w") as archive:
            for at, (name, content) in enumerate(contents.items()):
                for suffix, part in (("jpg", content), ("cls", name.partition("/")[0].encode())):
                    header = tarfile.TarInfo(f"{at:04d}.{suffix}")
                    header.size = len(part)
                    archive.addfile(header, io.BytesIO(part))
        server.client().put_object(Bucket="shop", Key="sets/shard-0000.tar", Body=shard.getvalue())
        for name, text in {"labels.csv": table, "coco.json": json.dumps(coco)}.items():
            server.client().put_object(Bucket="shop", Key=f"sets/textile/{name}", Body=text.encode())
        server.client().put_object(Bucket="shop", Key="sets/set.zip", Body=(place / "set.zip").read_bytes())
        server.put("shop", {f"new/{name}": content for name, content in contents.items() if name.startswith("local/")})
        yield place, server


@pytest.fixture(scope="module")
def runs(place):
    """Fits of the folder, of the zip file, and of the bucket by the example of the docs."""
    folder, _ = place
    data = {"folder": folder / "set", "zip": folder / "set.zip"}
    console = Console(quiet=True)
    fit = {name: headstart.fit(path, out=folder / name, console=console, **SETTINGS) for name, path in data.items()}
    example = (ROOT / "docs" / "object-storage.md").read_text().partition("```sh")[2].partition("```")[0]
    commands = [line.split() for line in example.splitlines() if line.startswith("headstart ")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert [main(words[1:]) for words in commands] == [0, 0, 0]
    assert {words[1] for words in commands} == {"audit", "fit", "predict"}
    return folder, fit | {"s3": headstart.Run(folder / "runs" / "shop")}


def test_a_fit_of_an_archive_and_of_a_bucket_is_that_of_the_folder(runs):
    _, fit = runs
    folder = fit["folder"]
    for name in ("zip", "s3"):
        run = fit[name]
        assert run.dataset.digests == folder.dataset.digests and run.dataset.uris == folder.dataset.uris
        assert run.evaluation.scores == folder.evaluation.scores
        assert np.array_equal(run.evaluation.probabilities, folder.evaluation.probabilities)
        assert (run.path / "model" / "head.safetensors").read_bytes() == (
            folder.path / "model" / "head.safetensors"
        ).read_bytes()
        reader = RunReader(run.path)
        assert reader.read_feature_digests() == RunReader(folder.path).read_feature_digests()
        assert reader.find_latency_ms(SETTINGS["backbones"]) is None  # all vectors came from the cache


def test_the_same_command_downloads_nothing_again_and_an_export_reads_the_bucket(runs, place):
    folder, fit = runs
    _, server = place
    server.requests.clear()
    object_store.forget_versions()
    headstart.fit("s3://shop/sets/textile", out=fit["s3"].path, console=Console(quiet=True), **SETTINGS)
    assert server.requests == {"list": 1}
    (export,) = headstart.export(fit["s3"], "openvino", folder / "openvino", console=Console(quiet=True))
    assert export["label_agreement"] == 1.0


def test_the_example_of_the_docs_answers_for_new_pictures(runs):
    folder, _ = runs
    rows = list(csv.DictReader(io.StringIO((folder / "answers.csv").read_text())))
    assert [row["file"] for row in rows] == [
        f"s3://shop/new/local/{name}" for name in sorted(p.name for p in (folder / "set" / "local").iterdir())
    ]
    assert sum(row["answer"] == "local" for row in rows) >= 10


@pytest.mark.parametrize("name", ("s3://shop/sets/textile", "set.zip"))
def test_evaluate_judges_on_a_bucket_and_an_archive_as_on_the_folder(name, runs, monkeypatch):
    folder, fit = runs
    monkeypatch.chdir(folder)
    there = headstart.evaluate(fit["folder"], name, console=Console(quiet=True))
    own = headstart.evaluate(fit["folder"], "set", console=Console(quiet=True))
    assert there["scores"] == own["scores"] and there["confusion"] == own["confusion"] and there["learnt_from"] == 24
    assert [row for row in there["excused"] if row[0] not in ("labels.csv", "coco.json")] == own["excused"] == []


def test_no_credential_and_no_bucket_is_in_a_run_folder(runs):
    _, fit = runs
    for path in fit["s3"].path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(value.encode() in content for value in list(S3_KEYS.values())[:2])
        assert path.name == ".local.json" or b"s3://" not in content, path


@pytest.mark.parametrize(
    "name", ("s3://shop/sets/textile", "s3://shop/sets/textile/labels.csv", "s3://shop/sets/set.zip")
)
def test_predictions_of_a_bucket_are_those_of_the_folder(name, runs, capsys):
    folder, fit = runs
    answers = {}
    for where in (str(folder / "set"), name):
        assert main(["predict", str(fit["folder"].path), where, "--quiet"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        answers[where] = sorted((Path(row["file"]).name, row["answer"]) for row in rows)
    assert len(answers[name]) == 24 and answers[name] == answers[str(folder / "set")]


@pytest.mark.parametrize("name", ("textile/labels.csv", "textile/coco.json", "shard-0000.tar"))
def test_a_file_of_labels_in_a_bucket_is_a_data_set(name, runs, context):
    from headstart.data.reading.read_dataset import read_dataset

    _, fit = runs
    address = f"s3://shop/sets/{name}"
    data = read_dataset(address, ctx=context(address))
    assert sorted(data.digests) == sorted(fit["folder"].dataset.digests)
    assert data.root == (address if name.endswith(".tar") else "s3://shop/sets/textile")
    assert data.class_names == ("global", "local")
