"""What the studio shows of run folders: read from their files each time, nothing is kept."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError
from headstart.core.job import read_local_paths
from headstart.core.run.reader import AUDIT_PHASES, DONE_FILES, RunReader
from headstart.core.storage.files import format_printable, read_json
from headstart.core.types import (
    CLASSIFICATION,
    TASKS,
    Audit,
    ClassScores,
    Dataset,
    Evaluation,
    FitResult,
    LabelScores,
    NumberScores,
    PixelRanges,
    Ranking,
    UncertaintyReport,
)
from headstart.studio.process_identity import is_alive

_ROWS = 40  # of a ranking
_HEADLINE = ("accuracy", "balanced_accuracy", "log_loss", "r2", "mae")


class RunBrowser:
    """The folder that holds runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list_runs(self) -> list[str]:
        """Runs in it, the newest first."""
        job_files = [p for p in self.folder.glob("*/job.toml") if _is_plain_name(p.parent.name)]
        with contextlib.suppress(OSError):
            job_files.sort(key=lambda p: (p.stat().st_mtime, p.parent.name), reverse=True)
        return [path.parent.name for path in job_files]

    def require_run(self, name: str) -> Path:
        """The folder of a run; raises `DataError` where there is none."""
        if _is_plain_name(name):
            with contextlib.suppress(OSError):  # no system has a name so long
                if (self.folder / name / "job.toml").is_file():
                    return self.folder / name
        raise DataError(f"there is no run `{format_printable(name[:100])}` in `{self.folder}`", hint="reload the page")

    def make_free_name(self, name: str, taken: Collection[str] = ()) -> str:
        """A name that no run has yet, nor one of `taken`: `name`, or with a number after it."""
        number, candidate = 1, name
        while candidate in taken or (self.folder / candidate).exists():
            number += 1
            candidate = f"{name}-{number}"
        return candidate


def _is_plain_name(name: str) -> bool:
    """Whether a folder's name can be shown and sent back, and leads nowhere else."""
    return format_printable(name) == name and name[:1] not in ("", ".") and not set(name) & set("/\\:")


def is_finished(run: Path) -> bool:
    """Whether a run has come to its end."""
    return (run / "report.html").is_file()


def find_state(run: Path) -> str:
    """The state of a run by its folder alone: `running`, `done` or `cut short`."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if is_alive(int(read_json(run / ".owner.json")["pid"]), ""):
            return "running"
    return "done" if is_finished(run) else "cut short"


def summarize_run(run: Path) -> dict[str, Any]:
    """A run in a line: its data, what it was asked, its scores."""
    reader, job = RunReader(run), _read_job(run)
    return {
        "name": run.name,
        "path": str(run),
        **{name: job.get(name, "") for name in ("data", "budget", "strategy")},
        "finished": is_finished(run),
        "scores": _headline_scores(reader.find_json(Evaluation)),
        "made": _find_start_time(run),
        "seconds": sum(float(entry.get("wall_s", 0.0)) for entry in reader.find_timings_json().values()),
    }


def describe_run(run: Path) -> dict[str, Any]:
    """All that the page shows of a run, as far as it has come."""
    reader = RunReader(run)
    ranking, probe, evaluation = (reader.find_json(kind) for kind in (Ranking, FitResult, Evaluation))
    unknown = reader.find_json(UncertaintyReport).get("verdict")
    return summarize_run(run) | {
        "job": (job := _read_job(run)),
        "steps": _list_steps(run),
        "timings": (timings := reader.find_timings_json()),
        "planned_seconds": timings.get("plan", {}).get("planned_s"),
        "pictures": describe_pictures(run),
        "audit": list_audit_outcomes(run),
        "ranking": _list_ranking(ranking),
        "metric": job.get("metric", "log_loss"),
        "chosen": {"features": probe.get("features", []), "head": probe.get("fitted", {}).get("head", "")},
        "why": probe.get("why") or ranking.get("why", ""),
        "curves": _list_curves(run),
        "learning": probe.get("curve", []),
        "verdicts": evaluation.get("verdicts", []) + ([unknown] if unknown else []),
        "choices": _list_choices(run),
        "has_map": (run / "map.html").is_file(),  # a run of an older version has none
    }


def _list_steps(run: Path) -> list[dict[str, Any]]:
    """Each step and whether it is done; a finished run of an older version knows fewer."""
    steps = [{"step": step, "done": any(run.glob(pattern))} for step, pattern in DONE_FILES]
    return [step for step in steps if step["done"]] if is_finished(run) else steps


def map_rows(run: Path) -> dict[str, int]:
    """Name of a picture -> its row."""
    return {uri: row for row, uri in enumerate(RunReader(run).find_json(Dataset).get("uris", []))}


def list_audit_outcomes(run: Path) -> list[dict[str, Any]]:
    """Outcomes of the checks, of the files and then of the vectors."""
    outcomes: list[dict[str, Any]] = []
    for phase in AUDIT_PHASES:
        for outcome in RunReader(run).find_json(Audit, phase).get("outcomes", []):
            rows = [row for finding in outcome.get("findings", []) for row in finding.get("rows", [])]
            findings = [{k: f[k] for k in ("severity", "sentence", "fix")} for f in outcome.get("findings", [])]
            fields = {key: outcome.get(key) for key in ("code", "name", "status", "why")}
            outcomes.append(fields | {"findings": findings, "rows": rows[:8]})
    return outcomes


def describe_pictures(run: Path) -> dict[str, Any] | None:
    """Counts a class, a few rows of each to look at, and the files that were left out; None before they are read."""
    data = RunReader(run).find_json(Dataset)
    if not data:
        return None
    targets: list[Any] = [*RunReader(run).find_array(Dataset, data["targets"])]  # of labels a row each
    task = TASKS[data.get("task", CLASSIFICATION.name)]
    names = data["class_names"] or [data.get("target_name") or "value"]
    rows: list[list[int]] = [[] for _ in names]
    if task.has_classes:
        for row, target in enumerate(targets):
            rows[target].append(row)
    elif task.has_labels:
        for row, labels in enumerate(targets):
            for at, present in enumerate(labels):
                if present:
                    rows[at].append(row)
    else:
        rows[0] = sorted(range(len(targets)), key=targets.__getitem__)
    classes = [
        {"name": format_printable(name), "count": len(class_rows), "rows": _pick_evenly(class_rows)}
        for name, class_rows in zip(names, rows, strict=True)
    ]
    excused = data.get("excused", [])
    skipped = [{"uri": format_printable(e["uri"]), "reason": e["reason"], "detail": e["detail"]} for e in excused[:200]]
    counts = {"count": len(targets), "left_out": len(excused), "task": task.name}
    return counts | {"root": data["root"], "classes": classes, "excused": skipped}


def find_picture(run: Path, row: int) -> str:
    """Where the picture lies of a row of a run's pictures; raises `DataError` where there is none."""
    data = RunReader(run).find_json(Dataset)
    uris = data.get("uris", [])
    if not 0 <= row < len(uris):
        raise DataError(f"the run `{run.name}` has no picture {row}")
    return os.path.join(str(data["root"]), str(uris[row]))  # noqa: PTH118 - no file system's


