"""The open inference protocol: what KServe's clients send and expect, and what they send wrong."""

import base64
import copy

import numpy as np
import pytest

from serving_bench import BLUE, GREEN, RED

PATH = "/v2/models/tiny/infer"


def files(*pictures):
    data = [base64.b64encode(one).decode() for one in pictures]
    return {"inputs": [{"name": "pictures", "shape": [len(data)], "datatype": "BYTES", "data": data}]}


def outputs(answer):
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["outputs"]}


def test_the_server_and_its_models_tell_themselves(service):
    assert service.client.get("/v2").json()["name"] == "headstart"
    assert service.client.get("/v2/health/live").json() == {"live": True}
    assert service.client.get("/v2/health/ready").json() == {"ready": True}
    assert service.client.get("/v2/models/tiny/ready").json()["ready"] is True
    told = service.client.get("/v2/models/tiny").json()
    assert told["inputs"][0]["name"] == "pictures" and told["parameters"]["class_names"] == ["blue", "green", "red"]
    assert [one["shape"] for one in told["outputs"]] == [[-1], [-1, 3], [-1], [-1]]
    missing = service.client.get("/v2/models/nobody")
    assert missing.status_code == 404 and "no model" in missing.json()["error"]


def test_picture_files(service):
    found = service.client.post(PATH, json=files(RED, GREEN, BLUE) | {"id": "abc"})
    assert found.json()["id"] == "abc" and found.json()["model_name"] == "tiny"
    got = outputs(found)
    assert got["label"] == {"name": "label", "datatype": "BYTES", "shape": [3], "data": ["red", "green", "blue"]}
    assert got["probabilities"]["shape"] == [3, 3] and got["probabilities"]["data"][2] > 0.99
    assert got["unknown"]["data"] == [False] * 3 and got["error"]["data"] == ["", "", ""]


def test_decoded_pictures_flat_and_nested(service):
    pictures = np.zeros((2, 20, 30, 3), np.uint8)
    pictures[0, ..., 1] = pictures[1, ..., 2] = 255
    for data in (pictures.tolist(), pictures.ravel().tolist()):
        tensor = {"name": "pictures", "shape": [2, 20, 30, 3], "datatype": "UINT8", "data": data}
        found = service.client.post(PATH, json={"inputs": [tensor], "outputs": [{"name": "label"}]})
        assert list(outputs(found)) == ["label"] and outputs(found)["label"]["data"] == ["green", "blue"]


def test_one_bad_picture_has_its_own_error_and_only_bad_ones_fail(service):
    got = outputs(service.client.post(PATH, json=files(b"no picture", RED)))
    assert got["label"]["data"] == ["", "red"] and got["error"]["data"][0].startswith("not a picture")
    assert got["probabilities"]["data"][:3] == [0.0, 0.0, 0.0]
    bad = service.client.post(PATH, json=files(b"no picture"))
    assert bad.status_code == 400 and "not a picture" in bad.json()["error"]


def changed(**tensor):
    body = copy.deepcopy(files(RED))
    body["inputs"][0] |= tensor
    return body


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": files(RED)["inputs"] * 2},
        files(RED) | {"id": 5},
        files(RED) | {"outputs": 5},
        files(RED) | {"outputs": ["label"]},
        files(RED) | {"outputs": [{"name": "nothing"}]},
        files(RED) | {"outputs": [{"name": ["label"]}]},
        changed(name="images"),
        changed(datatype="FP32"),
        changed(datatype=None),
        changed(shape=[2]),
        changed(shape=[0]),
        changed(shape=[-1]),
        changed(shape=[True]),
        changed(shape=["1"]),
        changed(shape=[]),
        changed(shape=[1, 1, 1]),
        changed(shape=[1] * 10_000),
        changed(datatype="UINT8", shape=[1] * 10_000),
        changed(data="x"),
        changed(data=[5]),
        changed(data=[None]),
        changed(data=["%%%"]),
        changed(datatype="UINT8"),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[1] * 11),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[256] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[-1] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[0.5] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=["a"] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[None] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[1e300] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[10**400] * 12),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=["nan"] * 12),
        changed(datatype="UINT8", shape=[1, 1, 2, 3], data=[[[[1] * 3], [[1] * 3]]]),
        changed(datatype="UINT8", shape=[1, 2, 2, 3], data=[[1, 2], [3]]),
        changed(datatype="UINT8", shape=[1, 2, 2, 4], data=[1] * 16),
    ],
    ids=lambda body: str(body)[-60:],
)
def test_a_malformed_request_is_told(service, body):
    found = service.client.post(PATH, json=body)
    assert found.status_code == 400, found.text
    assert isinstance(found.json()["error"], str) and 0 < len(found.json()["error"]) < 300


def test_limits_hold_here_too(strict):
    path = "/v2/models/tiny/infer"
    assert strict.client.post(path, json=files(*[RED] * 21)).status_code == 413
    tensor = {"name": "pictures", "shape": [1, 10**9, 10**9, 3], "datatype": "UINT8", "data": [1]}
    assert strict.client.post(path, json={"inputs": [tensor]}).status_code == 413
    assert strict.client.post(path, content=b"{" * 400_000).status_code == 413
