"""Object stores on this machine: moto's of S3, which speaks Google's XML too, and a small one of Azure's requests."""

import base64
import contextlib
import hashlib
import html
import http.server
import itertools
import json
import logging
import re
import threading
import urllib.parse
import urllib.request
from collections import Counter

import pytest


class S3Server:
    """moto's threaded server, with a count of its requests and faults to order."""

    def __init__(self):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.requests, self.delay_s, self.faults, self.write_faults = Counter(), 0.0, {}, {}
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ, start_response):
        kind = "list" if "list-type" in environ.get("QUERY_STRING", "") else environ["REQUEST_METHOD"]
        self.requests[kind] += 1
        for ending, fault in self.faults.items():
            if environ["PATH_INFO"].endswith(ending) and kind in ("list", "GET", "HEAD"):
                start_response(fault, [("Content-Length", "0")])
                return [b""]
        for part, (fault, body) in self.write_faults.items():
            if part in environ["PATH_INFO"] and kind in ("PUT", "POST", "DELETE"):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(fault, [("Content-Length", str(len(body)))])
                return [body]
        if self.delay_s:
            threading.Event().wait(self.delay_s)
        return self._app(environ, start_response)

    def put(self, bucket, files):
        """Make a bucket of names and bytes."""
        client = self.client()
        client.create_bucket(Bucket=bucket)  # which may be there
        for name, content in files.items():
            client.put_object(Bucket=bucket, Key=name, Body=content, ACL="public-read")

    def client(self):
        import boto3

        return boto3.client("s3", endpoint_url=self.address, region_name="us-east-1")

    def close(self):
        with contextlib.suppress(OSError):  # moto keeps buckets for the whole process
            urllib.request.urlopen(urllib.request.Request(f"{self.address}/moto-api/reset", b""), timeout=10).close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "PLANTEDKEYID",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
    "AWS_REGION": "us-east-1",
}


@contextlib.contextmanager
def serve_s3():
    """A server, and the environment that leads there."""
    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (S3_KEYS | {"AWS_ENDPOINT_URL": server.address}).items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.close()


_OWNER = "AWS4-HMAC-SHA256 Credential=PLANTED/20261202/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class GoogleServer(S3Server):
    """The same for Google's XML interface: generations instead of ETags for conditions, metadata of its own name."""

    def __init__(self):
        self.generations, self.metadata, self._count = {}, {}, itertools.count(1)
        super().__init__()

    def _answer(self, environ, start_response):
        environ["HTTP_AUTHORIZATION"] = _OWNER
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        expected = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        if expected is not None and int(expected) != self.generations.get(path, 0):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        if method == "PUT":
            self.metadata[path] = environ.pop("HTTP_X_GOOG_META_SHA256", None)

        def start(status, headers, *more):
            if method in ("PUT", "DELETE") and status[0] == "2":
                self.generations[path] = next(self._count) if method == "PUT" else 0
            more_headers = [("x-goog-generation", str(self.generations.get(path, 0)))]
            if digest := self.metadata.get(path):
                more_headers.append(("x-goog-meta-sha256", digest))
            return start_response(status, [*headers, *more_headers], *more)

        return super()._answer(environ, start)


@contextlib.contextmanager
def serve_google(folder):
    """A server of Google's buckets, and the environment that leads there; its key file lies in a folder."""
    server, key = GoogleServer(), folder / "google-key.json"
    fields = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    key.write_text(json.dumps({**fields, "gcs_base_url": server.address}))
    with pytest.MonkeyPatch.context() as patch:
        values = S3_KEYS | {"GOOGLE_BASE_URL": server.address, "GOOGLE_SERVICE_ACCOUNT": str(key)}
        for name, value in values.items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.close()


