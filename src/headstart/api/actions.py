"""What one does with a finished run, as functions: each opens the run's folder and answers one question of its user."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.run.mirror.fetching import locate_run
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote

if TYPE_CHECKING:
    from headstart.api.run import Run
    from headstart.core.console import Console
    from headstart.core.types import Prediction
    from headstart.evaluation.drift.drift_tests import Drift
    from headstart.explanation.explain_image import Explanation, HeatMapMethod
    from headstart.explanation.feature_map_model import FeatureMapPass, TrunkInputs
    from headstart.labelling.suggestions import Suggestions
    from headstart.runtime.inputs.picture_inputs import PictureInput
    from headstart.runtime.model import Errors


def predict(
    run: str | Path | Run, pictures: PictureInput | Iterable[PictureInput], *, errors: Errors = "raise"
) -> list[Prediction]:
    """Answer for pictures with a saved model, in their order; `Run.predict` gives the same answers one by one.

    Args:
        run: A run folder, or the model folder in it; also the address of one in a bucket.
        pictures: A path, folder, pattern, archive or table of paths, as `headstart predict` takes them; the bytes of a
            picture file; a Pillow picture; an array (H, W, 3), (H, W) or (N, H, W, 3) of uint8, RGB or grey; or any
            number of these.
        errors: `raise` ends at the first picture that cannot be read; `rows` gives a `Prediction` with `error`.

    Raises:
        DataError: A picture cannot be read, or a table of paths; or there is no model, or it is damaged.
        UsageError: Something is no picture by its type, shape or numbers, whatever `errors` says.
    """
    from headstart.runtime import model

    return list(model.load(locate_run(run)).predict(pictures, errors=errors))


def export(
    run: str | Path | Run,
    to: str | Sequence[str],
    out: str | Path,
    *,
    precision: str = "f32",
    max_drop: float = 0.01,
    data: str | Path | None = None,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Write a run's model in other formats, each loaded by its own runtime and compared on real pictures.

    `to` names `keras`, `saved_model`, `onnx`, `openvino`, `litert`; several get a folder each below `out`. A precision
    below f32 (`f16`, `int8`) may cost `max_drop` of accuracy, or R² of numbers, on held-out pictures or the labelled
    folder `data`. Gives what `export.json` holds, a format each.

    Raises:
        UsageError: A format is unknown or cannot take this model, or `out` is not empty.
        DataError: There is no run, it is damaged, or its pictures are gone.
        SetupError: Something is not installed, weights cannot be fetched, or an export does not answer as the run does.
        GateFailed: The precision costs more than `max_drop`.
    """
    from headstart.core.console import Console
    from headstart.core.storage.hashing import to_plain
    from headstart.exporting import export_run

    console = console or Console()
    exporters = export_run.load_exporters((to,) if isinstance(to, str) else to, precision)
    export_run.require_drop(max_drop)
    source = _make_export_source(locate_run(run), console)
    export_run.require_possible(exporters, source, precision)
    export_run.require_free(Path(out))
    pictures = _read_parity_images(source, data, calibrating=precision == "int8")
    if not all(exporter.frozen for exporter in exporters):  # those are made of the run's own files
        source.fetch_weights()
    return list(map(to_plain, export_run.export_run(exporters, source, Path(out), precision, pictures, max_drop)))


def _make_export_source(path: Path, console: Console) -> Any:
    from headstart.api.run import Run
    from headstart.core.storage.cache import default_store
    from headstart.exporting.export_source import ExportSource
    from headstart.runtime import model

    run = Run(path)
    networks, store = run.adapted.networks, default_store(console)
    return ExportSource(model=model.load(path), run=path, networks=networks, store=store, console=console, draft=path)


def _read_parity_images(source: Any, data: str | Path | None, *, calibrating: bool) -> Any:
    from headstart.api.run import Run
    from headstart.exporting import parity_images

    if data is not None:
        from headstart.evaluation.external_validation import read_labelled_pictures

        files, truth, _ = read_labelled_pictures(data, source.model.layout)
        return parity_images.pictures_of_folder(files, truth, source.model.layout.task, calibrating=calibrating)
    run = Run(source.run)
    return parity_images.pictures_of_run(run.dataset, run.splits, run.evaluation, calibrating=calibrating)


