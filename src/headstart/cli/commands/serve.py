"""Answer over HTTP with one or several saved models: an API, a page, metrics."""

from __future__ import annotations

import argparse

from headstart.cli.parser import parse_name, parse_number, parse_path, parse_whole_number
from headstart.core.errors import UsageError


class Serve:
    """Answer over HTTP with one or several saved models: an API, a page, metrics.

    It listens on this machine alone unless told otherwise. Ctrl-C or SIGTERM ends it after the requests that have begun
    are answered. A run folder that changes is loaded anew without a lost request.
    """

    name = "serve"
    interruption_note = "the models are as they were"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN and the options."""
        add = parser.add_argument
        help_text = "a run folder, or the model folder in it; NAME=RUN gives it a name; in an endpoint of a cloud none"
        add("runs", metavar="RUN", nargs="*", type=parse_name, help=help_text)
        add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
        add("--port", type=parse_whole_number, default=8000, help="port; 0 takes a free one (default: 8000)")
        help_text = "one more host name under which it may be called; may be repeated"
        add("--allow-host", metavar="NAME", action="append", default=[], help=help_text)
        help_text = "file with keys, one a line, that requests must carry (default: HEADSTART_API_KEY)"
        add("--api-key-file", metavar="FILE", type=parse_path, help=help_text)
        add("--no-key", action="store_true", help="listen to other machines without a key")
        add("--max-upload", metavar="SIZE", default="20MB", help="bytes of a request (default: 20MB)")
        help_text = "millions of pixels of a picture (default: 50)"
        add("--max-megapixels", metavar="N", type=parse_number, default=50.0, help=help_text)
        help_text = "millions of pixels of all pictures of a request (default: 500)"
        add("--max-total-megapixels", metavar="N", type=parse_number, default=500.0, help=help_text)
        add("--max-files", metavar="N", type=_parse_positive, default=256, help="pictures a request (default: 256)")
        help_text = "pictures that may wait; more are told 429 (default: 256)"
        add("--queue", metavar="N", type=_parse_positive, default=256, help=help_text)
        add("--timeout", metavar="TIME", default="30s", help="of a request (default: 30s)")
        help_text = "keep counts of answers, confidence and novelty there, for `headstart drift`; no picture, no name"
        add("--usage", metavar="FILE", type=parse_path, help=help_text)
        add("--log", metavar="{text,json,off}", default="text", help="form of the log on stderr")
        add("--quiet", action="store_true", help="neither the log nor the line that tells the address")

    def __call__(self, args: argparse.Namespace) -> int:
        """Serve until the process is told to stop."""
        from headstart.core import blas_threads, extras

        extras.require_extra("runtime", "serving")
        blas_threads.request_single_blas_thread()
        from headstart.serving.server import run_service

        run_service(args)
        return 0


def _parse_positive(text: str) -> int:
    count = parse_whole_number(text)
    if count < 1:
        raise UsageError(f"`{text}` is not a number above 0")
    return count


PLUGIN = Serve()
