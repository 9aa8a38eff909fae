"""A service as its user starts it: a process without a network, asked over loopback; and pictures to ask it with."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from PIL import Image

# The process may not connect to anything, and at its end nothing of the training side may have been loaded.
CODE = (
    "import socket, sys\n"
    "def refuse(self, address): raise AssertionError(f'a connection to {address}')\n"
    "socket.socket.connect = socket.socket.connect_ex = refuse\n"
    "from headstart.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
    "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules)\n"
    "assert not heavy, heavy\n"
    "sys.exit(code)\n"
)
KEY = "0123456789abcdef0123456789abcdef"


class Service:
    """`headstart serve` on a free port.

    Args:
        runs: RUN or NAME=RUN.
        words: More options.
        key: Sent with every request of `client`.
        env: More of the environment.
    """

    def __init__(self, *runs, words=(), key="", env=None):
        command = ["serve", *map(str, runs), "--port", "0", *map(str, words)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CODE, *command],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.lines = []
        first = self.process.stderr.readline()
        if "http://" not in first:
            told = first + self.process.communicate(timeout=30)[1]
            raise AssertionError(told)
        self.url = first.split()[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.close()
        if self.process.poll() is None:
            self.stop()

    def predict(self, *pictures, **more):
        """POST pictures as a form; bytes, or pairs of a name and bytes."""
        files = [("files", one if isinstance(one, tuple) else ("a.png", one)) for one in pictures]
        return self.client.post("/v1/predict", files=files, **more)

    def stop(self, how=signal.SIGTERM):
        """Ask it to end; its exit code."""
        self.process.send_signal(how)
        code = self.process.wait(30)
        self._reader.join(10)
        self.process.stderr.close()
        return code

    def logged(self, request_id):
        """The line of the log about a request, which comes after its answer."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in list(self.lines):
                if f'"{request_id}"' in line:
                    return json.loads(line)
            time.sleep(0.01)
        raise AssertionError(f"no line about {request_id} among {self.lines[-5:]}")

    def memory_mb(self):
        """The most that was resident so far."""
        told = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in told if line.startswith("VmHWM:")) / 1000

    def metric(self, name):
        """A number of `/metrics`."""
        text = self.client.get("/metrics").text
        return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def picture(colour, size=(40, 36), form="PNG"):
    """A picture file of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, form)
    return out.getvalue()


RED, GREEN, BLUE = picture("red"), picture((0, 255, 0)), picture("blue")
