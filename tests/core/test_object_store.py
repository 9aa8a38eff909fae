"""Object stores on this machine: what is listed, read, cached, retried and refused."""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.locations import list_location, object_store, require_address
from headstart.images import preprocessing
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.testing.image_files import encode_picture
from object_servers import S3_KEYS, serve_s3

BUCKETS = (f"bucket-{number}" for number in itertools.count())


def picture(shade):
    return encode_picture(Image.new("RGB", (9, 7), (shade, 90, 30)), "PNG")


PICTURES = {f"{name}/{at}.png": picture(40 * at + len(name)) for name in ("cat", "schön & gut") for at in range(4)}


@pytest.fixture(scope="module")
def server():
    with serve_s3() as server:
        yield server


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """A fresh bucket with pictures below `set`, and an empty cache."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_store, "_BACKOFF", {"init_backoff": object_store.timedelta(milliseconds=1)})
    object_store._make_store.cache_clear()
    object_store.forget_versions()
    server.faults.clear()
    name = next(BUCKETS)
    server.put(name, {f"set/{uri}": content for uri, content in PICTURES.items()})
    server.requests.clear()
    return name


def test_objects_are_listed_and_read_as_files_below_a_folder(server, bucket):
    server.client().put_object(Bucket=bucket, Key="set/cat/", Body=b"")
    server.client().put_object(Bucket=bucket, Key="set/.DS_Store", Body=b"x")
    server.client().put_object(Bucket=bucket, Key="set-other/1.png", Body=picture(3))
    root = require_address(f"s3://{bucket}/set/")
    listing = list_location(root)
    assert listing.uris == sorted(PICTURES) and listing.folders == ["cat", "schön & gut"]
    assert [(file.uri, file.reason) for file in listing.skipped] == [(".DS_Store", "hidden")]
    assert {uri: read_bytes(f"{root}/{uri}") for uri in listing.uris} == PICTURES
    assert "set-other/1.png" in list_location(f"s3://{bucket}").uris


def test_an_object_counts_as_used_whenever_it_is_read_from_the_cache(server, bucket, tmp_path):
    read_bytes(f"s3://{bucket}/set/cat/0.png")
    (file,) = (file for file in (tmp_path / "cache" / "objects").rglob("*") if file.is_file())
    os.utime(file, (1e9, 1e9))
    read_bytes(f"s3://{bucket}/set/cat/0.png")
    assert file.stat().st_mtime > 1e9


def test_what_was_read_is_not_downloaded_again_until_it_changes(server, bucket):
    root = f"s3://{bucket}/set"
    server.client().put_object(Bucket=bucket, Key="set/notes.txt", Body=b"no picture")

    def read_all():
        object_store.forget_versions()  # as a new process
        server.requests.clear()
        answers = {}
        for uri in list_location(root).uris:
            try:
                answers[uri] = read_bytes(f"{root}/{uri}")
            except PictureError as err:
                answers[uri] = err.reason
        return answers

    first = read_all()
    assert first == PICTURES | {"notes.txt": "not_a_picture"} and server.requests["GET"] == 9
    assert read_all() == first and server.requests == {"list": 1}
    server.client().put_object(Bucket=bucket, Key="set/cat/1.png", Body=picture(222))
    assert read_all() == first | {"cat/1.png": picture(222)} and server.requests == {"list": 1, "GET": 1}
    object_store.forget_versions()
    assert read_bytes(f"{root}/cat/1.png") == picture(222)  # alone, its version is asked for
    assert server.requests == {"list": 1, "GET": 1, "HEAD": 1}


def test_a_damaged_copy_in_the_cache_is_read_anew(server, bucket, tmp_path):
    root = f"s3://{bucket}/set"
    list_location(root)
    read_bytes(f"{root}/cat/1.png")
    (copy,) = (tmp_path / "cache" / "objects").glob("*/*")
    content = bytearray(copy.read_bytes())
    content[3] ^= 1
    copy.write_bytes(content)
    assert read_bytes(f"{root}/cat/1.png") == PICTURES["cat/1.png"] and server.requests["GET"] == 2


def test_large_objects_are_not_read_on_when_they_are_no_picture_or_too_large(server, bucket, monkeypatch):
    large = picture(9) + bytes(3_000_000)
    server.client().put_object(Bucket=bucket, Key="set/film.mp4", Body=bytes(3_000_000))
    server.client().put_object(Bucket=bucket, Key="set/large.png", Body=large)
    with pytest.raises(PictureError, match="not_a_picture"):
        read_bytes(f"s3://{bucket}/set/film.mp4")
    assert read_bytes(f"s3://{bucket}/set/large.png") == large
    monkeypatch.setattr(preprocessing, "MAX_BYTES", 1_000_000)
    server.client().put_object(Bucket=bucket, Key="set/larger.png", Body=large)
    with pytest.raises(PictureError, match=r"3,000,\d\d\d bytes are more than 1,000,000"):
        read_bytes(f"s3://{bucket}/set/larger.png")


def test_throttling_is_retried_and_then_the_object_is_named(server, bucket):
    root, answers = f"s3://{bucket}/set", iter(["503 Slow Down", "429 Too Many Requests", "503 Slow Down"])
    list_location(root)

    class Twice(dict):
        def items(self):
            fault = next(answers, None)
            return [("cat/1.png", fault)] if fault else []

    server.faults = Twice()
    assert read_bytes(f"{root}/cat/1.png") == PICTURES["cat/1.png"] and next(answers, None) is None
    server.faults = {"cat/2.png": "503 Slow Down"}
    server.requests.clear()
    with pytest.raises(SetupError, match=rf"`{root}/cat/2.png` cannot be read: .* asks for fewer requests") as error:
        read_bytes(f"{root}/cat/2.png")
    assert server.requests["GET"] == object_store.RETRIES + 1 and "the same command goes on" in error.value.hint


def test_objects_that_vanish_or_may_not_be_read_are_told_each(server, bucket):
    root = f"s3://{bucket}/set"
    list_location(root)
    server.client().delete_object(Bucket=bucket, Key="set/cat/1.png")
    with pytest.raises(PictureError, match="missing: the object is not there"):
        read_bytes(f"{root}/cat/1.png")
    server.faults = {"cat/2.png": "403 Forbidden"}
    with pytest.raises(PictureError, match="permission: reading it is not permitted"):
        read_bytes(f"{root}/cat/2.png")


def test_buckets_that_are_not_there_empty_or_closed_are_told_with_what_to_do(server, bucket):
    with pytest.raises(DataError, match="there is no `s3://no-such-bucket/set`") as error:
        list_location("s3://no-such-bucket/set")
    assert "check the spelling" in error.value.hint
    with pytest.raises(DataError, match=f"there is nothing below `s3://{bucket}/nowhere`"):
        list_location(f"s3://{bucket}/nowhere")
    server.faults = {bucket: "403 Forbidden"}
    with pytest.raises(SetupError, match=f"reading `s3://{bucket}/set` is not permitted") as error:
        list_location(f"s3://{bucket}/set")
    assert "AWS_ACCESS_KEY_ID" in error.value.hint


def test_without_a_network_the_store_that_does_not_answer_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        SetupError, match=f"`s3://{bucket}/set` cannot be listed: s3://{bucket} does not answer"
    ) as error:
        list_location(f"s3://{bucket}/set")
    assert "the endpoint's environment variable" in error.value.hint


def test_without_credentials_the_variables_to_set_are_named(bucket, monkeypatch):
    for name in S3_KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")  # asked by who has no key
    object_store._make_store.cache_clear()
    with pytest.raises(SetupError, match=f"there are no credentials for s3://{bucket}") as error:
        list_location(f"s3://{bucket}/set")
    assert "AWS_SECRET_ACCESS_KEY" in error.value.hint and "AWS_SKIP_SIGNATURE" in error.value.hint


def test_a_profile_of_aws_is_taken_where_no_variable_has_a_key(bucket, monkeypatch, tmp_path):
    for name in S3_KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    keys = f"aws_access_key_id={S3_KEYS['AWS_ACCESS_KEY_ID']}\naws_secret_access_key=planted\nregion=us-east-1\n"
    (tmp_path / "credentials").write_text(f"[works]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for profile, message in (("works", None), ("no-such", f"there are no credentials for s3://{bucket}")):
        monkeypatch.setenv("AWS_PROFILE", profile)
        object_store._make_store.cache_clear()
        if message is None:
            assert list_location(f"s3://{bucket}/set").uris == sorted(PICTURES)
        else:
            with pytest.raises(SetupError, match=message):
                list_location(f"s3://{bucket}/set")


def test_other_machines_are_not_asked_when_offline(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    with pytest.raises(SetupError, match=f"s3://{bucket} is not asked: HEADSTART_OFFLINE is set"):
        require_address(f"s3://{bucket}/set")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://host/set", "is no address that is read"),
        ("https://user:secret@host/set", "was given with a key or a query in it"),
        ("https://host/set.zip?X-Amz-Signature=secret", "was given with a key or a query in it"),
        ("http://host/set", "can be changed on its way"),
        ("s3://", "names no bucket"),
    ],
)
def test_addresses_that_are_none_or_hold_a_key_are_refused_without_showing_it(address, message):
    with pytest.raises(UsageError, match=message) as error:
        require_address(address)
    assert "secret" not in error.value.format_text()


def test_no_error_holds_a_credential(server, bucket):
    planted = (*S3_KEYS.values(),)[:2]
    for fault in ("403 Forbidden", "400 Bad Request", "503 Slow Down", "301 Moved Permanently"):
        server.faults = {bucket: fault, "cat/0.png": fault}
        for ask in (lambda: list_location(f"s3://{bucket}/set"), lambda: read_bytes(f"s3://{bucket}/set/cat/0.png")):
            with pytest.raises((SetupError, PictureError)) as error:
                ask()
            shown, link = "", error.value
            while link is not None and not shown.endswith("\n\n"):
                shown, link = shown + str(link), None if link.__suppress_context__ else link.__context__
            assert not any(secret in shown for secret in planted)


def test_an_archive_in_a_bucket_is_fetched_once_and_read_as_a_folder(server, bucket, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in PICTURES.items():
            archive.writestr(name, content)
    server.client().put_object(Bucket=bucket, Key="sets/set.zip", Body=(tmp_path / "set.zip").read_bytes())
    root = f"s3://{bucket}/sets/set.zip"
    for requests in ({"HEAD": 1, "GET": 1}, {"HEAD": 1}):
        object_store.forget_versions()
        server.requests.clear()
        listing = list_location(root)
        with ThreadPoolExecutor(8) as pool:
            contents = pool.map(read_bytes, [f"{root}/{uri}" for uri in listing.uris])
        assert dict(zip(listing.uris, contents, strict=True)) == PICTURES and server.requests == requests
    with pytest.raises(DataError, match="there is no object `s3://.*/gone.tar`"):
        list_location(f"s3://{bucket}/sets/gone.tar")


def test_many_objects_are_in_flight_at_the_same_time(server, bucket, store):
    from headstart.core.console import Console
    from headstart.data.reading.file_inspection import FileInspector

    most, now, lock = 0, 0, threading.Lock()
    answer = server._answer

    def count(environ, start_response):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.05)
        with lock:
            now -= 1
        return answer(environ, start_response)

    server.put(more := next(BUCKETS), {f"{at}.png": picture(at) for at in range(80)})
    server._server.app = count
    try:
        uris = list_location(f"s3://{more}").uris
        with Console(quiet=True).show_progress("read", 80, "files") as progress:
            answers = list(FileInspector(f"s3://{more}", store).inspect_files(uris, 1, progress))
    finally:
        server._server.app = answer
    assert [each.uri for each in answers] == uris and 16 <= most <= object_store.IN_FLIGHT


def test_a_table_in_a_bucket_names_relative_and_whole_addresses_and_is_asked_for_anew(server, bucket, tmp_path):
    from headstart.runtime.inputs.image_sources import NamedSource, read_sources

    place, root = f"s3://{bucket}/set", tmp_path / "here"
    root.mkdir()
    (root / "own.png").write_bytes(picture(7))

    def read(*paths, **settings):
        content = "\n".join(("file", *paths)).encode()
        server.client().put_object(Bucket=bucket, Key="set/new.csv", Body=content)
        return [row.content for row in read_sources([NamedSource(text=f"{place}/new.csv")], **settings)]

    first, second = PICTURES["cat/1.png"], PICTURES["schön & gut/2.png"]
    assert read("cat/1.png", f"{place}/schön & gut/2.png") == [first, second]
    assert read("schön & gut/2.png") == [second]  # of a changed table, in the same process
    assert read("own.png", root=root) == [picture(7)]
