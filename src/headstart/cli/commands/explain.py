"""Show why a run answers as it does: a heat map on each picture, and the training pictures most like it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli import answer_output
from headstart.cli.parser import parse_folder, parse_name, parse_whole_number
from headstart.core.errors import UsageError
from headstart.core.storage.files import format_printable

if TYPE_CHECKING:
    from headstart.explanation.explain_image import Explanation


class Explain:
    """Show why a run answers as it does: a heat map on each picture, and the training pictures most like it.

    FILE is a picture, a folder, a pattern in quotes, an archive or a table of paths, as for predict. Every picture gets
    a PNG in --out; index.html there shows them with the training pictures they are like.
    """

    name = "explain"
    interruption_note = "the pictures that were written are whole; the same command writes them again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN, FILES and how."""
        add = parser.add_argument
        add("run", metavar="RUN", type=parse_name, help="a run folder, or the model folder in it")
        answer_output.add_files(parser)
        help_text = "folder to write to (default: explained)"
        add("--out", metavar="DIR", type=parse_folder, default=Path("explained"), help=help_text)
        help_text = "how heat maps are made (default: auto, exact where that is possible)"
        methods = "{auto,cam,scorecam,occlusion,gradcam}"
        add("--method", metavar=methods, default="auto", type=parse_name, help=help_text)
        help_text = "the class to speak of (default: the likeliest; of labels each that is answered)"
        add("--class", dest="class_name", metavar="NAME", type=parse_name, help=help_text)
        help_text = "training pictures to name for each (default: 4)"
        add("--neighbours", metavar="N", type=parse_whole_number, default=4, help=help_text)
        add("--json", action="store_true", help="one JSON object a picture on stdout")
        add("--quiet", action="store_true", help="no summary on stderr")

    def __call__(self, args: argparse.Namespace) -> int:
        """Explain, picture by picture, and sum up on stderr."""
        from headstart.api import actions
        from headstart.core.storage.files import write_bytes
        from headstart.explanation.explain_image import overlay_png
        from headstart.explanation.html_page import ExplanationPage, require_own_folder

        require_own_folder(args.out)
        _require_apart(args.files, args.out)
        names, wishes = answer_output.read_names(args.files), {"method": args.method, "neighbours": args.neighbours}
        explanations = actions.explain(args.run, names, class_name=args.class_name or "", **wishes)
        taken: set[str] = set()
        page = ExplanationPage()
        answered = unread = 0
        for explanation in explanations:
            file = "" if explanation.prediction.error else _make_file_name(explanation, taken)
            if file:
                if "-" in args.files:  # the other names were looked at before
                    _require_elsewhere(Path(explanation.uri), args.out)
                page.add_explanation(explanation, file)
                if not answered:
                    page.write_page(args.out / "index.html")  # from now on the folder is known as ours
                write_bytes(args.out / file, overlay_png(explanation))
            answered, unread = answered + (bool(file) and _is_first(explanation, args.class_name)), unread + (not file)
            _print_explanation(explanation, args.out / file if file else None, as_json=args.json)
        if answered:
            page.write_page(args.out / "index.html")
            if not args.quiet:
                index = format_printable((args.out / "index.html").as_posix())
                print(f"{index} shows them side by side", file=sys.stderr)
        return answer_output.print_summary(answered, unread, quiet=args.quiet, arguments=args.files, hint=None)


def _require_apart(arguments: Sequence[str], out: Path) -> None:
    """Refuse to write among the pictures, which would be written over, or be explained in their turn.

    Raises:
        UsageError: A picture lies in `out`, or `out` in a folder of pictures.
    """
    from headstart.core.storage.locations.names import is_archive, is_remote
    from headstart.runtime.inputs.decoded_batches import Content
    from headstart.runtime.inputs.image_sources import NamedSource, read_sources

    for word in arguments:
        path = Path(word)
        if is_remote(word):
            continue
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            fact = f"the folder `{out}` lies among the pictures of `{word}`"
            raise UsageError(fact, where="--out", hint="name a folder beside them with `--out`")
        if word != "-" and out.is_dir() and not is_archive(path.name):
            for source in read_sources([NamedSource(text=word)]):
                place = source.content if isinstance(source, Content) else source
                if isinstance(place, Path):
                    _require_elsewhere(place, out)


