"""What the service answers, in each of the forms in which it can be asked; one bad picture costs its own row."""

import asyncio
import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.serving.http.request_bodies import parse_form, run_parser
from headstart.serving.request_limits import Refusal
from serving_bench import BLUE, GREEN, RED, picture


def rows(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["answers"]


def test_one_picture(service):
    found = service.predict(("red.png", RED))
    assert found.json()["model"] == "tiny"
    [row] = rows(found)
    assert (row["file"], row["answer"], row["error"], row["unknown"]) == ("red.png", "red", None, False)
    assert row["likeliest"] == "red" and row["confidence"] == row["probabilities"]["red"] > 0.99
    assert set(row["probabilities"]) == {"red", "green", "blue"}
    assert abs(sum(row["probabilities"].values()) - 1) < 1e-5


def test_many_pictures_keep_their_order(service):
    sent = [RED, GREEN, BLUE] * 20
    assert [row["answer"] for row in rows(service.predict(*sent))] == ["red", "green", "blue"] * 20


def test_json_with_base64(service):
    body = {"pictures": [{"name": "x", "base64": base64.b64encode(one).decode()} for one in (GREEN, BLUE)]}
    assert [row["answer"] for row in rows(service.client.post("/v1/predict", json=body))] == ["green", "blue"]
    url = {"pictures": [{"base64": "data:image/png;base64," + base64.b64encode(RED).decode()}]}
    [row] = rows(service.client.post("/v1/predict", json=url))
    assert (row["file"], row["answer"]) == ("picture 1", "red")


def test_one_picture_as_the_body(service):
    found = service.client.post("/v1/predict", content=RED, headers={"content-type": "image/png"})
    assert rows(found)[0]["answer"] == "red"


def test_a_bad_picture_costs_its_own_row(service):
    found = rows(service.predict(RED, ("notes.txt", b"no picture"), ("cut.png", GREEN[:60]), BLUE, ("empty", b"")))
    assert [row["answer"] for row in found] == ["red", None, None, "blue", None]
    assert found[1]["error"].startswith("not a picture") and found[2]["error"].startswith("truncated")
    assert found[4]["error"].startswith("empty file")
    assert found[1]["probabilities"] == {} and found[1]["unknown"] is False


def test_only_bad_pictures_are_refused_with_their_rows(service):
    found = service.predict(("a.txt", b"no picture"), ("b.txt", b"nor this"))
    assert found.status_code == 422
    assert found.json()["error"]["what"] == "none of the 2 pictures could be read"
    assert [row["file"] for row in found.json()["answers"]] == ["a.txt", "b.txt"]
    assert all(row["error"] for row in found.json()["answers"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"pictures": 3}', 400),
        (b'{"pictures": [1]}', 400),
        (b'{"pictures": [{"base64": 5}]}', 400),
        (b'{"pictures": [{"base64": "AA", "name": []}]}', 400),
        (b'{"pictures": []}', 422),
        (b'{"pictures": [{"base64": "%%%"}]}', 422),
        (b"[" * 100_000, 400),
        (b'{"pictures": NaN}', 400),
        (b"\xff\xfe", 400),
    ],
)
def test_malformed_json(service, body, status):
    found = service.client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert found.status_code == status, found.text
    assert found.json()["error"]["what"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nno head--b--", 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx', 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\nx\r\n--b--', 422),
        ("text/plain", b"hello", 415),
        ("", b"hello", 415),
    ],
)
def test_malformed_forms(service, kind, body, status):
    found = service.client.post("/v1/predict", content=body, headers={"content-type": kind})
    assert found.status_code == status, found.text


def test_a_name_leads_nowhere_and_prints_anywhere(service):
    sent = ["../../etc/passwd", "C:\\windows\\system.ini", "a\x1b[31m\u202eb.png", "é/ü.png", "x" * 5000]
    names = [row["file"] for row in rows(service.predict(*[(name, RED) for name in sent]))]
    assert names[:2] == ["passwd", "system.ini"] and names[3] == "ü.png"
    assert "\x1b" not in names[2] and "\u202e" not in names[2]
    assert len(names[4]) == 200


def test_models_by_name(service):
    listed = service.client.get("/v1/models").json()["models"]
    assert [one["name"] for one in listed] == ["tiny", "other"]
    assert listed[0]["class_names"] == ["blue", "green", "red"] and listed[0]["trunks"][0]["size_px"] == 32
    assert service.client.get("/v1/models/other").json() == listed[1]
    named = service.client.post("/v1/models/other/predict", files={"files": RED})
    asked = service.client.post("/v1/predict?model=other", files={"files": RED})
    assert named.json()["model"] == asked.json()["model"] == "other"


@pytest.mark.parametrize("name", ["nobody", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "tiny%2f..%2fother", "x" * 3000])
def test_no_name_leads_to_a_file(service, name):
    for path in (f"/v1/models/{name}", f"/v2/models/{name}", f"/static/{name}"):
        found = service.client.get(path)
        assert found.status_code == 404 and "root:" not in found.text
    assert service.client.post(f"/v1/predict?model={name}", files={"files": RED}).status_code == 404


