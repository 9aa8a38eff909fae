"""Classes whose pictures lie in sub-folders of the same names: those are likely the classes, or splits."""

from __future__ import annotations

import os
from collections import Counter, defaultdict

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_names
from headstart.data.reading.folder_layout import find_split


def _check_same_subfolders(check: Check, audit_input: AuditInput) -> Outcome:
    if not audit_input.has_class_folders:
        return check.make_not_applicable("no folder says the class of a picture")
    data = audit_input.data
    depth = 2 if any(data.split) else 1
    pictures: dict[str, Counter[str]] = defaultdict(Counter)  # class -> pictures a sub-folder; empty: directly in it
    for uri, target in zip(data.uris, data.targets.tolist(), strict=True):
        if uri.startswith(("../", "/")):  # of `--more`: no folder says its class
            continue
        parts = uri.split("/")
        pictures[data.class_names[target]][parts[depth] if len(parts) > depth + 1 else ""] += 1
    below = {name: set(counts) - {""} for name, counts in pictures.items() if counts[""] < counts.total() / 2}
    shared = [a for a in below if any(len(below[a] & below[b]) > 1 for b in below if b != a)]
    if not shared:
        return check.make_passed(f"no two of {format_count(len(pictures), 'class')} hold the same sub-folders")
    names = sorted(set.union(*(below[name] for name in shared)), key=os.fsencode)
    splits = all(find_split(name) for name in names)
    sentence = (
        f"{format_count(len(shared), 'class')} hold sub-folders of the same names: {format_names(shared)} hold "
        f"{format_names(names)}, which look like {'splits' if splits else 'the classes'}"
    )
    fix = (
        "put the splits above the classes, as in `train/cat`"
        if splits
        else ("give a folder whose sub-folders are the classes; if these are, put their pictures directly into them")
    )
    return check.make_outcome([check.make_finding("error", sentence, fix)])


PLUGIN = Check("D009", "same sub-folders in classes", "files", _check_same_subfolders, of_classes=True)