def _require_elsewhere(picture: Path, out: Path) -> None:
    if picture.resolve().parent == out.resolve():
        fact = f"the picture `{picture}` lies in `{out}`, and could be written over"
        raise UsageError(fact, where="--out", hint="name another folder with `--out`")


def _is_first(explanation: Explanation, class_name: str | None) -> bool:
    """Whether it is its picture's first: of several labels each has one."""
    from headstart.explanation.explain_image import list_explained_classes

    return explanation.class_name == (class_name or list_explained_classes(explanation.prediction)[0])


def _make_file_name(explanation: Explanation, taken: set[str]) -> str:
    """A name ending in `.png` that is not taken yet, whatever the system makes of large and small letters."""
    label = "" if explanation.prediction.labels is None else f"-{explanation.class_name}"
    name = f"{Path(explanation.uri).stem}{label}"
    stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".") or "picture"
    number, name = 1, f"{stem[:100]}.png"
    while name.lower() in taken:
        number += 1
        name = f"{stem[:100]}-{number}.png"
    taken.add(name.lower())
    return name


def _print_explanation(explanation: Explanation, file: Path | None, *, as_json: bool) -> None:
    if as_json:
        answer_output.write_json_row(sys.stdout.buffer, _make_row(explanation, file))
        return
    for line in _format_lines(explanation, file):
        print(line)


def _format_lines(explanation: Explanation, file: Path | None) -> Iterator[str]:
    from headstart.explanation.explain_image import NAMES

    if file is None:
        yield f"{format_printable(explanation.uri)}: {explanation.prediction.error}"
        return
    prediction = explanation.prediction
    chance = f"{prediction.probabilities.get(explanation.class_name, 0.0):.3f}"
    if prediction.answer != explanation.class_name:
        chance = f"(map of {format_printable(explanation.class_name)}, {chance})"
    yield f"{format_printable(explanation.uri)}: {format_printable(prediction.answer)} {chance}"
    for reason in prediction.reasons:
        yield f"  {reason}"
    yield f"  heat map   {format_printable(file.as_posix())}, {NAMES[explanation.method]}: {explanation.why}"
    if explanation.compared:
        yield f"  {explanation.compared}"
    elif explanation.neighbours:
        near = [(*map(format_printable, (n.uri, n.class_name)), n.similarity) for n in explanation.neighbours]
        yield f"  looks like {', '.join(f'{uri} ({name}, {value:.2f})' for uri, name, value in near)}"
    if explanation.prototypes:
        names = ", ".join(format_printable(n.uri) for n in explanation.prototypes)
        yield f"  {format_printable(explanation.class_name)} stands for {names}"


def _make_row(explanation: Explanation, file: Path | None) -> dict[str, Any]:
    prediction = explanation.prediction
    if file is None:
        return {"file": explanation.uri, "error": prediction.error}
    return {
        "file": explanation.uri,
        "answer": prediction.answer,
        "unknown": prediction.unknown,
        "reasons": list(prediction.reasons),
        "probabilities": {name: round(value, answer_output.DIGITS) for name, value in prediction.probabilities.items()},
        "class": explanation.class_name,
        "method": explanation.method,
        "why": explanation.why,
        "overlay": file.as_posix(),
        "size": list(explanation.size),
        "box": [round(value, 2) for value in explanation.box],
        "score": round(explanation.score, 4),
        "elsewhere": round(explanation.elsewhere, 4),
        "evidence": [[round(float(value), 4) for value in line] for line in explanation.evidence],
        "neighbours": [_example_row(n) for n in explanation.neighbours],
        "prototypes": [_example_row(n) for n in explanation.prototypes],
        "compared": explanation.compared or None,
        "error": None,
    }


def _example_row(example: Any) -> dict[str, Any]:
    return {"file": example.uri, "class": example.class_name, "similarity": round(example.similarity, 4)}


PLUGIN = Explain()
