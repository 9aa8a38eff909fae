"""One line a request, as text or JSON, on standard error: what came of it, never what was in it.

It names the route, not the address as sent. No picture, file name, answer or key is ever written.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import time
from typing import Any, TextIO

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
LOG_FORMATS = ("text", "json", "off")


class AccessLog:
    """Where the service tells what it does."""

    def __init__(self, form: str = "text", out: TextIO | None = None) -> None:
        self.form = form
        self._out = out or sys.stderr

    def write_event(self, event: str, *, level: str = "info", **facts: Any) -> None:
        """One line; facts that are None are left out."""
        if self.form == "off" and level == "info":
            return
        fields = {"request_id": request_id.get(), **{name: value for name, value in facts.items() if value is not None}}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            line = json.dumps({"time": stamp, "level": level, "event": event, **fields})
        else:
            words = " ".join(f"{name}={_format_word(value)}" for name, value in fields.items())
            line = f"{stamp} {level:<7} {event:<8} {words}"
        try:
            print(line, file=self._out, flush=True)
        except OSError:  # a full disk or a closed pipe must not stop the service
            self.form = "off"

    def adopt_loggers(self) -> None:
        """Let what the server itself and its libraries log come out in the same form."""
        handler = _EventHandler(self)
        for name in ("uvicorn.error", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(logging.WARNING)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a form that is none has its line already


def _format_word(value: Any) -> str:
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "')
    return text if text and plain else json.dumps(text)


class _EventHandler(logging.Handler):
    def __init__(self, log: AccessLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        self._log.write_event("server", level=record.levelname.lower(), what=message)
