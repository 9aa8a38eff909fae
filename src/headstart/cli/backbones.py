"""List the backbones, show all that is known of one, or fetch its weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from headstart.cli import options
from headstart.cli.tables import table
from headstart.core.errors import UsageError, nearest
from headstart.core.opening import default_store
from headstart.core.say import Say, size

if TYPE_CHECKING:
    from headstart.core.store import Store

ACTIONS = ("list", "show", "pull")
HEAD = ("name", "family", "params", "GFLOPs", "input px", "ImageNet prior", "weights", "licence")


class Backbones:
    """List the backbones, show all that is known of one, or fetch its weights.

    list        a table of all: size, cost, input, licence, prior, and whether the weights are here
    show NAME   everything, with the licence's small print
    pull NAME   fetch the weights into the cache; several names may follow
    """

    name = "backbones"
    kept = "weights that were fetched whole are kept; run the same command again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the action, the names and the output options."""
        parser.add_argument("action", metavar="{list,show,pull}", help="what to do")
        parser.add_argument("names", metavar="NAME", nargs="*", help="`source:preset`")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Do it."""
        if args.action not in ACTIONS:
            hint = nearest(args.action, ACTIONS) or f"known: {', '.join(ACTIONS)}"
            raise UsageError(f"there is no action `{args.action}`", hint=hint)
        if args.action != "list" and not args.names:
            raise UsageError(f"backbones {args.action} needs a NAME", hint="headstart backbones list shows them")
        say = options.say(args)
        {"list": _list, "show": _show, "pull": _pull}[args.action](args.names, default_store(say), say)
        return 0


def facts(name: str, store: Store) -> dict[str, Any]:
    """All that is known of a backbone, as plain JSON, and whether its weights are here.

    Raises:
        UsageError: No backbone has this name; the nearest are in the hint.
    """
    from headstart.core.keys import plain
    from headstart.kit import trunk

    found = trunk.find(name)
    known: dict[str, Any] = plain(found.spec)
    return known | {"weights_here": bool(found.source.available(found.preset, store))}


def _list(names: list[str], store: Store, say: Say) -> None:
    from headstart.kit import trunk

    entries = [facts(name, store) for name in names or trunk.names()]
    rows = [
        (
            entry["name"],
            entry["family"],
            f"{entry['params'] / 1e6:.1f} M",
            f"{entry['flops'] / 1e9:.2f}",
            str(entry["input"]["size_px"]),
            f"{entry['prior']:.3f}",
            "here" if entry["weights_here"] else "pull",
            entry["licence"],
        )
        for entry in entries
    ]
    say.result(table(HEAD, rows, right=(2, 3, 4, 5)), {"backbones": entries})


def _show(names: list[str], store: Store, say: Say) -> None:
    entries = [facts(name, store) for name in names]
    say.result("\n\n".join(map(_page, entries)), {"backbones": entries})


def _page(entry: dict[str, Any]) -> str:
    taken = ", ".join(f"{depth['name']} ({depth['dim']})" for depth in entry["depths"])
    here = "here" if entry["weights_here"] else f"not here: headstart backbones pull {entry['name']}"
    rows = [
        ("family", entry["family"]),
        ("revision", entry["revision"]),
        ("trained on", entry["pretrained_on"]),
        ("prior", f"{entry['prior']:.3f}, {entry['prior_source']}"),
        ("params", f"{entry['params']:,}"),
        ("cost", f"{entry['flops'] / 1e9:.2f} GFLOPs a picture"),
        ("input", _input(entry["input"])),
        ("depths", taken),
        ("licence", entry["licence"]),
        ("note", entry["licence_note"] or "-"),
        ("weights", f"{size(entry['download_bytes'])}, {here}"),
    ]
    return f"{entry['name']}\n{table(('', ''), rows)}"


def _input(spec: dict[str, Any]) -> str:
    how = f"{spec['size_px']} px, {spec['resize']}, {spec['interpolation']}"
    cut = f", centre {spec['crop_fraction']:.3g}" if spec["resize"] == "crop" else ""
    return f"{how}{cut}; {spec['channels']} * {spec['scale']:.6g} - {spec['mean']}, / {spec['std']}"


def _pull(names: list[str], store: Store, say: Say) -> None:
    from headstart.kit import trunk

    chosen = [trunk.find(name) for name in names]  # every name is checked before anything is fetched
    pulled = [{"name": c.spec.name, "file": str(c.source.pull(c.preset, store, say))} for c in chosen]
    lines = [f"{entry['name']} is here: {entry['file']}" for entry in pulled]
    say.result("\n".join(lines), {"pulled": pulled})


PLUGIN = Backbones()
