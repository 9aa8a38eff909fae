"""Answer for any number of pictures with a saved model: CSV, JSON Lines or Parquet, row by row."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli import answer_output
from headstart.cli.parser import parse_name, parse_path
from headstart.core.blas_threads import request_single_blas_thread
from headstart.core.errors import UsageError

if TYPE_CHECKING:
    from headstart.core.types import AnswerLayout
    from headstart.runtime.batch_prediction import AnswerCounts, UsageWriter
    from headstart.runtime.inputs.decoded_batches import Source
    from headstart.runtime.inputs.image_sources import NamedSource
    from headstart.runtime.model import Model
    from headstart.runtime.outputs.resumable_table import Table

FORMATS = ("csv", "jsonl", "parquet")


class Predict:
    """Answer for any number of pictures with a saved model: CSV, JSON Lines or Parquet, row by row.

    FILE is a picture, a folder, a pattern in quotes ('photos/**/*.jpg'), an archive (.zip, .tar, .tar.gz) or a table
    with a column of paths (.csv, .tsv, .jsonl, .parquet); - reads names from standard input. Rows come in the order of
    the pictures while the work goes on; what cannot be read has a row that says why. With the name of a backbone
    instead of a run, the answers are ImageNet's classes, as its source learnt them.
    """

    name = "predict"
    interruption_note = "the rows that were written are whole; the same command with --resume goes on"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, FILES, what they mean, and the form of the rows."""
        add = parser.add_argument
        add("run", metavar="RUN", type=parse_name, help="a run folder, the model folder in it, or a backbone's name")
        help_text = "pictures, folders, patterns, archives, tables of paths, s3:// addresses; - reads names from stdin"
        add("files", metavar="FILE", nargs="+", type=parse_name, help=help_text)
        add("--column", metavar="NAME", type=parse_name, help="column of paths in tables (default: file, path, …)")
        help_text = "where relative paths of tables start (default: the table's folder)"
        add("--root", metavar="DIR", type=parse_path, help=help_text)
        add("--null", action="store_true", help="names from stdin end with a zero byte, as of find -print0")
        help_text = "answer with the likeliest class where the model would rather not"
        add("--no-unknown", action="store_true", help=help_text)
        help_text = "form of the rows (default: as --out ends, else csv)"
        add("--format", metavar="{csv,jsonl,parquet}", help=help_text)
        add("--json", action="store_true", help="the same as --format jsonl")
        add("--out", metavar="FILE", type=answer_output.parse_table_path, help="write the rows there (default: stdout)")
        add("--resume", action="store_true", help="go on with the --out of a killed run")
        add("--overwrite", action="store_true", help="replace an --out that is there")
        help_text = "append counts of what was answered, for `headstart drift`"
        add("--usage", metavar="FILE", type=answer_output.parse_log_path, help=help_text)
        add("--quiet", action="store_true", help="no summary on stderr")

    def __call__(self, args: argparse.Namespace) -> int:
        """Answer, row by row, and sum up on stderr."""
        request_single_blas_thread()
        from headstart.runtime.inputs import image_sources

        form = _choose_format(args)
        arguments = [word for word in args.files if word != "-"]
        image_sources.require_readable_tables(arguments, column=args.column, root=args.root)
        sources = image_sources.read_sources(_name_sources(args), column=args.column, root=args.root)
        answer = _answer_by_backbone if _is_backbone(args.run) else _answer_by_run
        counts = answer(args, form, sources)
        return answer_output.print_summary(
            counts.answered,
            counts.unread,
            quiet=args.quiet,
            unknown=counts.unknown,
            earlier_rows=counts.resumed_rows,
            arguments=args.files,
        )


def _choose_format(args: argparse.Namespace) -> str:
    """`csv`, `jsonl` or `parquet`, as asked for or as the file's name ends.

    Raises:
        UsageError: There is no such format, or options do not fit together.
    """
    if args.resume and args.overwrite:
        raise UsageError("--resume goes on and --overwrite begins again: only one is possible", where="--resume")
    for option in ("resume", "overwrite"):
        if getattr(args, option) and args.out is None:
            raise UsageError(f"--{option} is about a file", where=f"--{option}", hint="name it with --out")
    row_format = answer_output.choose_format("jsonl" if args.json else args.format, args.out, FORMATS)
    if row_format == "parquet" and args.out is None:
        raise UsageError("Parquet cannot be written to standard output", where="--format", hint="--out rows.parquet")
    return row_format


def _name_sources(args: argparse.Namespace) -> Iterator[NamedSource]:
    """Names as given; those that stand on standard input are no patterns."""
    from headstart.runtime.inputs.image_sources import NamedSource

    for word in args.files:
        if word == "-":
            for name in answer_output.read_stdin_names(null=args.null):
                yield NamedSource(text=name, pattern=False)
        else:
            yield NamedSource(text=word)


def _is_backbone(name: str) -> bool:
    from headstart.core import registry

    source, colon, _ = name.partition(":")
    return bool(colon) and source in registry.list_plugins("backbones") and not Path(name).exists()


def _answer_by_run(args: argparse.Namespace, form: str, sources: Iterator[Source]) -> AnswerCounts:
    from headstart import __version__
    from headstart.core.storage.hashing import file_digest
    from headstart.runtime import batch_prediction
    from headstart.runtime.model import load

    model, unknown = load(args.run), not args.no_unknown
    writer = _make_usage_writer(args.usage, model)
    batch, sources = batch_prediction.choose_batch(sources)
    digest = file_digest(model.folder / "manifest.json")
    made_by = {"headstart": __version__, "model": digest, "form": form, "unknown": unknown, "batch": batch}
    with contextlib.closing(_open_table(args, form, model.layout, made_by)) as table:
        return batch_prediction.answer_all(model, sources, table, batch=batch, unknown=unknown, usage_writer=writer)


def _make_usage_writer(path: Path | None, model: Model) -> UsageWriter | None:
    if path is None:
        return None
    from headstart.runtime.batch_prediction import UsageWriter
    from headstart.runtime.usage_log import UsageCounter, require_log

    usage = UsageCounter.from_model(model)
    require_log(path)
    return UsageWriter(usage, path)


def _open_table(args: argparse.Namespace, form: str, layout: AnswerLayout, made_by: dict[str, Any]) -> Table:
    from headstart.runtime.outputs import resumable_table

    if args.out is None:
        return resumable_table.StreamTable(sys.stdout.buffer, form, layout)
    mode = "resume" if args.resume else "overwrite" if args.overwrite else "new"
    return resumable_table.open_table(args.out, form, layout, made_by, mode=mode)


def _answer_by_backbone(args: argparse.Namespace, form: str, sources: Iterator[Source]) -> AnswerCounts:
    from headstart.api.zeroshot import source_classifier
    from headstart.core.console import Console
    from headstart.core.types import AnswerLayout
    from headstart.runtime.batch_prediction import AnswerCounts

    for option in ("resume", "usage"):
        if getattr(args, option):
            raise UsageError(f"--{option} needs a run, not a backbone", where=f"--{option}")
    answers = source_classifier(args.run, console=Console(quiet=args.quiet)).predict(sources)
    counts = AnswerCounts()
    with contextlib.closing(_open_table(args, form, AnswerLayout(), {"model": args.run, "batch": 1})) as table:
        for prediction in answers:
            table.write_rows([prediction])
            counts.answered += not prediction.error
            counts.unread += bool(prediction.error)
        table.finish()
    return counts


PLUGIN = Predict()
