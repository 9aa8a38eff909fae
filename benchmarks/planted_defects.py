"""Recall, precision and false alarms of the data checks that can err, on real pictures with defects planted in them.

Each part (a module of `benchmarks.planted`) plants defects of one kind in pictures that are otherwise sound, runs the
check, and beside it the audit tools of the field on the same files, where they look for the same thing:
`.venv/bin/python -m pip install cleanlab==2.9.0 cleanvision==0.3.7 datasets` first; without them their rows are left
out. The stamps of Tux Paint are read where `apt-get download tuxpaint-stamps-default && dpkg -x
tuxpaint-stamps-default_*.deb stamps` has put them, in the folder where the benchmark is started.

    python -m benchmarks.planted_defects            # all parts
    python -m benchmarks.planted_defects labels     # one of them
"""

import argparse
import importlib

from benchmarks.planted import PARTS, format_row

HEADER = (
    f"{'check':<14}{'planted defect':<34}{'tool':<14}{'planted':>8}{'recall':>8}{'precision':>10}{'false alarms':>22}"
)


def main() -> None:
    """A line for each defect and tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them without any")
    parts = parser.parse_args().parts or PARTS
    if unknown := ", ".join(sorted({*parts} - {*PARTS})):
        parser.error(f"{unknown}: parts are {', '.join(PARTS)}")
    print(HEADER, flush=True)
    for part in parts:
        for row in importlib.import_module(f"benchmarks.planted.{part}").measure():
            print(format_row(row), flush=True)


if __name__ == "__main__":
    main()
