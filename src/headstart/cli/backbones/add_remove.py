"""`headstart backbones add` and `remove`: a user's own file as a backbone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from headstart.cli.parser import parse_name, parse_names, parse_number, parse_path, parse_whole_number
from headstart.core.errors import DataError, UsageError, format_nearest

if TYPE_CHECKING:
    from headstart.backbones.imported.description import ImportedBackbone
    from headstart.backbones.imported.registration import ImportRequest
    from headstart.core.console import Console
    from headstart.core.storage.cache import Store

OWN = (
    *("name", "depths", "size", "scale", "mean", "std", "channels", "layout", "resize", "interpolation", "crop"),
    *("licence", "trust"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `add`."""
    group = parser.add_argument_group("add", "what the file does not tell is found or guessed, and shown")
    group.add_argument("--name", type=parse_name, help="the backbone is `saved_file:NAME` (default: the file's name)")
    group.add_argument("--depths", metavar="LAYER,LAYER", type=parse_names, help="layers to cut at; `last` is one")
    help_text = "side of the pictures (default: the file's, or 224)"
    group.add_argument("--size", metavar="PX", type=parse_whole_number, help=help_text)
    group.add_argument("--scale", metavar="X", type=parse_number, help="factor on 0..255, before the mean is taken off")
    group.add_argument("--mean", metavar="X[,X,X]", type=_parse_numbers, help="taken off after the factor")
    group.add_argument("--std", metavar="X[,X,X]", type=_parse_numbers, help="divided by at last")
    group.add_argument("--channels", choices=("rgb", "bgr"), help="order of the colours (default: rgb)")
    group.add_argument("--layout", choices=("nchw", "nhwc"), help="where the file has its channels")
    group.add_argument("--resize", choices=("crop", "squash"), help="how pictures become squares (default: crop)")
    group.add_argument("--interpolation", choices=("bilinear", "bicubic"), help="of the resize (default: bicubic)")
    group.add_argument("--crop", metavar="X", type=parse_number, help="share of the side that is kept (default: 0.875)")
    group.add_argument(
        "--licence", "--license", metavar="SPDX", type=parse_name, help="of the weights; recommend: permissive"
    )
    group.add_argument("--trust", action="store_true", help="let the Python code in a `.keras` file run")


def _parse_numbers(text: str) -> tuple[float, ...]:
    return tuple(parse_number(part) for part in parse_names(text))


def add_file(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Copy the file into the cache, describe it and show what was found.

    Raises:
        UsageError: There is more than one file, or a wish does not fit it.
        DataError: The file is refused or damaged.
    """
    from headstart.backbones.imported import registration
    from headstart.backbones.imported.description import HUB, SOURCE
    from headstart.core.storage.serialization import as_json

    if len(args.names) != 1:
        raise UsageError(f"backbones add takes one FILE, not {len(args.names)}")
    request = _make_request(args)
    if args.names[0].startswith(f"{HUB}:"):
        imported, source = _add_from_hub(args.names[0], request, store, console), HUB
    else:
        imported, source = registration.add_file(request, store, console), SOURCE
    name = f"{source}:{imported.name}"
    text = f"{name} is here\nuse it  headstart fit DATA --backbones {name}"
    console.print_result(text, {"added": name, **as_json(imported)})
    return 0


def _make_request(args: argparse.Namespace) -> ImportRequest:
    from headstart.backbones.imported.registration import ImportRequest

    if args.size is not None and args.size < 1:
        raise UsageError(f"`{args.size}` px are no picture", where="--size")
    if args.crop is not None and not 0 < args.crop <= 1:
        raise UsageError(f"`{args.crop}` is no share above 0 and up to 1", where="--crop")
    names = ("name", "channels", "layout", "resize", "interpolation", "licence")
    words: dict[str, Any] = {name: getattr(args, name) or "" for name in names}
    return ImportRequest(
        file=parse_path(args.names[0]),
        depths=args.depths or (),
        size_px=args.size or 0,
        scale=args.scale,
        mean=args.mean or (),
        std=args.std or (),
        crop_fraction=args.crop or 0.0,
        trust=args.trust,
        **words,
    )


def _add_from_hub(name: str, request: ImportRequest, store: Store, console: Console) -> ImportedBackbone:
    from headstart.backbones.huggingface import hub_api, import_model
    from headstart.backbones.imported.description import HUB

    foreign = {"--name": request.name, "--trust": request.trust}
    if option := next((option for option, value in foreign.items() if value), None):
        raise UsageError(f"a network of the hub has no option `{option}`", where=option)
    repository = hub_api.Repository.parse(name.removeprefix(f"{HUB}:"))
    return import_model.import_repository(repository, store, console, request)


def remove_names(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Take names of added files, and of networks from a hub, away.

    Raises:
        UsageError: A name is neither; then none goes.
    """
    from headstart.backbones.imported import description

    removable = {
        ("" if source == description.SOURCE else f"{source}:") + name: (source, name)
        for source in (description.SOURCE, description.HUB, description.KERAS_HUB)
        for name in description.list_names(source, store) + description.list_damaged(source, store)
    }
    chosen = tuple(dict.fromkeys(name.removeprefix(f"{description.SOURCE}:") for name in args.names))
    for name in chosen:
        if name not in removable:
            hint = format_nearest(name, removable) or "headstart backbones list"
            raise UsageError(f"`{name}` is no file that was added: only the names of those can be removed", hint=hint)
    for source, preset in map(removable.__getitem__, chosen):
        description.remove_description(preset, store, source)
    gone = [":".join(removable[name]) for name in chosen]
    lines = "\n".join(f"{name} is no backbone any more" for name in gone)
    console.print_result(f"{lines}\nwhat is kept of the file goes with: headstart backbones prune", {"removed": gone})
    return 0


def warn_of_damaged(console: Console) -> None:
    """Name the backbones of the user's own that no list can show."""
    from headstart.backbones.imported import description
    from headstart.core import registry

    for source in registry.list_plugins("backbones"):
        for name in description.list_damaged(source):
            try:
                description.read_description(source, name)
            except DataError as err:
                console.print_warning(f"{err.what}: left out; {err.hint}")
