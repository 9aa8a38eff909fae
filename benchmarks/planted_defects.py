"""Recall, precision and false alarms of every data check, on real pictures with defects planted in them.

Each part (a module of `benchmarks.planted`) plants defects of one kind in pictures that are otherwise sound, runs the
check, and beside it the audit tools of the field on the same files, where they look for the same thing:
`.venv/bin/python -m pip install cleanlab==2.9.0 cleanvision==0.3.7` first; without them their rows are left out.

    python -m benchmarks.planted_defects            # all parts
    python -m benchmarks.planted_defects labels     # one of them
"""

import importlib
import sys

from benchmarks.planted import PARTS, format_row

HEADER = (
    f"{'check':<14}{'planted defect':<34}{'tool':<14}{'planted':>8}{'recall':>8}{'precision':>10}{'false alarms':>22}"
)


def main(parts: list[str]) -> None:
    print(HEADER, flush=True)
    for part in parts or PARTS:
        for row in importlib.import_module(f"benchmarks.planted.{part}").measure():
            print(format_row(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
