"""The command line: finds the command, runs it, and turns every error into text and an exit code.

Of the commands only the chosen one is imported. Exit codes: 0 done, 1 a gate failed, 2 usage, 3 data, set-up or
nothing to do, 70 a bug of headstart (its traceback is saved to a file), 130 interrupted, 141 the reader of the output
went away (as for any other tool at the head of a pipe), 143 stopped by SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart import __version__
from headstart.core import registry
from headstart.core.errors import HeadstartError

if TYPE_CHECKING:
    from headstart.cli.command import Command

BUG, INTERRUPTED, PIPE_CLOSED = 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the words after `headstart` (those of this process by default) and return the exit code; never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # file names of any bytes: what the terminal cannot show is escaped
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run_command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _close_stdout()
    except HeadstartError as err:
        return _report_error(err, err.exit_code, arguments)
    except SystemExit as end:  # SIGTERM, as `headstart.core.run.termination` raises it
        return _report_error(
            HeadstartError(f"stopped by SIGTERM; {_format_kept(arguments)}"), int(end.code or 0), arguments
        )
    except KeyboardInterrupt:
        return _report_error(HeadstartError(f"interrupted; {_format_kept(arguments)}"), INTERRUPTED, arguments)
    except Exception as err:  # the one place that may: it is told, and its traceback is kept
        if fact := _find_cause(err):
            return _report_error(fact, fact.exit_code, arguments)
        from headstart.cli.crash_report import save_crash

        return _report_error(save_crash(err, arguments), BUG, arguments)


def _find_cause(err: Exception) -> HeadstartError | None:
    """A missing extra or a disk that refuses; None for a bug."""
    from headstart.core import extras
    from headstart.core.storage.files import explain_disk_error

    if isinstance(err, ImportError):
        return extras.find_missing_extra(err)
    if isinstance(err, OSError):
        return explain_disk_error(err, f"cannot use `{err.filename}`" if err.filename else "the work cannot go on")
    return None


def _run_command(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(format_overview())
        return 0
    if arguments[0] == "--version":
        print(f"headstart {__version__}")
        return 0
    import inspect

    from headstart.cli.parser import Parser

    command: Command = registry.load_plugin("commands", arguments[0])
    parser = Parser(prog=f"headstart {arguments[0]}", description=inspect.cleandoc(type(command).__doc__ or ""))
    command.configure(parser)
    try:
        args = parser.parse_words(arguments[1:])
    except SystemExit as end:  # --help has printed
        return int(end.code or 0)
    if getattr(args, "offline", False):
        os.environ["HEADSTART_OFFLINE"] = "1"
    return command(args)


def format_overview() -> str:
    """The text of `headstart --help`: every command with its summary, none imported."""
    names = registry.list_plugins("commands")
    width = max(map(len, names)) + 2
    lines = [f"  {name:<{width}}{registry.read_summary('commands', name)}" for name in names]
    summary = "From a folder of labelled pictures to a measured, saved, explained model."
    foot = "headstart COMMAND --help explains one command; headstart --version shows the version."
    return "\n".join(["usage: headstart COMMAND …", "", summary, "", "commands:", *lines, "", foot])


def _format_kept(arguments: list[str]) -> str:
    """What an interruption leaves behind, in the command's own words."""
    if arguments and arguments[0] in registry.list_plugins("commands"):
        command: Command = registry.load_plugin("commands", arguments[0])
        return command.interruption_note
    return "nothing was changed"


def _report_error(err: HeadstartError, code: int, arguments: list[str]) -> int:
    """Tell on both streams; one that takes no more (a closed pipe, a full disk) does not silence the other."""
    from headstart.core.storage.files import format_printable

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print("\n".join(format_printable(line) for line in err.format_text().splitlines()), file=sys.stderr, flush=True)
    try:
        if "--json" in arguments:
            import json

            fact = {"what": err.what, "where": err.where, "hint": err.hint}
            print(json.dumps({"error": {"type": type(err).__name__, **fact, "exit_code": code}}))
        sys.stdout.flush()
    except OSError:
        _close_stdout()
    return code


def _close_stdout() -> int:
    """Point stdout at nothing, so that the interpreter's last flush has nowhere to fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED
