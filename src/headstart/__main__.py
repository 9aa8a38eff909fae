"""`python -m headstart` is the same as `headstart`."""

from __future__ import annotations

import os
import sys

from headstart.cli.main import INTERRUPTED, main

if __name__ == "__main__":
    code = main()
    if code == INTERRUPTED:
        # Where Ctrl-C met code made from text (dataclasses are), Python would end by the signal in spite of our answer.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
