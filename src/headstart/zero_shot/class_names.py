"""Class names as words: what a model of language reads of them, and which of them it cannot use."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

from headstart.core.errors import UsageError

CLASSES = "--classes"
# Words that say what a folder is and not what a picture shows.
_EMPTY = {
    *("batch", "bin", "category", "class", "classes", "cluster", "data", "folder", "group", "image", "images", "img"),
    *("item", "items", "label", "misc", "new", "other", "others", "photo", "photos", "picture", "pictures", "sample"),
    *("samples", "set", "test", "train", "type", "unknown", "val"),
}
_WORD = re.compile(r"[^\W\d_]{3,}")  # three letters at least


def format_as_words(name: str) -> str:
    """A class name as a model of language reads it: underscores are spaces."""
    return " ".join(name.replace("_", " ").split())


def list_meaningless(names: Iterable[str]) -> list[str]:
    """The names without a word that says what a picture shows, by a short list: `class_07`, `b` or `2024`."""
    return [name for name in names if not {word.casefold() for word in _WORD.findall(name)} - _EMPTY]


def require_class_names(classes: Sequence[str]) -> None:
    """Refuse class names that cannot be compared.

    Raises:
        UsageError: There are fewer than two, one has neither letter nor digit, or one is there twice.
    """
    hint = 'name at least two, as in --classes "cat,espresso,palace"'
    if isinstance(classes, str):
        raise UsageError(f"the classes are one text, `{classes}`", hint='a list of names: ["cat", "espresso"]')
    empty = [name for name in classes if not re.search(r"[^\W_]", name)]
    if empty:
        raise UsageError(f"the class name `{empty[0]}` has no letter and no digit", where=CLASSES, hint=hint)
    if not classes:
        raise UsageError("no class is named", where=CLASSES, hint=hint)
    if len(classes) == 1:
        raise UsageError(f"with one class, `{classes[0]}`, there is nothing to choose", where=CLASSES, hint=hint)
    _require_once(classes, lambda name: format_as_words(name).casefold(), hint)


def require_distinguishable(
    classes: Sequence[str], pieces: Callable[[str], tuple[int, ...]], unread: Collection[int]
) -> None:
    """Refuse names that a model cannot read or tell apart, by its `pieces`; those `unread` say nothing.

    Raises:
        UsageError: The first such name.
    """
    for name in classes:
        if set(pieces(format_as_words(name))) <= set(unread):
            problem = f"the model of language can read nothing of the class name `{name}`"
            raise UsageError(problem, where=CLASSES, hint="name it in English")
    _require_once(classes, lambda name: pieces(format_as_words(name)), "name each class once")


def _require_once(classes: Sequence[str], read: Callable[[str], object], hint: str) -> None:
    names: dict[object, str] = {}
    for name in classes:
        if (reading := read(name)) in names:
            also = f": it reads as `{names[reading]}`" if names[reading] != name else ""
            problem = f"the class `{name}` is named twice{also}"
            raise UsageError(problem, where=CLASSES, hint=hint)
        names[reading] = name
