"""A folder that Hugging Face `datasets` saved to disk: Arrow files, with the names of classes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.core.storage.files import format_printable, read_json
from headstart.data.reading.annotations import find_base
from headstart.data.reading.label_tables import SETTINGS, list_table
from headstart.data.reading.records import Listing
from headstart.data.reading.unpacked_tables import unpack_table

_SPLITS, _STATE, _FEATURES = "dataset_dict.json", "state.json", "dataset_info.json"


class HuggingFaceFolder:
    """A `Dataset`, or a `DatasetDict` whose keys are the splits; pictures are unpacked into the cache."""

    name = "huggingface"
    settings = SETTINGS

    def recognises(self, location: str) -> bool:
        """By the files that `save_to_disk` writes."""
        folder = Path(location).expanduser()
        return (folder / _SPLITS).is_file() or ((folder / _STATE).is_file() and (folder / _FEATURES).is_file())

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse to read without pyarrow, or what is damaged."""
        extras.require_extra("parquet", f"the data set `{location}`")
        _list_files(Path(location).expanduser())
        find_base(Path(location), job)

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """The rows of all splits."""
        extras.require_extra("parquet", f"the data set `{location}`")
        folder = Path(location).expanduser()
        files = _list_files(folder)
        class_columns = {name for split, _ in files for name in _read_class_names(folder / split)}
        if not job.target and len(class_columns) == 1:
            job = replace(job, target=class_columns.pop())
        table = unpack_table([file for _, file in files], _read_rows(folder, files))
        return list_table(table, job, leave_out, name=folder.resolve().name, base=str(table.parent))


def _list_files(folder: Path) -> list[tuple[str, Path]]:
    """Arrow files with the split that each belongs to, empty where there is but one part; raises DataError."""
    splits: list[str] = _read_entry(folder / _SPLITS, "splits") if (folder / _SPLITS).is_file() else [""]
    return [
        (split, folder / split / entry["filename"])
        for split in splits
        for entry in _read_entry(folder / split / _STATE, "_data_files")
    ]


def _read_entry(path: Path, key: str) -> Any:
    try:
        return read_json(path)[key]
    except (OSError, ValueError, KeyError, TypeError) as err:
        what = f"`{format_printable(str(path))}` is not what Hugging Face `datasets` writes: it has no `{key}`"
        raise DataError(
            what, where=format_printable(str(path)), hint="save the data set again by `save_to_disk`"
        ) from err


def _read_rows(folder: Path, files: list[tuple[str, Path]]) -> Iterator[dict[str, Any]]:
    import pyarrow

    for split, file in files:
        names = _read_class_names(folder / split)
        try:
            with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as batches:
                for batch in batches:
                    for row in batch.to_pylist():
                        labels = {name: _name_class(row[name], classes) for name, classes in names.items()}
                        yield {**row, **labels} | ({"split": split} if split else {})
        except (OSError, pyarrow.ArrowInvalid) as err:
            problem = f"`{format_printable(str(file))}` cannot be read as Arrow: {err}"
            raise DataError(problem, where=format_printable(str(file))) from err


def _read_class_names(folder: Path) -> dict[str, list[str]]:
    """The names of classes of each column that has such."""
    features = _read_entry(folder / _FEATURES, "features").items()
    inner = {name: each.get("feature", each) for name, each in features if isinstance(each, Mapping)}  # of a list
    class_labels = {name: each for name, each in inner.items() if isinstance(each, Mapping) and "names" in each}
    return {name: each["names"] for name, each in class_labels.items() if each.get("_type") == "ClassLabel"}


def _name_class(position: int | list[int] | None, class_names: list[str]) -> str | list[str] | None:
    """The name of a class, or of several; -1 stands for none."""
    if isinstance(position, list):
        return [class_names[each] for each in position]
    return None if position is None or position < 0 else class_names[position]


PLUGIN = HuggingFaceFolder()