def test_only_the_page_and_its_files_are_served(service):
    for name in ("page.css", "tokens.css", "page.js"):
        assert service.client.get(f"/static/{name}").status_code == 200
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/guard.py", "__init__.py", "studio.js"):
        assert service.client.get(f"/static/{name}").status_code == 404
    page = service.client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not any(word in page.text for word in ("onclick=", "<style", "javascript:", "https://"))


def test_health_and_metrics(service):
    assert service.client.get("/healthz").json() == {"status": "alive"}
    assert service.client.get("/readyz").json() == {"status": "ready"}
    name = 'headstart_answers_total{answer="green",model="tiny"}'
    errors = 'headstart_answers_total{answer="error",model="tiny"}'
    before, bad = service.metric(name), service.metric(errors)
    service.predict(GREEN, GREEN, b"no picture")
    assert service.metric(name) == before + 2 and service.metric(errors) == bad + 1
    text = service.client.get("/metrics").text
    for part in ('headstart_request_seconds_bucket{le="0.1",route="/v1/predict"}', "headstart_batch_pictures_count"):
        assert part in text
    assert service.metric("headstart_queue_pictures") == 0
    assert 'headstart_answers_total{answer="unknown",model="tiny"}' in text


def test_the_request_id_is_in_answer_and_log_and_no_name_is(service):
    service.predict(("secret-name.png", RED), headers={"x-request-id": "my.id-1"})
    found = service.client.get("/secret-path?secret-query", headers={"x-request-id": "bad id\twith space"})
    own = found.headers["x-request-id"]
    assert len(own) == 16 and found.json()["error"]["request_id"] == own
    line = service.logged("my.id-1")
    assert (line["route"], line["status"], line["model"], line["pictures"]) == ("/v1/predict", 200, "tiny", 1)
    assert service.logged(own)["route"] == "other"
    assert not any("secret" in text for text in service.lines)


def test_a_picture_may_come_in_any_format_of_the_decoder(service):
    sent = [picture("blue", form=form) for form in ("JPEG", "BMP", "GIF", "WebP", "TIFF")]
    assert {row["answer"] for row in rows(service.predict(*sent))} == {"blue"}


def test_an_answer_is_explained(service):
    found = service.client.post("/v1/explain?model=other", files={"files": ("red.png", RED)})
    assert found.status_code == 200, found.text
    told = found.json()
    assert (told["model"], told["answer"]["file"], told["answer"]["answer"]) == ("other", "red.png", "red")
    assert told["class_name"] == "red"
    assert told["method"] == "occlusion" and told["nearest"] == [] and "no training pictures" in told["compared"]
    assert base64.b64decode(told["overlay_png"]).startswith(b"\x89PNG")
    two = service.client.post("/v1/explain", files=[("files", RED), ("files", RED)])
    assert two.status_code == 422 and "one picture" in two.json()["error"]["what"]
    bad = service.client.post("/v1/explain", files={"files": b"no picture"})
    assert bad.status_code == 422 and bad.json()["error"]["what"].startswith("not a picture")


def test_long_bodies_are_taken_apart_one_after_the_other():
    now, most = [], []

    def take(at):
        now.append(at)
        most.append(len(now))
        time.sleep(0.01)
        now.remove(at)
        return at

    async def ask():
        return await asyncio.gather(*(run_parser(bytes(10**6), take, at) for at in range(5)), run_parser(b"", take, 5))

    assert asyncio.run(ask()) == list(range(6))
    assert max(most) <= 2 and len(most) == 6  # the short one does not wait for them


SAFE = st.binary(max_size=200).filter(lambda content: b"--edge" not in content)
FORM = "multipart/form-data; boundary=edge"


def form(*parts):
    """A form of parts: head and content."""
    body = b"".join(b"--edge\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return body + b"--edge--\r\n"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["files", "file", "note"]), SAFE), max_size=6))
def test_forms_give_what_was_put_into_them(parts):
    head = 'Content-Disposition: form-data; name="{}"; filename="{}.png"'
    sent = [(head.format(name, at).encode(), content) for at, (name, content) in enumerate(parts)]
    ours = [(one.name, one.content) for one in parse_form(form(*sent), FORM, 10)]
    assert ours == [(f"{at}.png", content) for at, (name, content) in enumerate(parts) if name != "note"]


def test_a_form_has_few_parts_with_few_and_short_heads():
    head = b'Content-Disposition: form-data; name="files"'
    assert len(parse_form(form(*[(head, b"x")] * 3), FORM, 3)) == 3
    for parts, status in (
        ([(head, b"x")] * 4, 413),
        ([(head.replace(b"files", b"note"), b"x")] * 30, 413),
        ([(b"\r\n".join([head] * 9), b"x")], 400),
        ([(head + b"; x=" + b"y" * 9000, b"x")], 400),
    ):
        with pytest.raises(Refusal) as refused:
            parse_form(form(*parts), FORM, 3)
        assert refused.value.status == status
    for boundary, told in (("", "no boundary"), ("x" * 300, "cannot be read")):
        with pytest.raises(Refusal, match=told):
            parse_form(b"", f"multipart/form-data; boundary={boundary}", 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from([b"--edge", b"\r\n", b"--", b"\r\n\r\n", b'name="files"', b"x"])).map(b"".join)
)
def test_no_form_breaks_the_reader(body):
    try:
        assert isinstance(parse_form(body, "multipart/form-data; boundary=edge", 3), list)
    except Refusal as refused:
        assert refused.status in (400, 413)
