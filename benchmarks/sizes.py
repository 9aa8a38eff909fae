"""What an installation weighs: megabytes of the base package and of each extra with all that it needs, as installed."""

import re
from importlib import metadata

from packaging.requirements import Requirement

from headstart.core.extras import EXTRAS


def needed(declared):
    """Names of the installed packages that requirements lead to, themselves included."""
    found, waiting = {}, list(declared)
    while waiting:
        one = waiting.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        try:
            of = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        new = ({"", *one.extras}) - found.setdefault(name, set())
        found[name] |= new
        for further in map(Requirement, of.requires or ()):
            if any(further.marker is None or further.marker.evaluate({"extra": extra}) for extra in new):
                waiting.append(further)
    return set(found)


def megabytes(names):
    """Bytes of the files of packages, in millions."""
    files = [file for name in names for file in metadata.distribution(name).files or ()]
    return sum(file.locate().stat().st_size for file in files if file.locate().is_file()) / 1e6


def main():
    """Print a row for the base package and each extra: what it adds to the base, and beside `fit`."""
    declared = list(map(Requirement, metadata.requires("headstart")))
    base = needed(one for one in declared if one.marker is None)
    print(f"base     {len(base):3} packages {megabytes(base):6,.0f} MB")
    fit = None
    for extra in EXTRAS:
        of = [one for one in declared if one.marker is not None and one.marker.evaluate({"extra": extra})]
        more = needed(Requirement(str(one).partition(";")[0]) for one in of) - base
        fit = fit if fit is not None else more
        print(
            f"{extra:8} {len(more):3} packages {megabytes(more):6,.0f} MB; beside fit {megabytes(more - fit):6,.0f} MB"
        )


if __name__ == "__main__":
    main()
