"""Write a run's model as Keras, SavedModel, ONNX, OpenVINO or LiteRT, compared on real pictures."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.parser import comma_separated, filled, number, place
from headstart.cli.text_tables import table
from headstart.core.console import format_bytes


class Export:
    """Write a run's model as Keras, SavedModel, ONNX, OpenVINO or LiteRT, compared on real pictures.

    Each folder has a `predict.py` that needs numpy, Pillow and the format's own runtime alone; it is run before the
    folder is put into place, and what it answers must be what the run answers.
    """

    name = "export"
    kept = "nothing was written; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, the formats, the place and the gate."""
        parser.add_argument("run", metavar="RUN", type=filled, help="a run folder")
        parser.add_argument(
            "--to",
            metavar="FORMAT",
            type=comma_separated,
            action="extend",
            required=True,
            help="keras, saved_model, onnx, openvino, litert; several with commas, or the option again",
        )
        said = "where to: the folder of one format; of several, one below it each"
        parser.add_argument("--out", metavar="DIR", type=place, required=True, help=said)
        parser.add_argument(
            "--precision", metavar="{f32,f16,int8}", default="f32", help="of weights and, in int8, of values"
        )
        said = "accuracy that f16 or int8 may cost; beyond it nothing is written (default: 0.01)"
        parser.add_argument("--max-drop", metavar="SHARE", type=number, default=0.01, help=said)
        said = "labelled pictures to compare on, instead of those that judged the run"
        parser.add_argument("--data", metavar="DIR", type=filled, help=said)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Export and print what was measured."""
        from headstart.api import actions

        console = options.make_console(args)
        found = actions.export(
            args.run,
            args.to,
            args.out,
            precision=args.precision,
            max_drop=args.max_drop,
            data=args.data,
            console=console,
        )
        console.print_result(text(found), {"exports": found})
        return 0


def text(found: list[dict[str, Any]]) -> str:
    """One line a format: size, difference from the run, speed, and what the precision costs."""
    head = ("format", "size", "largest difference", "same answers", "median", "95 %", "accuracy", "folder")
    rows = [
        (
            f"{one['format']} {one['precision']}",
            format_bytes(one["bytes"]),
            f"{one['parity_max_abs']:.1e}",
            f"{one['label_agreement']:.1%} of {one['compared']}",
            f"{one['p50_ms']:.1f} ms",
            f"{one['p95_ms']:.1f} ms",
            _change(one["accuracy"]),
            one["path"],
        )
        for one in found
    ]
    return table(head, rows, right=(1, 2, 4, 5))


def _change(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    return f"{one['change']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}] (n = {one['n']:,})"


PLUGIN = Export()
