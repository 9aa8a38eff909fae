"""The first half of the story: read, audit, choose candidates, foretell, embed, audit again, split.

`Beginning` holds one property a step, as `headstart.api.steps.Story` does, which goes on from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError
from headstart.core.run.context import Context

if TYPE_CHECKING:
    from headstart.backbones.loading import ResolvedBackbone
    from headstart.core.types import Audit, Dataset, Embeddings, Forecasts, Splits
    from headstart.selection.ranking.screening import Screening

SCREEN_PICTURES = 256  # reckoned for each candidate before one is dropped; random twins and the histogram see no more


class Beginning:
    """A run until its pictures are embedded and split; each property is a step, taken when first asked for."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def _step(self, stage: str, run: Callable[..., Any], *values: Any, **named: Any) -> Any:
        with self.ctx.timed(stage):
            return run(*values, ctx=self.ctx, **named)

    @cached_property
    def data(self) -> Dataset:
        """Every file on disk, used or excused."""
        from headstart.data.reading.read_dataset import read_dataset
        from headstart.heads.decision_rule import require_rule

        found: Dataset = self._step("read", read_dataset, self.ctx.job.data)
        require_rule(self.ctx.job, found.class_names)
        return found

    @cached_property
    def files_audit(self) -> Audit:
        """What the files tell."""
        from headstart.data.audit import audit_dataset

        found: Audit = self._step("audit_files", audit_dataset, self.data)
        digest, why = self.data.digest, "a resumed run must see the same pictures"
        if self.ctx.record_decision("data", lambda: digest, why) != digest:
            raise DataError(
                f"the pictures in `{self.ctx.job.data}` changed since the run `{self.ctx.run.path}` began",
                hint="choose another folder with `--out`: what is unchanged comes from the cache",
            )
        return found

    @property
    def seen(self) -> int:
        """How many pictures go through every candidate before one is dropped, as reckoned."""
        from headstart.selection.successive_halving import LEAST, rounds

        count = len(self.data.uris)
        return SCREEN_PICTURES if rounds(LEAST, count) else count

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Backbones to measure, their weights at hand."""
        from headstart.selection.candidates import choose_candidates

        assert self.files_audit is not None  # a hopeless data set stops before weights are fetched
        found: tuple[str, ...] = self._step("candidates", choose_candidates, self.data, seen=self.seen)
        if self.ctx.job.from_names:
            from headstart.zero_shot.head_from_names import require

            require(self.data.class_names, found, ctx=self.ctx)
        return found

    @cached_property
    def forecast(self) -> Forecasts:
        """What the run will come to, said before anything is spent."""
        from headstart.data.splits import ahead
        from headstart.features.extraction_time import seconds
        from headstart.selection.forecast.forecast_run import before

        passes_s = seconds(self.foreseen(self.candidates), self.ctx)
        return before(self.data, ahead(self.data, self.ctx.job), self.candidates, passes_s, ctx=self.ctx)

    def foreseen(self, names: tuple[str, ...]) -> dict[str, int]:
        """How many pictures are likely to go through each candidate: screening will keep most of them from some."""
        from headstart.backbones import loading
        from headstart.features.extraction_time import seconds
        from headstart.selection import successive_halving
        from headstart.selection.forecast import prior
        from headstart.selection.ranking.screening import PART_OF_BUDGET

        passes, going = dict[str, int](), names
        for rows in self._draws(len(names)):
            if len(going) < successive_halving.LEAST:
                break
            passes |= self._lacking(going, rows)
            expected = prior.of_run([loading.find(name).spec for name in going], self.ctx, pictures=self.data.digest)
            costs = {name: seconds({name: n - passes[name]}, self.ctx) for name, n in self._lacking(going).items()}
            options = [
                successive_halving.Option(name=n, expected=expected[n].merit, cost=cost) for n, cost in costs.items()
            ]
            going = successive_halving.foreseen(options, self.ctx.left_s() * PART_OF_BUDGET)
        return passes | self._lacking(going)

    def _draws(self, backbones: int) -> tuple[Any, ...]:
        """The pictures of each round of screening; backbones that were named are not screened."""
        from headstart.selection.ranking import screening as screen

        return screen.draws(self.data, backbones, ctx=self.ctx) if "auto" in self.ctx.job.backbones else ()

    @cached_property
    def screening(self) -> Screening | None:
        """Which backbones go on, judged on few pictures in one round or several; None when all go on."""
        from headstart.selection.ranking import screening as screen
        from headstart.selection.successive_halving import LEAST

        names, found = self.candidates, None
        draws = self._draws(len(names))
        if not draws and self.ctx.job.precision != "f32":
            self.ctx.console.line("plan", f"no screening here, so nothing is done in {self.ctx.job.precision}")
        for rows, then in pairwise((*draws, self._every)):
            if len(names) < LEAST:
                break
            seen = tuple(self._embed(name, rows, self.ctx.job.precision) for name in names)
            ahead = self._lacking(names, then)
            found = self._step(
                f"screen {len(rows)}", screen.screen_backbones, self.data, seen, before=found, ahead=ahead
            )
            names = found.survivors
        return found

    @cached_property
    def embeddings(self) -> tuple[Embeddings, ...]:
        """Features of all pictures through the surviving backbones, cheapest first."""
        from headstart.finetuning.request_check import going_on

        names = self.candidates
        if self.screening:
            names = going_on(self.screening.survivors, self.candidates, ctx=self.ctx)
            if self.ctx.job.from_names:
                from headstart.zero_shot.head_from_names import with_naming

                names = with_naming(names, self.candidates, ctx=self.ctx)
        found = [self._embed(name, self._every) for name in names]
        return tuple(sorted(found, key=lambda e: (e.spec.flops, e.spec.name)))

    def _lacking(self, names: Iterable[str], rows: Any = None) -> dict[str, int]:
        """How many pictures must still go through each backbone: what is in the cache takes no time."""
        from headstart.features.cached_rows import lacking

        return lacking(self.data, names, self.ctx.store, rows)

    @property
    def _every(self) -> Any:
        import numpy as np

        return np.arange(len(self.data.uris))

    def _embed(self, name: str | ResolvedBackbone, rows: Any, precision: str = "f32") -> Embeddings:
        from headstart.features.extraction import extract_features

        said = name if isinstance(name, str) else name.name
        with self.ctx.timed(f"embed {said} {len(rows)}") as entry:
            found = extract_features(self.data, name, rows, ctx=self.ctx, precision=precision)
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
        from headstart.data.audit import audit_dataset
        from headstart.selection.candidates import looked_at_by

        name = looked_at_by(among)
        embeddings = among[name] or self._embed(name, self._every)
        found: Audit = self._step(
            "audit_vectors", audit_dataset, self.data, embeddings=embeddings, before=self.files_audit
        )
        return found

    @cached_property
    def splits(self) -> Splits:
        """Who learns and who judges; drawn only now, so that look-alikes stay on one side."""
        from headstart.data.splits import draw

        screened = self.screening.pictures if self.screening else None
        found: Splits = self._step("splits", draw, self.data, self.vectors_audit.clusters, screened=screened)
        return found
