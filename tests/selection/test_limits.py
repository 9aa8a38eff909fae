"""Limits: what breaks them is told with its number, and trunks that answer together add up."""

import dataclasses
import math

import pytest

from headstart.backbones import loading
from headstart.core import job as jobs
from headstart.selection import limits as gates

LITE0, LITE1 = (loading.find_backbone(f"efficientnet_lite{n}").spec for n in (0, 1))


def broken(specs, latency_ms=None, **limits):
    return gates.format_broken_limits(specs, jobs.make_job(data="x", **limits), latency_ms or {})


def test_without_limits_nothing_breaks():
    assert broken([LITE0, LITE1], {LITE0.name: 1e9}) == ""
    assert not gates.has_limits(jobs.make_job(data="x"))


@pytest.mark.parametrize("limit", [{"license": "permissive"}, {"max_size": "1MB"}, {"max_latency": "1ms"}])
def test_any_limit_limits(limit):
    assert gates.has_limits(jobs.make_job(data="x", **limit))


def test_size_is_four_bytes_a_weight_and_adds_up():
    assert gates.weights_bytes(LITE0) == 4 * LITE0.params
    assert broken([LITE0], max_size="14MB") == ""
    assert broken([LITE0], max_size="13MB") == "13.7 MB of weights, --max-size 13MB"
    assert broken([LITE0, LITE1], max_size="20MB") == "30.4 MB of weights, --max-size 20MB"
    assert broken([LITE1], max_size=f"{gates.weights_bytes(LITE1)}") == ""  # the limit itself is allowed


def test_latency_adds_up_and_what_is_not_measured_breaks_nothing():
    taken = {LITE0.name: 3.0, LITE1.name: 4.5}
    assert broken([LITE0], taken, max_latency="4ms") == ""
    assert broken([LITE1], taken, max_latency="4ms") == "4.5 ms for one picture, --max-latency 4ms"
    assert broken([LITE0, LITE1], taken, max_latency="7ms") == "7.5 ms for one picture, --max-latency 7ms"
    assert broken([LITE0], {}, max_latency="1ms") == broken([LITE0], {LITE0.name: math.nan}, max_latency="1ms") == ""


def test_a_licence_that_is_not_permissive_breaks_only_that_limit():
    closed = dataclasses.replace(LITE0, licence="CC-BY-NC-4.0")
    assert broken([LITE0, LITE1], license="permissive") == ""
    assert broken([closed]) == ""
    assert broken([LITE1, closed], license="permissive") == (
        "its licence `CC-BY-NC-4.0` is not permissive, --license permissive"
    )


def test_all_that_is_broken_is_told():
    closed = dataclasses.replace(LITE0, licence="see the model card")
    said = broken([closed], {LITE0.name: 9.0}, license="permissive", max_size="1MB", max_latency="1ms")
    assert said.count(";") == 2 and "13.7 MB" in said and "9 ms" in said and "model card" in said