class _BlobHandler(http.server.BaseHTTPRequestHandler):
    """List, get, put and delete blobs by Azure's REST interface, as obstore asks for them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, address = self.server, urllib.parse.urlsplit(self.path)
        query, name = dict(urllib.parse.parse_qsl(address.query)), urllib.parse.unquote(address.path)
        server.asked.append((self.command, name, query, dict(self.headers)))
        container, _, blob = name.removeprefix("/").partition("/")
        if not self.headers.get("Authorization", "").startswith("SharedKey shop:"):
            return self._answer(403, b"")
        if container not in server.containers:
            return self._answer(404, b"<Error><Code>ContainerNotFound</Code></Error>")
        if query.get("comp") == "list":
            return self._answer(200, self._list(server.containers[container], query))
        content = server.containers[container].get(blob)
        if content is None:
            return self._answer(404, b"<Error><Code>BlobNotFound</Code></Error>")
        return self._answer(200, content, server.metadata.get((container, blob), {}))

    do_HEAD = do_GET

    def do_PUT(self):
        server, name = self.server, urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        container, _, blob = name.removeprefix("/").partition("/")
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        server.asked.append((self.command, name, query, dict(self.headers)))
        if container not in server.containers:
            return self._answer(404, b"<Error><Code>ContainerNotFound</Code></Error>")
        blobs, old = server.containers[container], server.containers[container].get(blob)
        if query.get("comp") == "block":
            server.blocks[container, blob, query["blockid"]] = content
            return self._answer(201, b"")
        if query.get("comp") == "blocklist":
            names = re.findall(r"<(?:Uncommitted|Latest)>([^<]+)<", content.decode())
            content = b"".join(server.blocks.pop((container, blob, name)) for name in names)
        if self.headers.get("If-None-Match") == "*" and old is not None:
            return self._answer(409, b"<Error><Code>BlobAlreadyExists</Code></Error>")
        if (expected := self.headers.get("If-Match")) and (old is None or _make_etag(old) != expected):
            return self._answer(412, b"<Error><Code>ConditionNotMet</Code></Error>")
        blobs[blob] = content
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith("x-ms-meta-")}
        server.metadata[container, blob] = headers
        return self._answer(201, b"", {"ETag": _make_etag(content)})

    def do_POST(self):
        """A batch of deletions."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = list[str]()
        for path in re.findall(r"^DELETE (\S+) HTTP/1.1", body, re.MULTILINE):
            container, _, blob = urllib.parse.unquote(path).removeprefix("/").partition("/")
            is_there = self.server.containers[container].pop(blob, None) is not None
            status = "202 Accepted" if is_there else "404 The specified blob does not exist."
            headers = f"Content-Type: application/http\r\nContent-ID: {len(parts)}\r\n"
            parts.append(f"--batch\r\n{headers}\r\nHTTP/1.1 {status}\r\nx-ms-version: 1\r\n\r\n")
        content = ("".join(parts) + "--batch--\r\n").encode()
        return self._answer(202, content, {"Content-Type": "multipart/mixed; boundary=batch"})

    def _list(self, blobs, query):
        """Two names a page, so that the marker of the next is used."""
        names = [name for name in sorted(blobs) if name.startswith(query.get("prefix", ""))]
        start = int(query.get("marker") or 0)
        rows = "".join(
            f"<Blob><Name>{html.escape(name)}</Name><Properties><Last-Modified>{_MOMENT}</Last-Modified>"
            f"<Content-Length>{len(blobs[name])}</Content-Length><Etag>{_make_etag(blobs[name])}</Etag>"
            f"<Content-Type>image/png</Content-Type></Properties></Blob>"
            for name in names[start : start + 2]
        )
        marker = str(start + 2) if start + 2 < len(names) else ""
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{rows}</Blobs>'
            f"<NextMarker>{marker}</NextMarker></EnumerationResults>"
        ).encode()

    def _answer(self, status, content, more=()):
        self.send_response(status)
        headers = {"Content-Length": len(content), "Last-Modified": _MOMENT, "ETag": _make_etag(content), **dict(more)}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


_MOMENT = "Tue, 01 Dec 2026 10:00:00 GMT"


def _make_etag(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


@contextlib.contextmanager
def serve(handler, **attributes):
    """A threaded HTTP server on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.__dict__.update(attributes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def serve_azure(containers):
    """A server of containers, name -> name -> bytes, and the environment that leads there."""
    with (
        serve(_BlobHandler, containers=containers, asked=[], metadata={}, blocks={}) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"planted azure key").decode())
        yield server
