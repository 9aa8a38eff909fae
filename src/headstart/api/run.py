"""An opened run: everything a fit found, by name, read from its folder when first asked for."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError
from headstart.core.run.folder import RunFolder
from headstart.core.run.mirror.fetching import locate_run
from headstart.core.run.reader import AUDIT_PHASES, DONE_FILES, FOLDERS, RunReader
from headstart.core.types import (
    NO_ADAPTATION,
    Audit,
    DomainAdaptation,
    DomainShift,
    TargetDomain,
    UncertaintyReport,
    Verdict,
    list_verdicts,
)

if TYPE_CHECKING:
    from headstart.core.types import Prediction, Score
    from headstart.runtime.inputs.picture_inputs import PictureInput
    from headstart.runtime.model import Errors


class Run(RunReader):
    """A run folder that is finished or on its way; itself a path to it, for all that takes one.

    Raises:
        DataError: There is no run at `path`, or a newer version wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(locate_run(path))
        self.cut_short = False  # by Ctrl-C, in the very call that gave this run
        RunFolder(self.path).require_run()

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def finished(self) -> bool:
        """Whether every step of a fit is done and all that it left is whole."""
        from headstart.runtime import usage_log

        try:
            is_judged = not self.evaluation.refusal
            left_out = {Audit, *([] if is_judged else [UncertaintyReport]), *self._list_skipped_of_domain()}
            is_whole = all(self.find(kind) is not None for kind in FOLDERS if kind not in left_out)
            patterns = [pattern for step, pattern in DONE_FILES if is_judged or step != "doubt"]
            is_whole = is_whole and all(any(self.path.glob(pattern)) for pattern in patterns)
            is_whole = is_whole and len(self.audits) == len(AUDIT_PHASES) and bool(self.manifest.class_names)
            is_tracked = "track" in self.timings or self.job.track != "mlflow"
            has_reference = not is_judged or usage_log.read_reference(self.model_folder) is not None
        except DataError:
            return False
        return is_whole and has_reference and is_tracked

    def _list_skipped_of_domain(self) -> list[type]:
        """What a run has not without pictures of another domain, or where it adapts nothing to them."""
        if not self.job.unlabeled:
            return [TargetDomain, DomainShift, DomainAdaptation]
        return [DomainAdaptation] if self.job.adaptation == (NO_ADAPTATION,) else []

    @property
    def scores(self) -> tuple[Score, ...]:
        """The model's own scores over whole splits; per-class ones and baselines are in `evaluation`."""
        return tuple(score for score in self.evaluation.scores if not score.subject)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The features the head reads, as `backbone@depth`."""
        return tuple(f"{feature.backbone}@{feature.depth}" for feature in self.adapted.features)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search of recipes, so that the best so far was taken."""
        return RunFolder(self.path).find_decision("adapt/interrupted") is not None

    def keras_model(self) -> Any:
        """The tuned network as a `keras.Model`: (B, H, W, 3) float32 RGB 0..255 to (B, C) probabilities.

        It is there even where the frozen probe was handed over instead; `adapted.tuning.taken` tells.

        Raises:
            DataError: The run trained no network, or it is damaged, or names one of another place.
        """
        from headstart.backbones.earlier_runs import tuned_network

        network = tuned_network.find_network(self.adapted, self.path)
        if network is None:
            hint = "headstart fit DATA --strategy finetune trains one"
            raise DataError(f"the run `{self.path}` trained no network", hint=hint)
        return tuned_network.load_network(tuned_network.network_file(network, self.path))

    def predict(
        self, pictures: PictureInput | Iterable[PictureInput], *, errors: Errors = "raise"
    ) -> Iterator[Prediction]:
        """Answer for pictures one by one, as they are asked for; takes and raises what `headstart.predict` does."""
        from headstart.runtime.model import load as load_model

        return load_model(self.model_folder).predict(pictures, errors=errors)

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object, as `fit --json` prints it."""
        from headstart.core.storage.serialization import as_json
        from headstart.evaluation.held_out_scores import WITHOUT_STRADDLING

        return {
            "run": self.path.as_posix(),
            "chosen": list(self.chosen),
            "strategy": self.adapted.strategy,
            "head": self.adapted.fitted.head,
            "scores": as_json(self.scores),
            "scores_without_leak": as_json([s for s in self.evaluation.scores if s.subject == WITHOUT_STRADDLING]),
            "verdicts": as_json(self.verdicts),
            "domain": self._describe_domain(),
            "seconds": round(self.seconds, 3),
        }

    def _describe_domain(self) -> dict[str, Any] | None:
        """What is known of pictures of another domain; None without any."""
        from headstart.core.storage.serialization import as_json

        shift, adaptation = self.find(DomainShift), self.find(DomainAdaptation)
        if shift is None:
            return None
        return {
            "pictures": shift.n_target,
            "verdicts": as_json((shift.verdict, shift.label_verdict)),
            "levels": as_json(shift.levels),
            "accuracy": as_json(shift.accuracy),
            "source_accuracy": as_json(shift.source_accuracy),
            "method": None if adaptation is None else adaptation.method,
            "trials": [] if adaptation is None else as_json(adaptation.trials),
        }

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All answers in words, with the numbers that they rest on."""
        return list_verdicts(self.evaluation, self.find(UncertaintyReport))

    def headline(self) -> list[Score]:
        """The main scores of the split that judges: accuracy and balanced accuracy, or those of numbers."""
        split, names = self.evaluation.split, self.dataset.learning_task.headline
        return [s for name in names for s in self.scores if s.name == name and s.split == split]

    def decision_scores(self) -> list[Score]:
        """What `--positive` or `--costs` asked for: precision and recall of the class, or mean costs."""
        split, positive = self.evaluation.split, self.job.positive
        scores = [s for s in self.evaluation.scores if s.subject == positive and s.name in ("precision", "recall")]
        scores = (scores if positive else []) + [
            score for score in (*self.scores, *self.evaluation.baselines) if score.name == "mean_cost"
        ]
        return [score for score in scores if score.split == split]

    def _format_uncertainty(self) -> list[str]:
        report = self.find(UncertaintyReport)
        if report is None:
            return []
        from headstart.uncertainty.summary import format_coverage, format_unknown

        lines, declined = [f"uncertainty: {format_coverage(report)}"], format_unknown(report)
        lines += [f"unknown: {declined}"] if declined else []
        return lines

    def _format_scope(self) -> str:
        """Which domain and model the scores are of, where there is another domain."""
        if self.find(DomainShift) is None:
            return ""
        from headstart.reporting.sections.domain import format_scope

        return f", {format_scope(self.find(DomainAdaptation))}"

    def _format_domain(self) -> list[str]:
        shift, adaptation = self.find(DomainShift), self.find(DomainAdaptation)
        if shift is None:
            return []
        from headstart.reporting.sections.domain import format_domain_note

        lines = [f"new domain: {format_domain_note(shift, adaptation)}"]
        return lines + ([f"adaptation: {adaptation.why}"] if adaptation is not None else [])

    def format_text(self) -> str:
        """The result in a few lines."""
        scope = self._format_scope()
        lines = [f"{_format_score(score)}{scope}" for score in self.headline()]
        lines += [f"{verdict.code.replace('_', ' ')}: {verdict.sentence}" for verdict in self.verdicts]
        lines += [_format_score(score) for score in self.decision_scores()]
        lines += self._format_uncertainty()
        lines += self._format_domain()
        lines += ["", f"model   {' + '.join(self.chosen)}, {self.adapted.fitted.head}"]
        lines += [f"report  {(self.path / 'report.html').as_posix()}"]
        lines += [f"use it  headstart predict {self.path.as_posix()} picture.jpg"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Run({self.path.as_posix()!r})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{s.split}</td><td>{s.name.replace('_', ' ')}</td><td>{s.value:.3f}</td>"
            f"<td>[{s.low:.3f}, {s.high:.3f}]</td><td>{s.n:,}</td></tr>"
            for s in self.headline()
        )
        sentences = [*(verdict.sentence for verdict in self.verdicts), *self._format_domain()]
        items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
        return (
            f"<p><b>{html.escape(self.path.as_posix())}</b>: {html.escape(' + '.join(self.chosen))}</p>"
            "<table><tr><th>split</th><th>score</th><th>value</th><th>95 % interval</th><th>n</th></tr>"
            f"{rows}</table><ul>{items}</ul>"
        )


def load(path: str | Path) -> Run:
    """Open a run, in a folder or a bucket; raises DataError where there is none, or a newer version wrote it."""
    return Run(path)


def _format_score(score: Score) -> str:
    name = score.name.replace("_", " ") + (f" of {score.subject}" if score.subject else "")
    return f"{score.split} {name} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}] (n = {score.n:,})"