def drift(
    run: str | Path | Run, logs: str | Path | Sequence[str | Path], *, alpha: float = 0.05, effect: float = 0.1
) -> Drift:
    """Whether what a model is asked now has moved away from what it was measured on.

    `logs` are counts that `predict --usage` and `serve --usage` kept; several add up. `alpha` is how often chance alone
    may say that something moved, `effect` the population stability index, beyond chance, from which it matters.

    Raises:
        UsageError: `alpha` or `effect` is out of range.
        DataError: There is no model or reference, one is damaged, or a log cannot be read.
    """
    from headstart.core.errors import DataError, UsageError
    from headstart.evaluation.drift import drift_tests as drifting
    from headstart.runtime import model, usage_log

    if not drifting.LEAST_ALPHA <= alpha < 1:
        least = f"{drifting.LEAST_ALPHA:g}"
        raise UsageError(f"alpha `{alpha}` is not from {least} up to 1", where="--alpha", hint=f"--alpha {least}")
    if not 0 <= effect < float("inf"):
        raise UsageError(f"effect `{effect}` is not a number from 0 on", where="--effect")
    folder = model.load(locate_run(run)).folder
    reference = usage_log.read_reference(folder)
    if reference is None:
        what = (
            f"the model `{folder}` has no reference to compare with: no picture judged it, or it is of an older version"
        )
        hint = "the command that made the run, given again, adds it"
        raise DataError(what, where=str(folder / usage_log.NAME), hint=hint)
    paths = list(map(Path, [logs] if isinstance(logs, str | Path) else logs))
    usage = usage_log.read_logs(paths, reference.model)
    if not usage.days:
        raise usage_log.explain_empty_logs(paths, usage, folder)
    commands = drifting.DriftCommands(run=_quote(os.fspath(run)), fit=_format_refit(run, folder))
    return drifting.test_drift(reference, usage, alpha=alpha, effect=effect, commands=commands)


def _format_refit(run: str | Path | Run, folder: Path) -> str:
    """The command that fits a saved model's labelled pictures; DATA stands for them where no run here says which."""
    from headstart.core.job import Job, read_job
    from headstart.core.types import NO_ADAPTATION

    path = folder.parent / "job.toml"
    if is_remote(os.fspath(run)) or not path.is_file():
        return "headstart fit DATA"
    job, default = read_job(path), Job(data="")
    words = ["--target-labels judge"] if job.target_labels != default.target_labels else []
    words += ["--adaptation auto"] if job.adaptation == (NO_ADAPTATION,) else []
    return " ".join(["headstart fit", _quote(str(path)), *words])


def _quote(path: str) -> str:
    return shlex.quote(format_printable(path))


def explain(
    run: str | Path | Run,
    pictures: PictureInput | Iterable[PictureInput],
    *,
    method: str = "auto",
    class_name: str = "",
    neighbours: int = 4,
) -> Iterator[Explanation]:
    """Why a run answers as it does: heat maps, the training pictures most alike, and those that stand for the class.

    `pictures` are what `headstart.predict` takes; each gives an explanation when it is asked for, of several labels one
    for each that is answered, or says in `prediction.error` why it cannot be read. `method` is `auto`, `cam`,
    `scorecam`, `occlusion`, or `gradcam` through the network that the run trained; maps speak of `class_name`, by
    default each picture's likeliest.
    `headstart.explanation.explain_image.overlay_png` draws one.

    Raises:
        UsageError: There is no such method or class, the model does not allow the method, or `neighbours` is negative.
        DataError: There is no run, it is damaged, or it trained no network.
        SetupError: `gradcam` needs what is not installed.
    """
    from headstart.core.errors import UsageError
    from headstart.explanation.explain_image import GRADCAM, Explainer
    from headstart.runtime.inputs.decoded_batches import Content
    from headstart.runtime.inputs.picture_inputs import read_pictures

    if neighbours < 0:
        raise UsageError(f"{neighbours} neighbours cannot be named", where="--neighbours", hint="give 0 or more")
    explainer = Explainer(locate_run(run))
    if class_name:
        explainer.class_position(class_name)
    gradient_method = _make_gradient_explainer(locate_run(run)) if method == GRADCAM else None
    options: dict[str, Any] = {"method": method, "class_name": class_name, "neighbours": neighbours}
    if gradient_method is None:
        explainer.choose_method(method)

    def explain_each() -> Iterator[Explanation]:
        from headstart.explanation.explain_image import list_explained_classes, unreadable_picture
        from headstart.images.file_formats import PictureError
        from headstart.images.preprocessing import read_bytes

        for source in read_pictures(pictures):
            try:
                content = source.read_bytes() if isinstance(source, Content) else read_bytes(str(source))
                explain = partial(explainer.explain, content, name=str(source), heat_map_method=gradient_method)
                yield (explanation := explain(**options))
                for label in () if class_name else list_explained_classes(explanation.prediction)[1:]:
                    yield explain(**options | {"class_name": label})
            except PictureError as err:
                yield unreadable_picture(str(source), f"{err.reason.replace('_', ' ')}: {err.detail}")

    return explain_each()


