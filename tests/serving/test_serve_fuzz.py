"""The API against its own description: whatever is sent, no 5xx, and every answer is one that is described."""

import base64

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi import checks

from serving_bench import RED, Service

pytestmark = pytest.mark.medium
QUICK = hypothesis.settings(
    max_examples=8,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
)
AS_DESCRIBED = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]


@pytest.fixture(scope="module")
def described(tiny):
    with Service(f"tiny={tiny}", words=["--timeout", "5s", "--max-upload", "200kB"]) as service:
        yield service
        assert service.predict(RED).json()["answers"][0]["answer"] == "red"


def test_whatever_is_sent_is_answered_as_described(described):
    schema = schemathesis.openapi.from_dict(described.client.get("/openapi.json").json())
    schema.config.base_url = described.url
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        cases = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @QUICK
        @hypothesis.given(case=cases)
        def ask(case):
            answer = case.call(headers={"origin": described.url})
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code != 405:
                case.validate_response(answer, checks=AS_DESCRIBED)

        ask()
        count += 1
    assert count == 15


def test_good_requests_are_answered_as_described(described):
    """What fuzzing hardly finds: every answer to a real picture fits its description."""
    schema = schemathesis.openapi.from_dict(described.client.get("/openapi.json").json())
    schema.config.base_url = described.url
    data = base64.b64encode(RED).decode()
    bodies = {
        "/v1/predict": {"pictures": [{"base64": data}, {"base64": "AA", "name": "bad"}]},
        "/v1/models/{name}/predict": {"pictures": [{"base64": data}]},
        "/v1/explain": {"pictures": [{"base64": data}]},
        "/v2/models/{name}/infer": {
            "inputs": [{"name": "pictures", "shape": [1], "datatype": "BYTES", "data": [data]}]
        },
    }
    for path, body in bodies.items():
        case = schema[path]["POST"].Case(body=body, media_type="application/json", path_parameters={"name": "tiny"})
        answer = case.call()
        assert answer.status_code == 200, answer.text
        case.validate_response(answer, checks=AS_DESCRIBED)
    for path in ("/v1/models", "/v1/models/{name}", "/v2/models/{name}", "/readyz", "/metrics"):
        case = schema[path]["GET"].Case(path_parameters={"name": "tiny"})
        case.validate_response(case.call(), checks=AS_DESCRIBED)
