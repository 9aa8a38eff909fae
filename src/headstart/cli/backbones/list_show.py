"""The catalogue for people: the table of `backbones list` and `search`, and the page of `backbones show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes

HEAD = (*("name", "family", "params", "GFLOPs", "input px", "ImageNet prior", "images/s", "size", "weights"), "licence")


def format_list(entries: Sequence[dict[str, Any]]) -> str:
    """One line a backbone."""
    return format_table(HEAD, [_format_row(entry) for entry in entries], right=(2, 3, 4, 5, 6, 7))


def _format_row(entry: dict[str, Any]) -> tuple[str, ...]:
    has_weights_facts = entry["input"] is not None  # else the index alone has it, and only its weights tell the rest
    return (
        entry["name"],
        entry["family"],
        f"{entry['params'] / 1e6:.1f} M" if entry["params"] else "-",
        f"{entry['flops'] / 1e9:.2f}" if has_weights_facts else "-",
        str(entry["input"]["size_px"]) if has_weights_facts else "-",
        f"{entry['prior']:.3f}" if has_weights_facts else "-",
        "-" if entry["images_per_s"] is None else f"{entry['images_per_s']:.0f}",
        format_bytes(entry["download_bytes"]) if has_weights_facts else "-",
        "here" if entry["weights_here"] else "pull",
        entry["licence"],
    )


def format_page(entry: dict[str, Any]) -> str:
    """Everything that is known of one."""
    lines = [
        ("family", entry["family"]),
        ("revision", entry["revision"]),
        ("trained on", entry["pretrained_on"]),
        ("how", entry["method"]),
        ("domains", ", ".join(entry["domains"]) or "not stated"),
        *(_index_lines(entry) if entry["indexed"] else _backbone_lines(entry)),
    ]
    return f"{entry['name']}\n{format_table(('', ''), lines)}"


def _index_lines(entry: dict[str, Any]) -> list[tuple[str, str]]:
    asks = "; its publisher asks for an account first" if entry["gated"] else ""
    return [
        *([("params", _format_params(entry))] if entry["params"] else []),
        ("task", entry["task"]),
        ("updated", entry["updated"]),
        ("licence", _format_licence(entry)),
        ("rest", "not known before the weights are here"),
        ("weights", f"not here: headstart backbones pull {entry['name']}{asks}"),
    ]


def _backbone_lines(entry: dict[str, Any]) -> list[tuple[str, str]]:
    levels = ", ".join(f"{depth['name']} ({depth['dim']})" for depth in entry["depths"])
    state = "here" if entry["weights_here"] else f"not here: headstart backbones pull {entry['name']}"
    speed = "not measured on this machine yet"
    if entry["images_per_s"] is not None:
        speed = f"{entry['images_per_s']:.0f} images/s here, one alone in {entry['latency_ms']:.3g} ms"
    source = "measured here" if entry["memory_measured"] else "a guess by its weights"
    return [
        ("prior", f"{entry['prior']:.3f}, {entry['prior_source']}"),
        ("params", _format_params(entry)),
        ("cost", f"{entry['flops'] / 1e9:.2f} GFLOPs a picture"),
        ("speed", speed),
        ("memory", f"{format_bytes(entry['memory_bytes'])} for one picture, {source}"),
        ("input", _format_input(entry["input"])),
        ("depths", levels),
        ("licence", _format_licence(entry)),
        ("note", entry["licence_note"] or "-"),
        ("weights", f"{format_bytes(entry['download_bytes'])}, {state}"),
    ]


def _format_params(entry: dict[str, Any]) -> str:
    return f"{entry['params']:,}, {format_bytes(4 * entry['params'])} in float32"


def _format_licence(entry: dict[str, Any]) -> str:
    unknown = "not known to be permissive: read it before use"
    return f"{entry['licence']}, {'permissive: commercial use is allowed' if entry['permissive'] else unknown}"


def _format_input(spec: dict[str, Any]) -> str:
    how = f"{spec['size_px']} px, {spec['resize']}, {spec['interpolation']}"
    cut = f", centre {spec['crop_fraction']:.3g}" if spec["resize"] == "crop" else ""
    return f"{how}{cut}; {spec['channels']} * {spec['scale']:.6g} - {spec['mean']}, / {spec['std']}"
