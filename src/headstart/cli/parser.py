"""argparse in the house's words: facts are raised, the nearest option is named, values stay in backticks."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn

from headstart.core.errors import UsageError, format_nearest
from headstart.core.storage.locations.names import is_remote

# Of tables, models, pages, pictures and archives: no folder is called so on purpose.
_FILE_SUFFIXES = frozenset(
    (  # noqa: SIM905 - a name a line would be longer
        ".bin .csv .gz .h5 .html .jpeg .jpg .json .jsonl .keras .md .onnx .parquet .pb .pdf .png .pt .pth "
        ".tar .tflite .toml .tsv .txt .xlsx .xml .yml .zip"
    ).split()
)


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` where argparse would print and exit; only `--help` exits."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog, description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say."""
        about = re.match(r"argument (\S+?)(?:/\S+)?: ", message)
        raise UsageError(message.replace("'", "`"), where=about[1] if about else None, hint=f"{self.prog} --help")

    def parse_words(self, words: list[str]) -> argparse.Namespace:
        """Parse the words after the command.

        Raises:
            UsageError: An option is unknown (the nearest is named), lacks its value or has a wrong one.
        """
        self._refuse_unknown(words)
        return self.parse_args(self._join_negative_values(words))

    def _join_negative_values(self, words: list[str]) -> list[str]:
        """`--budget -4m` as `--budget=-4m`: argparse takes what begins with a dash for an option."""
        joined: list[str] = []
        for word in words:
            option = self._option_string_actions.get(joined[-1]) if joined else None
            if option is not None and option.nargs is None and re.match(r"-[\d.]", word) and "--" not in joined:
                joined[-1] = f"{joined[-1]}={word}"
            else:
                joined.append(word)
        return joined

    def _refuse_unknown(self, words: list[str]) -> None:
        """Name an unknown option before argparse complains of whatever follows from it."""
        for word in words[: words.index("--")] if "--" in words else words:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                hint = self._suggest_option(name) or f"{self.prog} --help"
                raise UsageError(f"there is no option `{name}`", where=name, hint=hint)

    def _suggest_option(self, name: str) -> str:
        """The option that was likely meant, or empty: a far one would mislead. Its two dashes are no likeness."""
        word, known = name[2:], [option[2:] for option in self._option_string_actions if option.startswith("--")]
        if "recipe" in known:
            from headstart.core.recipe import list_recipe_options

            if word.replace("-", "_") in {option.name for option in list_recipe_options()}:
                return f"it is a field of the recipe: --recipe {word.replace('-', '_')}=…"
        longer = [option for option in known if f"{option}-".startswith(f"{word}-") or word.startswith(option)]
        near = format_nearest(word, longer or known, cutoff=0.3 if longer else 0.8)
        return re.sub("`(?=[a-z])", "`--", near)


def parse_name(text: str) -> str:
    """A name that is not empty, for `type=`; an empty one would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def parse_path(text: str) -> Path:
    """A path to write to, for `type=`."""
    return Path(parse_name(text))


def parse_folder(text: str) -> Path:
    """A folder to write to, for `type=`; a new one is not called like a file."""
    folder = parse_path(text)
    if folder.suffix.lower() in _FILE_SUFFIXES and not folder.is_dir():
        hint = f"`{folder.with_suffix('')}`" if folder.stem else None
        raise UsageError(f"`{text}` is the name of a file, and a folder is written", where="--out", hint=hint)
    return folder


def parse_run_place(text: str) -> Path | str:
    """A run folder to write, or the address of one in a bucket, for `type=`."""
    return text if is_remote(text) else parse_folder(text)


def parse_whole_number(text: str) -> int:
    """A whole number, for `type=`."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number") from None


def parse_number(text: str) -> float:
    """A number, for `type=`."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number") from None


def parse_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, for `type=`; empty ones are left out."""
    return tuple(name for part in text.split(",") if (name := part.strip()))
