"""The story of a fit: read, audit, embed, audit again, split, rank, adapt, evaluate, export, report.

This file alone knows the order. `Story` holds one property a step; asking for one takes all the steps before it, so
that `audit`, `embed`, `rank` and `fit` are the same story told to different ends. Steps import their stage when
they begin, so that nothing heavy is loaded before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.context import Context
from headstart.core.errors import DataError

if TYPE_CHECKING:
    from headstart.core.types import (
        Adapted,
        Audit,
        Dataset,
        Embeddings,
        Evaluation,
        Exported,
        Forecasts,
        NamesStart,
        Ranking,
        Splits,
        Tuning,
    )
    from headstart.kit.trunk import Trunk
    from headstart.stages.rank.screen import Screening

SCREEN_PICTURES = 256  # reckoned for each candidate before one is dropped; random twins and the histogram see no more
CONTROL_PART, CONTROL_LEAST = 6, 96  # random twins see a sixth of the training pictures, so that they stay cheap


class Story:
    """One run on its way; each property is a step, taken when first asked for."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def _step(self, stage: str, run: Callable[..., Any], *values: Any, **named: Any) -> Any:
        with self.ctx.timed(stage):
            return run(*values, ctx=self.ctx, **named)

    @cached_property
    def data(self) -> Dataset:
        """Every file on disk, used or excused."""
        from headstart.kit.decision import require_rule
        from headstart.stages.read.run import run

        found: Dataset = self._step("read", run, self.ctx.job.data)
        require_rule(self.ctx.job, found.class_names)
        return found

    @cached_property
    def files_audit(self) -> Audit:
        """What the files tell."""
        from headstart.stages.audit.run import run

        found: Audit = self._step("audit_files", run, self.data)
        digest, why = self.data.digest, "a resumed run must see the same pictures"
        if self.ctx.decide("data", lambda: digest, why) != digest:
            raise DataError(
                f"the pictures in `{self.ctx.job.data}` changed since the run `{self.ctx.run.path}` began",
                hint="choose another folder with `--out`: what is unchanged comes from the cache",
            )
        return found

    @property
    def seen(self) -> int:
        """How many pictures go through every candidate before one is dropped, as reckoned."""
        from headstart.kit.choosing import LEAST, rounds

        count = len(self.data.uris)
        return SCREEN_PICTURES if rounds(LEAST, count) else count

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Backbones to measure, their weights at hand."""
        from headstart.stages.embed.candidates import run

        assert self.files_audit is not None  # a hopeless data set stops before weights are fetched
        found: tuple[str, ...] = self._step("candidates", run, self.data, seen=self.seen)
        if self.ctx.job.from_names:
            from headstart.stages.zeroshot.start import require

            require(self.data.class_names, found, ctx=self.ctx)
        return found

    @cached_property
    def forecast(self) -> Forecasts:
        """What the run will come to, said before anything is spent."""
        from headstart.stages.audit.splits import ahead
        from headstart.stages.embed.estimates import seconds
        from headstart.stages.forecast.run import before

        passes_s = seconds(self.candidates, len(self.data.uris), self.ctx)
        return before(self.data, ahead(self.data, self.ctx.job), self.candidates, passes_s, ctx=self.ctx)

    @cached_property
    def screening(self) -> Screening | None:
        """Which backbones go on, judged on few pictures in one round or several; None when all go on."""
        from headstart.kit.choosing import LEAST
        from headstart.stages.rank import screen

        names, found = self.candidates, None
        draws = screen.draws(self.data, len(names), ctx=self.ctx) if "auto" in self.ctx.job.backbones else ()
        if not draws and self.ctx.job.precision != "f32":
            self.ctx.say.line("plan", f"no screening here, so nothing is done in {self.ctx.job.precision}")
        for rows, then in pairwise((*draws, self._every)):
            if len(names) < LEAST:
                break
            seen = tuple(self._embed(name, rows, self.ctx.job.precision) for name in names)
            found = self._step(f"screen {len(rows)}", screen.run, self.data, seen, before=found, ahead=len(then))
            names = found.survivors
        return found

    @cached_property
    def embeddings(self) -> tuple[Embeddings, ...]:
        """Features of all pictures through the surviving backbones, cheapest first."""
        from headstart.stages.adapt.request import going_on

        names = self.candidates
        if self.screening:
            names = going_on(self.screening.survivors, self.candidates, ctx=self.ctx)
            if self.ctx.job.from_names:
                from headstart.stages.zeroshot.start import with_naming

                names = with_naming(names, self.candidates, ctx=self.ctx)
        found = [self._embed(name, self._every) for name in names]
        return tuple(sorted(found, key=lambda e: (e.spec.flops, e.spec.name)))

    @property
    def _every(self) -> Any:
        import numpy as np

        return np.arange(len(self.data.uris))

    def _embed(self, name: str | Trunk, rows: Any, precision: str = "f32") -> Embeddings:
        from headstart.stages.embed.run import run

        said = name if isinstance(name, str) else name.name
        with self.ctx.timed(f"embed {said} {len(rows)}") as entry:
            found = run(self.data, name, rows, ctx=self.ctx, precision=precision)
            if found.timed:  # times of other loads would make the cheap look dear
                entry["latency_ms"] = found.latency_ms
        return found

    @cached_property
    def vectors_audit(self) -> Audit:
        """What the vectors of the cheapest backbone of known worth tell, of those that go on."""
        return self._look_at({e.spec.name: e for e in self.embeddings})

    @cached_property
    def first_look(self) -> Audit:
        """The same by the cheapest candidate, for those who want no more than an audit."""
        return self._look_at(dict.fromkeys(self.candidates))

    def _look_at(self, among: Mapping[str, Embeddings | None]) -> Audit:
        from headstart.stages.audit.run import looked_at_by, run

        name = looked_at_by(among)
        embeddings = among[name] or self._embed(name, self._every)
        found: Audit = self._step("audit_vectors", run, self.data, embeddings=embeddings, before=self.files_audit)
        return found

    @cached_property
    def splits(self) -> Splits:
        """Who learns and who judges; drawn only now, so that look-alikes stay on one side."""
        from headstart.stages.audit.splits import draw

        screened = self.screening.pictures if self.screening else None
        found: Splits = self._step("splits", draw, self.data, self.vectors_audit.clusters, screened=screened)
        return found

    @cached_property
    def controls(self) -> tuple[Embeddings, ...]:
        """The random twins of the backbones that go on, on a few training pictures, the cheapest first."""
        from headstart.kit import trunk
        from headstart.stages.rank.screen import sample

        count = min(SCREEN_PICTURES, max(CONTROL_LEAST, len(self.splits.train) // CONTROL_PART))
        rows = sample(self.data, count, self.ctx.seed, among=self.splits.train)
        drawn = [e.spec.name for e in self.embeddings if not trunk.find(e.spec.name).frozen]  # the others have no twin
        return tuple(self._embed(f"random:{name}", rows) for name in drawn)

    @cached_property
    def ranking(self) -> Ranking:
        """All candidates on the same folds."""
        from headstart.stages.rank.run import run

        seen = {each.spec.name for each in self.embeddings}
        screened = tuple(row for row in self.screening.rows if row.backbone not in seen) if self.screening else ()
        found: Ranking = self._step(
            "rank", run, self.data, self.splits, self.embeddings, controls=self.controls, screened=screened
        )
        return found

    @cached_property
    def names(self) -> NamesStart | None:
        """What the names of the classes say without any label; None where the job does not ask for it."""
        from headstart.stages.zeroshot import start

        values = (self.data, self.splits, self.embeddings)
        if not self.ctx.job.from_names:
            start.advise(*values, ctx=self.ctx)
            return None
        found: NamesStart = self._step("names", start.run, *values)
        return found

    @cached_property
    def probe(self) -> Adapted:
        """The head that won on frozen features."""
        from headstart.stages.adapt.run import run

        values = (self.data, self.splits, self.ranking, self.embeddings)
        found: Adapted = self._step("adapt", run, *values, names=self.names)
        return found

    @cached_property
    def forecasts(self) -> Forecasts:
        """The forecast, and where networks are to be trained another one, now that the probe is measured."""
        if self.ctx.job.strategy == "probe":
            return self.forecast
        from headstart.stages.forecast.run import probed

        return probed(self.data, self.splits, self.probe, self.candidates, self.forecast, ctx=self.ctx)

    @cached_property
    def tuning(self) -> Tuning | None:
        """All fine-tuning; None when the probe alone is asked for."""
        if self.ctx.job.strategy == "probe":
            return None
        from headstart.stages.adapt.tune import run

        assert self.forecasts is not None  # what training will come to is said before it begins
        values = (self.data, self.splits, self.ranking, self.embeddings, self.probe)
        found: Tuning | None = self._step("tune", run, *values)
        return found

    @cached_property
    def tuned(self) -> tuple[Embeddings, ...]:
        """Features through the tuned network, of all pictures where it is handed over, and through its random twin."""
        if self.tuning is None:
            return ()
        from headstart.kit.tuned import trunk_of
        from headstart.stages.adapt.settle import passes

        wanted = passes(self.tuning, self.splits, self._every)
        return tuple(self._embed(trunk_of(net, self.ctx.run.path), rows) for net, rows in wanted)

    @cached_property
    def adapted(self) -> Adapted:
        """What is handed over: the probe, or the network that beat it."""
        if self.tuning is None:
            return self.probe
        from headstart.stages.adapt.settle import run

        found: Adapted = run(self.probe, self.tuning, self.splits, self.tuned, ctx=self.ctx)
        return found

    @cached_property
    def evaluation(self) -> Evaluation:
        """The test split, touched once."""
        from headstart.stages.evaluate.run import run

        values = (self.data, self.splits, self.embeddings + self.tuned, self.adapted, self.ranking)
        found: Evaluation = self._step(
            "evaluate", run, *values, controls=self.controls, probe=self.probe, names=self.names
        )
        return found

    @cached_property
    def exported(self) -> Exported:
        """The model as files that answer without a training framework."""
        from headstart.stages.export.run import run

        found: Exported = self._step(
            "export", run, self.data, self.embeddings + self.tuned, self.adapted, self.evaluation
        )
        return found

    def report(self) -> Path:
        """The page that tells it all; then the run is remembered, so that later forecasts learn from it."""
        from headstart.stages.forecast import record
        from headstart.stages.forecast.run import check
        from headstart.stages.report.run import run

        assert self.forecast is not None  # the first forecast is made before anything is spent
        assert self.exported is not None  # the page says how to use the model, so the model comes first
        check(self.forecasts, self.evaluation, ctx=self.ctx)
        found: Path = self._step("report", run, computed_now=True)
        ended = record.Ended(self.data, self.splits, self.ranking, self.probe, self.evaluation)
        record.keep(ended, ctx=self.ctx)
        return found
