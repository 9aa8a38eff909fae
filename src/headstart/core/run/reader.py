"""What a run folder holds, by name: the only place that knows the names of its sub-folders and files.

`read` refuses a value that the run has not come to, `find` gives None; damage is the same clear error in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headstart.core import job as jobs
from headstart.core import types
from headstart.core.errors import DataError
from headstart.core.run.folder import RunFolder
from headstart.core.storage.files import read_json
from headstart.core.storage.locations.names import is_absolute

if TYPE_CHECKING:
    from headstart.core.job import Job
    from headstart.core.model_manifest import Manifest

T = TypeVar("T")

FOLDERS: Mapping[type, str] = {
    types.Audit: "audit",
    types.Dataset: "read",
    types.DomainAdaptation: "domains/adaptation",
    types.DomainShift: "domains/shift",
    types.Evaluation: "evaluate",
    types.Explained: "explain",
    types.Exported: "export",
    types.FitResult: "adapt",
    types.PictureMap: "map",
    types.Ranking: "rank",
    types.Splits: "splits",
    types.TargetDomain: "domains/target",
    types.UncertaintyReport: "doubt",
}
AUDIT_PHASES = ("files", "vectors")
DONE_FILES = (  # step -> the file that is there when it is done
    ("read", "read/value.json"),
    ("audit", "audit/files.json"),
    ("embed", "embed/*.json"),
    ("rank", "rank/value.json"),
    ("adapt", "adapt/value.json"),
    ("evaluate", "evaluate/value.json"),
    ("doubt", "doubt/value.json"),
    ("export", "export/value.json"),
    ("explain", "explain/value.json"),
    ("card", "README.md"),
    ("report", "report.html"),
)
TRIAL_FILES, STATE_FILES = "adapt/trials/*.json", "adapt/.work/*/state-*.json"  # of trainings, done and at work
WATCHED_FILES = ("audit/*.json", "timings.json", "decisions.jsonl", TRIAL_FILES, STATE_FILES)
SHARED_FILES = ("README.md", "report.html", "evaluate/scores.csv", "evaluate/predictions.csv")


def _value_of(kind: type[T]) -> cached_property[T]:
    return cached_property(lambda reader: reader.read(kind))


class RunReader:
    """The values of one run folder, each read when it is first asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def find(self, kind: type[T], name: str = "value") -> T | None:
        """A value of the run; None where the run has not come to it. Raises DataError where it is damaged."""
        from headstart.core.storage import serialization

        value = serialization.find_value(kind, self.path / FOLDERS[kind], name)
        if isinstance(value, types.Dataset):
            return dataclasses.replace(value, root=self._locate_pictures(value.root))
        if isinstance(value, types.TargetDomain):
            root = jobs.read_picture_root(self.path, "unlabeled") or value.pictures.root
            return dataclasses.replace(value, pictures=dataclasses.replace(value.pictures, root=root))
        return value

    def _locate_pictures(self, root: str) -> str:
        """Where the pictures lie: the run's own files keep their folder's name alone, older runs the path."""
        return root if is_absolute(root) else jobs.read_picture_root(self.path) or root

    def read(self, kind: type[T]) -> T:
        """A value of the run; raises DataError where the run has not come to it yet, or it is damaged."""
        value = self.find(kind)
        if value is None:
            what = f"the run `{self.path}` has not come to `{FOLDERS[kind]}` yet"
            raise DataError(what, hint="run the command that made it again: it resumes")
        return value

    def find_json(self, kind: type, name: str = "value") -> dict[str, Any]:
        """A value as it lies on disk, for a page that watches a run at work; empty without it, or damaged."""
        content = _read_json_or_empty(self.path / FOLDERS[kind] / f"{name}.json")
        if kind is types.Dataset and isinstance(root := content.get("root"), str):
            content["root"] = self._locate_pictures(root)
        return content

    def find_array(self, kind: type, entry: Any) -> list[int]:
        """An array of such a value, whether it lies in its JSON or in a file beside it."""
        if isinstance(entry, list):
            return entry
        from headstart.core.storage.unpacking import load_array

        array: list[int] = load_array(self.path / FOLDERS[kind] / entry["npy"]).tolist()
        return array

    def find_timings_json(self) -> dict[str, dict[str, Any]]:
        """As `timings`, but without what is damaged."""
        timings = _read_json_or_empty(self.path / "timings.json")
        return {step: entry for step, entry in timings.items() if isinstance(entry, dict)}

    def find_training_logs(self) -> list[dict[str, Any]]:
        """Log of every training of a search, of one at work as far as it has come: name, epochs, why it stopped."""
        logs = {path.stem: _read_json_or_empty(path).get("log", {}) for path in sorted(self.path.glob(TRIAL_FILES))}
        at_work: dict[str, dict[str, Any]] = {}
        for path in sorted(self.path.glob(STATE_FILES)):
            if path.parent.name not in logs:
                state = _read_json_or_empty(path)
                at_work[path.parent.name] = {**state, "epochs": state.get("rows", [])}
        return [{"name": folder, **log} for folder, log in (logs | at_work).items()]

    def list_watched_files(self) -> list[Path]:
        """The files that change while a run is at work."""
        patterns = (*(pattern for _, pattern in DONE_FILES), *WATCHED_FILES)
        return [path for pattern in patterns for path in sorted(self.path.glob(pattern))]

    @cached_property
    def job(self) -> Job:
        """The request."""
        return jobs.read_job(self.path / "job.toml")

    dataset = _value_of(types.Dataset)
    splits = _value_of(types.Splits)
    ranking = _value_of(types.Ranking)
    adapted = _value_of(types.FitResult)
    evaluation = _value_of(types.Evaluation)
    uncertainty = _value_of(types.UncertaintyReport)
    exported = _value_of(types.Exported)

    @cached_property
    def audits(self) -> tuple[types.Audit, ...]:
        """The audit of the files and, when it came so far, of the vectors."""
        audits = (self.find(types.Audit, phase) for phase in AUDIT_PHASES)
        return tuple(audit for audit in audits if audit is not None)

    @property
    def model_folder(self) -> Path:
        """Where the saved model lies."""
        return self.path / "model"

    @cached_property
    def manifest(self) -> Manifest:
        """The saved model's manifest; raises DataError where there is none yet, or it is damaged."""
        from headstart.core import model_manifest

        return model_manifest.read_manifest(self.model_folder)

    def find_costs(self) -> list[list[float]] | None:
        """(C, C) costs as the saved model keeps them; None where there are none. Raises DataError on damage."""
        path = self.model_folder / "manifest.json"
        try:
            costs: list[list[float]] | None = read_json(path)["decision"]["costs"] if path.is_file() else None
        except (ValueError, KeyError, TypeError) as err:
            hint = "run the `headstart fit` that made the run again: it exports the model anew"
            raise DataError(f"`{path}` is not a model's manifest: {err!r}", where=str(path), hint=hint) from err
        return costs

    @cached_property
    def timings(self) -> dict[str, dict[str, Any]]:
        """Step -> its wall and CPU seconds and what else it measured; empty before the first step is over."""
        from headstart.core.storage.serialization import refuse_damage

        path = self.path / "timings.json"
        if not path.is_file():
            return {}
        with refuse_damage(path):
            return {
                step: {key: value and float(value) for key, value in entry.items()}
                for step, entry in read_json(path).items()
            }

    @property
    def seconds(self) -> float:
        """Wall seconds of all steps together, without what came from the cache."""
        return sum(float(entry.get("wall_s", 0.0)) for entry in self.timings.values())

    def find_latency_ms(self, backbone: str) -> float | None:
        """Milliseconds a picture as this run last measured them; None where all features came from the cache."""
        passes = [entry for step, entry in self.timings.items() if step.startswith(f"embed {backbone} ")]
        latencies_ms = [entry["latency_ms"] for entry in passes if entry.get("latency_ms") is not None]
        return float(latencies_ms[-1]) if latencies_ms else None

    def read_decisions(self) -> list[dict[str, Any]]:
        """See `RunFolder.read_decisions`."""
        return RunFolder(self.path).read_decisions()

    def read_heat_maps(self) -> dict[str, bytes]:
        """Name -> JPEG of the heat maps of held-out pictures."""
        return {path.name: path.read_bytes() for path in sorted((self.path / "explain").glob("map*.jpg"))}

    def read_feature_digests(self) -> dict[str, str]:
        """SHA-256 of the vectors of each pass of pictures, by backbone, feature level and number of pictures."""
        from headstart.core.storage.serialization import refuse_damage

        digests = dict[str, str]()
        for path in sorted((self.path / "embed").glob("*.json")):
            with refuse_damage(path):
                entry = read_json(path)
                for level, vectors in entry["vectors"].items():
                    digests[f"{entry['key']['backbone']}@{level}, {entry['pictures']:,} pictures"] = vectors["sha256"]
        return digests

    def list_shared_files(self) -> list[Path]:
        """What a person wants of a finished run: card, report, scores and predictions, as far as they are there."""
        return [path for name in SHARED_FILES if (path := self.path / name).is_file()]


def _read_json_or_empty(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
