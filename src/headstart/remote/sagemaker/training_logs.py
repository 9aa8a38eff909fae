"""The log of a training job, from CloudWatch: one stream a machine, a new one after each spot interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from headstart.remote.sagemaker.clients import make_client, read_code, translate_errors

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_POLL_S = 2.0


def read_log_lines(name: str, region: str, *, has_ended: Callable[[], bool], follow: bool) -> Iterator[str]:
    """The lines of a job so far; with `follow` until it has ended and no line is left."""
    client = make_client("logs", region)
    tokens: dict[str, str] = {}  # stream -> where to read on
    while True:
        ended = not follow or has_ended()  # asked before the last reading, so that nothing after it is missed
        yield from _read_new_lines(client, name, tokens)
        if ended:
            return
        time.sleep(_POLL_S)


def _read_new_lines(client: Any, name: str, tokens: dict[str, str]) -> Iterator[str]:
    for stream in _list_streams(client, name):
        while True:
            more = {"nextToken": tokens[stream]} if stream in tokens else {}
            with translate_errors(f"the log of `{name}` cannot be read"):
                answer = client.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **more)
            yield from (event["message"] for event in answer["events"])
            if answer["nextForwardToken"] == tokens.get(stream):  # the same again says that this was the end
                break
            tokens[stream] = answer["nextForwardToken"]


def _list_streams(client: Any, name: str) -> list[str]:
    """Streams of a job, the first machine's first; none before its first line."""
    from botocore.exceptions import ClientError

    names: list[str] = []
    with translate_errors(f"the log of `{name}` cannot be listed"):
        try:
            pages = client.get_paginator("describe_log_streams")
            for page in pages.paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"):
                names += [stream["logStreamName"] for stream in page["logStreams"]]
        except ClientError as err:
            if read_code(err) != "ResourceNotFoundException":
                raise
    return sorted(names)