def _make_gradient_explainer(run: Path) -> HeatMapMethod:
    """Grad-CAM through the network that a run trained and handed over."""
    from headstart.api.run import Run
    from headstart.core import extras
    from headstart.core.errors import DataError
    from headstart.explanation.explain_image import GRADCAM, HeatMap

    extras.require_extra("fit", "sending gradients through a network")
    opened_run = Run(run)
    if opened_run.adapted.tuning is None or not opened_run.adapted.tuning.taken:
        what = f"the model of the run `{run}` is a frozen probe: it has no trained network to send gradients through"
        raise DataError(what, hint=f"headstart explain {run} FILE takes the method that fits")
    from headstart.explanation.gradcam import GradientModel
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():
        gradients = GradientModel(opened_run.keras_model(), opened_run.dataset.learning_task)

    def explain_by_gradients(maps: TrunkInputs, feature_pass: FeatureMapPass, position: int) -> HeatMap:
        heat = gradients.compute_map(maps.pictures[0], position)
        why = f"it was asked for: gradients at the layer `{heat.layer}` of the trained network"
        return HeatMap(method=GRADCAM, why=why, evidence=heat.evidence, score=heat.score)

    return explain_by_gradients


def suggest(
    run: str | Path | Run, pictures: PictureInput | Iterable[PictureInput] | None = None, *, count: int = 50
) -> Suggestions:
    """Which pictures to label next: those that a run's model is least sure of, no two of them alike.

    `pictures` are what `headstart.predict` takes, by default those without a label that the run kept apart or has of a
    new domain; at most `count` are suggested. `chosen` has them, the most uncertain first. What a run folder has with
    a label is left out.

    Raises:
        UsageError: `count` is not positive, or something is no picture by its type.
        DataError: There is no run, or it is damaged, or it kept no picture apart; or a table cannot be read.
        NoOpError: The model answers with a number and measures no novelty.
        SetupError: scikit-learn is missing.
    """
    from headstart.core import extras
    from headstart.core.errors import UsageError
    from headstart.core.run.reader import RunReader
    from headstart.core.types import Dataset
    from headstart.labelling.suggestions import skip_known, suggest_pictures
    from headstart.runtime import model
    from headstart.runtime.inputs.picture_inputs import read_pictures

    if count < 1:
        raise UsageError(f"{count} pictures cannot be suggested", where="--count", hint="give 1 or more")
    extras.require_extra("fit", "choosing pictures that differ")
    opened_model, data = model.load(locate_run(run)), RunReader(locate_run(run)).find(Dataset)
    sources = read_pictures(_list_unlabelled(run) if pictures is None else pictures)
    known: list[Any] = []
    if data:
        sources = skip_known(sources, frozenset(data.digests), known)
    return replace(suggest_pictures(opened_model, sources, count), known=len(known))


def _list_unlabelled(run: str | Path | Run) -> list[str]:
    """Paths of the pictures without a label: those that a run kept apart, and those of its new domain."""
    from headstart.api.run import Run
    from headstart.core.errors import DataError
    from headstart.core.types import TargetDomain

    reader = Run(locate_run(run))
    data, target = reader.dataset, reader.find(TargetDomain)
    paths = [os.path.join(data.root, uri) for uri in data.unlabelled]  # noqa: PTH118 - any bytes
    if target is not None:
        rows, pictures = (target.labels < 0).nonzero()[0].tolist(), target.pictures
        paths += [os.path.join(pictures.root, pictures.uris[row]) for row in rows]  # noqa: PTH118
    if not paths:
        what, hint = f"the run `{run}` kept no picture without a label apart", f"headstart suggest {run} FOLDER"
        raise DataError(what, hint=hint)
    return paths


def compare(runs: Sequence[str | Path | Run]) -> dict[str, Any]:
    """Compare finished runs: on the same pictures, in cost, class by class, and what was done otherwise.

    Gives `runs`, `pairs` (every two of them, tested), `settings` and `data` that differ, as plain JSON.

    Raises:
        UsageError: Fewer than two runs, or one twice.
        DataError: One is no finished run.
    """
    from headstart.core.storage.serialization import as_json
    from headstart.evaluation.comparison.compare_runs import compare_runs

    comparison: dict[str, Any] = as_json(compare_runs(list(map(locate_run, runs))))
    return comparison
