"""One reader of run folders: what is there by name, what is not there yet, what is damaged."""

import json

import pytest

from headstart.core.errors import DataError
from headstart.core.run.reader import FOLDERS, RunReader
from headstart.core.types import Dataset, Evaluation, Exported


@pytest.fixture
def run(tmp_path):
    return RunReader(tmp_path)


def write(run, name, content):
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_what_the_run_has_not_come_to_is_named_by_its_step(run):
    assert run.find(Exported) is None and run.audits == () and run.timings == {} and run.find_costs() is None
    for kind in (Dataset, Evaluation, Exported):
        with pytest.raises(DataError, match=f"has not come to `{FOLDERS[kind]}` yet") as caught:
            run.read(kind)
        assert "it resumes" in caught.value.hint


def test_a_value_is_read_once_and_what_is_damaged_is_said(run):
    exported = {"format": "openvino", "path": "model", "bytes": 7, "precision": "f32", "parity_max_abs": 0.0}
    write(run, "export/value.json", exported | {"unknown": 1})
    assert run.exported.bytes == 7 and run.exported is run.exported
    write(run, "export/value.json", "{")
    with pytest.raises(DataError, match="what the run holds is damaged"):
        run.find(Exported)


FORGED = ("[]", "null", "3", "{", "[" * 100_000, '{"read": 1}', '{"read": {"wall_s": "x"}}', '{"vectors": {"last": 1}}')


@pytest.mark.parametrize("content", FORGED, ids=lambda text: text[:20])
def test_forged_times_and_digests_of_features_are_damage(run, content, context):
    write(run, "timings.json", {"read": {"wall_s": 1.5, "latency_ms": None}})
    assert run.seconds == 1.5
    fresh = RunReader(run.path)
    write(run, "timings.json", content)
    if "vectors" not in content:
        with pytest.raises(DataError, match="what the run holds is damaged"):
            _ = fresh.timings
        with context(name="again").time_step("audit"):
            pass
        write(RunReader(run.path / "again"), "timings.json", content)
        with context(name="again").time_step("audit"):  # a damaged file is no end of the run
            pass
        assert list(RunReader(run.path / "again").timings) == ["audit"]
    write(run, "embed/lite0.json", content)
    with pytest.raises(DataError, match="what the run holds is damaged"):
        run.read_feature_digests()


@pytest.mark.parametrize("field", ["format", "path", "bytes", "precision", "parity_max_abs"])
@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}, True])
def test_a_value_of_another_type_is_damage(run, field, value):
    exported = {"format": "openvino", "path": "model", "bytes": 7, "precision": "f32", "parity_max_abs": 0.0}
    write(run, "export/value.json", exported | {field: value})
    if (field, value) != ("parity_max_abs", True):  # a number too
        with pytest.raises(DataError, match="what the run holds is damaged"):
            run.find(Exported)


def test_a_page_that_watches_gets_what_is_whole(run):
    write(run, "evaluate/value.json", "{")
    write(run, "timings.json", {"read": {"wall_s": 1.5}, "rank": 3})
    assert run.find_json(Evaluation) == {}
    assert run.find_timings_json() == {"read": {"wall_s": 1.5}}
    write(run, "adapt/trials/trial0.json", {"log": {"name": "trial 0"}})
    assert run.find_training_logs() == [{"name": "trial 0"}]
    assert [path.name for path in run.list_watched_files()] == ["value.json", "timings.json", "trial0.json"]


def test_the_last_measured_latency_counts(run):
    passes = {"embed x:a 10": {"wall_s": 1, "latency_ms": 5.0}, "embed x:a 20": {"wall_s": 2, "latency_ms": 4.0}}
    write(run, "timings.json", passes | {"embed x:b 10": {"wall_s": 3, "latency_ms": None}})
    assert run.find_latency_ms("x:a") == 4.0 and run.find_latency_ms("x:b") is None and run.seconds == 6
