"""Fine-tuning: whether it paid, how the curves ran, what the checks say of them, and every recipe that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import recipe as recipes
from headstart.core.storage.files import format_printable
from headstart.core.types import FineTuningResult, Score, TrainingLog, Trial
from headstart.evaluation.verdicts import format_score_name
from headstart.finetuning.training_curves import score_curves
from headstart.heads.cross_validation import count_folds
from headstart.reporting import formatting
from headstart.reporting.charts import draw_by_epoch
from headstart.reporting.report_data import ReportInput
from headstart.statistics import metrics
from headstart.statistics.losses import is_gain

SIDES = {"learnt": "train", "held": "val"}
RANDOM = {"val": "held-out pictures", "train": "training pictures"}
MOST_CLASSES = 25  # listed; above, those with the lowest recall
# What makes running training scores lower than the network is, as words; other fields leave the pictures as they are.
HAMPERS = {"augment": "augmented", "mixup": "mixed", "cutmix": "with pasted boxes", "dropout": "with dropout"}
HAMPERS |= {"stochastic_depth": "with stochastic depth"}
STATUS = {"chosen": "chosen", "finalist": "finalist", "beaten": "beaten", "pruned": "cut short", "failed": "failed"}
ORIGINS = {"given": "as given", "prior": "number of pictures", "search": "search"}


def make_training_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `training.html` shows; None without fine-tuning."""
    tuning = report.adapted.tuning if report.adapted else None
    if tuning is None:
        return None
    trial = _find_shown_trial(tuning)
    trial_logs = [log for log in tuning.logs if trial and log.trial == trial.number]
    logs = [log for log in trial_logs if log.fold >= 0 and log.epochs]
    final = [log for log in trial_logs if log.fold < 0]
    random = [log for log in tuning.logs if log.trial < 0 and log.epochs]  # the same network from random weights
    chosen = final[0].best if final else max((log.best for log in logs), default=None)
    classes = _worst_first(tuning, report)
    paid, task = report.evaluation.paid if report.evaluation else (), report.dataset.learning_task
    return {
        "why": tuning.why,
        "taken": tuning.taken,
        "paid": paid,
        "rated": next((format_score_name(row.difference.name) for row in paid if row.difference), ""),
        "trial": trial,
        "epoch": chosen,
        "epoch_meaning": "the best of a training that did not help"
        if tuning.network and tuning.network.is_untrained
        else "the one that counts",
        "start": _format_start(trial, "ridge regression" if task.is_number else "logistic head"),
        "of_classes": not task.is_number,
        "seen": _format_scored_as(trial),
        "way": _format_interpolation(tuning, final),
        "recipe": recipes.format_recipe(tuning.network.recipe) if tuning.network else "",
        "folds": len(logs),
        "charts": _draw_charts(logs, random, chosen) if logs else [],
        "random": RANDOM[_choose_side(random)] if random else "",
        "epochs": _epoch_table(logs) if logs else None,
        "rows_left": len(classes[MOST_CLASSES:]),
        "per_class": _class_rows(tuning, report, [name for _, name in classes]),
        "outcomes": tuning.outcomes,
        "trials": [_trial_view(t) for t in sorted(tuning.trials, key=_trial_order)],
        "metric": next((t.score.name for t in tuning.trials), ""),
        "facts": _list_facts(tuning, logs, is_number=task.is_number),
        "notes": list(dict.fromkeys(note for log in (*final, *logs, *random) for note in log.notes)),
        "left_out": tuning.left_out,
    }


def _find_shown_trial(tuning: FineTuningResult) -> Trial | None:
    if tuning.network is not None:
        return next((t for t in tuning.trials if t.number == tuning.network.soup[0]), None)
    return min(tuning.trials, key=_trial_order, default=None)


def _format_start(trial: Trial | None, head: str) -> str:
    """What epoch 0 is; empty without a trial."""
    if trial is None:
        return ""
    if trial.recipe.start == "random":
        return "a head of random weights"
    return f"the {head} that the training starts from, not the frozen probe, which is the best of all heads"


def _format_scored_as(trial: Trial | None) -> str:
    """How training pictures were scored, by what the recipe does to them."""
    values = recipes.field_values(trial.recipe) if trial else {}
    words_of = [word for field, word in HAMPERS.items() if values.get(field)]
    early = "Training pictures are scored before each step, so by a network that knows less than at the epoch's end"
    if not words_of:
        return f"{early}: that may well be lower."
    return f"{early}, and as they were seen, {formatting.format_list(words_of)}: that may well be lower."


def _format_interpolation(tuning: FineTuningResult, final: Sequence[TrainingLog]) -> str:
    """How far from its first weights the network of one recipe stands, where that is not all of the way."""
    network = tuning.network
    if network is None or len(network.soup) > 1 or network.alpha == 1:
        return ""
    if any("not finite" in log.stopped for log in final):
        return "The training on all pictures broke off: the network has its first weights."
    if not network.alpha:
        return "None of the training helped: the network has its first weights, those before the first step."
    return f"The network stands {network.alpha:.0%} of the way from its first weights to those of this epoch."


def _choose_side(logs: Sequence[TrainingLog]) -> str:
    """What can be drawn: held-out scores where there are any."""
    return "val" if all(row.val for log in logs for row in log.epochs) else "train"


