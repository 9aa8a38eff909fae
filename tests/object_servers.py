"""Object stores on this machine: moto's of S3, which speaks Google's XML too, and a small one of Azure's requests."""

import base64
import contextlib
import hashlib
import html
import http.server
import logging
import threading
import urllib.parse
from collections import Counter

import pytest


class S3Server:
    """moto's threaded server, with a count of its requests and faults to order."""

    def __init__(self):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.requests, self.delay_s, self.faults = Counter(), 0.0, {}
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


class _BlobHandler(http.server.BaseHTTPRequestHandler):
    """List Blobs and Get Blob of Azure's REST interface, as obstore asks for them."""

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
        return self._answer(404, b"") if content is None else self._answer(200, content)

    do_HEAD = do_GET

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

    def _answer(self, status, content):
        self.send_response(status)
        headers = {"Content-Length": len(content), "Last-Modified": _MOMENT, "ETag": _make_etag(content)}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
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
    with serve(_BlobHandler, containers=containers, asked=[]) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"planted azure key").decode())
        yield server
