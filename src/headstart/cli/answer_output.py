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

from headstart.cli.parser import parse_name, parse_path
from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.storage.files import translate_disk_errors

DIGITS = 6
BY_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add FILES."""
    help_text = "pictures or folders; - reads names from stdin"
    parser.add_argument("files", metavar="FILE", nargs="+", type=parse_name, help=help_text)


def choose_format(row_format: str | None, out: Path | None, formats: Sequence[str]) -> str:
    """The format of the rows: as asked for, or as the file's name ends; CSV where neither says.

    Raises:
        UsageError: There is no such format, the name ends as no format does, or as another one.
    """
    suffix = out.suffix.lower() if out else ""
    by_name = BY_SUFFIX.get(suffix)
    if row_format is not None and row_format not in formats:
        hint = format_nearest(row_format, formats) or f"known: {', '.join(formats)}"
        raise UsageError(f"there is no format `{row_format}`", where="--format", hint=hint)
    if suffix and by_name not in formats and row_format is None:
        known = ", ".join(f"`{end}`" for end, name in BY_SUFFIX.items() if name in formats)
        raise UsageError(f"`{out}` ends as no table that can be written", where="--out", hint=f"known endings: {known}")
    if row_format and by_name and by_name != row_format:
        raise UsageError(f"`{out}` ends as {by_name}, but --format is {row_format}", where="--out")
    return row_format or by_name or formats[0]


def parse_table_path(text: str) -> Path:
    """Where to write rows, for `type=`."""
    return _require_no_picture(text, "a table", "--out", "rows.csv")


def parse_log_path(text: str) -> Path:
    """Where to append counts, for `type=`."""
    return _require_no_picture(text, "a log", "--usage", "usage.jsonl")


def _require_no_picture(text: str, kind: str, option: str, usual: str) -> Path:
    """A picture's name would be one too many among FILE."""
    from headstart.images.file_formats import has_picture_suffix

    if has_picture_suffix(text):
        raise UsageError(f"`{text}` is the name of a picture, not of {kind}", where=option, hint=f"{option} {usual}")
    return parse_path(text)


def read_names(arguments: Sequence[str]) -> Iterator[str]:
    """File names as given; for `-`, one a line from standard input, as bytes of any kind."""
    for word in arguments:
        if word == "-":
            yield from read_stdin_names()
        else:
            yield word


def read_stdin_names(*, null: bool = False) -> Iterator[str]:
    """File names on standard input, as bytes of any kind: one a line, or with `null` each with a zero byte after it."""
    if not null:
        yield from (os.fsdecode(line) for raw in sys.stdin.buffer if (line := raw.rstrip(b"\r\n")))
        return
    remainder, stream = b"", cast("io.BufferedReader", sys.stdin.buffer)
    while block := stream.read1(1 << 16):
        *complete, remainder = (remainder + block).split(b"\0")
        yield from (os.fsdecode(name) for name in complete if name)
    if remainder:
        yield os.fsdecode(remainder)


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """The output as bytes: a file, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        return
    with translate_disk_errors(path), path.open("wb") as out:
        yield out


def write_csv_row(out: BinaryIO, cells: Sequence[object]) -> None:
    """One line of CSV."""
    from headstart.core.storage.csv_tables import format_csv

    out.write(format_csv([cells]))
    out.flush()


def write_json_row(out: BinaryIO, row: dict[str, Any]) -> None:
    """One JSON object in ASCII on a line; undecodable bytes of a name survive as escapes."""
    out.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
    out.flush()


def print_summary(
    answered: int,
    unread: int,
    *,
    quiet: bool,
    unknown: int = 0,
    earlier_rows: int = 0,
    arguments: Sequence[str] = (),
    hint: str | None = "the column `error` of each row says why",
) -> int:
    """The exit code 0, and on stderr how many were answered, by `unknown`, could not be read or are of an earlier call.

    Raises:
        DataError: No picture could be read; `hint` says where each tells why.
    """
    if not answered and not earlier_rows:
        if unread:
            raise DataError(f"none of {unread:,} files could be read", hint=hint)
        raise DataError(f"there is no picture {_format_arguments(arguments)}")
    if not quiet:
        of_them = f" ({unknown:,} of them unknown)" if unknown else ""
        earlier = f", {earlier_rows:,} rows were there already" if earlier_rows else ""
        print(f"{answered:,} answered{of_them}, {unread:,} could not be read{earlier}", file=sys.stderr)
    return 0


def _format_arguments(arguments: Sequence[str]) -> str:
    if not arguments or "-" in arguments:
        return "among what was named"
    more = f" and {len(arguments) - 3:,} more" if len(arguments) > 3 else ""
    return f"in {', '.join(f'`{word}`' for word in arguments[:3])}{more}"
