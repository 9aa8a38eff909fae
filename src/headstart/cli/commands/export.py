"""Write a run's model as Keras, SavedModel, ONNX, OpenVINO or LiteRT, compared on real pictures."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.parser import parse_folder, parse_name, parse_names, parse_number
from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes


class Export:
    """Write a run's model as Keras, SavedModel, ONNX, OpenVINO or LiteRT, compared on real pictures.

    Each folder has a `predict.py` that needs numpy, Pillow and the format's own runtime alone; it is run before the
    folder is put into place, and what it answers must be what the run answers.
    """

    name = "export"
    interruption_note = "nothing was written; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, the formats, the place and the gate."""
        parser.add_argument("run", metavar="RUN", type=parse_name, help="a run folder")
        add = parser.add_argument
        help_text = "keras, saved_model, onnx, openvino, litert; several with commas, or the option again"
        add("--to", metavar="FORMAT", type=parse_names, action="extend", required=True, help=help_text)
        help_text = "where to: the folder of one format; of several, one below it each"
        add("--out", metavar="DIR", type=parse_folder, required=True, help=help_text)
        add("--precision", metavar="{f32,f16,int8}", default="f32", help="of weights and, in int8, of values")
        help_text = (
            "accuracy, or R² of numbers, that f16 or int8 may cost; beyond it nothing is written (default: 0.01)"
        )
        add("--max-drop", metavar="SHARE", type=parse_number, default=0.01, help=help_text)
        help_text = "labelled pictures to compare on, instead of those that judged the run"
        add("--data", metavar="DIR", type=parse_name, help=help_text)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Export and print what was measured."""
        from headstart.api import actions

        console = options.make_console(args)
        gate = {"precision": args.precision, "max_drop": args.max_drop, "data": args.data}
        exports = actions.export(args.run, args.to, args.out, console=console, **gate)
        console.print_result(format_exports(exports), {"exports": exports})
        return 0


def format_exports(exports: list[dict[str, Any]]) -> str:
    """One line a format: size, difference from the run, speed, and what the precision costs."""
    scores = [export["score"] for export in exports if export["score"]]
    head = (
        "format",
        "size",
        "largest difference",
        "same answers",
        "median",
        "95 %",
        scores[0]["metric"] if scores else "",
        "folder",
    )
    rows = [
        (
            f"{export['format']} {export['precision']}",
            format_bytes(export["bytes"]),
            f"{export['parity_max_abs']:.1e}",
            f"{export['label_agreement']:.1%} of {export['compared']}",
            f"{export['p50_ms']:.1f} ms",
            f"{export['p95_ms']:.1f} ms",
            _format_change(export["score"]) if export["score"] else "",
            export["path"],
        )
        for export in exports
    ]
    return format_table(head, rows, right=(1, 2, 4, 5))


def _format_change(change: dict[str, Any]) -> str:
    return f"{change['change']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}] (n = {change['n']:,})"


PLUGIN = Export()
