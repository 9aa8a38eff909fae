"""What adaptation to another domain gains, on pairs of real domains whose truth is known.

    python -m benchmarks.domains [--pairs tuning|confirming|all|NAME,NAME] [--seeds 0,1,2] [--most 400] [--labelled 400]
    python -m benchmarks.domains --target-labels 20
    python -m benchmarks.domains --strangers
    python -m benchmarks.domains --networks [--pairs NAME,NAME] [--most 120]
    python -m benchmarks.domains --write FOLDER

Features are of EfficientNet-Lite0 at the depth of two that cross-validation on the source prefers, the head is
logistic. A seed draws up to `--labelled` source pictures (by default `--most`), as many a class, and up to `--most`
target pictures, whose labels judge. Gains are accuracy less that of doing nothing on the same target pictures; their t
intervals go over pictures and seeds, a picture of several seeds being one cluster. The oracle is a head that is
cross-validated on the target's labels. Pairs that tune were looked at while the rule and its guards were made; the
others confirm.

`--target-labels`: the choice with so many labelled target pictures and without, gains on the other target pictures.
`--strangers`: how many targets are refused as pictures of other things at each limit, of a source's own and of other
pairs that show other things. `--networks`: a probe and a fine-tuned network a pair and seed, with `--unlabeled`; labels
of the target judge every trunk that was adapted.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import string
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, context
from benchmarks.domain_pairs import Pair, PairFiles, draw_rows, list_pairs, write_pair
from benchmarks.domain_rules import RULES, make_rated_answers, rate_answers
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.types import DomainAdaptation, Score
from headstart.core.types.domain import ADABN_METHODS, TRAINED_METHODS
from headstart.data.reading.read_dataset import read_dataset
from headstart.domain_adaptation.adapt_head import AdaptationProblem, HeadSetting
from headstart.domain_adaptation.choice.guarded_choice import choose_adaptation, choose_by_rule
from headstart.domain_adaptation.evaluate_candidates import KIND, Candidate, evaluate_candidates
from headstart.domain_adaptation.method_base import LabelledFeatures
from headstart.domain_adaptation.shift.label_shift import Answers, estimate_label_shift
from headstart.domain_adaptation.shift.measure_shift import ALPHA
from headstart.domain_adaptation.shift.unlabelled_accuracy import estimate_accuracy
from headstart.domain_adaptation.target_novelty import AS_STRANGE, TargetNovelty, measure_novelty
from headstart.features.extraction import extract_features
from headstart.heads import cross_validation, prediction
from headstart.statistics.intervals import Interval, mean_interval
from headstart.uncertainty.ood_images import make_ood_images
from headstart.uncertainty.ood_threshold import TrainingSample
from headstart.uncertainty.temperature import apply_temperature, fit_bounded_temperature, fit_temperature

DEPTHS, FOLDS, HEAD, MOST = ("stage5", "last"), 4, "logistic", 400
RECIPE = "backbone=bundled:efficientnet_lite0,depths=last,epochs=3,batch=16,part=last,blocks=1"
LIMITS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)  # of strangeness, from which a target is refused
NETWORKS = {"probe": ADABN_METHODS, "finetune": TRAINED_METHODS}  # ways to adapt a trunk, by what they start from
NOTHING, ORACLE, GUARDED = "none", "oracle", "guarded choice"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One pair and seed: candidates, the first of which does nothing, and what is true."""

    problem: AdaptationProblem
    candidates: tuple[Candidate, ...]
    cpu_s: dict[str, float]  # of each method
    pictures: np.ndarray  # (T,) which pictures of the pair the target's rows are
    y: np.ndarray  # (T,) their labels
    oracle: np.ndarray  # (T,) bool, whether the oracle is right
    depth: str

    def is_right(self, candidate: Candidate) -> np.ndarray:
        """(T,) bool."""
        return candidate.target.argmax(axis=1) == self.y


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of one pair and seed.

    Attributes:
        right: (T,) bool by candidate, by `rule: NAME` for what the highest score of a rule takes, unguarded, by
            `guarded: NAME` for the guarded choice with that rule, and by the names above.
        taken: Candidate that the guarded choice took.
        failures: Reasons by candidate.
        bands: Estimates of the accuracy without labels.
    """

    pair: Pair
    pictures: np.ndarray
    right: dict[str, np.ndarray]
    taken: str
    failures: dict[str, str]
    bands: tuple[Score, ...]
    cpu_s: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stranger:
    """How strange the target of a pair is to the source of another, or to its own."""

    source: Pair
    target: Pair
    novelty: TargetNovelty

    @property
    def is_own(self) -> bool:
        """Whether both are of one pair."""
        return self.source is self.target


# ---------------------------------------------------------------- one pair and seed


def read_pair(pair: Pair, scratch: Path) -> tuple[PairFiles, np.ndarray, dict[str, np.ndarray]]:
    """Files, (N,) labels and the vectors of both depths."""
    files = write_pair(pair)
    ctx = context(scratch, data=str(files.table), target="label")
    data = read_dataset(str(files.table), ctx=ctx)
    vectors = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx).vectors
    return files, np.asarray(data.targets), {depth: np.array(vectors[depth]) for depth in DEPTHS}


def make_folds(y: np.ndarray, seed: int) -> np.ndarray:
    """(M,) folds, each class spread over all."""
    rng, folds = np.random.default_rng([seed, 3]), np.empty(len(y), np.int64)
    for c in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == c))
        folds[rows] = (np.arange(len(rows)) + int(c)) % FOLDS
    return folds


def pose_problem(
    files: PairFiles,
    labels: np.ndarray,
    vectors: dict[str, np.ndarray],
    seed: int,
    most: tuple[int, int] = (MOST, MOST),
) -> tuple[AdaptationProblem, np.ndarray, np.ndarray, str]:
    """The problem of a seed, the target's rows, their labels, and the depth."""
    source, target = draw_rows(files, labels, seed, most)
    classes = np.unique(labels)
    y = np.searchsorted(classes, labels)
    folds, head = make_folds(y[source], seed), registry.load_plugin("heads", HEAD)
    tuned = {
        depth: cross_validation.tune_head(head, vectors[depth][source], y[source], folds, n_classes=len(classes))
        for depth in DEPTHS
    }
    depth = min(tuned, key=lambda name: float(np.nanmean(tuned[name].losses)))
    x, best = vectors[depth], tuned[depth]
    shared = {"n_classes": len(classes), "class_weight": None, "seed": seed}
    fitted = next(iter(head.path(x[source], y[source], params=[best.params], **shared)))
    p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x[target])
    factor = fit_bounded_temperature(best.held_out[0], y[source], np.arange(len(source)))
    shift = estimate_label_shift(
        Answers(p=apply_temperature(best.held_out[0], factor), y=y[source], clusters=np.arange(len(source))),
        Answers(p=apply_temperature(p, factor), y=np.empty(0, np.int64), clusters=np.arange(len(target))),
        tuple(map(str, classes)),
        seed,
    )
    setting = HeadSetting(
        head=HEAD,
        params=best.params,
        n_train=len(source),
        dim=x.shape[1],
        n_classes=len(classes),
        balanced=False,
        seed=seed,
    )
    problem = AdaptationProblem(
        source=LabelledFeatures(
            x=x[source],
            y=y[source],
            weights=None,
            n_classes=len(classes),
            target_shares=shift.shares if shift.p < ALPHA else None,
        ),
        folds=folds,
        clusters=np.arange(len(source)),
        target=x[target],
        target_y=np.full(len(target), -1),
        target_clusters=np.arange(len(target)),
        learns=False,
        knows_source=False,
        expected_shares=shift.shares,
        setting=setting,
        fitted=fitted,
        held_out=best.held_out[0],
        seed=seed,
    )
    return problem, target, y[target], depth


