"""The published accuracy of a backbone on its source task: what is expected of it before anything is run.

Kornblith, Shlens and Le (CVPR 2019) found, over 16 networks and 12 data sets, the log-odds of transfer accuracy to be
linear in those of ImageNet accuracy: r = 0.99 for logistic regression on features, 0.96 for fine-tuning.
"""

from __future__ import annotations

import math

from headstart.core import registry
from headstart.core.types import BackboneSpec
from headstart.selection.successive_halving import Option

UNPUBLISHED = ("a guess", "that of")  # how `prior_source` begins where no figure is of the backbone itself


def is_published(spec: BackboneSpec) -> bool:
    """Whether `spec.prior` is a figure of the backbone itself."""
    return not spec.prior_source.startswith(UNPUBLISHED)


def expected_accuracy(spec: BackboneSpec) -> float:
    """ImageNet top-1 accuracy, published or its source's guess, 0..1; NaN for an unpublished one of the user's own."""
    source = spec.name.partition(":")[0]
    if is_published(spec) or source not in registry.list_plugins("backbones"):
        return spec.prior
    return math.nan if registry.load_plugin("backbones", source).is_users_own else spec.prior


def make_option(spec: BackboneSpec) -> Option:
    """A backbone as the rule of choice sees it."""
    return Option(name=spec.name, expected=expected_accuracy(spec), cost=spec.flops)


def format_expected_accuracy(spec: BackboneSpec) -> str:
    """Where the figure comes from, and the figure."""
    return f"{'published' if is_published(spec) else 'guessed'} top-1 {spec.prior:.3f}"
