"""The steps of a fit, in their order: `FitSteps` has one property a step, which takes all the steps before it.

`audit`, `embed`, `rank` and `fit` are the same steps, taken to different ends. A step imports its room when it begins,
so that nothing heavy is loaded before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headstart.api.domain_steps import DomainSteps
from headstart.api.preflight import require_fitting_settings
from headstart.core.console import format_duration
from headstart.core.run.context import Context
from headstart.core.run.time_plan import format_unbounded
from headstart.core.storage.serialization import save_value

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core import types
    from headstart.runtime.usage_log import UsageReference
    from headstart.selection.ranking.screening import Screening
    from headstart.selection.successive_halving import Option

T = TypeVar("T")

CONTROL_PART, CONTROL_LEAST, CONTROL_MOST = 6, 96, 256  # a random-init control sees a sixth of the training pictures


class FitSteps:
    """One run on its way; each property is a step, taken when first asked for."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.domain = DomainSteps(self)

    def take_step(self, name: str, run: Callable[..., T], *values: Any, **options: Any) -> T:
        """Take a step in its room: timed, with the run's context."""
        with self.ctx.time_step(name):
            return run(*values, ctx=self.ctx, **options)

    @cached_property
    def pictures(self) -> types.Dataset:
        """The pictures as they were read, and the files that are skipped."""
        from headstart.data.reading.read_dataset import read_dataset

        data = self.take_step("read", read_dataset, self.ctx.job.data)
        require_fitting_settings(self.ctx.job, data)
        return data

    @cached_property
    def is_judged(self) -> bool:
        """Whether there are pictures to compare and judge by; else a model is fitted of which nothing is claimed."""
        from headstart.data.groups import can_judge

        return can_judge(self.pictures)

    @cached_property
    def files_audit(self) -> types.Audit:
        """What the files tell."""
        from headstart.data.audit import audit_dataset
        from headstart.networks.devices import choose_device

        audit = self.take_step("audit_files", audit_dataset, self.pictures)
        target = self.domain.target  # that of a run that was only looked at may have changed: it begins anew
        choose_device(self.ctx)  # before anything else is decided: a run ends where it began
        digest, why = self.pictures.digest, "a resumed run must see the same pictures"
        self.ctx.record_decision("data", lambda: digest, why)
        if target is not None:
            self.ctx.record_decision("unlabeled", lambda: target.pictures.digest, why)
        return audit

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Backbones to measure, their weights at hand."""
        from headstart.selection.candidates import choose_candidates

        _ = self.files_audit  # a hopeless data set stops before weights are fetched
        names = self.take_step("candidates", choose_candidates, self.pictures)
        if self.ctx.job.from_names:
            from headstart.zero_shot.head_from_names import require_start_from_names

            require_start_from_names(self.pictures.class_names, names, ctx=self.ctx)
        return names

    @cached_property
    def _resize_rows(self) -> Any:
        from headstart.selection.resize_choice import find_resize_rows

        if not self.is_judged:
            return None
        return find_resize_rows(self.pictures, ctx=self.ctx)

    @cached_property
    def data(self) -> types.Dataset:
        """The pictures as the backbones see them."""
        from headstart.selection.resize_choice import choose_resize

        if self._resize_rows is None:
            return self.pictures
        data = self.take_step("resize", choose_resize, self.pictures, self.candidates, self._resize_rows)
        save_value(replace(data, root=data.name), self.ctx.make_step_folder("read"))
        return data

    @cached_property
    def planned_seconds(self) -> float:
        """Seconds that the whole run is expected to take, told before they are spent."""
        from headstart.api.run_forecast import estimate_seconds

        names = self.candidates  # steps of their own
        with self.ctx.time_step("plan") as entry:
            entry["planned_s"] = estimate_seconds(self, names, self.domain.target)
        line = f"about {format_duration(entry['planned_s'])} for the whole run{format_unbounded(self.ctx.job)}"
        self.ctx.console.print_line("plan", line)
        return entry["planned_s"]

    def make_options(self, names: Iterable[str]) -> list[Option]:
        """Candidates of the screening, with what is published of them."""
        from headstart.backbones import loading
        from headstart.selection.published_accuracy import make_option

        return [make_option(loading.find_backbone(name).spec) for name in names]

    @cached_property
    def screening(self) -> Screening | None:
        """Which backbones go on, judged on few pictures in one round or several; None when all go on."""
        from headstart.selection.ranking import screening as rounds

        names, screening = self.candidates, None
        embeddings: tuple[types.Embeddings, ...] = ()
        while count := rounds.plan_round(self.pictures, self.make_options(names), screening, ctx=self.ctx):
            embeddings = tuple(each for each in embeddings if each.spec.name in names)
            if screening is None or count > len(screening.pictures):
                rows = rounds.draw_rounds(self.data, ctx=self.ctx)[count]
                embeddings = tuple(self._extract_features(name, rows, self.ctx.job.precision) for name in names)
            step = f"screen {count}"
            screening = self.take_step(step, rounds.screen_backbones, self.data, embeddings, previous=screening)
            if len(names) == 2:
                break
            names = screening.survivors
        if screening is None and self.ctx.job.precision != "f32":
            self.ctx.console.print_line("plan", f"no screening here, so nothing is done in {self.ctx.job.precision}")
        return screening

    @cached_property
    def survivors(self) -> tuple[str, ...]:
        """The backbones that all training pictures go through."""
        from headstart.finetuning.trainable_candidates import add_trainable

        names = self.candidates
        if not self.is_judged:
            from headstart.selection.candidates import backbone_for_audit

            return (backbone_for_audit(names, best=True),)
        if self.screening:
            names = add_trainable(self.screening.survivors, self.candidates, ctx=self.ctx)
            if self.ctx.job.from_names:
                from headstart.zero_shot.head_from_names import keep_name_backbone

                names = keep_name_backbone(names, self.candidates, ctx=self.ctx)
        return names

    @cached_property
    def embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features through the survivors, cheapest first: of those that train, or of all where names need them."""
        rows = self._all_rows if self.ctx.job.from_names else self.splits.train
        audited = self._audited_embeddings
        others = [self._extract_features(name, rows) for name in self.survivors if name != audited.spec.name]
        return tuple(sorted([audited, *others], key=lambda e: (e.spec.flops, e.spec.name)))

    @cached_property
    def _audited_embeddings(self) -> types.Embeddings:
        """Of all pictures, through the survivor of known worth of which most is expected: it is likely handed over."""
        from headstart.selection.candidates import backbone_for_audit

        return self._extract_features(backbone_for_audit(self.survivors, best=True), self._all_rows)

    def count_missing_rows(self, data: types.Dataset, names: Iterable[str], rows: Any = None) -> dict[str, int]:
        """How many of some pictures have to go through each backbone, since the store lacks them."""
        from headstart.features.extraction_time import count_missing_rows

        return count_missing_rows(data, names, self.ctx.store, rows)

    @property
    def _all_rows(self) -> Any:
        import numpy as np

        return np.arange(len(self.pictures.uris))

    def _extract_features(
        self, backbone: str | ResolvedBackbone, rows: Any, precision: str = "f32"
    ) -> types.Embeddings:
        from headstart.features.extraction import extract_features

        full_name = backbone if isinstance(backbone, str) else backbone.name
        with self.ctx.time_step(f"embed {full_name} {len(rows)}") as entry:
            embeddings = extract_features(self.data, backbone, rows, ctx=self.ctx, precision=precision)
            if embeddings.timed:  # times of other loads would make the cheap look dear
                entry["latency_ms"] = embeddings.latency_ms
        return embeddings

    @cached_property
    def vectors_audit(self) -> types.Audit:
        """The audit by vectors of all pictures."""
        return self._audit_vectors(self._audited_embeddings)

    @cached_property
    def quick_vectors_audit(self) -> types.Audit:
        """The same by the cheapest candidate, for those who want no more than an audit."""
        from headstart.selection.candidates import backbone_for_audit

        return self._audit_vectors(self._extract_features(backbone_for_audit(self.candidates), self._all_rows))

    def _audit_vectors(self, embeddings: types.Embeddings) -> types.Audit:
        from headstart.data.audit import audit_dataset

        return self.take_step("audit_vectors", audit_dataset, self.data, before=self.files_audit, embeddings=embeddings)

    @cached_property
    def splits(self) -> types.Splits:
        """Which pictures train and which test; drawn only now, so that near-duplicates stay on one side."""
        import numpy as np

        from headstart.data.splits import draw_splits

        chosen_by = [self.screening.pictures] if self.screening else []
        chosen_by += [] if self._resize_rows is None else [self._resize_rows]
        screened = reduce(np.union1d, chosen_by) if chosen_by else None
        return self.take_step("splits", draw_splits, self.data, self.vectors_audit.clusters, screened=screened)

    @cached_property
    def comparison(self) -> types.Ranking:
        """All candidates on the same folds."""
        from headstart.selection.ranking.rank_backbones import rank_backbones

        survivors = {embeddings.spec.name for embeddings in self.embeddings}
        screened = tuple(row for row in self.screening.rows if row.backbone not in survivors) if self.screening else ()
        return self.take_step("rank", rank_backbones, self.data, self.splits, self.embeddings, screened=screened)

    @cached_property
    def controls(self) -> tuple[types.Embeddings, ...]:
        """The random-init control of the chosen backbone, on a few training pictures, where there is time for it."""
        from headstart.backbones import loading
        from headstart.selection.ranking import controls
        from headstart.selection.ranking.screening import draw_rows

        count = min(CONTROL_MOST, max(CONTROL_LEAST, len(self.splits.train) // CONTROL_PART))
        rows = draw_rows(self.data, count, self.ctx.seed, among=self.splits.train)
        chosen = loading.find_backbone(self.comparison.chosen.rpartition("@")[0])
        if chosen.frozen_reason or not controls.has_room(self.data, chosen.name, rows, ctx=self.ctx):
            return ()
        return (self._extract_features(f"random:{chosen.name}", rows),)

    @cached_property
    def ranking(self) -> types.Ranking:
        """The candidates, and beside them what should do badly."""
        from headstart.selection.probe.prototypes import choose_by_prior
        from headstart.selection.ranking.controls import judge_controls

        if not self.is_judged:
            return self.take_step("rank", choose_by_prior, self.embeddings[0])
        values = (self.comparison, self.data, self.splits, self.embeddings, self.controls)
        return self.take_step("controls", judge_controls, *values)

    @cached_property
    def name_initialization(self) -> types.NameInitialization | None:
        """What the names of the classes say without any label; None where the job does not ask for it."""
        from headstart.zero_shot import head_from_names

        values = (self.data, self.splits, self.embeddings)
        if not self.ctx.job.from_names:
            if self.data.learning_task.has_classes:
                head_from_names.advise_start_from_names(*values, ctx=self.ctx)
            return None
        return self.take_step("names", head_from_names.initialize_head_from_names, *values)

    @cached_property
    def probe(self) -> types.FitResult:
        """The head that won on frozen features."""
        from headstart.selection.probe.prototypes import fit_prototypes
        from headstart.selection.probe.train_probe import train_probe

        if not self.is_judged:
            return self.take_step("adapt", fit_prototypes, self.data, self.splits, self.ranking, self.embeddings[0])
        values = (self.data, self.splits, self.ranking, self.embeddings)
        return self.take_step("adapt", train_probe, *values, names=self.name_initialization)

    @cached_property
    def tuning(self) -> types.FineTuningResult | None:
        """All fine-tuning; None when the probe alone is asked for."""
        self.domain.require_same_things()  # before anything is trained
        if self.ctx.job.strategy == "probe" or not self.is_judged:
            return None
        from headstart.finetuning.fine_tune import fine_tune

        values = (self.data, self.splits, self.ranking, self.embeddings, self.probe)
        return self.take_step("tune", fine_tune, *values)

    @cached_property
    def tuned_embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features of the tuned network, of all pictures where it is handed over, and of its random-init control."""
        if self.tuning is None:
            return ()
        from headstart.selection.probe.fit_result import list_passes

        passes = list_passes(self.tuning, self.splits, self._all_rows)
        return tuple(self._embed_network(network, rows) for network, rows in passes)

    def _embed_network(self, network: types.TunedNetwork, rows: Any) -> types.Embeddings:
        from headstart.backbones.earlier_runs.tuned_network import make_backbone

        return self._extract_features(make_backbone(network, self.ctx.run.path), rows)

    @cached_property
    def source_embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features through the backbones, of all pictures where the probe reads them, and through the tuned network."""
        read = {feature.backbone for feature in self.probe.features}
        partial = [each.spec.name for each in self.embeddings if len(each.rows) < len(self._all_rows)]
        by_name = {name: self._extract_features(name, self._all_rows) for name in partial if name in read}
        return (*(by_name.get(each.spec.name, each) for each in self.embeddings), *self.tuned_embeddings)

    @cached_property
    def all_embeddings(self) -> tuple[types.Embeddings, ...]:
        """The same, and through a network that was adapted to a new domain."""
        network = self.adapted.domain_network
        return self.source_embeddings + ((self._embed_network(network, self._all_rows),) if network else ())

    def embed_all(self) -> tuple[types.Embeddings, ...]:
        """Features of all pictures through the survivors."""
        return tuple(self._extract_features(name, self._all_rows) for name in self.survivors)

    @cached_property
    def source_fit(self) -> types.FitResult:
        """What the labelled pictures say: the network that beat the probe, or the probe, validated in the time left."""
        from headstart.selection.probe.fit_result import assemble_fit_result
        from headstart.selection.probe.nested_validation import validate_nested

        result = self.probe
        if self.tuning is not None:
            values = (result, self.tuning, self.data, self.splits, self.tuned_embeddings)
            result = assemble_fit_result(*values, ctx=self.ctx)
        if result.strategy != "probe" or not self.is_judged:
            return result
        inputs = (result, self.data, self.splits, self.ranking, self.embeddings)
        return self.take_step("nested", validate_nested, *inputs, names=self.name_initialization)

    @property
    def adapted(self) -> types.FitResult:
        """What is handed over: what the labelled pictures say, adapted to the new domain where there is one."""
        return self.domain.adapted

    @cached_property
    def evaluation(self) -> types.Evaluation:
        """The test split, touched once: what the labelled pictures say of their own domain."""
        from headstart.evaluation.evaluate_model import evaluate_model
        from headstart.evaluation.unjudged import refuse_claims

        if not self.is_judged:
            assert self.adapted is not None  # what nothing is claimed of
            return self.take_step("evaluate", refuse_claims, self.data, self.splits)
        values = (self.data, self.splits, self.source_embeddings, self.source_fit, self.ranking)
        baselines = {"controls": self.controls, "probe": self.probe, "names": self.name_initialization}
        return self.take_step("evaluate", evaluate_model, *values, **baselines)

    def embed_foreign(self, model: types.FitResult) -> tuple[types.Dataset, tuple[types.Embeddings, ...]]:
        """Pictures of other things, and their features through the trunks that a model reads."""
        from headstart.uncertainty.ood_images import make_ood_images

        pictures = replace(make_ood_images(self.ctx.store), reading=self.data.reading.without_bands())
        return pictures, self.embed_pictures(pictures, model, "foreign", below="doubt")

    def embed_pictures(
        self, pictures: types.Dataset, model: types.FitResult, name: str, *, below: str
    ) -> tuple[types.Embeddings, ...]:
        """Features of other pictures than the labelled ones through the trunks that a model reads."""
        from headstart.backbones.earlier_runs import tuned_network
        from headstart.features.extraction import extract_features

        names, rows = dict.fromkeys(feature.backbone for feature in model.features), range(len(pictures.uris))
        trunks = [tuned_network.find_backbone(name, model.networks, self.ctx.run.path) for name in names]
        return tuple(self.take_step(name, extract_features, pictures, trunk, rows, below=below) for trunk in trunks)

    @cached_property
    def uncertainty(self) -> types.UncertaintyReport | None:
        """When the model should not be believed; None where nothing can tell."""
        from headstart.uncertainty.assessment import assess_uncertainty

        if not self.is_judged:
            return None
        values = (self.data, self.splits, self.all_embeddings, self.adapted, self.domain.judge(self.evaluation))
        others = {"foreign": self.embed_foreign(self.adapted), "target": self.domain.adapted_target}
        return self.take_step("doubt", assess_uncertainty, *values, **others)

    @cached_property
    def exported(self) -> types.Exported:
        """The model as files that answer without a training framework."""
        from headstart.exporting.runtime_model import export_runtime_model

        values = (self.data, self.all_embeddings, self.adapted, self.evaluation)
        return self.take_step("export", export_runtime_model, *values, uncertainty=self.uncertainty)

    @cached_property
    def drift_reference(self) -> UsageReference | None:
        """What the model in use is compared with; None where nothing was held out."""
        from headstart.evaluation.drift.drift_reference import write_drift_reference

        assert self.exported is not None  # the saved model answers
        if not self.is_judged:
            return None
        values = (self.data, self.all_embeddings, self.adapted, self.evaluation)
        return self.take_step("drift", write_drift_reference, *values, target=self.domain.adapted_target)

    @cached_property
    def explained(self) -> types.Explained:
        """What the run keeps to explain its answers by."""
        from headstart.explanation.explain_run import explain_run

        assert self.exported is not None  # the saved model is what is explained
        values = (self.data, self.splits, self.all_embeddings, self.adapted, self.evaluation)
        return self.take_step("explain", explain_run, *values)

    @cached_property
    def card(self) -> Path:
        """The model card, for whoever gets the folder."""
        from headstart.reporting.card.write_card import write_card

        assert self.exported is not None  # it tells of the saved model
        return self.take_step("card", write_card)

    def write_report(self) -> Path:
        """The page that tells it all."""
        from headstart.explanation.picture_map import map_pictures
        from headstart.reporting.write_report import write_report

        assert self.planned_seconds  # the time is told before it is spent
        assert self.exported is not None  # the page says how to use the model, so the model comes first
        _ = self.drift_reference  # what `headstart drift` compares with
        assert self.explained is not None  # and shows some answers explained
        assert self.card.is_file()
        self.take_step("map", map_pictures, self.data, self.source_embeddings, self.source_fit, self.evaluation)
        path = self.take_step("report", write_report, computed_now=True)
        if self.ctx.job.track == "mlflow":
            from headstart.reporting.mlflow_run import log_to_mlflow

            self.take_step("track", log_to_mlflow)
        return path
