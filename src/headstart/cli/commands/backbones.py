"""List, search, show and fetch the backbones; check and clear the cache."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.cli import options
from headstart.cli.backbones import add_remove, recommend, sync_measure, verify_prune
from headstart.cli.parser import parse_name
from headstart.core.console import Console
from headstart.core.errors import UsageError, format_nearest
from headstart.core.storage.cache import default_store

if TYPE_CHECKING:
    from headstart.core.storage.cache import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    handle: Callable[[argparse.Namespace, Store, Console], int]  # does it and gives the exit code
    needs: str = ""  # what must follow the action's name
    takes: tuple[str, ...] = ()  # options that are its own


class Backbones:
    """List, search, show and fetch the backbones; check and clear the cache.

    list [NAME …]       a table: size, cost, input, prior, measured speed, licence, and whether the weights are here
    search TEXT …       the same of those whose name, family, training data or licence has every word, and of the index
    show NAME …         everything, with the licence's small print
    pull NAME …         fetch the weights into the cache; goes on after a break
    add FILE            a file of your own (.keras, .onnx, OpenVINO .xml, SavedModel folder) as a backbone;
                        or huggingface:ORG/NAME, where you want to say how it is read
    remove NAME …       take the name of such a file away
    recommend DATA      what `auto` would consider for a data set, why, and what it takes; nothing is fetched
    sync                refresh the index of names that others publish; --from FILE|URL where there is no network
    measure [NAME …]    measure speed and memory again, of all trunks that are ready here or of the named
    verify [NAME …]     hash weights and compiled trunks in the cache again; ends with 1 when one is damaged
    prune               remove what nothing can use any more, and with --older-than what was not used for so long
    """

    name = "backbones"
    interruption_note = "what was fetched is kept; run the same command again and it goes on"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the action, the names and the options."""
        parser.add_argument("action", metavar=f"{{{','.join(ACTIONS)}}}", help="what to do")
        parser.add_argument("names", metavar="NAME", nargs="*", help="`source:preset`, a TEXT, a FILE, or DATA")
        parser.add_argument("--sha256", metavar="HEX", type=parse_name, help="sync: what the file must have")
        kind, source_help = sync_measure.parse_place_or_address, "sync: an index as a file, or its address"
        parser.add_argument("--from", metavar="FILE|URL", dest="source", type=kind, help=source_help)
        parser.add_argument("--older-than", metavar="TIME", type=_parse_age_s, help="prune: 12h, 30d, 8w")
        parser.add_argument("--dry-run", action="store_true", help="prune: only tell what would go")
        add_remove.add_options(parser)
        recommend.add_options(parser)
        options.add_offline(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Do it."""
        action = ACTIONS.get(args.action)
        if action is None:
            hint = format_nearest(args.action, ACTIONS) or f"known: {', '.join(ACTIONS)}"
            raise UsageError(f"there is no action `{args.action}`", hint=hint)
        if action.needs and not args.names:
            raise UsageError(f"backbones {args.action} needs a {action.needs}", hint="headstart backbones --help")
        for name in _OWN:
            value = getattr(args, name)
            if name not in action.takes and value is not None and value is not False:  # 0 is a value
                option = "--from" if name == "source" else options.flag(name)
                takers = ", ".join(other for other, form in ACTIONS.items() if name in form.takes)
                raise UsageError(f"backbones {args.action} has no option `{option}`", hint=f"it is of {takers}")
        console = options.make_console(args)
        return action.handle(args, default_store(console), console)


_OWN = ("sha256", "source", "older_than", "dry_run", *add_remove.OWN, *recommend.OWN)
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def _parse_age_s(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"`{text}` is not a time like 12h, 30d or 8w")
    return float(match[1]) * _SECONDS[match[2]]


def _list_backbones(args: argparse.Namespace, store: Store, console: Console) -> int:
    from headstart.backbones.inventory import catalogue
    from headstart.cli.backbones.list_show import format_list

    if args.action == "list":
        entries = catalogue.list_facts(store, args.names)
    else:
        entries = catalogue.search_facts(catalogue.list_facts(store) + catalogue.list_index_facts(store), args.names)
    add_remove.warn_of_damaged(console)
    console.print_result(format_list(entries) if entries else "no backbone fits", {"backbones": entries})
    return 0


def _show_backbones(args: argparse.Namespace, store: Store, console: Console) -> int:
    from headstart.backbones.inventory import catalogue
    from headstart.cli.backbones.list_show import format_page

    entries = catalogue.list_facts(store, args.names)
    console.print_result("\n\n".join(map(format_page, entries)), {"backbones": entries})
    return 0


def _pull_weights(args: argparse.Namespace, store: Store, console: Console) -> int:
    from headstart.backbones import loading, source_lookup
    from headstart.backbones.downloads.shared_weights import pull_weights

    for name in args.names:  # every name is checked before anything is fetched
        with contextlib.suppress(source_lookup.NotHere):
            loading.find_backbone(name, console=console)
    chosen = [loading.find_backbone(name, fetching=True, console=console) for name in args.names]
    pulled = [{"name": c.spec.name, "file": str(pull_weights(c, store, console, sharing=True))} for c in chosen]
    lines = [f"{entry['name']} is here: {entry['file']}" for entry in pulled]
    console.print_result("\n".join(lines), {"pulled": pulled})
    return 0


ACTIONS = {
    "list": _Action(handle=_list_backbones),
    "search": _Action(handle=_list_backbones, needs="TEXT"),
    "show": _Action(handle=_show_backbones, needs="NAME"),
    "pull": _Action(handle=_pull_weights, needs="NAME"),
    "add": _Action(handle=add_remove.add_file, needs="FILE", takes=add_remove.OWN),
    "recommend": _Action(handle=recommend.recommend_backbones, needs="DATA", takes=(*recommend.OWN, "licence")),
    "remove": _Action(handle=add_remove.remove_names, needs="NAME"),
    "sync": _Action(handle=sync_measure.sync_index, takes=("source", "sha256")),
    "measure": _Action(handle=sync_measure.measure_trunks),
    "verify": _Action(handle=verify_prune.verify_cache),
    "prune": _Action(handle=verify_prune.prune_cache, takes=("older_than", "dry_run")),
}
PLUGIN = Backbones()
