"""Whether a folder that is written here can be copied to any system: what Windows does not take as a file's name."""

import re
from pathlib import Path

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.I)
_BAD = re.compile(r'[<>:"|?*\\\x00-\x1f]')


def unportable(root: Path) -> list[str]:
    """Paths below a folder that some system refuses: bad or reserved names, two that differ by case, long or linked."""
    found, seen = [], {}
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).as_posix()
        twin = seen.setdefault(inside.casefold(), inside)
        if bad_name(path.name) or twin != inside or len(inside) > 150 or path.is_symlink():
            found.append(inside)
    return found


def bad_name(name: str) -> bool:
    """Whether a file or folder cannot have this name on every system."""
    return bool(_BAD.search(name) or _RESERVED.fullmatch(name) or name[-1] in ". " or len(name.encode()) > 200)


def absolute_paths(folder: Path) -> list[str]:
    """Files below a folder whose text holds a path of this machine, with the path."""
    here = re.compile("|".join(re.escape(str(p)) for p in (Path.home(), Path.cwd(), folder.resolve().parent)))
    texts = {p: p.read_bytes().decode("utf-8", errors="replace") for p in sorted(folder.rglob("*")) if p.is_file()}
    return [f"{path.relative_to(folder)}: {hit[0]}" for path, text in texts.items() if (hit := here.search(text))]
