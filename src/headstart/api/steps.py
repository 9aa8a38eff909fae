"""A fit's story: read, audit, embed, audit, split, rank, adapt, evaluate, doubt, export, drift, explain, card, report.

This file and `headstart.api.data_steps`, its first half, alone know the order. `Story` holds one property a step;
asking for one takes all the steps before it, so that `audit`, `embed`, `rank` and `fit` are the same story told to
different ends. Steps import their stage when they begin, so that nothing heavy is loaded before it is needed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.api.data_steps import SCREEN_PICTURES, Beginning

if TYPE_CHECKING:
    from headstart.core.types import (
        Dataset,
        Embeddings,
        Evaluation,
        Explained,
        Exported,
        FineTuningResult,
        FitResult,
        Forecasts,
        NameInitialization,
        Ranking,
        UncertaintyReport,
    )
    from headstart.runtime.usage_log import Reference

CONTROL_PART, CONTROL_LEAST = 6, 96  # random twins see a sixth of the training pictures, so that they stay cheap


class Story(Beginning):
    """One run on its way; each property is a step, taken when first asked for."""

    @cached_property
    def controls(self) -> tuple[Embeddings, ...]:
        """The random twins of the backbones that go on, on a few training pictures, the cheapest first."""
        from headstart.backbones import loading
        from headstart.selection.ranking.screening import sample

        count = min(SCREEN_PICTURES, max(CONTROL_LEAST, len(self.splits.train) // CONTROL_PART))
        rows = sample(self.data, count, self.ctx.seed, among=self.splits.train)
        drawn = [
            e.spec.name for e in self.embeddings if not loading.find(e.spec.name).frozen
        ]  # the others have no twin
        return tuple(self._embed(f"random:{name}", rows) for name in drawn)

    @cached_property
    def ranking(self) -> Ranking:
        """All candidates on the same folds."""
        from headstart.selection.ranking.rank_backbones import rank_backbones

        seen = {each.spec.name for each in self.embeddings}
        screened = tuple(row for row in self.screening.rows if row.backbone not in seen) if self.screening else ()
        found: Ranking = self._step(
            "rank", rank_backbones, self.data, self.splits, self.embeddings, controls=self.controls, screened=screened
        )
        return found

    @cached_property
    def names(self) -> NameInitialization | None:
        """What the names of the classes say without any label; None where the job does not ask for it."""
        from headstart.zero_shot import head_from_names

        values = (self.data, self.splits, self.embeddings)
        if not self.ctx.job.from_names:
            head_from_names.advise(*values, ctx=self.ctx)
            return None
        found: NameInitialization = self._step("names", head_from_names.initialize_head_from_names, *values)
        return found

    @cached_property
    def probe(self) -> FitResult:
        """The head that won on frozen features."""
        from headstart.selection.probe.train_probe import train_probe

        values = (self.data, self.splits, self.ranking, self.embeddings)
        found: FitResult = self._step("adapt", train_probe, *values, names=self.names)
        return found

    @cached_property
    def forecasts(self) -> Forecasts:
        """The forecast, and where networks are to be trained another one, now that the probe is measured."""
        if self.ctx.job.strategy == "probe":
            return self.forecast
        from headstart.selection.forecast.forecast_run import probed

        return probed(self.data, self.splits, self.probe, self.candidates, self.forecast, ctx=self.ctx)

    @cached_property
    def tuning(self) -> FineTuningResult | None:
        """All fine-tuning; None when the probe alone is asked for."""
        if self.ctx.job.strategy == "probe":
            return None
        from headstart.finetuning.fine_tune import fine_tune

        assert self.forecasts is not None  # what training will come to is said before it begins
        values = (self.data, self.splits, self.ranking, self.embeddings, self.probe)
        found: FineTuningResult | None = self._step("tune", fine_tune, *values)
        return found

    @cached_property
    def tuned(self) -> tuple[Embeddings, ...]:
        """Features through the tuned network, of all pictures where it is handed over, and through its random twin."""
        if self.tuning is None:
            return ()
        from headstart.backbones.earlier_runs.tuned_network import trunk_of
        from headstart.selection.probe.final_model import passes

        wanted = passes(self.tuning, self.splits, self._every)
        return tuple(self._embed(trunk_of(net, self.ctx.run.path), rows) for net, rows in wanted)

    @cached_property
    def adapted(self) -> FitResult:
        """What is handed over: the probe, or the network that beat it."""
        if self.tuning is None:
            return self.probe
        from headstart.selection.probe.final_model import choose_final_model

        found: FitResult = choose_final_model(self.probe, self.tuning, self.data, self.splits, self.tuned, ctx=self.ctx)
        return found

    @cached_property
    def evaluation(self) -> Evaluation:
        """The test split, touched once."""
        from headstart.evaluation.evaluate_model import evaluate_model

        values = (self.data, self.splits, self.embeddings + self.tuned, self.adapted, self.ranking)
        found: Evaluation = self._step(
            "evaluate", evaluate_model, *values, controls=self.controls, probe=self.probe, names=self.names
        )
        return found

    @cached_property
    def foreign(self) -> tuple[Dataset, tuple[Embeddings, ...]]:
        """Pictures of other things, and their features through the trunks of the model."""
        from headstart.backbones.earlier_runs import tuned_network as tuned
        from headstart.features.extraction import extract_features
        from headstart.uncertainty import ood_images as foreign

        others, networks = foreign.pictures(self.ctx.store), (self.tuning.network,) if self.tuning else ()
        names = dict.fromkeys(feature.backbone for feature in self.adapted.features)
        found = [tuned.find(name, networks, self.ctx.run.path) for name in names]
        every = range(len(others.uris))
        return others, tuple(
            self._step("foreign", extract_features, others, one, every, below="doubt") for one in found
        )

    @cached_property
    def doubted(self) -> UncertaintyReport:
        """When the model should not be believed."""
        from headstart.uncertainty.assessment import assess_uncertainty

        values = (self.data, self.splits, self.embeddings + self.tuned, self.adapted, self.evaluation)
        found: UncertaintyReport = self._step("doubt", assess_uncertainty, *values, foreign=self.foreign)
        return found

    @cached_property
    def exported(self) -> Exported:
        """The model as files that answer without a training framework."""
        from headstart.exporting.runtime_model import export_runtime_model

        found: Exported = self._step(
            "export",
            export_runtime_model,
            self.data,
            self.embeddings + self.tuned,
            self.adapted,
            self.evaluation,
            doubted=self.doubted,
        )
        return found

    @cached_property
    def watched(self) -> Reference:
        """What the model in use is compared with."""
        from headstart.evaluation.drift.drift_reference import write_drift_reference

        assert self.exported is not None  # the saved model answers
        values = (self.data, self.embeddings + self.tuned, self.adapted, self.evaluation)
        found: Reference = self._step("drift", write_drift_reference, *values)
        return found

    @cached_property
    def explained(self) -> Explained:
        """What the run keeps to explain its answers by."""
        from headstart.explanation.explain_run import explain_run

        assert self.exported is not None  # the saved model is what is explained
        values = (self.data, self.splits, self.embeddings + self.tuned, self.adapted, self.evaluation)
        found: Explained = self._step("explain", explain_run, *values)
        return found

    @cached_property
    def card(self) -> Path:
        """The model card, for whoever gets the folder."""
        from headstart.reporting.card.write_card import write_card

        assert self.exported is not None  # it tells of the saved model
        found: Path = self._step("card", write_card)
        return found

    def report(self) -> Path:
        """The page that tells it all; then the run is remembered, so that later forecasts learn from it."""
        from headstart.reporting.write_report import write_report
        from headstart.selection.forecast import history_record
        from headstart.selection.forecast.forecast_run import check

        assert self.forecast is not None  # the first forecast is made before anything is spent
        assert self.exported is not None  # the page says how to use the model, so the model comes first
        assert self.watched is not None  # what `headstart drift` compares with
        assert self.explained is not None  # and shows some answers explained
        check(self.forecasts, self.evaluation, ctx=self.ctx)
        assert self.card.is_file()
        found: Path = self._step("report", write_report, computed_now=True)
        ended = history_record.Ended(self.data, self.splits, self.ranking, self.probe, self.evaluation)
        history_record.keep(ended, ctx=self.ctx)
        if self.ctx.job.track == "mlflow":
            from headstart.reporting.mlflow_run import log_to_mlflow as tell

            self._step("track", tell)
        return found
