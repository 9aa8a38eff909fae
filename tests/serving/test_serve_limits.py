"""What is too large, too many, too slow or not for everyone: refused early, with the reason; the service goes on."""

import socket
import threading
import time

import httpx
import pytest

from headstart.testing.image_files import make_png
from serving_bench import KEY, RED, Service, picture


def raw(port, head, parts=(), *, read=True):
    """Send bytes as they are; what comes back, and how many parts went out before the service had enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        sent = 0
        try:
            for part in parts:
                connection.sendall(part)
                sent += 1
        except OSError:
            pass
        got = b""
        try:
            while read and (part := connection.recv(1 << 16)):
                got += part
        except OSError:
            pass
        return got, sent


def start(length=None, *, key=KEY):
    size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return (
        f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Type: image/png\r\n"
        f"{size}\r\nConnection: close\r\n\r\n"
    ).encode()


def works(service):
    found = service.predict(RED)
    return found.status_code == 200 and found.json()["answers"][0]["answer"] == "red"


def test_a_large_upload_is_refused_before_it_is_sent(strict):
    before = strict.memory_mb()
    got, sent = raw(strict.port, start(200_000_000), (bytes(1_000_000) for _ in range(200)))
    assert not got or got.startswith(b"HTTP/1.1 413")  # the connection may be gone before the answer is read
    assert sent < 50
    told, _ = raw(strict.port, start(200_000_000))
    assert told.startswith(b"HTTP/1.1 413") and b"300,000 bytes" in told
    assert strict.memory_mb() < before + 20 and works(strict)


def test_a_large_upload_that_hides_its_length_is_cut_off(strict):
    before = strict.memory_mb()
    parts = (b"%x\r\n" % 100_000 + bytes(100_000) + b"\r\n" for _ in range(2000))
    _, sent = raw(strict.port, start(), parts)
    assert sent < 500
    got, _ = raw(strict.port, start(), [b"%x\r\n" % 400_000 + bytes(400_000) + b"\r\n"])
    assert got.startswith(b"HTTP/1.1 413")
    assert strict.memory_mb() < before + 20 and works(strict)


@pytest.mark.medium
def test_what_takes_too_long_is_given_up(tiny):
    words = ["--timeout", "1s", "--max-total-megapixels", "1000"]
    with Service(tiny, words=words, env={"HEADSTART_THREADS": "1"}) as service:
        got, _ = raw(service.port, start(1000), [b"only this"])
        assert got.startswith(b"HTTP/1.1 408")
        slow = service.predict(*[picture("red", (4000, 4000))] * 60)
        assert slow.status_code == 504 and "within 1 s" in slow.json()["error"]["what"]
        assert works(service)  # what nobody waits for any more is not worked on
        assert service.metric("headstart_queue_pictures") < 20
        assert service.metric("headstart_body_bytes") == 0


def test_a_bomb_costs_its_row(strict):
    before = strict.memory_mb()
    bomb = make_png(30_000, 30_000, bits=8, colour=2)
    found = strict.predict(("bomb.png", bomb), RED, picture("red", (900, 600)))
    first, second, third = found.json()["answers"]
    assert first["error"] == "too many pixels: 30,000 x 30,000 px is more than 0.5 megapixels"
    assert second["answer"] == "red" and third["error"].startswith("too many pixels")
    assert strict.predict(bomb).status_code == 422
    assert strict.memory_mb() < before + 50


def test_pictures_that_are_too_large_together_are_refused_by_their_headers(service):
    """256 PNGs of 49 megapixels: each within its limit, together minutes of work."""
    huge = make_png(7000, 7000, bits=8, colour=2)
    refused = service.predict(*[huge] * 256)
    assert refused.status_code == 413 and "more than 500 megapixels together" in refused.json()["error"]["what"]
    pixels = {"shape": [200, 2000, 2000, 3], "name": "pictures", "datatype": "UINT8", "data": []}
    assert service.client.post("/v2/models/tiny/infer", json={"inputs": [pixels]}).status_code == 400
    assert service.predict(*[RED] * 256).status_code == 200


@pytest.mark.parametrize("boundary", [b"b", b"a-boundary-of-usual-length"])
def test_false_boundaries_are_counted_not_parsed(service, boundary):
    head = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    end = b"\r\n--" + boundary + b"--\r\n"
    form = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
    for false in (b"\r\n--" + boundary + b"X", b"\r\n--" + boundary + b"-"):
        refused = service.client.post("/v1/predict", content=head + false * 300_000 + end, headers=form)
        assert refused.status_code == 413 and "256 pictures" in refused.json()["error"]["what"]
    assert service.client.post("/v1/predict", content=head + RED + end, headers=form).status_code == 200


@pytest.mark.medium
def test_others_are_answered_while_a_heavy_request_is(tiny):
    """A request fills the queue with large pictures: those who come later are answered first, and none is refused."""
    large = [picture("blue", (1500, 1500))] * 128
    words = ["--queue", "64", "--timeout", "120s"]
    with Service(tiny, words=words, env={"HEADSTART_THREADS": "1"}) as service:
        ended = []

        def ask_heavily():
            answers = service.predict(*large, timeout=120).json()["answers"]
            ended.append([row["answer"] for row in answers])

        heavy = threading.Thread(target=ask_heavily)
        heavy.start()
        until = time.monotonic() + 60
        while service.metric("headstart_queue_pictures") < 100 and time.monotonic() < until:
            time.sleep(0.01)
        for _ in range(10):
            assert works(service) and not ended
        several = service.predict(*[RED] * 10)
        assert [row["answer"] for row in several.json()["answers"]] == ["red"] * 10 and not ended
        assert service.predict(*[RED] * 128).status_code == 429
        heavy.join()
        assert ended == [["blue"] * 128]
        assert service.metric("headstart_queue_pictures") == 0


def test_the_queue_is_never_full_of_one_request():
    from headstart.serving.request_limits import Limits, Load, Refusal

    load = Load(Limits(queue=8))
    load.admit_pictures(300)
    load.add_pictures(300)
    assert (load.pictures, load.slots) == (300, 4)
    load.admit_pictures(2)
    with pytest.raises(Refusal):
        load.admit_pictures(3)
    for _ in range(4):
        load.admit_pictures()
        load.add_pictures(1)
    with pytest.raises(Refusal, match="304 pictures are waiting"):
        load.admit_pictures()
    for remaining in [*reversed(range(300)), 0, 0, 0, 0]:
        load.remove_picture(remaining)
    assert (load.pictures, load.slots) == (0, 0)


def test_ten_thousand_files(strict, service):
    edge = '--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n\r\n'
    form = {"content-type": "multipart/form-data; boundary=b"}
    body = (edge * 10_000 + "--b--").encode()
    many = service.client.post("/v1/predict", content=body, headers=form)
    assert many.status_code == 413 and "256 pictures" in many.json()["error"]["what"]
    assert strict.client.post("/v1/predict", content=body, headers=form).status_code == 413
    one_more = strict.predict(*[RED] * 21)
    assert one_more.status_code == 413 and "20 pictures" in one_more.json()["error"]["what"]
    listed = {"pictures": [{"base64": ""}] * 10_000}
    assert service.client.post("/v1/predict", json=listed).status_code == 413
    assert len(strict.predict(*[RED] * 20).json()["answers"]) == 20


@pytest.mark.parametrize("given", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer x"}, {"Authorization": KEY}])
def test_without_the_key_nothing_is_told(strict, given):
    with httpx.Client(base_url=strict.url, headers=given, trust_env=False) as client:
        for path in ("/v1/models", "/metrics", "/v2/models/tiny", "/nothing"):
            found = client.get(path)
            assert found.status_code == 401 and found.headers["www-authenticate"] == "Bearer"
        assert client.post("/v1/predict", files={"files": RED}).status_code == 401
        for path in ("/", "/static/page.js", "/healthz", "/readyz", "/v2/health/ready", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_any_key_of_the_file_is_taken_in_either_header(strict):
    for given in ({"X-API-Key": KEY}, {"Authorization": "bearer another-key-that-is-long-enough"}):
        found = httpx.get(f"{strict.url}/v1/models", headers=given, trust_env=False)
        assert found.status_code == 200


def test_a_foreign_host_is_turned_away(service):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert service.client.get("/v1/models", headers={"host": host}).status_code == 403
    for host in ("localhost", f"LOCALHOST:{service.port}", "[::1]:9", "127.0.0.1"):
        assert service.client.get("/v1/models", headers={"host": host}).status_code == 200


def test_a_foreign_page_is_turned_away(service):
    for origin in ("http://evil.example", "null", f"http://localhost:{service.port + 1}"):
        found = service.client.post("/v1/predict", files={"files": RED}, headers={"origin": origin})
        assert found.status_code == 403
    for origin in ("http://[", "http://[::1", "://", "x" * 1000):
        assert service.client.get("/v1/models", headers={"origin": origin}).status_code == 403
    own = {"origin": service.url}
    assert service.client.post("/v1/predict", files={"files": RED}, headers=own).status_code == 200


def test_reloading_needs_a_key(service, strict):
    assert service.client.post("/v1/models/tiny/reload").status_code == 403
    assert strict.client.post("/v1/models/tiny/reload").json()["changed"] is False


def test_who_goes_away_is_no_bug(service):
    head = start(1000).replace(b"Connection: close", b"X-Request-ID: gone-away")
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head + b"only this")
        until = time.monotonic() + 10
        while service.metric("headstart_body_bytes") == 0 and time.monotonic() < until:
            time.sleep(0.01)
    line = service.logged("gone-away")
    assert line["event"] == "request" and line["status"] == 400
    assert not any('"gone-away"' in line and '"bug"' in line for line in service.lines)
    assert service.metric("headstart_body_bytes") == 0


def test_a_head_or_a_trailer_without_an_end_is_cut_off(strict):
    before = strict.memory_mb()
    megabytes = (b"x" * 1_000_000 for _ in range(100))
    got, sent = raw(strict.port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", megabytes)
    assert sent < 20 and (not got or got.startswith(b"HTTP/1.1 400"))
    lines = (b"X-More: " + b"x" * 1_000_000 + b"\r\n" for _ in range(100))
    _, sent = raw(strict.port, start() + b"1\r\na\r\n0\r\n", lines)
    assert sent < 20
    assert strict.memory_mb() < before + 20 and works(strict)


def test_who_says_nothing_is_not_waited_for(monkeypatch):
    import uvicorn

    from headstart.serving.http import connection as protocol

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    settings = {"http": protocol.BoundedConnection, "log_config": None, "lifespan": "off", "ws": "none"}
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(app, **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            for said in (b"", b"GET / HTTP/1.1\r\nHos", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"):
                with socket.create_connection(door.getsockname(), timeout=10) as connection:
                    connection.sendall(said)
                    got = b""
                    while part := connection.recv(1000):
                        got += part
                assert got.count(b"204") == said.count(b"\r\n\r\n")
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.medium
def test_overload_is_told_and_no_answer_is_wrong(tiny):
    """A queue of 8 and 12 clients that send 6 pictures each: some are told 429 with a time, all others are right."""
    sent = [picture(colour, (1200, 900)) for colour in ("red", (0, 255, 0), "blue")]
    names = ["red", "green", "blue"]
    with Service(tiny, words=["--queue", "8"], env={"HEADSTART_THREADS": "1"}) as service:
        statuses, wrong = [], []

        def client(turn):
            order = [(turn + at) % 3 for at in range(6)]
            for _ in range(6):
                found = service.predict(*[sent[at] for at in order])
                statuses.append(found.status_code)
                if found.status_code == 200:
                    given = [row["answer"] for row in found.json()["answers"]]
                    wrong.extend(given if given != [names[at] for at in order] else [])
                else:
                    assert int(found.headers["retry-after"]) >= 1
                    time.sleep(0.02)

        threads = [threading.Thread(target=client, args=(turn,)) for turn in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200, 429} and len(statuses) == 72
        assert wrong == []
        assert len(service.predict(*[RED] * 40).json()["answers"]) == 40  # an idle service takes what its limits allow


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--host", "0.0.0.0"], 2, "there is no key"),
        (["--max-upload", "much"], 2, "`much` is not a size"),
        (["--timeout", "-1s"], 2, "is not a time"),
        (["--max-megapixels", "0"], 2, "megapixels"),
        (["--queue", "0"], 2, "`0` is not a number above 0"),
        (["--log", "xml"], 2, "there is no form `xml`"),
        (["--port", "99999"], 3, "cannot listen"),
        (["--host", "no.such.host.invalid", "--no-key"], 3, "cannot listen"),
        (["--api-key-file", "nothing-here"], 3, "cannot be read: No such file or directory"),
        (["--usage", "no/such/folder/usage.jsonl"], 3, "there is no folder for it"),
    ],
)
def test_what_is_wrong_is_told_at_the_start(tiny, words, code, told, capsys):
    from headstart.cli.main import main

    assert main(["serve", str(tiny), "--port", "0", *words]) == code
    assert told in capsys.readouterr().err


def test_counts_go_to_no_file_that_is_no_log(tiny, tmp_path, capsys):
    from headstart.cli.main import main

    (tmp_path / "mine.csv").write_text("file,answer\n")
    assert main(["serve", str(tiny), "--port", "0", "--usage", str(tmp_path / "mine.csv")]) == 2
    assert "holds something else than counts" in capsys.readouterr().err
    assert (tmp_path / "mine.csv").read_text() == "file,answer\n"


@pytest.mark.parametrize(
    ("runs", "told"),
    [(["a/b=x"], "`a/b` is not a name for a model"), (["a=x", "a=y"], "two models are named `a`")],
)
def test_names_that_are_none(runs, told, capsys):
    from headstart.cli.main import main

    assert main(["serve", *runs, "--port", "0"]) == 2
    assert told in capsys.readouterr().err


def test_keys_that_are_none(tiny, tmp_path, monkeypatch, capsys):
    from headstart.cli.main import main

    monkeypatch.setenv("HEADSTART_API_KEY", "short")
    assert main(["serve", str(tiny), "--port", "0"]) == 2
    assert "must have 16 or more" in capsys.readouterr().err
    from headstart.serving.server import read_keys

    (tmp_path / "keys").write_text(f"\ufeff{KEY}\n", encoding="utf-8")  # as some editors write it
    assert read_keys(tmp_path / "keys") == (KEY,)
    (tmp_path / "keys").write_text("\n\n")
    assert main(["serve", str(tiny), "--port", "0", "--api-key-file", str(tmp_path / "keys")]) == 2
    assert "has no key" in capsys.readouterr().err


def test_a_tampered_run_is_refused_at_the_start(tmp_path, capsys):
    from headstart.cli.main import main
    from headstart.testing.tiny_model import write_tiny_model

    model = write_tiny_model(tmp_path / "model")
    content = bytearray((model / "head.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "head.safetensors").write_bytes(content)
    assert main(["serve", str(model), "--port", "0"]) == 3
    assert "`head.safetensors` is not as it was written" in capsys.readouterr().err


def test_a_taken_port_is_told(tiny, service, capsys):
    from headstart.cli.main import main

    assert main(["serve", str(tiny), "--port", str(service.port)]) == 3
    assert "cannot listen" in capsys.readouterr().err


def test_the_log_says_what_was_refused(service):
    service.client.get("/v1/models", headers={"host": "evil.example", "x-request-id": "foreign"})
    assert service.logged("foreign")["status"] == 403