def try_methods(
    files: PairFiles,
    labels: np.ndarray,
    vectors: dict[str, np.ndarray],
    seed: int,
    most: tuple[int, int] = (MOST, MOST),
) -> Trial:
    """Every method on one draw."""
    problem, rows, y, depth = pose_problem(files, labels, vectors, seed, most)
    candidates: list[Candidate] = []
    cpu_s: dict[str, float] = {}
    for name in registry.list_plugins(KIND):
        started = time.process_time()
        tried = evaluate_candidates(problem, [registry.load_plugin(KIND, name)])
        cpu_s[name] = time.process_time() - started
        candidates += tried[bool(candidates) :]
    folds, head = make_folds(y, seed), registry.load_plugin("heads", HEAD)
    oracle = cross_validation.tune_head(head, problem.target, y, folds, n_classes=problem.source.n_classes)
    return Trial(
        problem=problem,
        candidates=tuple(candidates),
        cpu_s=cpu_s,
        pictures=rows,
        y=y,
        oracle=oracle.held_out[0].argmax(axis=1) == y,
        depth=depth,
    )


def try_labels(problem: AdaptationProblem, pair: Pair, rows: np.ndarray, y: np.ndarray, count: int) -> Outcome:
    """The choice with and without `count` labelled target pictures, on those of the `rows` (T,) without a label."""
    methods = [registry.load_plugin(KIND, name) for name in sorted(list_default_methods() - {NOTHING})]
    candidates = evaluate_candidates(problem, methods)
    labelled = np.random.default_rng([problem.seed, 5]).permutation(len(y))[:count]
    target_y = np.full(len(y), -1)
    target_y[labelled] = y[labelled]
    rest = target_y < 0
    posed = {GUARDED: problem, f"{count} labels": dataclasses.replace(problem, target_y=target_y)}
    taken = {way: choose_adaptation(candidates, each).candidate for way, each in posed.items()}
    return Outcome(
        pair=pair,
        pictures=rows[rest],
        right={way: (each.target.argmax(axis=1) == y)[rest] for way, each in {NOTHING: candidates[0], **taken}.items()},
        taken=taken[GUARDED].method,
        failures={},
        bands=(),
        cpu_s={},
    )


