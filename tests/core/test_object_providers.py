"""The same set of pictures in Google's and Azure's stores and behind a web server, each on this machine."""

import functools
import http.server
import zipfile

import pytest
from PIL import Image

from headstart.core.errors import DataError, SetupError
from headstart.core.storage.locations import list_location, object_store
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.testing.image_files import encode_picture
from object_servers import serve, serve_azure, serve_s3

PICTURES = {
    f"{name}/{at}.png": encode_picture(Image.new("RGB", (9, 7), (50 * at, len(name), 30)), "PNG")
    for name in ("cat", "schön & gut")
    for at in range(4)
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_store, "RETRIES", 0)
    object_store._make_store.cache_clear()
    object_store.forget_versions()


def read_all(root):
    return {uri: read_bytes(f"{root}/{uri}") for uri in list_location(root).uris}


def test_a_bucket_of_google_is_read_through_its_xml_interface(monkeypatch):
    with serve_s3() as server:
        server.put("shop", {f"set/{name}": content for name, content in PICTURES.items()})
        monkeypatch.setenv("GOOGLE_BASE_URL", server.address)
        monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
        server.requests.clear()
        assert read_all("gs://shop/set") == PICTURES and server.requests == {"list": 1, "GET": 8}
        assert read_all("gs://shop/set") == PICTURES and server.requests == {"list": 2, "GET": 8}
        with pytest.raises(DataError, match="there is no `gs://other/set`"):
            list_location("gs://other/set")


def test_a_container_of_azure_is_read_page_by_page(monkeypatch):
    files = {f"set/{name}": content for name, content in PICTURES.items()}
    with serve_azure({"photos": files | {"other/0.png": b"x"}}) as server:
        assert read_all("az://photos/set") == PICTURES
        lists = [query for _, name, query, _ in server.asked if query.get("comp") == "list"]
        gets = sorted(name for _, name, query, _ in server.asked if not query)
        assert [query.get("marker") for query in lists] == [None, "2", "4", "6"]
        assert all(query["restype"] == "container" and query["prefix"] == "set/" for query in lists)
        assert gets == sorted(f"/photos/{name}" for name in files)
        assert all({"x-ms-version", "date"} <= {name.lower() for name in headers} for *_, headers in server.asked)
        server.asked.clear()
        assert read_all("az://photos/set") == PICTURES
        assert all(query.get("comp") == "list" for _, _, query, _ in server.asked)
        with pytest.raises(DataError, match="there is no `az://other/set`"):
            list_location("az://other/set")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "nobody")
        object_store._make_store.cache_clear()
        with pytest.raises(SetupError, match="reading `az://photos/set` is not permitted") as error:
            list_location("az://photos/set")
        assert "AZURE_STORAGE_ACCOUNT_KEY" in error.value.hint


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_an_archive_behind_a_web_server_is_a_data_folder_and_a_folder_there_is_not(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in PICTURES.items():
            archive.writestr(name, content)
    (tmp_path / "1.png").write_bytes(PICTURES["cat/0.png"])
    with serve(functools.partial(Quiet, directory=str(tmp_path))) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        assert read_all(f"{address}/set.zip") == PICTURES
        assert read_bytes(f"{address}/1.png") == PICTURES["cat/0.png"]
        with pytest.raises(PictureError, match="the object is not there"):
            read_bytes(f"{address}/2.png")
        with pytest.raises(SetupError, match=f"`{address}/set` cannot be listed") as error:
            list_location(f"{address}/set")
        assert "name a table or an archive there" in error.value.hint
