"""Adaptation to a domain whose truth is known: what mends it is taken, what is harmless is left alone."""

import dataclasses
import hashlib

import numpy as np
import pytest

import made_domains
import tuned_samples
from headstart.core import extras, registry
from headstart.core.errors import NoOpError, UsageError
from headstart.core.storage.serialization import load_value
from headstart.core.types import DomainAdaptation, Feature
from headstart.core.types.domain import NetworkCandidate
from headstart.domain_adaptation import adapt_head
from headstart.domain_adaptation.adapt_to_target import adapt_to_target, make_problem
from headstart.domain_adaptation.evaluate_candidates import (
    KIND,
    choose_methods,
    evaluate_candidates,
    refine_candidate,
)
from headstart.domain_adaptation.method_base import LabelledFeatures
from headstart.domain_adaptation.methods import coral
from headstart.domain_adaptation.shift.measure_shift import measure_shift
from headstart.heads.prediction import predict_probabilities
from headstart.selection.probe.head_selection import make_training_problem
from headstart.statistics.intervals import mean_interval


def gain_of(adaptation, truth):
    """How much more of the target is answered right, paired over pictures."""
    before, after = (p.argmax(axis=1) == truth for p in (adaptation.target_before, adaptation.target_after))
    return mean_interval(after.astype(np.float64) - before)


def trial_of(adaptation, method):
    return next(trial for trial in adaptation.trials if trial.method == method)


def same(x):
    return x


def test_a_planted_camera_is_mended_by_at_least_5_points(context):
    values, truth = made_domains.make_domains()
    first, second = context(seed=0, name="first"), context(seed=0, name="second")
    adaptation = adapt_to_target(*values, ctx=first)
    gain = gain_of(adaptation, truth)
    assert gain.value >= 0.05
    assert gain.low > 0
    assert adaptation.trials[0].method == adaptation.method != "none"
    assert adaptation.trials[0].difference.low > 0
    stored = load_value(DomainAdaptation, first.run.path / "domains" / "adaptation")
    assert np.array_equal(stored.target_after, adaptation.target_after)
    adapt_to_target(*values, ctx=second)
    digests = [
        {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (ctx.run.path / "domains" / "adaptation").iterdir()
        }
        for ctx in (first, second)
    ]
    assert digests[0] == digests[1]


def test_a_harmless_domain_is_answered_by_none(context):
    values, _ = made_domains.make_domains(camera=same)
    _, drawn, embeddings, _, _, adapted = values
    adaptation = adapt_to_target(*values, ctx=context(seed=0))
    assert (adaptation.method, adaptation.rule) == ("none", "importance_weighted")
    assert adaptation.fitted is adapted.fitted
    assert np.array_equal(adaptation.target_after, adaptation.target_before)
    assert np.array_equal(adaptation.source_rows, adapted.cv_rows)
    assert np.array_equal(adaptation.mapped_probabilities, adapted.cv_probabilities)
    p = predict_probabilities("linear", adapted.fitted.arrays, embeddings[0].vectors[made_domains.LEVEL][drawn.train])
    np.testing.assert_allclose(adaptation.train_probabilities, p, atol=1e-6)


def test_other_shares_of_the_classes_move_no_feature(context):
    values, truth = made_domains.make_domains(camera=same, shares=[0.8, 0.1, 0.1])
    ctx = context(seed=0)
    shift = measure_shift(*values, ctx=ctx)
    adaptation = adapt_to_target(*values, shift, ctx=ctx)
    assert (shift.label_verdict.answer, adaptation.rule) == ("yes", "importance_weighted")
    assert adaptation.method in ("none", "label_shift")
    assert trial_of(adaptation, "label_shift").status != "failed"
    assert gain_of(adaptation, truth).high >= 0


def test_label_shift_has_no_say_where_classes_look_different(context):
    """A camera under which nearly all is answered as one class, and by `label_shift` the more surely so."""

    def dazzle(x):
        return made_domains.change_camera(x) + np.random.default_rng(1).normal(4, 1, x.shape).astype(np.float32)

    values, truth = made_domains.make_domains(camera=dazzle)
    shift = measure_shift(*values, ctx=context(seed=0, name="shift"))
    scores = []
    for number, methods in enumerate(("coral,standardise", "coral,label_shift,standardise")):
        ctx = context(seed=0, name=str(number), adaptation=methods)
        adaptation = adapt_to_target(*values, shift, ctx=ctx)
        scores.append({(trial.method, *map(str, trial.params.items())): trial.scores for trial in adaptation.trials})
    assert trial_of(adaptation, "label_shift").status == "beaten"
    assert {each: scores[1][each] for each in scores[0]} == scores[0]
    assert (adaptation.rule, adaptation.method) == ("ensemble_agreement", "coral")
    assert gain_of(adaptation, truth).low > 0


