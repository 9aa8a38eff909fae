"""Compute the features of the backbones once, into the cache."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.fit import KEPT
from headstart.cli.tables import table
from headstart.core.say import duration

SETTINGS = (
    "backbones",
    "precision",
    "budget",
    "seed",
)


class Embed:
    """Compute the features of the backbones once, into the cache."""

    name = "embed"
    kept = KEPT

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add DATA, the settings that matter here, and the output options."""
        options.add_data(parser)
        options.add_settings(parser, *SETTINGS)
        options.add_out(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Run the stages up to this one."""
        from headstart import pipeline

        data, settings = options.request(args)
        say = options.say(args)
        found = pipeline.embed(data, out=args.out, say=say, **settings)
        say.result(text(found), found)
        return 0


def text(found: dict[str, Any]) -> str:
    """One line a backbone."""
    rows = [
        (e["backbone"], f"{e['pictures']:,}", f"{e['cached']:,}", duration(e["seconds"]), _depths(e["depths"]))
        for e in found["embeddings"]
    ]
    return table(("backbone", "pictures", "from cache", "time", "depths"), rows, right=(1, 2, 3))


def _depths(depths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({dim})" for name, dim in depths.items())


PLUGIN = Embed()
