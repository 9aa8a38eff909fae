"""Serve a finished run at an endpoint of a cloud, and remove it again."""

from __future__ import annotations

import argparse

from headstart.cli import options
from headstart.cli.parser import parse_name
from headstart.core.errors import UsageError


class Deploy:
    """Serve a finished run at an endpoint of a cloud, and remove it again.

    An endpoint costs money until it is removed, whether it is asked or not. The image has headstart as its entry point.
    """

    name = "deploy"
    interruption_note = "what was made is removed; if in doubt, the same command with --remove"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, the cloud and its options."""
        add = parser.add_argument
        add("run", metavar="RUN", nargs="?", type=parse_name, help="a run folder, or the model folder in it")
        add("--on", metavar="{aws,gcp}", required=True, help="the cloud that serves it")
        add("--name", metavar="NAME", required=True, help="of the endpoint")
        help_text = "what the cloud is told; may be repeated; a wrong one lists those that there are"
        add("--on-option", metavar="NAME=VALUE", action="append", default=[], help=help_text)
        add("--remove", action="store_true", help="remove the endpoint and all that was made for it")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Deploy or remove."""
        from pathlib import Path

        from headstart.core import extras, registry
        from headstart.remote.endpoint import EndpointHost

        if args.remove == bool(args.run):
            raise UsageError(
                "either a run is deployed, or an endpoint removed", hint="headstart deploy RUN … | --remove"
            )
        host: EndpointHost = registry.load_plugin("endpoints", args.on)
        extras.require_extra(host.extra, f"deploying on {args.on}")
        pairs = dict(_parse_pair(word) for word in args.on_option)
        console = options.make_console(args)
        if args.remove:
            host.remove(args.name, pairs, console)
            return 0
        answer = host.deploy(Path(args.run), args.name, pairs, console)
        console.print_result("\n".join(f"{key:9}{value}" for key, value in answer.items()), answer)
        return 0


def _parse_pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise UsageError(f"`{word}` is not NAME=VALUE", where="--on-option", hint="--on-option bucket=my-bucket")
    return name, value


PLUGIN = Deploy()
