"""A local page for people who do not program: from a folder of pictures to a report, by clicks."""

from __future__ import annotations

import argparse
import secrets
import sys
import webbrowser
from pathlib import Path

from headstart.cli.parser import parse_name, parse_path, parse_whole_number
from headstart.core.console import Console
from headstart.core.errors import UsageError

PORT = 7860


class Studio:
    """A local page for people who do not program: from a folder of pictures to a report, by clicks.

    It listens on this machine only and works without a network. Each click runs a command of headstart, which is
    shown; all that comes of it lies in run folders. Ctrl-C ends the page; a fit that is under way goes on, and the
    studio finds it again when it is started the next time.
    """

    name = "studio"
    interruption_note = "runs that are under way go on; the same command opens the studio again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add where runs lie, what may be browsed, and how the page is reached."""
        add = parser.add_argument
        help_text = "folder of the runs (default: runs)"
        add("--runs", metavar="DIR", type=parse_path, default=Path("runs"), help=help_text)
        help_text = "folder that may be browsed (default: your home)"
        add("--root", metavar="DIR", type=parse_name, default="~", help=help_text)
        help_text = f"of the page, 0 for a free one (default: {PORT})"
        add("--port", metavar="N", type=parse_whole_number, default=PORT, help=help_text)
        add("--no-browser", action="store_true", help="print the address only")
        add("--json", action="store_true", help="print the address as one JSON object")

    def __call__(self, args: argparse.Namespace) -> int:
        """Serve the page until Ctrl-C."""
        from headstart.core import extras

        for extra in ("fit", "runtime"):
            extras.require_extra(extra, "the studio")
        from headstart.studio import access_control, app, state

        if not 0 <= args.port <= 65535:
            raise UsageError(f"`{args.port}` is not a port", where="--port", hint="0 to 65535")
        root = Path(args.root).expanduser()
        if not root.is_dir():
            raise UsageError(f"there is no folder `{root}`", where="--root", hint="name a folder that is there")
        studio, token = state.open_studio(args.runs, root), secrets.token_urlsafe(24)
        with state.lock_studio(studio), app.bind_loopback(args.port) as listening:
            port, code = listening.getsockname()[1], ""
            address = f"http://127.0.0.1:{port}/?token={token}"
            console = Console(json=args.json)
            console.print_result(address, {"address": address})
            console.print_line("studio", "open this address in a browser of this machine; Ctrl-C ends it, fits go on")
            if not args.no_browser and sys.stdout.isatty():
                page, code = access_control.write_entrance_file(studio.home, port)
                webbrowser.open(page.as_uri())
            app.run_studio(studio, listening, token, code)
        return 0


PLUGIN = Studio()
