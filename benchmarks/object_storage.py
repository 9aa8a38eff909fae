"""Pictures of a bucket on this machine with 30 ms before each answer: one after the other, and many in flight."""

import asyncio
import contextlib
import functools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import parse_qs, unquote

from benchmarks.common import fetch_textile
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.storage.locations import list_location, object_store
from headstart.data.reading.file_inspection import FileInspector
from headstart.images.preprocessing import read_bytes

LATENCY_S, ROUNDS, SEQUENTIAL, MANY, BUCKET = 0.03, 3, 60, 600, "s3://shop"


async def answer(scope, receive, send):
    """ListObjectsV2 and GetObject of a bucket that holds the files of the folder `PICTURES`, as an ASGI application."""
    if scope["type"] != "http":
        return
    folder, query = Path(os.environ["PICTURES"]), parse_qs(scope["query_string"].decode())
    if "list-type" in query:
        names = list_files(folder)
        start = int(query.get("continuation-token", ["0"])[0])
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-12-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{at}"</ETag><Size>{(folder / name).stat().st_size}</Size></Contents>'
            for at, name in enumerate(names[start : start + 1000], start)
        )
        more = start + 1000 < len(names)
        token = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
        body = (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{rows}{token}</ListBucketResult>".encode()
        )
    else:
        body = (folder / unquote(scope["path"]).removeprefix("/shop/")).read_bytes()
    await asyncio.sleep(LATENCY_S)
    headers = [(b"content-length", str(len(body)).encode()), (b"etag", b'"0"')]
    headers.append((b"last-modified", b"Tue, 01 Dec 2026 00:00:00 GMT"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serve_bucket(folder: Path) -> Iterator[dict[str, str]]:
    """The bucket of a folder while the block runs; what the environment must say to reach it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "uvicorn", "benchmarks.object_storage:answer", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen([sys.executable, *words], env=os.environ | {"PICTURES": str(folder)})
    try:
        yield {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_SKIP_SIGNATURE": "true"}
    finally:
        server.terminate()
        server.wait()


@functools.cache
def list_files(folder: Path) -> list[str]:
    """Names of the bucket's objects, in the order in which a store lists them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def main() -> None:
    with serve_bucket(fetch_textile(Store(cache_folder()), Console(quiet=True))) as environment:
        os.environ |= environment
        uris = list_location(BUCKET).uris
        rates = [measure_round(uris) for _ in range(ROUNDS)]
    alone, together = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"one after the other   {alone:7.1f} pictures/s")
    print(f"{object_store.IN_FLIGHT} in flight          {together:7.1f} pictures/s, each decoded and described")
    print(f"ratio                 {together / alone:7.1f} (target: at least 5)")


def measure_round(uris: list[str]) -> tuple[float, float]:
    """Pictures a second one after the other, and as a fit reads them; nothing is cached."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEADSTART_CACHE"] = cache
        started = time.perf_counter()
        for uri in uris[:SEQUENTIAL]:
            read_bytes(f"{BUCKET}/{uri}")
        alone = SEQUENTIAL / (time.perf_counter() - started)
        inspector = FileInspector(BUCKET, Store(Path(cache)))
        with Console(quiet=True).show_progress("read", MANY, "files") as progress:
            started = time.perf_counter()
            answers = list(inspector.inspect_files(uris[SEQUENTIAL : SEQUENTIAL + MANY], 1, progress))
        assert len(answers) == MANY
        return alone, MANY / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