def name_candidate(candidate: Candidate) -> str:
    settings = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in candidate.params.values())
    return f"{candidate.method} {settings}".strip()


def judge_trial(pair: Pair, trial: Trial) -> Outcome:
    """By the truth: every candidate, what each rule takes with and without guards, and the bands."""
    problem, plain = trial.problem, trial.is_right(trial.candidates[0])
    right = {
        name_candidate(each): plain if each.failure else trial.is_right(each)  # what fails leaves all as it is
        for each in trial.candidates
    }
    candidates = [each for each in trial.candidates if each.method in list_default_methods()]
    rated = make_rated_answers(candidates, problem)
    for rule in RULES:
        score = {number: rate_answers(rule, answers) for number, answers in rated.items()}
        right[f"rule: {rule.name}"] = trial.is_right(candidates[max(score, key=lambda n: (score[n], -n))])
        right[f"guarded: {rule.name}"] = trial.is_right(choose_by_rule(candidates, problem, rule, rated).candidate)
    taken = choose_adaptation(candidates, problem).candidate
    right |= {GUARDED: trial.is_right(taken), ORACLE: trial.oracle}
    return Outcome(
        pair=pair,
        pictures=trial.pictures,
        right=right,
        taken=taken.method,
        failures={name_candidate(each): each.failure for each in trial.candidates if each.failure},
        bands=estimate_bands(trial),
        cpu_s=trial.cpu_s,
    )


def list_default_methods() -> set[str]:
    """What competes where nobody names methods."""
    return {NOTHING, *(name for name in registry.list_plugins(KIND) if registry.load_plugin(KIND, name).is_default)}


def estimate_bands(trial: Trial) -> tuple[Score, ...]:
    """The accuracy of doing nothing, estimated without labels."""
    problem = trial.problem
    factor = fit_temperature(problem.held_out, problem.source.y)
    p_source, p_target = (
        apply_temperature(p, factor).astype(np.float64) for p in (problem.held_out, trial.candidates[0].target)
    )
    source = Answers(p=p_source, y=problem.source.y, clusters=problem.clusters)
    target = Answers(p=p_target, y=np.empty(0, np.int64), clusters=np.arange(len(p_target)))
    return estimate_accuracy(source, target, problem.source.x, problem.target, problem.fitted, problem.seed)


# ---------------------------------------------------------------- tables


