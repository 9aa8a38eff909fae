"""Write `docs/api.md`, the reference of the Python API, from signatures, docstrings and the comments of fields.

`make docs` runs it; a test holds that the page is what it writes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import headstart
from headstart.core import errors, types
from headstart.core.job import list_options
from headstart.core.run.reader import RunReader
from headstart.evaluation.drift.drift_tests import Drift
from headstart.explanation.explain_image import Explanation
from headstart.labelling.suggestions import Suggestion, Suggestions

PAGE = Path(__file__).with_name("api.md")
VALUES = (
    *(types.Prediction, Explanation, Drift, Suggestions, Suggestion),
    *(types.Score, types.Verdict, types.Evaluation, types.Ranking, types.RankRow),
)
SETTINGS = [option.name for option in list_options()]
OPENING = """# Python API

`import headstart` gives these names; each is loaded when it is first used. `make docs` writes this page from the code.
To begin with: the [tutorial](tutorial.ipynb). Beside them: [`headstart.sklearn`](sklearn.md),
[`headstart.runtime.model.load`](export.md#runmodel) for a machine that only answers, and
[`headstart.testing`](architecture.md#adding-a-thing-is-adding-one-file) for plugins. `**settings` are the
[settings of fit](fit.md#settings), each a keyword with its default: `test_size=0.3` for `--test-size 0.3`.
"""


def write_page() -> str:
    """The whole page."""
    public = {name: getattr(headstart, name) for name in headstart.__all__ if name != "__version__"}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    parts = [OPENING, "## Functions\n", *(_format_function(name, value) for name, value in functions.items())]
    parts += ["## Classes\n", _format_run(), _format_job(), _format_recipe()]
    parts += ["## Values\n", "What functions and runs give. All are frozen dataclasses.\n", *map(_format_value, VALUES)]
    return "\n".join([*parts, _format_errors()])


def _format_function(name: str, function: Any) -> str:
    """Signature, docstring, parameters besides the settings, errors."""
    signature = inspect.signature(function)
    sections = _split_docstring(inspect.getdoc(function) or "")
    lines = [f"### {name}\n", "```python", f"def {_format_signature(name, signature)}: ...", "```\n", sections[""]]
    if arguments := _read_entries(sections.get("Args", "")):
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
        lines += ["\n| parameter | default | meaning |\n|---|---|---|"]
        own = {key: text for key, text in arguments.items() if key not in SETTINGS}
        lines += [f"| `{key}` | {_format_default(defaults[key])} | {text} |" for key, text in own.items()]
    if raises := _read_entries(sections.get("Raises", "")):
        lines += ["", *(f"- raises [`{key}`](#errors): {text}" for key, text in raises.items())]
    return "\n".join(lines) + "\n"


def _format_signature(name: str, signature: inspect.Signature, most: int = 100) -> str:
    """On one line of at most `most` letters, or one parameter a line; without `self`, the settings as one word."""
    texts: list[str] = []
    takes_settings = set(SETTINGS) <= set(signature.parameters)
    for parameter in signature.parameters.values():
        if parameter.name == "self" or (takes_settings and parameter.name in SETTINGS):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_format_literal(parameter.default)}"
        text = f"{parameter.name}: {parameter.annotation}{default}"
        texts.append("**settings" if parameter.kind is parameter.VAR_KEYWORD else text)
    texts += ["**settings"] if takes_settings else []
    ending = f") -> {signature.return_annotation}"
    line = f"{name}({', '.join(texts)}{ending}"
    return line if len(line) <= most else "\n".join([f"{name}(", *(f"    {text}," for text in texts), ending])


def _format_literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _split_docstring(text: str) -> dict[str, str]:
    """The paragraphs before the first section under an empty name, then each section by its name."""
    parts = re.split(r"^(Args|Returns|Raises|Attributes):\n", text, flags=re.M)
    sections = {"": parts[0].strip()}
    return sections | {name: textwrap.dedent(body).strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _read_entries(section: str) -> dict[str, str]:
    entries = re.findall(r"^(\w+): (.*(?:\n +.*)*)", section, re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def _format_default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "needed"
    return "none" if value in (None, "", ()) else f"`{value}`"


def _format_run() -> str:
    """What an opened run has by name, and its methods."""
    lines = ["### Run\n", f"{_first_paragraph(headstart.Run)}\n"]
    for name, member in [*vars(RunReader).items(), *vars(headstart.Run).items()]:
        getter: Any = getattr(member, "fget", None) or getattr(member, "func", None)
        if name.startswith("_"):
            continue
        if getter is None and name in vars(headstart.Run):
            call = _format_signature(name, inspect.signature(member), most=1000)
            lines.append(f"- `{call}`: {_first_paragraph(member)}")
        elif getter and getter.__name__ == "<lambda>":  # a value of the run, explained by its class
            kind = inspect.getclosurevars(getter).nonlocals["kind"]
            lines.append(f"- `{name}` ({kind.__name__}): {_first_paragraph(kind)}")
        elif getter:
            lines.append(_format_property(name, getter))
    return "\n".join(lines) + "\n"


def _format_property(name: str, getter: Any) -> str:
    annotation = inspect.signature(getter).return_annotation.replace("types.", "")
    return f"- `{name}` ({annotation}): {_first_paragraph(getter)}"


def _format_job() -> str:
    fields = "Its fields are `data` and the settings of [fit](fit.md#settings)."
    return f"### Job\n\n{_first_paragraph(headstart.Job)} {fields}\n"


def _format_recipe() -> str:
    text = _split_docstring(inspect.getdoc(headstart.Recipe) or "")[""]
    return f"### Recipe\n\n{text} Every field: [recipe](recipe.md).\n"


def _format_value(kind: type) -> str:
    """A class with its fields, their types, and the comments beside them or their lines under `Attributes`."""
    sections = _split_docstring(inspect.getdoc(kind) or "")
    comments = _read_comments(kind) | _read_entries(sections.get("Attributes", ""))
    lines = [f"### {kind.__name__}\n", sections[""], ""]
    for each in dataclasses.fields(kind):
        comment = f": {comments[each.name]}" if comments.get(each.name) else ""
        lines.append(f"- `{each.name}` ({each.type}){comment}")
    properties = {name: member for name, member in vars(kind).items() if isinstance(member, property)}
    lines += [_format_property(name, member.fget) for name, member in properties.items()]
    return "\n".join(lines) + "\n"


def _read_comments(kind: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(kind))
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign)]
    endings = {ast.unparse(n.target): source.splitlines()[n.end_lineno - 1][n.end_col_offset :] for n in nodes}
    return {name: text.partition("# ")[2] for name, text in endings.items()}


def _first_paragraph(value: Any) -> str:
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _format_errors() -> str:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    kinds = [kind for kind in classes if issubclass(kind, errors.HeadstartError)]
    lines = [
        "## Errors\n",
        "All are `headstart.HeadstartError`s with `what`, `where`, `hint` and `exit_code`; the others",
    ]
    lines += ["are in `headstart.core.errors`. [When each is raised](errors.md).\n"]
    lines += [f"- `{kind.__name__}` ({kind.exit_code})" for kind in kinds]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
