"""The service under load on this machine alone: pictures a second beside the bare engine, times, memory, overload.

python -m benchmarks.serve [--run RUN] [--seconds 20] [--soak 30m]

The load comes from a process of its own with prebuilt requests on kept connections, so that it takes little of the
cores that it shares with the service; how much, it tells.
"""

import argparse
import http.client
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, headstart, measured, pictures, ratio
from headstart.core.job import parse_duration_s
from headstart.core.settings import count_threads

CLIENTS = 16


# ---------------------------------------------------------------- the load


def request(content: bytes) -> bytes:
    """A whole request for one picture, as bytes."""
    edge = b"headstart-benchmark"
    head = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' % edge
    body = head + content + b"\r\n--%s--\r\n" % edge
    kind = b"multipart/form-data; boundary=%s" % edge
    start = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return start % (kind, len(body)) + body


class Client:
    """One kept connection."""

    def __init__(self, port: int, turn: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.turn, self.sent, self.began, self.got, self.due = turn, 0, 0.0, bytearray(), 0

    def send(self, content: bytes) -> None:
        """Send a request; it is small enough for the socket's buffer to be taken at once."""
        self.began = time.perf_counter()
        self.socket.sendall(content)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body, once all of it is there."""
        part = self.socket.recv(1 << 16)
        if not part:
            return 0, b"the service closed the connection"
        self.got += part
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return None
        length = int(bytes(head).lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return None
        self.got = bytearray()
        return int(head[9:12]), bytes(body)


def load(port: int, contents: list[bytes], *, clients: int, last_s: float, a_second: float = 0.0) -> dict:
    """Ask for a while; each client waits for its answer before it asks again.

    Args:
        port: Of the service.
        contents: Picture files.
        clients: Connections.
        last_s: Seconds.
        a_second: Requests a second to be sent at most; 0 sends as fast as answers come.
    """
    requests = [request(one) for one in contents]
    ready, waiting = selectors.DefaultSelector(), deque(Client(port, at) for at in range(clients))
    for one in waiting:
        ready.register(one.socket, selectors.EVENT_READ, one)
    times, statuses, answers, wrong = [], {}, {}, 0
    started, cpu, flying, sent = time.perf_counter(), time.process_time(), 0, 0
    while flying or time.perf_counter() - started < last_s:
        now = time.perf_counter() - started
        while waiting and now < last_s and (not a_second or sent < now * a_second):
            client = waiting.popleft()
            client.sent = client.turn % len(requests)
            client.turn += clients
            client.send(requests[client.sent])
            flying, sent = flying + 1, sent + 1
        pause = 0.002 if a_second and now < last_s else 1.0
        for key, _ in ready.select(pause):
            client = key.data
            if (told := client.receive()) is None:
                continue
            flying -= 1
            status, body = told
            statuses[status] = statuses.get(status, 0) + 1
            if status == 0:
                ready.unregister(client.socket)
                continue
            waiting.append(client)
            if status == 200:
                times.append(time.perf_counter() - client.began)
                answer = json.loads(body)["answers"][0]["answer"]
                wrong += answers.setdefault(client.sent, answer) != answer
    wall = time.perf_counter() - started
    return {
        "a_second": len(times) / wall,
        "p50_ms": float(np.percentile(times, 50)) * 1e3 if times else 0.0,
        "p99_ms": float(np.percentile(times, 99)) * 1e3 if times else 0.0,
        "statuses": statuses,
        "wrong": wrong,
        "cpu_share": (time.process_time() - cpu) / wall,
    }


def loaded(port: int, folder: Path, **settings: float) -> dict:
    """`load` in a process of its own, so that it does not share this one's lock."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "benchmarks.serve", "--load", str(folder), f"--port={port}", *words]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found["statuses"] = {int(status): count for status, count in found["statuses"].items()}
    return found


# ---------------------------------------------------------------- the service


class Service:
    """`headstart serve` as a process."""

    def __init__(self, run: Path, *words: str) -> None:
        started = time.perf_counter()
        command = headstart("serve", str(run), "--port", "0", "--log", "off", *words)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        self.ready_s = time.perf_counter() - started
        if "http://" not in line:
            sys.exit(line + self.process.stderr.read())
        self.port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def memory_mb(self) -> float:
        """Resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name: str) -> float:
        """A number of `/metrics`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass(frozen=True, slots=True)
class Bare:
    """The engine alone, on decoded pictures: pictures a second, CPU ms a picture; a second with decoding too."""

    a_second: float
    cpu_ms: float
    decoding_a_second: float


def bare(run: Path, contents: list[bytes], last_s: float) -> Bare:
    """Measure the model in this process, without any service."""
    from headstart.images import preprocessing
    from headstart.runtime.inputs.decoded_batches import Content
    from headstart.runtime.model import load as load_model

    model = load_model(run)
    trunk, engine = model.manifest.trunks[0], model.compile_trunks(16)[0]
    decoded = np.stack([preprocessing.decode_picture(one, trunk.input) for one in contents])
    for _ in range(2):  # the first warms up
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < last_s / 2:
            for _ in engine.run((at, decoded[at : at + 16]) for at in range(0, len(decoded), 16)):
                pass
            count += len(decoded)
        rate, cost = count / (time.perf_counter() - started), (time.process_time() - cpu) / count
    files = [Content("a.jpg", one) for one in contents] * 4
    started = time.perf_counter()
    count = sum(1 for _ in model.predict(iter(files)))
    return Bare(rate, cost * 1e3, count / (time.perf_counter() - started))


# ---------------------------------------------------------------- the figures


def told(title: str, found: dict) -> None:
    """One line of a load."""
    print(
        f"{title:<40}{found['a_second']:7.1f}/s  p50 {found['p50_ms']:6.1f} ms  p99 {found['p99_ms']:6.1f} ms  "
        f"{found['statuses']}, {found['wrong']} answers that differ, load generator {found['cpu_share']:.0%} of a core",
        flush=True,
    )


def throughput(run: Path, folder: Path, contents: list[bytes], last_s: float) -> float:
    """The service beside the engine, in turns, since other work on the machine changes its pace."""
    found = []
    for _ in range(3):
        alone = bare(run, contents, last_s / 3)
        service = Service(run)
        loaded(service.port, folder, clients=CLIENTS, seconds=2)
        before = service.cpu_s()
        many = loaded(service.port, folder, clients=CLIENTS, seconds=last_s)
        cost = (service.cpu_s() - before) / sum(many["statuses"].values()) * 1e3
        own = many["cpu_share"] / many["a_second"] * 1e3
        one = loaded(service.port, folder, clients=1, seconds=last_s / 4)
        service.stop()
        print(
            f"bare engine {alone.a_second:.1f}/s on decoded pictures ({alone.cpu_ms:.1f} ms of CPU each), "
            f"{alone.decoding_a_second:.1f}/s with decoding; the service {cost:.1f} ms of CPU a picture, its load "
            f"{own:.1f} ms; ready in {service.ready_s:.2f} s"
        )
        told(f"{CLIENTS} clients", many)
        told("1 client", one)
        rate, tail = many["a_second"], many["p99_ms"] / many["p50_ms"]
        shares = rate / alone.a_second, rate / alone.decoding_a_second, alone.cpu_ms / (cost + own)
        found.append((*shares, tail, service.ready_s))
    of_bare, of_decoding, of_cpu, tail, ready_s = np.median(np.array(found), axis=0)
    ratio(f"serve at {CLIENTS} clients beside the bare engine on decoded pictures", of_bare, 0.8, at="least")
    ratio(f"serve at {CLIENTS} clients beside decoding and engine", of_decoding, 0.8, at="least")
    ratio("CPU a picture of the bare engine beside that of service and load", of_cpu, 0.8, at="least")
    ratio("p99 beside p50", tail, 10)
    ratio("start to ready", ready_s, 2, "s")
    return rate


def overload(run: Path, folder: Path) -> None:
    """Four times as many clients as the queue has room for."""
    service = Service(run, "--queue", "16")
    found = loaded(service.port, folder, clients=64, seconds=8)
    told("64 clients, a queue of 16", found)
    print(f"exit code after SIGTERM: {service.stop()}")
    if set(found["statuses"]) - {200, 429} or found["wrong"]:
        sys.exit("overload gave something else than answers and 429")


def reloading(run: Path, folder: Path, scratch: Path) -> None:
    """New versions of the model while 8 clients ask."""
    copy = scratch / "reloaded"
    shutil.copytree(run, copy)
    service, ended = Service(copy), threading.Event()

    def change() -> None:
        import dataclasses

        from headstart.core import model_manifest

        model = copy / "model"
        for turn in range(6):
            if ended.wait(2.5):
                return
            told = model_manifest.read_manifest(model)
            model_manifest.write_manifest(dataclasses.replace(told, headstart=f"0.{turn}"), model)

    changer = threading.Thread(target=change)
    changer.start()
    found = loaded(service.port, folder, clients=8, seconds=18)
    ended.set()
    changer.join()
    loads = service.metric('headstart_loads_total{model="reloaded",outcome="loaded"}')
    told(f"8 clients, {loads - 1:.0f} reloads under load", found)
    service.stop()
    if set(found["statuses"]) != {200} or loads < 3:
        sys.exit("a request was lost, or nothing was loaded anew")


def soak(run: Path, folder: Path, last_s: float, rate: float) -> None:
    """Steady load for long; memory at its beginning and end."""
    service = Service(run)
    loaded(service.port, folder, clients=CLIENTS, seconds=min(20, last_s / 4))
    before, parts = service.memory_mb(), 10
    for part in range(parts):
        found = loaded(service.port, folder, clients=CLIENTS, seconds=last_s / parts, a_second=0.7 * rate)
        told(f"soak {part + 1}/{parts} at 70 % load, {service.memory_mb():.0f} MB", found)
        if set(found["statuses"]) != {200} or found["wrong"]:
            sys.exit("a request failed")
    ratio("memory after the soak beside before", service.memory_mb() / before, 1.05)
    service.stop()


def main() -> None:
    """Print the figures, or put a load on a service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--soak", default="40s")
    parser.add_argument("--load", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--a-second", type=float, default=0.0)
    args = parser.parse_args()
    if args.load:
        contents = [path.read_bytes() for path in sorted(args.load.rglob("*.jpg"))]
        asked = {"clients": args.clients, "last_s": args.seconds, "a_second": args.a_second}
        print(json.dumps(load(args.port, contents, **asked)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        folder = pictures(place / "data", 150)
        run = args.run or place / "run"
        if args.run is None:
            measured(headstart("fit", str(folder), "--backbones", LITE0, "--quiet", "--out", str(run)))
        contents = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
        print(
            f"{count_threads()} threads, {len(contents)} pictures of {np.mean([len(one) for one in contents]):,.0f} "
            "bytes"
        )
        rate = throughput(run, folder, contents, args.seconds)
        overload(run, folder)
        reloading(run, folder, place)
        soak(run, folder, parse_duration_s(args.soak, "--soak"), rate)


if __name__ == "__main__":
    main()
