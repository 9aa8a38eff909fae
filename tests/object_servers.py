"""Object stores on this machine: moto's S3 server, an emulator of Google's, and a small one of Azure's requests."""

import contextlib
import logging
import threading
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
        client.create_bucket(Bucket=bucket)
        for name, content in files.items():
            client.put_object(Bucket=bucket, Key=name, Body=content)

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