def measure_gain(outcomes: Iterable[Outcome], name: str) -> Interval:
    """How much more often right than doing nothing; outcomes are of one pair."""
    outcomes = list(outcomes)
    gains = np.concatenate([each.right[name].astype(float) - each.right[NOTHING] for each in outcomes])
    return mean_interval(gains, np.concatenate([each.pictures for each in outcomes]))


def average_pairs(intervals: list[Interval]) -> Interval:
    """The mean over pairs; these are the pairs that they are, so that pictures alone make the interval."""
    value = float(np.mean([each.value for each in intervals]))
    half = float(np.sqrt(np.sum([((each.high - each.low) / 2) ** 2 for each in intervals])) / len(intervals))
    return Interval(value, value - half, value + half)


def format_gain(gain: Interval) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def print_outcomes(outcomes: list[Outcome]) -> None:
    """All tables."""
    by_pair: dict[str, list[Outcome]] = {}
    for each in outcomes:
        by_pair.setdefault(each.pair.name, []).append(each)
    if ORACLE in outcomes[0].right:
        print_pairs(by_pair)
    for part, tunes in (("pairs that tune", True), ("pairs that confirm", False)):
        chosen = {name: each for name, each in by_pair.items() if each[0].pair.tunes == tunes}
        if chosen:
            print_summary(part, chosen)
    if outcomes[0].bands:
        print_bands(outcomes)


def print_pairs(by_pair: dict[str, list[Outcome]]) -> None:
    print("| pair | none | guarded choice | taken | best in hindsight | oracle |\n|---|---|---|---|---|---|")
    for name, outcomes in by_pair.items():
        methods = [key for key in outcomes[0].right if ":" not in key and key not in (NOTHING, GUARDED, ORACLE)]
        best = max(methods, key=lambda key: measure_gain(outcomes, key).value)
        none, oracle = (np.mean([each.right[key].mean() for each in outcomes]) for key in (NOTHING, ORACLE))
        taken = ", ".join(dict.fromkeys(f"{each.taken}" for each in outcomes))
        hindsight = f"{best} {measure_gain(outcomes, best).value:+.3f}"
        print(
            f"| {name} | {none:.3f} | {format_gain(measure_gain(outcomes, GUARDED))} | {taken} | {hindsight} "
            f"| {oracle:.3f} |",
            flush=True,
        )