def find_ranges(run: Path) -> PixelRanges:
    """How values beyond 8 bits of a run's pictures are read; each file by its own before they are measured."""

    def make_tuples(value: Any) -> Any:
        return tuple(map(make_tuples, value)) if isinstance(value, list) else value

    ranges = RunReader(run).find_json(Dataset).get("reading", {}).get("ranges", {})
    return PixelRanges(**{name: make_tuples(value) for name, value in ranges.items()})


def _pick_evenly(rows: list[int], count: int = 5) -> list[int]:
    return [rows[index * len(rows) // count] for index in range(count)] if len(rows) > count else rows


def _read_job(run: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((run / "job.toml").read_text(encoding="utf-8")) | read_local_paths(run)
    except (OSError, ValueError):
        return {}


def _find_start_time(run: Path) -> float:
    try:
        return (run / "job.toml").stat().st_mtime
    except OSError:
        return 0.0


def _list_choices(run: Path) -> list[dict[str, str]]:
    """Choices that were made on the way, with their reasons."""
    choices = []
    with contextlib.suppress(OSError):
        for line in (run / "decisions.jsonl").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # a line that is cut short
                entry = json.loads(line)
                name, value, why = entry["name"], entry["value"], entry["why"]
                if why and isinstance(value, str) and name != "data":
                    choices.append({"name": name, "value": value, "why": why})
    return choices


def _headline_scores(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    split = evaluation.get("split", "")
    scores = [s for s in evaluation.get("scores", []) if not s.get("subject") and s.get("split") == split]
    return [score for name in _HEADLINE for score in scores if score["name"] == name]


def _list_ranking(ranking: dict[str, Any]) -> list[dict[str, Any]]:
    fields = ("candidate", "backbone", "depth", "probe", "status", "rows_seen", "flops")
    rows = ranking.get("rows", [])[:_ROWS]
    return [{key: row.get(key) for key in fields} | {"scores": row["scores"][:3]} for row in rows]


def _list_curves(run: Path) -> list[dict[str, Any]]:
    """Scores by epoch of each training of the search, while it goes on too."""
    curves = []
    for log in RunReader(run).find_training_logs():
        rows = log.get("epochs", [])
        drawn = _list_drawn(rows[0]["train"]) if rows else {}
        epochs = [
            {
                "epoch": row["epoch"],
                "train": _pick_scores(row["train"], drawn),
                "held_out": _pick_scores(row.get("val"), drawn),
            }
            for row in rows
        ]
        if epochs and drawn:
            stopped = log.get("stopped", "")
            curves.append({"name": log["name"], "epochs": epochs, "stopped": stopped, "scores": [*drawn.items()]})
    return curves


def _list_drawn(scores: Mapping[str, Any]) -> Mapping[str, str]:
    """Scores of a training that are shown, with their names, the loss first."""
    kinds = (ClassScores, NumberScores, LabelScores)
    return next((kind.drawn for kind in kinds if next(iter(kind.drawn)) in scores), {})


def _pick_scores(scores: Mapping[str, Any] | None, drawn: Mapping[str, str]) -> dict[str, float | None]:
    values = {name: (scores or {}).get(name) for name in drawn}
    return {name: v if isinstance(v, float) and math.isfinite(v) else None for name, v in values.items()}


def stamp_run(run: Path) -> tuple[Any, ...] | None:
    """Changes when something that `describe_run` reads does; None while there is no run."""
    if not (run / "job.toml").is_file():
        return None
    stamps = []
    for path in RunReader(run).list_watched_files():
        with contextlib.suppress(OSError):
            stamps.append((path.name, path.stat().st_mtime_ns))
    return tuple(stamps)
