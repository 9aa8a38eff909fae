"""Files and folders put into buckets on this machine, checked, brought back, removed, and refused with what to do."""

import itertools

import pytest

from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.locations import object_store, uploads
from object_servers import S3_KEYS, serve_azure, serve_google, serve_s3

CONSOLE = Console(quiet=True)
FILES = {"a.json": b"{}", "adapt/.work/1/state.npy": b"\0" * 70, "map/schön & gut #1%20.png": b"png", "empty": b""}
BUCKETS = (f"upload-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server():
    with serve_s3() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(object_store, "RETRIES", 1)
    monkeypatch.setattr(object_store, "_BACKOFF", {"init_backoff": object_store.timedelta(milliseconds=1)})
    object_store._make_store.cache_clear()


@pytest.fixture
def bucket(server):
    server.faults.clear()
    server.write_faults.clear()
    server.put(name := next(BUCKETS), {})
    server.requests.clear()
    return name


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(content)
    (tmp_path / "run" / ".tmp-cut").write_bytes(b"half")
    return tmp_path / "run"


def read_folder(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in uploads.list_files(folder)}


def test_a_folder_comes_back_equal_and_what_is_there_is_not_sent_again(server, bucket, folder, tmp_path):
    address = f"s3://{bucket}/runs/1"
    assert not uploads.exists_below(address)
    assert uploads.upload_folder(folder, address, CONSOLE) == sum(map(len, FILES.values()))
    assert uploads.exists_below(address) and set(uploads.list_below(address)) == set(FILES)
    (folder / "a.json").write_bytes(b"[]")  # of the same size
    server.requests.clear()
    assert uploads.upload_folder(folder, address, CONSOLE) == 2 and server.requests == {"list": 1, "HEAD": 1, "PUT": 1}
    for sent in (75, 0):
        assert uploads.download_folder(address, tmp_path / "back", CONSOLE) == sent
    assert read_folder(tmp_path / "back") == FILES | {"a.json": b"[]"}
    assert uploads.delete_below(address) == 4 and not uploads.exists_below(address)


def test_a_large_file_goes_in_parts_and_is_not_sent_twice(server, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_PART_BYTES", 5_242_880)
    content = bytes(range(256)) * 30_000
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "weights.bin").write_bytes(content)
    assert uploads.upload_folder(tmp_path / "big", f"s3://{bucket}/big", CONSOLE) == len(content)
    assert server.requests["PUT"] == 2 and server.requests["POST"] == 2
    assert uploads.upload_folder(tmp_path / "big", f"s3://{bucket}/big", CONSOLE) == 0
    uploads.download_folder(f"s3://{bucket}/big", tmp_path / "back", CONSOLE)
    assert (tmp_path / "back" / "weights.bin").read_bytes() == content


def test_a_damaged_object_is_named_and_leaves_no_file(server, bucket, folder, tmp_path):
    address = f"s3://{bucket}/run"
    uploads.upload_folder(folder, address, CONSOLE)
    digest = server.client().head_object(Bucket=bucket, Key="run/a.json")["Metadata"]
    server.client().put_object(Bucket=bucket, Key="run/a.json", Body=b"{]", Metadata=digest)
    with pytest.raises(DataError, match=f"the object `{address}/a.json` is damaged"):
        uploads.download_folder(address, tmp_path / "back", CONSOLE)
    assert not (tmp_path / "back" / "a.json").exists() and not list((tmp_path / "back").glob(".tmp-*"))


def test_a_name_that_leads_out_of_the_folder_is_refused(monkeypatch, tmp_path):
    facts = uploads.ObjectFacts(size_bytes=1, e_tag="")
    for name in ("../1", "a/../../1", "/etc/1", "a\\b"):
        with pytest.raises(DataError, match="leads out of its folder"):
            uploads.fetch_object("s3://bucket", name, facts, tmp_path, None)


def test_texts_are_written_once_or_over_the_version_that_was_read(bucket):
    address = f"s3://{bucket}/job.json"
    assert uploads.read_text_object(address) is None
    assert uploads.write_text_object(address, "first", only_if_new=True)
    assert not uploads.write_text_object(address, "second", only_if_new=True)
    old = uploads.find_text_object(address)
    assert old.text == "first" and uploads.replace_text_object(address, "third", old.version)
    assert not uploads.replace_text_object(address, "fourth", old.version)
    assert uploads.read_text_object(address) == "third" and uploads.write_text_object(address, "fifth")


def test_a_failed_upload_removes_what_it_put_or_lists_it(server, bucket, folder, monkeypatch):
    address = f"s3://{bucket}/run"
    monkeypatch.setattr(uploads, "_FILES_IN_FLIGHT", 1)
    uploads.write_text_object(f"{address}/empty", "was here before")
    server.write_faults = {"map/": ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")}
    with pytest.raises(SetupError, match="writing `.*map/.*` is not permitted") as error:
        uploads.upload_folder(folder, address, CONSOLE)
    assert "s3:PutObject" in error.value.hint and set(uploads.list_below(address)) == {"empty"}
    server.requests.clear()
    answer = server._answer

    def refuse_removal(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":  # S3's removal
            server.write_faults["/"] = ("403 Forbidden", b"")
        return answer(environ, start_response)

    server._server.app = refuse_removal
    try:
        with pytest.raises(SetupError) as error:
            uploads.upload_folder(folder, address, CONSOLE)
    finally:
        server._server.app = answer
        server.write_faults.clear()
    names = sorted(name for name, _, _ in error.value.problems)
    assert names == sorted(f"{address}/{name}" for name in uploads.list_below(address) if name != "empty")
    assert "2 objects are left" in error.value.hint


REGION = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>"
ANSWERS = [
    ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>", "is not permitted", "s3:PutObject"),
    ("400 Bad Request", REGION, "the bucket lies in another region", "set AWS_REGION=eu-central-1"),
    ("403 Forbidden", b"<Error><Code>InvalidAccessKeyId</Code></Error>", "credentials are wrong", "AWS_ACCESS_KEY_ID"),
    ("400 Bad Request", b"<Error><Code>ExpiredToken</Code></Error>", "or too old", "AWS_SECRET_ACCESS_KEY"),
    ("503 Slow Down", b"", "asks for fewer requests", "the same command"),
]


@pytest.mark.parametrize(("status", "body", "what", "hint"), ANSWERS)
def test_what_a_store_refuses_is_told_with_what_to_do(server, bucket, tmp_path, status, body, what, hint):
    (tmp_path / "1").write_bytes(b"x")
    server.write_faults = {"/": (status, body)}
    with pytest.raises(SetupError, match=what) as error:
        uploads.upload_file(tmp_path / "1", f"s3://{bucket}/1")
    assert hint in error.value.hint and not any(key in str(error.value.hint) for key in list(S3_KEYS.values())[:2])


def test_a_missing_bucket_is_named_whatever_is_asked(server, bucket, folder, tmp_path):
    address = "s3://no-such-bucket/run"
    asks = (
        lambda: uploads.upload_folder(folder, address, CONSOLE),
        lambda: uploads.upload_file(folder / "a.json", address),
        lambda: uploads.write_text_object(address, "x"),
        lambda: uploads.read_text_object(address),
        lambda: uploads.exists_below(address),
        lambda: uploads.delete_below(address),
        lambda: uploads.download_folder(address, tmp_path / "back", CONSOLE),
    )
    for ask in asks:
        with pytest.raises(SetupError, match="there is no bucket `s3://no-such-bucket`"):
            ask()
    with pytest.raises(DataError, match="there is nothing below"):
        uploads.download_folder(f"s3://{bucket}/run", tmp_path / "back", CONSOLE)


def test_a_web_server_and_a_path_are_no_places_to_write_to(bucket):
    assert uploads.require_writable(f"s3://{bucket}/run/") == f"s3://{bucket}/run"
    for address in ("https://host/run", "runs/1"):
        with pytest.raises(UsageError, match="nothing can be written to") as error:
            uploads.require_writable(address)
        assert error.value.where == "--out"


@pytest.mark.parametrize("root", ("gs://gshop", "az://photos"))
def test_buckets_of_google_and_containers_of_azure_do_the_same(root, folder, tmp_path):
    with serve_google(tmp_path) as google, serve_azure({"photos": {}}):
        google.put("gshop", {})
        address, lease = f"{root}/run", f"{root}/lease"
        assert uploads.upload_folder(folder, address, CONSOLE) == 75
        assert uploads.upload_folder(folder, address, CONSOLE) == 0
        (folder / "a.json").write_bytes(b"[]")
        assert uploads.upload_folder(folder, address, CONSOLE) == 2
        back = tmp_path / "back"
        assert uploads.download_folder(address, back, CONSOLE) == 75 and read_folder(back) == FILES | {"a.json": b"[]"}
        assert uploads.delete_below(address) == 4 and not uploads.exists_below(address)
        assert uploads.write_text_object(lease, "1", only_if_new=True)
        assert not uploads.write_text_object(lease, "2", only_if_new=True)
        old = uploads.find_text_object(lease)
        assert uploads.replace_text_object(lease, "3", old.version)
        assert not uploads.replace_text_object(lease, "4", old.version)
        with pytest.raises(SetupError, match=f"there is no bucket `{root[:5]}other"):
            uploads.write_text_object(f"{root[:5]}other/lease", "1")
