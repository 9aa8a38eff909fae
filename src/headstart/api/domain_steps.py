"""The steps of a fit that speak of a new domain: its pictures, its shift, and what is adapted to it.

Without `--unlabeled` none of them does anything.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from headstart.core import types

if TYPE_CHECKING:
    from headstart.api.fit_protocol import FitProtocol


class DomainSteps:
    """Each property is a step, taken when first asked for, after those of `steps` that it needs."""

    def __init__(self, steps: FitProtocol) -> None:
        self._steps, self._ctx = steps, steps.ctx

    @cached_property
    def target(self) -> types.TargetDomain | None:
        """Pictures of the domain that the model is for, most without a label; None where the job names none."""
        from headstart.domain_adaptation.target_domain import read_target

        if not self._ctx.job.unlabeled:
            return None
        return self._steps.take_step("target", read_target, self._ctx.job.unlabeled, source=self._steps.pictures)

    @cached_property
    def embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features of these pictures through the probe's trunks, and through a network that took its place."""
        network = self._steps.source_fit
        return (*self._frozen, *(self._embed(network) if network.strategy != "probe" else ()))

    @cached_property
    def _frozen(self) -> tuple[types.Embeddings, ...]:
        return self._embed(self._steps.probe)

    def _embed(self, model: types.FitResult) -> tuple[types.Embeddings, ...]:
        assert self.target is not None
        pictures = replace(self.target.pictures, reading=self._steps.data.reading)
        return self._steps.embed_pictures(pictures, model, "target", below="domains")

    def require_same_things(self) -> None:
        """Refuse a new domain of quite other things, by the features of the probe."""
        from headstart.domain_adaptation.target_novelty import require_same_things

        if self.target is None:
            return
        steps, probe = self._steps, self._steps.probe
        values = (steps.data, steps.splits, steps.embeddings, self.target, self._frozen, probe)
        steps.take_step("novelty", require_same_things, *values, steps.embed_foreign(probe))

    @cached_property
    def shift(self) -> types.DomainShift | None:
        """How far the new domain lies from the labelled pictures, before anything is adapted to it."""
        from headstart.domain_adaptation.shift.measure_shift import measure_shift

        if self.target is None:
            return None
        steps = self._steps
        values = (steps.data, steps.splits, steps.source_embeddings, self.target, self.embeddings)
        return steps.take_step("shift", measure_shift, *values, steps.source_fit, probe=steps.probe)

    @cached_property
    def adaptation(self) -> types.DomainAdaptation | None:
        """What is adapted to the new domain, where that pays."""
        from headstart.domain_adaptation.adapt_to_target import adapt_to_target
        from headstart.finetuning.domain.network_candidates import make_network_candidates

        if self.shift is None or self.target is None or self._ctx.job.adaptation == (types.NO_ADAPTATION,):
            return None
        steps = self._steps
        values = (steps.data, steps.splits, steps.source_embeddings, self.target, self.embeddings, steps.source_fit)
        networks = steps.take_step("target networks", make_network_candidates, *values)
        return steps.take_step("domain", adapt_to_target, *values, self.shift, networks=networks, probe=steps.probe)

    @cached_property
    def adapted(self) -> types.FitResult:
        """What the labelled pictures say, adapted to the new domain where that pays."""
        from headstart.domain_adaptation.adapted_fit import make_adapted_fit
        from headstart.finetuning.domain.candidate_features import write_head

        domain = self.adaptation
        if domain is None or domain.method == types.NO_ADAPTATION:
            return self._steps.source_fit
        if domain.network is not None:
            self._steps.take_step("target head", write_head, domain.network, domain.fitted)
        values = (self._steps.source_fit, domain, self._steps.data, self._steps.splits)
        return self._steps.take_step("adapt to target", make_adapted_fit, *values)

    @cached_property
    def adapted_target(self) -> types.AdaptedTarget | None:
        """The new domain as the model sees it that is handed over."""
        from headstart.domain_adaptation.shift.domain_classifier import list_judged

        if self.target is None:
            return None
        embeddings = self.embeddings if self.adapted.domain_network is None else self._embed(self.adapted)
        learnt = None if self.adapted is self._steps.source_fit else self.adaptation
        return types.AdaptedTarget(
            domain=self.target,
            embeddings=embeddings,
            judged=list_judged(self.target),
            probabilities=learnt.target_after if learnt else None,
        )

    def judge(self, evaluation: types.Evaluation) -> types.Evaluation:
        """What was held out for the model that is handed over; `evaluation` is of the one before adaptation."""
        from headstart.domain_adaptation.adapted_fit import judge_mapped

        return evaluation if self.adapted is self._steps.source_fit else judge_mapped(evaluation, self.adapted)