def print_summary(part: str, by_pair: dict[str, list[Outcome]]) -> None:
    """Mean gain, and in how many pairs a way helps or hurts beyond doubt."""
    some = next(iter(by_pair.values()))
    print(f"\n{part}: {len(by_pair)}\n| way | gain | helps | hurts | worst pair | failed | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for way in (key for key in some[0].right if key != NOTHING):
        gains = {name: measure_gain(outcomes, way) for name, outcomes in by_pair.items()}
        helps, hurts = sum(g.low > 0 for g in gains.values()), sum(g.high < 0 for g in gains.values())
        worst = min(gains, key=lambda name: gains[name].value)
        every = [each for outcomes in by_pair.values() for each in outcomes]
        failed = sum(way in each.failures for each in every)
        cpu_s = [each.cpu_s[way.split()[0]] for each in every if way.split()[0] in each.cpu_s]
        print(
            f"| {way} | {format_gain(average_pairs(list(gains.values())))} | {helps} | {hurts} "
            f"| {worst} {gains[worst].value:+.3f} | {failed} of {len(every)} "
            f"| {f'{np.mean(cpu_s):.1f}' if cpu_s else ''} |",
            flush=True,
        )


def print_bands(outcomes: list[Outcome]) -> None:
    """How often the band of the accuracy without labels holds the truth, and how far off its estimates are."""
    print("\n| pairs | holds the truth | mean width | error of ATC | of DoC | of the better in back-tests |")
    print("|---|---|---|---|---|---|")
    for part, some in (
        ("tune", [each for each in outcomes if each.pair.tunes]),
        ("confirm", [each for each in outcomes if not each.pair.tunes]),
        ("all", outcomes),
    ):
        if not some:
            continue
        truth = np.array([each.right[NOTHING].mean() for each in some])
        low, high = (np.array([getattr(each.bands[0], end) for each in some]) for end in ("low", "high"))
        values = [[next(b.value for b in each.bands if b.subject == name) for each in some] for name in ("ATC", "DoC")]
        values.append([each.bands[0].value for each in some])
        errors = " | ".join(f"{np.abs(np.array(value) - truth).mean():.3f}" for value in values)
        holds = ((low <= truth) & (truth <= high)).sum()
        print(f"| {part} | {holds} of {len(truth)} | {(high - low).mean():.2f} | {errors} |", flush=True)


# ---------------------------------------------------------------- command


def choose_pairs(named: str) -> list[Pair]:
    kinds = {"tuning": (True,), "confirming": (False,), "all": (True, False)}
    if named in kinds:
        return [pair for pair in list_pairs() if pair.tunes in kinds[named]]
    return [next(pair for pair in list_pairs() if pair.name == name) for name in named.split(",")]


def compare_methods(pairs: list[Pair], seeds: list[int], most: tuple[int, int]) -> None:
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, pair in enumerate(pairs):
            files, labels, vectors = read_pair(pair, Path(scratch) / str(number))
            for seed in seeds:
                outcomes.append(judge_trial(pair, try_methods(files, labels, vectors, seed, most)))
    print_outcomes(outcomes)
    print(f"\n{time.process_time():.0f} CPU s in all, features included")


def compare_labels(pairs: list[Pair], seeds: list[int], most: tuple[int, int], count: int) -> None:
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, pair in enumerate(pairs):
            files, labels, vectors = read_pair(pair, Path(scratch) / str(number))
            for seed in seeds:
                problem, rows, y, _ = pose_problem(files, labels, vectors, seed, most)
                outcomes.append(try_labels(problem, pair, rows, y, count))
    print_outcomes(outcomes)


def measure_strangers(pairs: list[Pair], seeds: list[int], most: tuple[int, int]) -> list[Stranger]:
    """Of each source: its own target, and those of pairs that show other things."""
    strangers = []
    with tempfile.TemporaryDirectory() as scratch:
        sets = [(pair, *read_pair(pair, Path(scratch) / str(number))) for number, pair in enumerate(pairs)]
        ctx = context(Path(scratch) / "others", data=scratch)
        others = make_ood_images(ctx.store)
        others_x = extract_features(others, LITE0, np.arange(len(others.uris)), ctx=ctx).vectors
        for seed in seeds:
            posed = [
                (pair, *pose_problem(files, labels, vectors, seed, most), vectors)
                for pair, files, labels, vectors in sets
            ]
            for source, problem, _, _, depth, _ in posed:
                x, y, fold = problem.source.x, problem.source.y, problem.folds
                sample = TrainingSample(rows=np.arange(len(y)), x=x, y=y, fold=fold)
                names = string.digits if source.shows == "digits" else ""
                for target, _, rows, _, _, vectors in posed:
                    if target is source or target.shows != source.shows:
                        novelty = measure_novelty(
                            sample, names, vectors[depth][rows], others, np.asarray(others_x[depth])
                        )
                        strangers.append(Stranger(source=source, target=target, novelty=novelty))
    return strangers


def print_refusals(strangers: list[Stranger]) -> None:
    """How many targets each limit refuses."""
    kinds = {
        "own, tuning": [each for each in strangers if each.is_own and each.source.tunes],
        "own, confirming": [each for each in strangers if each.is_own and not each.source.tunes],
        "of other things": [each for each in strangers if not each.is_own],
    }
    print("| limit | " + " | ".join(f"{kind}, of {len(some):,}" for kind, some in kinds.items()) + " | own by name |")
    print("|" + "---|" * (len(kinds) + 2))
    for limit in sorted({*LIMITS, AS_STRANGE}):
        refused = {kind: [each for each in some if each.novelty.exceeds(limit)] for kind, some in kinds.items()}
        own = Counter(each.source.name for some in refused.values() for each in some if each.is_own)
        counts = " | ".join(f"{len(some):,}" for some in refused.values())
        names = ", ".join(f"{name} {count}" for name, count in own.items())
        print(f"| {limit:g}{' (in use)' if limit == AS_STRANGE else ''} | {counts} | {names} |")


def compare_networks(pairs: list[Pair], seeds: list[int], most: int) -> None:
    """Probes with other batch norms, and networks trained on both domains, judged by all labels of the target."""
    gains: dict[str, dict[str, list[float]]] = {}
    print("| pair | seed | strategy | trunk | accuracy on the target |\n|---|---|---|---|---|")
    for pair, seed, strategy in itertools.product(pairs, seeds, NETWORKS):
        with tempfile.TemporaryDirectory() as scratch:
            trials = fit_networks(pair, seed, strategy, most, Path(scratch)).trials
        accuracy = {trial.method: score.value for trial in trials for score in trial.target if score.name == "accuracy"}
        for trial in sorted(trials, key=lambda trial: trial.method != NOTHING):
            value = accuracy.get(trial.method)
            shown = trial.why if value is None else f"{value:.3f}"
            print(f"| {pair.name} | {seed} | {strategy} | {trial.method} | {shown} |", flush=True)
            if value is not None:
                gains.setdefault(trial.method, {}).setdefault(pair.name, []).append(value - accuracy[NOTHING])
    print("\n| trunk | gain, t interval over pairs | worst pair |\n|---|---|---|")
    for method, by_pair in gains.items():
        means = {name: float(np.mean(values)) for name, values in by_pair.items()}
        worst = min(means, key=lambda name: means[name])
        mean = mean_interval(np.array(list(means.values())))
        print(f"| {method} | {format_gain(mean)} | {worst} {means[worst]:+.3f} |")


def fit_networks(pair: Pair, seed: int, strategy: str, most: int, folder: Path) -> DomainAdaptation:
    """The recipe of a training is given, so that no clock chooses it."""
    import headstart

    files = write_pair(pair)
    with files.table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    chosen = draw_rows(files, np.array([row["label"] for row in rows]), seed, (most, most))
    for name, part in zip(("source", "target"), chosen, strict=True):
        with (folder / f"{name}.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([("file", "label"), *((rows[at]["file"], rows[at]["label"]) for at in part)])
    run = headstart.fit(
        folder / "source.csv",
        images=files.table.parent,
        target="label",
        unlabeled=folder / "target.csv",
        out=folder / "run",
        seed=seed,
        backbones=[LITE0],
        strategy=strategy,
        recipe=RECIPE if strategy == "finetune" else "",
        adaptation=NETWORKS[strategy],
        test_size=0.0,
        folds=2,
        console=Console(quiet=True),
    )
    adaptation = run.find(DomainAdaptation)
    assert adaptation is not None
    return adaptation


def as_interval(score: Score) -> Interval:
    return Interval(score.value, score.low, score.high)


def write_features(pairs: list[Pair], seeds: list[int], most: tuple[int, int], folder: Path) -> None:
    """What `benchmarks/domain_rivals.py` reads: both domains, labels of the target to judge, and accuracy without."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for number, pair in enumerate(pairs):
            files, labels, vectors = read_pair(pair, Path(scratch) / str(number))
            for seed in seeds:
                problem, _, y, _ = pose_problem(files, labels, vectors, seed, most)
                answers = prediction.predict_probabilities(problem.fitted.kind, problem.fitted.arrays, problem.target)
                np.savez(
                    folder / f"{pair.name} {seed}.npz",
                    source=problem.source.x,
                    y=problem.source.y,
                    target=problem.target,
                    truth=y,
                    none=(answers.argmax(axis=1) == y).mean(),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--most", type=int, default=MOST)
    parser.add_argument("--labelled", type=int)
    parser.add_argument("--target-labels", type=int)
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--networks", action="store_true")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    most = (asked.labelled or asked.most, asked.most)
    pairs, seeds = choose_pairs(asked.pairs), [int(seed) for seed in asked.seeds.split(",")]
    if asked.networks:
        compare_networks(pairs, seeds, asked.most)
    elif asked.target_labels:
        compare_labels(pairs, seeds, most, asked.target_labels)
    elif asked.strangers:
        print_refusals(measure_strangers(pairs, seeds, most))
    elif asked.write:
        write_features(pairs, seeds, most, asked.write)
    else:
        compare_methods(pairs, seeds, most)


if __name__ == "__main__":
    main()
