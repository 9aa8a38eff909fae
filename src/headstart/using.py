"""What one does with a finished run, as functions: each opens the run's folder and answers one question of its user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.core.say import Say


def export(
    run: str | Path,
    to: str | Sequence[str],
    out: str | Path,
    *,
    precision: str = "f32",
    max_drop: float = 0.01,
    data: str | Path | None = None,
    say: Say | None = None,
) -> list[dict[str, Any]]:
    """Write a run's model in other formats, each loaded by its own runtime and compared on real pictures.

    Args:
        run: The run's folder.
        to: Formats: `keras`, `saved_model`, `onnx`, `openvino`, `litert`.
        out: Where to: one format's own folder; of several, one below it each.
        precision: `f32`, `f16` or `int8`.
        max_drop: Share of right answers that a precision below f32 may cost.
        data: Labelled folder to compare on instead of the run's held-out pictures.
        say: Where to speak; default standard error.

    Returns:
        What `export.json` holds, a format each.

    Raises:
        UsageError: A format is unknown or cannot take this model, or `out` is not empty.
        DataError: There is no run, it is damaged, or its pictures are gone.
        SetupError: Something is not installed, or an export does not answer as the run does.
        GateFailed: The precision costs more than `max_drop`.
    """
    from headstart.core.say import Say
    from headstart.exporters import _export

    say = say or Say()
    wanted = _export.exporters((to,) if isinstance(to, str) else to, precision)
    _export.require_drop(max_drop)
    source = _source(Path(run), say)
    _export.require_possible(wanted, source, precision)
    _export.require_free(Path(out))
    pictures = _pictures(source, data, calibrating=precision == "int8")
    made = _export.run(wanted, source, Path(out), precision, pictures, max_drop)
    return _export.as_json(made)


def _source(path: Path, say: Say) -> Any:
    """What an export is made of."""
    from headstart.core.opening import default_store
    from headstart.exporters._source import Source
    from headstart.run import Run
    from headstart.runtime import model

    run = Run(path)
    tuning = run.adapted.tuning
    networks = (tuning.network,) if tuning and tuning.network else ()
    loaded = model.load(path)
    return Source(model=loaded, run=path, networks=networks, store=default_store(say), say=say, draft=path)


def _pictures(source: Any, data: str | Path | None, *, calibrating: bool) -> Any:
    from headstart.exporters import _pictures as found
    from headstart.run import Run

    if data is not None:
        from headstart.stages.evaluate.judge import labelled

        files, truth, _ = labelled(Path(data), source.model.class_names)
        return found.of_folder(files, truth, calibrating=calibrating)
    run = Run(source.run)
    return found.of_run(run.dataset, run.splits, run.evaluation)