def test_labelled_target_pictures_decide_and_are_learnt_from_only_if_asked(context):
    values, truth = made_domains.make_domains(labelled=30)
    judge = adapt_to_target(*values, ctx=context(seed=0, name="judge", adaptation="standardise"))
    assert (judge.rule, judge.method) == ("labels", "standardise")
    assert [t.method for t in judge.trials] == ["standardise", "none"]
    unlabelled = adapt_to_target(
        *made_domains.make_domains()[0], ctx=context(seed=0, name="without", adaptation="standardise")
    )
    assert np.array_equal(judge.fitted.arrays["weights"], unlabelled.fitted.arrays["weights"])
    learn = adapt_to_target(
        *values, ctx=context(seed=0, name="learn", adaptation="standardise", target_labels="learn", unlabeled="new")
    )
    assert {t.method for t in learn.trials} == {"standardise", "none", "target_labels"}
    added = trial_of(learn, "target_labels")
    assert [(s.name, s.n) for s in added.target] == [("accuracy", 30), ("log_loss", 30)]
    assert gain_of(learn, truth).low > 0
    assert not np.array_equal(learn.fitted.arrays["weights"], judge.fitted.arrays["weights"])


def test_where_labels_do_not_decide_the_choice_without_them_stands_unless_they_speak_against_it(context):
    values, truth = made_domains.make_domains()
    data, drawn, embeddings, target, new, adapted = values
    without = adapt_to_target(*values, ctx=context(seed=0, name="without"))
    rows = np.arange(len(truth))
    before, after = (np.log(p[rows, truth]) for p in (without.target_before, without.target_after))
    order = np.argsort(after - before)
    judged = {}
    for name, labelled in (("open", np.concatenate([order[:14], order[-6:]])), ("against", order[:20])):
        labels = np.where(np.isin(rows, labelled), truth, -1)
        shown = dataclasses.replace(target, labels=labels)
        judged[name] = adapt_to_target(data, drawn, embeddings, shown, new, adapted, ctx=context(seed=0, name=name))
    assert (judged["open"].method, judged["open"].rule) == (without.method, without.rule)
    assert judged["open"].why.startswith("20 labelled new pictures do not decide; ")
    assert judged["against"].rule == "labels"
    assert judged["against"].method != without.method


def test_what_is_held_out_by_halves_is_compared_with_nothing_by_halves_and_ends_with_all_folds(context, monkeypatch):
    monkeypatch.setattr(adapt_head, "_MANY_NUMBERS", 0)
    data, drawn, embeddings, target, new, adapted = made_domains.make_domains(labelled=30)[0]
    four = np.where(drawn.folds >= 0, np.arange(drawn.folds.shape[1]) % 4, -1).astype(np.int16)
    drawn = dataclasses.replace(drawn, folds=four)
    ctx = context(seed=0, adaptation="coral_by_class", target_labels="learn", unlabeled="new")
    cv, rows = make_training_problem(data, drawn, ctx), np.arange(len(target.labels))
    problem = make_problem(cv, embeddings, target, new, adapted, None, rows, learns=True)
    methods = [registry.load_plugin(KIND, "coral_by_class")]
    plain, halved = evaluate_candidates(problem, methods)[:2]
    by_halves, by_folds = halved.held_out.plain.as_is, plain.held_out.as_is
    judged = np.isfinite(by_folds[:, 0])
    np.testing.assert_array_equal(np.isfinite(by_halves[:, 0]), judged)
    assert not np.array_equal(by_halves[judged], by_folds[judged])
    refined = refine_candidate(halved, methods, problem)
    assert refined.held_out.plain is None
    assert not np.array_equal(refined.held_out.mapped[judged], halved.held_out.mapped[judged])
    chosen = adapt_to_target(data, drawn, embeddings, target, new, adapted, ctx=ctx)
    assert chosen.method in ("coral_by_class", "target_labels")
    assert trial_of(chosen, "coral_by_class").difference is not None


class Broken(coral.Coral):
    """Cannot be computed."""

    def adapt(self, *values, **settings):
        """As a decomposition fails."""
        raise np.linalg.LinAlgError("Eigenvalues did not converge")


def test_what_fails_or_is_not_installed_is_a_trial_with_the_reason(context, monkeypatch):
    values, _ = made_domains.make_domains()
    monkeypatch.setattr(coral, "PLUGIN", Broken())
    monkeypatch.setitem(extras.EXTRAS, "adaptation", ("a_package_that_is_nowhere",))
    names = ("coral", "optimal_transport", "standardise")
    adaptation = adapt_to_target(*values, ctx=context(seed=0, adaptation=names))
    assert adaptation.method == "standardise"
    broken, missing = trial_of(adaptation, "coral"), trial_of(adaptation, "optimal_transport")
    assert (broken.status, broken.why) == ("failed", "LinAlgError: Eigenvalues did not converge")
    assert missing.status == "failed"
    assert "`a_package_that_is_nowhere` is not installed: pip install" in missing.why


