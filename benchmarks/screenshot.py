"""Take a picture of a run's report: `python -m benchmarks.screenshot RUN report.png [--width 1280] [--dark]`."""

import argparse
import sys
from pathlib import Path

from tests.browser import find, screenshot


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280, help="px; Chromium needs 500 or more")
    parser.add_argument("--height", type=int, default=1500, help="px")
    parser.add_argument("--dark", action="store_true", help="as on a dark screen")
    args = parser.parse_args()
    if find() is None:
        sys.exit("error: there is no Chromium here\n\nhint: apt-get install chromium")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    page = (args.run / "report.html").resolve(strict=True)
    screenshot(page, args.out.resolve(), width=args.width, height=args.height, dark=args.dark)
    print(args.out)


if __name__ == "__main__":
    main()