def _trial_order(trial: Trial) -> tuple[int, float, int]:
    """Chosen first, failed last; within a status by score, or as tried where there is none."""
    value = trial.score.value if math.isfinite(trial.score.value) else math.inf
    return list(STATUS).index(trial.status), -value if is_gain(trial.score.name) else value, trial.number


def _draw_charts(
    logs: Sequence[TrainingLog], random: Sequence[TrainingLog], chosen: int | None
) -> list[dict[str, str]]:
    charts = []
    for score, label in _list_drawn(logs).items():
        lines = {kind: score_curves(logs, side, score) for kind, side in SIDES.items()}
        lines |= {"random": score_curves(random, _choose_side(random), score)} if random else {}
        headline = f"{label[:1].upper()}{label[1:]}"
        title = f"{headline} by epoch, on training and held-out pictures; the table below holds the numbers."
        name = f"epochs-{score.replace('_', '-')}"
        svg = draw_by_epoch(lines, name=name, y_label=label, title=title, chosen=chosen)
        charts.append({"label": label, "svg": svg})
    return charts


def _list_drawn(logs: Sequence[TrainingLog]) -> Mapping[str, str]:
    """Scores that are drawn, with their names."""
    return logs[0].epochs[0].train.drawn


def _epoch_table(logs: Sequence[TrainingLog]) -> dict[str, Any]:
    """Each epoch's scores, the mean and the ends over the folds that trained so long."""
    columns = [(score, side) for score in _list_drawn(logs) for side in ("train", "val")]
    values = {column: score_curves(logs, column[1], column[0]) for column in columns}
    rates = {row.epoch: row.rate for log in logs for row in log.epochs}
    rows = []
    for epoch in range(max(len(log.epochs) for log in logs) + 1):
        scores = [_summarise_folds(values[column][:, epoch]) for column in columns]
        rows.append({"epoch": epoch, "rate": rates.get(epoch), "scores": scores})
    return {"columns": list(_list_drawn(logs).values()), "rows": rows}


def _summarise_folds(values: np.ndarray) -> dict[str, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}


def _score_classes(tuning: FineTuningResult, report: ReportInput, p: np.ndarray) -> Mapping[tuple[str, str], Score]:
    rows, names = np.asarray(tuning.rows), report.dataset.class_names
    y = np.asarray(report.dataset.targets)[rows]
    task = report.dataset.learning_task
    shared: dict[str, Any] = {"split": "cv", "class_names": names, "seed": report.job.seed, "task": task}
    if report.splits is not None:
        shared["clusters"] = np.asarray(report.splits.clusters)[rows]
        shared["n_folds"] = count_folds(report.splits.folds)
    scores = metrics.compute_scores(y, np.asarray(p), **shared)
    return {(s.subject, s.name): s for s in scores}


def _worst_first(tuning: FineTuningResult, report: ReportInput) -> list[tuple[int, str]]:
    """Position and name of the classes, in their order, or by held-out recall where they are too many to be listed."""
    names = list(enumerate(report.dataset.class_names))
    if len(names) <= MOST_CLASSES or not len(tuning.rows):
        return names
    scores = _score_classes(tuning, report, tuning.probabilities)
    recall = {name: scores[name, "recall"].value for _, name in names}
    return sorted(names, key=lambda n: (recall[n[1]] if math.isfinite(recall[n[1]]) else math.inf, n[0]))


def _class_rows(tuning: FineTuningResult, report: ReportInput, names: Sequence[str]) -> list[dict[str, Any]]:
    if not len(tuning.rows) or not names:
        return []
    both_scores = [_score_classes(tuning, report, p) for p in (tuning.probabilities, tuning.probe_probabilities)]
    rows = []
    for name in names[:MOST_CLASSES]:
        scores = [scores.get((name, score)) for score in ("precision", "recall") for scores in both_scores]
        rows.append({"name": format_printable(name), "scores": scores})
    return rows


def _trial_view(trial: Trial) -> dict[str, Any]:
    """A trial; `recipe` is what differs from the defaults, without the backbone, which has a line of its own."""
    parts = recipes.format_recipe(trial.recipe).split(",")
    return {
        "trial": trial,
        "recipe": [part for part in parts if not part.startswith("backbone=")],
        "origin": ORIGINS.get(trial.origin, f"advice of {trial.origin}"),
        "status": STATUS[trial.status],
    }


def _list_facts(tuning: FineTuningResult, logs: Sequence[TrainingLog], *, is_number: bool) -> list[tuple[str, str]]:
    network = tuning.network
    if network is None:
        return []
    stopped = list(dict.fromkeys(log.stopped for log in logs))
    facts = [
        ("grown from", network.backbone),
        ("learnt from", formatting.format_plural(network.n_train, "picture")),
        ("epochs", f"{network.epochs} (in cross-validation: {'; '.join(stopped)})" if stopped else str(network.epochs)),
        ("weights that moved", formatting.format_count(network.trainable_params)),
        ("way from the first weights to the tuned ones", f"{network.alpha:.0%}"),
        *([] if is_number else [("temperature", formatting.format_number(network.temperature, 2))]),
        ("operations spent", formatting.format_count(network.flops)),
    ]
    if len(network.soup) > 1:
        facts.append(("average of the weights of trials", ", ".join(map(str, network.soup))))
    return facts
