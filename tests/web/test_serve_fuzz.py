"""The API against its own description: whatever is sent, no 5xx, and every answer is one that is described."""

import hypothesis
import pytest
import schemathesis

from serving_bench import RED, Service

pytestmark = pytest.mark.medium
QUICK = hypothesis.settings(
    max_examples=8,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
)


@pytest.fixture(scope="module")
def described(tiny):
    with Service(f"tiny={tiny}", words=["--timeout", "5s", "--max-upload", "200kB"]) as service:
        yield service
        assert service.predict(RED).json()["answers"][0]["answer"] == "red"


def test_whatever_is_sent_is_answered_as_described(described):
    schema = schemathesis.openapi.from_dict(described.client.get("/openapi.json").json())
    schema.config.base_url = described.url
    checked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        cases = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @QUICK
        @hypothesis.given(case=cases)
        def ask(case):
            answer = case.call(headers={"origin": described.url})
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            documented = {str(status) for status in case.operation.definition.raw["responses"]}
            assert str(answer.status_code) in documented | {"405"}, (case.as_curl_command(), answer.text)

        ask()
        checked += 1
    assert checked == 15
