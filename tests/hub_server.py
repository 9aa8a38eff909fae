"""A hub on this machine for tests: the API's JSON, pages of a list, files under `resolve`, and its ways to refuse."""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse

import numpy as np

from network_files import write_onnx

COMMIT = "a" * 40
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.25, 0.2],
}
CONFIG = {"model_type": "smallnet", "architectures": ["SmallNetForImageClassification"]}
CARD = """---
license: mit
datasets:
- imagenet-1k
tags:
- vision
---
A card.
"""


def small_net(side=32):
    """The network that `write_onnx` writes, as Keras has it: strided convolutions, ReLU, mean, three classes."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(7)
    given = keras.Input((side, side, 3))
    x = given
    for name, filters in (("stem", 8), ("down", 12), ("deep", 16), ("deeper", 20)):
        x = layers.ZeroPadding2D(1, name=f"pad_{name}")(x)
        x = layers.Conv2D(filters, 3, strides=2, activation="relu", name=name, use_bias=False)(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(given, layers.Dense(3, use_bias=False, name="classes")(x))


def export(model, path, **how):
    """Write a `small_net` as an ONNX file, with axes that its exporter left open."""
    kernels = {one.name: np.asarray(one.kernel) for one in model.layers if hasattr(one, "kernel")}
    turned = {name: one.transpose(3, 2, 0, 1) if one.ndim == 4 else one for name, one in kernels.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_onnx(path, weights=turned, side="side", channels="channels", **how)


def repository(folder, *, onnx="onnx/model.onnx", seed=5, texts=None):
    """Write a repository's files below a folder; `texts` are those of other files, None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    if onnx:
        (folder / onnx).parent.mkdir(parents=True, exist_ok=True)
        write_onnx(folder / onnx, side="side", channels="channels", seed=seed)
    every = {
        "config.json": json.dumps(CONFIG),
        "preprocessor_config.json": json.dumps(PROCESSOR),
        "README.md": CARD,
        **(texts or {}),
    }
    for name, text in every.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


class Hub:
    """What the server has and does.

    Attributes:
        repos: `org/name` -> folder with its files.
        lists: Pages of `/api/models`, by `author` or the last `filter`.
        gated: Names whose files are refused.
        digests: File -> SHA-256 that the API tells instead of the right one.
        stop_after: Bytes after which the first answers of an ONNX file break off.
        asked: Paths of all requests, with the first byte that was asked for.
        tokens: What their `Authorization` said.
    """

    def __init__(self):
        self.repos, self.lists, self.gated, self.digests, self.stop_after = {}, {}, set(), {}, []
        self.asked, self.tokens, self.address = [], set(), ""


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.hub.asked.append((parts.path, first))
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        path = parts.path.strip("/").split("/")
        if parts.path == "/api/models":
            self._list(urllib.parse.parse_qs(parts.query))
        elif path[:2] == ["api", "models"]:
            self._facts("/".join(path[2:4]), path[5])
        else:
            self._file("/".join(path[:2]), path[3], urllib.parse.unquote("/".join(path[4:])), first)

    def _list(self, query):
        key = query.get("author", query.get("filter", [""]))[-1]
        pages, page = self.hub.lists.get(key, [[]]), int(query.get("cursor", ["0"])[0])
        headers = {}
        if page + 1 < len(pages):
            query["cursor"] = [str(page + 1)]
            headers["Link"] = f'<{self.hub.address}/api/models?{urllib.parse.urlencode(query, doseq=True)}>; rel="next"'
        self._send(200, pages[page] if isinstance(pages[page], bytes) else json.dumps(pages[page]).encode(), headers)

    def _facts(self, name, revision):
        if name not in self.hub.repos or revision not in ("main", "v1"):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if name in self.hub.repos else "RepoNotFound"})
            return
        root = self.hub.repos[name]
        rows = []
        for file in sorted(one for one in root.rglob("*") if one.is_file()):
            row = {"rfilename": file.relative_to(root).as_posix(), "size": file.stat().st_size}
            if ".onnx" in file.name or file.suffix == ".data":
                right = hashlib.sha256(file.read_bytes()).hexdigest()
                row["lfs"] = {"sha256": self.hub.digests.get(file.name, right), "size": row["size"], "pointerSize": 134}
            rows.append(row)
        self._send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": rows, "tags": []}).encode())

    def _file(self, name, revision, file, first):
        if name in self.hub.gated:
            self._send(401, b"", {"X-Error-Code": "GatedRepo"})
            return
        path = self.hub.repos.get(name, None) and self.hub.repos[name] / file
        if path is None or revision != COMMIT or not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        stop = self.hub.stop_after.pop(0) if path.suffix == ".onnx" and self.hub.stop_after else None
        ranged = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        self._send(206 if first else 200, content[first:], {"ETag": f'"{len(content)}"', **ranged}, stop)

    def _send(self, status, body, headers=None, stop=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:stop])

    def log_message(self, *given):
        pass


@contextlib.contextmanager
def serving():
    """A hub that answers while the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
