"""Name the pictures to label next: those that a model is least sure of, no two of them alike."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from headstart.cli import answer_output
from headstart.cli.parser import parse_name, parse_path, parse_whole_number
from headstart.core.errors import NoOpError, UsageError
from headstart.core.storage.files import format_printable, require_place
from headstart.core.storage.locations.names import is_remote

if TYPE_CHECKING:
    from headstart.labelling.suggestions import Suggestion

COLUMNS = ("file", "answer", "uncertainty", "label")
FORMATS = ("csv", "jsonl")


class Suggest:
    """Name the pictures to label next: those that a model is least sure of, no two of them alike.

    FILE is what predict takes; without any, the pictures without a label that the run kept apart. The column `label` is
    empty: fill it in, and fit again with `--more` and `--test-of`.
    """

    name = "suggest"
    interruption_note = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, FILES, how many, and where to write."""
        add = parser.add_argument
        add("run", metavar="RUN", type=parse_name, help="a run folder, or the model folder in it")
        help_text = "pictures or folders (default: those without a label that the run kept apart)"
        add("files", metavar="FILE", nargs="*", type=parse_name, help=help_text)
        help_text = "pictures to name at most (default: 50)"
        add("-n", "--count", metavar="N", type=parse_whole_number, default=50, help=help_text)
        add("--out", metavar="FILE", type=answer_output.parse_table_path, help="write the rows there (default: stdout)")
        add("--sheet", metavar="HTML", type=parse_path, help="a page that shows the pictures")
        add("--overwrite", action="store_true", help="replace an --out or a --sheet that is there")
        add("--json", action="store_true", help="JSON Lines instead of CSV")
        add("--quiet", action="store_true", help="no summary on stderr")

    def __call__(self, args: argparse.Namespace) -> int:
        """Choose, write the rows and the page, and sum up on stderr."""
        from headstart.api import actions
        from headstart.labelling.contact_sheet import write_contact_sheet
        from headstart.runtime.model import load

        row_format = answer_output.choose_format("jsonl" if args.json else None, args.out, FORMATS)
        if args.sheet and args.sheet.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"`{args.sheet}` does not end as a page does", where="--sheet", hint="--sheet next.html")
        for option, path in (("--out", args.out), ("--sheet", args.sheet)):
            if path and path.exists() and not args.overwrite:  # labels may have been filled in
                raise UsageError(f"`{path}` is there already", where=option, hint="--overwrite replaces it")
            if path:
                require_place(path, option)
        suggestions = actions.suggest(args.run, args.files or None, count=args.count)
        with answer_output.open_output(args.out) as out:
            if row_format == "csv":
                answer_output.write_csv_row(out, COLUMNS)
            for suggestion in suggestions.chosen:
                _write_row(out, suggestion, row_format)
        if args.sheet:
            ranges = load(args.run).manifest.trunks[0].input.ranges
            write_contact_sheet(suggestions.chosen, args.sheet, ranges)
        rows, problem = len(suggestions.chosen), format_printable(suggestions.problem)
        if suggestions.known and not suggestions.looked_at:
            message = f"the run has a label of all {suggestions.known:,} pictures"
            raise NoOpError(message, where=args.run, hint="name pictures that it has not seen")
        if rows and not args.quiet:
            known = f", {suggestions.known:,} left out that the run has with a label" if suggestions.known else ""
            unread = f"{suggestions.unread:,} not read" + (f", such as {problem}" if problem else "")
            print(f"{rows:,} named of {suggestions.looked_at:,}{known}, {unread}", file=sys.stderr)
        return answer_output.print_summary(
            suggestions.looked_at, suggestions.unread, quiet=True, arguments=args.files, hint=problem or None
        )


def _write_row(out: BinaryIO, suggestion: Suggestion, row_format: str) -> None:
    prediction, uncertainty = suggestion.prediction, round(suggestion.uncertainty, 4)
    file = prediction.uri if is_remote(prediction.uri) else os.path.abspath(prediction.uri)  # noqa: PTH100 - links stay
    cells = (file, prediction.answer, uncertainty, "")  # whole paths: the table may lie anywhere
    if row_format == "csv":
        answer_output.write_csv_row(out, cells)
    else:
        answer_output.write_json_row(out, dict(zip(COLUMNS, cells, strict=True)))


PLUGIN = Suggest()