def network_of(values, *, head_x):
    """A trunk that undoes the camera, with the source's head."""
    _, drawn, embeddings, _, target_embeddings, adapted = values
    x = embeddings[0].vectors[made_domains.LEVEL][drawn.train]
    scale, move = (made_domains.change_camera(np.full((1, made_domains.D), each, np.float32))[0] for each in (1.0, 0.0))
    target_x = (target_embeddings[0].vectors[made_domains.LEVEL] - move) / (scale - move)
    return NetworkCandidate(
        method="adabn" if head_x else "mmd",
        params={},
        network=dataclasses.replace(tuned_samples.network(), fitted=adapted.fitted),
        features=(Feature(backbone="own", depth="last", dim=made_domains.D),),
        source_x=x,
        target_x=target_x.astype(np.float32),
        head_x=x if head_x else None,
        source_probabilities=None if head_x else adapted.cv_probabilities,
        seconds=1.0,
    )


@pytest.mark.parametrize("head_x", [True, False])
def test_networks_compete(context, head_x):
    values, truth = made_domains.make_domains(labelled=30)
    network = network_of(values, head_x=head_x)
    ctx = context(seed=0, adaptation=network.method)
    adaptation = adapt_to_target(*values, networks=[network], ctx=ctx)
    assert adaptation.method == network.method
    assert adaptation.features == network.features
    assert adaptation.network.spec is network.network.spec and adaptation.network.fitted is adaptation.fitted
    assert gain_of(adaptation, truth).low > 0
    assert len(adaptation.train_probabilities) == len(network.source_x)
    unlearnt = dataclasses.replace(network, source_probabilities=None, head_x=None)
    failed = adapt_to_target(*values, networks=[unlearnt], ctx=context(seed=0, name="failed", adaptation="adabn"))
    assert failed.method == "none"
    assert "nothing was held out" in trial_of(failed, network.method).why


def test_a_trained_trunk_knows_its_source_so_that_no_new_head_on_it_is_judged(context):
    (data, drawn, embeddings, target, new, adapted), _ = made_domains.make_domains(camera=same)
    y = np.asarray(data.targets)
    x = np.where(np.isin(np.arange(len(y)), drawn.train)[:, None], 4 * np.eye(made_domains.C, made_domains.D)[y], 0)
    learnt = embeddings[0].vectors[made_domains.LEVEL] + x.astype(np.float32)  # it knows whom it learnt from
    trained = dataclasses.replace(embeddings[0], vectors={made_domains.LEVEL: learnt})
    adapted = dataclasses.replace(adapted, strategy="finetune")
    adaptation = adapt_to_target(data, drawn, (trained,), target, new, adapted, ctx=context(seed=0))
    assert adaptation.method == "none"
    others = [trial for trial in adaptation.trials if trial.method != "none" and trial.status != "failed"]
    assert {trial.why for trial in others} == {"its trunk learnt from all of the source, and nothing was held out"}
    assert f"{len(others)} cannot be judged, as the network has learnt all labelled pictures" in adaptation.why
    assert not any(trial.source.n for trial in others)
    assert trial_of(adaptation, "none").source.n == len(drawn.train)


def test_frozen_features_tell_whether_a_trained_trunks_domains_look_alike(context):
    values, _ = made_domains.make_domains(camera=same)
    data, drawn, (frozen,), target, (seen,), probe = values
    network = network_of(values, head_x=False)
    x = frozen.vectors[made_domains.LEVEL] + 9 * np.eye(made_domains.C, made_domains.D)[np.asarray(data.targets)]
    spec, own = dataclasses.replace(frozen.spec, name="own"), Feature(backbone="own", depth=made_domains.LEVEL, dim=16)
    trained = dataclasses.replace(frozen, spec=spec, vectors={made_domains.LEVEL: x.astype(np.float32)})
    of_target = dataclasses.replace(seen, spec=spec)
    adapted = dataclasses.replace(probe, strategy="finetune", features=(own,))
    inputs = (data, drawn, (frozen, trained), target, (seen, of_target), adapted)
    rules = [
        adapt_to_target(*inputs, networks=[network], probe=by, ctx=context(seed=0, name=name, adaptation="mmd")).rule
        for name, by in (("frozen", probe), ("trained", None))
    ]
    assert rules == ["importance_weighted", "ensemble_agreement"]


def test_names_of_methods():
    every = choose_methods(("auto",))
    assert {m.name for m in every} == {
        n for n in registry.list_plugins(KIND) if registry.load_plugin(KIND, n).is_default
    }
    assert [m.name for m in choose_methods(("coral", "subspace", "coral"))] == ["coral", "subspace"]
    assert choose_methods(("none",)) == ()
    assert [m.name for m in choose_methods(("adabn",), learns=True)] == ["target_labels"]
    with pytest.raises(UsageError, match="corall"):
        choose_methods(("corall",))


@pytest.mark.parametrize("method", ["coral", "label_shift", "transfer_components"])
def test_too_few_pictures_are_a_reason(method):
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    y = np.arange(40) % 2
    source = LabelledFeatures(x=x, y=y, weights=None, n_classes=2)
    plugin = registry.load_plugin(KIND, method)
    with pytest.raises(NoOpError, match="5 target pictures are too few"):
        plugin.adapt(source, x[:5], answer=None, fit=None, params=plugin.grid[0], seed=0)
