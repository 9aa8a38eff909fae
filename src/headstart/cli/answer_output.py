"""What the commands share that answer picture by picture: FILES in, rows of CSV or JSON out, a summary at the end."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from headstart.cli.parser import filled, place
from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.storage.files import translate_disk_errors

FORMATS = ("csv", "jsonl")
DIGITS = 6


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add FILES."""
    said = "pictures or folders; - reads names from stdin"
    parser.add_argument("files", metavar="FILE", nargs="+", type=filled, help=said)


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Add the form of the rows and where they go."""
    parser.add_argument("--format", metavar="{csv,jsonl}", default="csv", help="form of the rows (default: csv)")
    parser.add_argument("--json", action="store_true", help="the same as --format jsonl")
    parser.add_argument("--out", metavar="FILE", type=table, help="write the rows there (default: stdout)")
    parser.add_argument("--quiet", action="store_true", help="no summary on stderr")


def form(args: argparse.Namespace) -> str:
    """`csv` or `jsonl`, as asked for.

    Raises:
        UsageError: There is no such format.
    """
    asked: str = "jsonl" if args.json else args.format
    if asked not in FORMATS:
        hint = format_nearest(asked, FORMATS) or f"known: {', '.join(FORMATS)}"
        raise UsageError(f"there is no format `{asked}`", hint=hint)
    return asked


def table(text: str) -> Path:
    """Where to write rows, for `type=`."""
    return _no_picture(text, "a table", "--out", "rows.csv")


def log(text: str) -> Path:
    """Where to append counts, for `type=`."""
    return _no_picture(text, "a log", "--usage", "usage.jsonl")


def _no_picture(text: str, kind: str, option: str, usual: str) -> Path:
    """A place whose name is not that of a picture, which would be one too many among FILE."""
    from headstart.images.file_formats import SUFFIXES

    if Path(text).suffix.lower() in SUFFIXES:
        raise UsageError(f"`{text}` is the name of a picture, not of {kind}", where=option, hint=f"{option} {usual}")
    return place(text)


def names(words: Sequence[str]) -> Iterator[str]:
    """File names as given; for `-`, one a line from standard input, as bytes of any kind."""
    for word in words:
        if word == "-":
            yield from listed()
        else:
            yield word


def listed(*, null: bool = False) -> Iterator[str]:
    """File names on standard input, as bytes of any kind: one a line, or with `null` each with a zero byte after it."""
    if not null:
        yield from (os.fsdecode(line) for raw in sys.stdin.buffer if (line := raw.rstrip(b"\r\n")))
        return
    rest, stream = b"", cast("io.BufferedReader", sys.stdin.buffer)
    while block := stream.read1(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(name) for name in whole if name)
    if rest:
        yield os.fsdecode(rest)


@contextlib.contextmanager
def stream(path: Path | None) -> Iterator[BinaryIO]:
    """The output as bytes: a file, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        return
    with translate_disk_errors(path), path.open("wb") as out:
        yield out


def put_csv(out: BinaryIO, cells: Sequence[object]) -> None:
    """One line of CSV."""
    from headstart.runtime.outputs.answer_rows import format_csv

    out.write(format_csv([cells]))
    out.flush()


def put_json(out: BinaryIO, row: dict[str, Any]) -> None:
    """One JSON object in ASCII on a line; undecodable bytes of a name survive as escapes."""
    out.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
    out.flush()


def sum_up(
    answered: int,
    unread: int,
    *,
    quiet: bool,
    unknown: int = 0,
    before: int = 0,
    asked: Sequence[str] = (),
    hint: str | None = "the column `error` of each row says why",
) -> int:
    """The exit code 0, and a line on stderr.

    Args:
        answered: Pictures that were.
        unread: Files that could not be read.
        quiet: No line.
        unknown: Of those that were answered, how many by `unknown`.
        before: Rows of an earlier call.
        asked: What was named.
        hint: Where each unread file tells why.

    Raises:
        DataError: No picture could be read.
    """
    if not answered and not before:
        what = f"none of {unread:,} files could be read" if unread else f"there is no picture {_among(asked)}"
        raise DataError(what, hint=hint if unread else None)
    if not quiet:
        of_them = f" ({unknown:,} of them unknown)" if unknown else ""
        earlier = f", {before:,} rows were there already" if before else ""
        print(f"{answered:,} answered{of_them}, {unread:,} could not be read{earlier}", file=sys.stderr)
    return 0


def _among(asked: Sequence[str]) -> str:
    """What was named, as the end of a sentence."""
    if not asked or "-" in asked:
        return "among what was named"
    more = f" and {len(asked) - 3:,} more" if len(asked) > 3 else ""
    return f"in {', '.join(f'`{word}`' for word in asked[:3])}{more}"
