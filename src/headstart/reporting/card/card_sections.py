"""The card's text, section by section, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from headstart.backbones.licences import is_permissive
from headstart.core.console import format_bytes
from headstart.core.types import Dataset, Score, UncertaintyReport
from headstart.data.splits import count_straddling, describe_straddling
from headstart.data.strata import find_strata
from headstart.evaluation.held_out_scores import WITHOUT_STRADDLING
from headstart.evaluation.verdicts import format_score_name, list_main_scores
from headstart.reporting.card import limitations, slices
from headstart.reporting.card import markdown as md
from headstart.reporting.card.card_data import CardInput
from headstart.reporting.card.slices import Slice
from headstart.reporting.formatting import format_plural
from headstart.reporting.sections.domain import format_domain_note, format_estimates, list_sentences
from headstart.uncertainty.summary import NEW_DOMAIN

_SPLITS = {"test": "the test pictures, held out and looked at once", "val": "the given validation pictures"}
_SCORES = (
    *("quadratic_weighted_kappa", "mean_rank_error"),
    *("accuracy", "balanced_accuracy", "mean_average_precision", "macro_f1", "micro_f1", "exact_match", "roc_auc"),
    *(
        "log_loss",
        "ranked_probability_score",
        "binary_log_loss",
        "brier",
        "ece",
        "mean_cost",
        "mae",
        "rmse",
        "r2",
        "spearman",
    ),
)
_OF_CLASS = ("recall", "precision", "f1")
_MOST_NAMED = 20  # classes named in the first sentence
_MOST_ROWS = 100  # classes that a table holds
_UNCERTAINTY = {
    "coverage": "share of pictures whose true class is in the prediction set, or whose number in the interval",
    "coverage_of_folds": "the same in the folds furthest apart",
    "coverage_where_present": "the same of the pictures that have the label",
    "open_labels": "share of labels that stay open: neither surely there nor surely absent",
    "open_labels_of_folds": "the same in the folds furthest apart",
    "interval_width": "width of the interval, on average",
    "set_size": "classes in the prediction set, on average",
    "singletons": "share with one class in the set",
    "empty_sets": "share with an empty set",
    "unknown": "share answered `unknown`",
    "unknown_of_folds": "share answered `unknown` in the folds furthest apart",
    "novelty_auc": "ROC AUC of telling strange pictures from known ones",
}
_HOW_TO_USE = (
    "## How to use\n\nRUN is the folder of this card.\n\n```sh\nheadstart predict RUN picture.jpg\n"
    "headstart explain RUN picture.jpg\n```\n\n"
    "```python\nimport headstart\n\nrun = headstart.load('RUN')\n"
    "for answer in run.predict(['picture.jpg']):\n    print(answer.answer, answer.probabilities)\n```\n\n"
    "`report.html` beside this card tells all of it, with pictures.\n"
)


def format_card_body(card: CardInput) -> str:
    """All sections."""
    is_sliced = not card.dataset.learning_task.is_number and not card.evaluation.refusal
    card_slices = slices.make_slices(card) if is_sliced else []
    limits = "## Limits found\n\n" + md.format_bullets(limitations.list_limitations(card, card_slices))
    description = (_format_opening(card), _format_intended_use(card), _format_data(card))
    quality = (_format_results(card, card_slices), *_format_domain(card), _format_uncertainty(card), limits)
    return "\n".join((*description, *quality, _format_model(card), _HOW_TO_USE))


def _headline_scores(card: CardInput) -> dict[str, Score]:
    """Scores over all classes on the split that judges, by name."""
    evaluation = card.evaluation
    return {s.name: s for s in evaluation.scores if s.split == evaluation.split and not s.subject}


def _format_split(card: CardInput) -> str:
    folds = "folds of the training pictures that also chose the model, so it is optimistic"
    if card.evaluation.nested:
        folds = "nested held-out folds of the training pictures"
    leaks = count_straddling(card.splits, card.evaluation.rows)
    name = list_main_scores(card.dataset.learning_task)[0]
    apart = [s for s in card.evaluation.scores if (s.name, s.subject) == (name, WITHOUT_STRADDLING)]
    others = "".join(f" (the other {s.n:,}: {format_score_name(name)} {md.format_interval(s)})" for s in apart[:1])
    caveat = f", {leaks:,} of which {describe_straddling(card.dataset)}{others}," if leaks else ""
    return _SPLITS.get(card.evaluation.split, folds) + caveat


def _format_opening(card: CardInput) -> str:
    opening = f"# Picture {_format_purpose(card)}."
    if card.evaluation.refusal:
        return f"{opening}\n\n{_format_refusal(card)}\n"
    scores, names = _headline_scores(card), list_main_scores(card.dataset.learning_task)
    summary = ", ".join(f"{format_score_name(name)} {md.format_interval(scores[name])}" for name in names)
    verdict = next((v for v in card.evaluation.verdicts if v.code == "headline"), None)
    note = "" if card.shift is None else format_domain_note(card.shift, card.adaptation)
    return (
        f"{opening} {_capitalise(summary)} on {_format_split(card)} (n = {scores[names[0]].n:,}); brackets are 95 % "
        "intervals everywhere.\n"
        + (f"\n{_capitalise(md.format_sentence(verdict.sentence.rpartition('; ')[2]))}.\n" if verdict else "")
        + (f"\n{_capitalise(md.format_sentence(note))}.\n" if note else "")
    )


def _format_purpose(card: CardInput) -> str:
    """The title and what the model answers."""
    data, names = card.dataset, card.dataset.class_names
    name, task = md.escape_markup(data.name), data.learning_task
    if task.is_number:
        learnt = np.asarray(data.targets)[np.asarray(card.splits.train)]
        return (
            f"measure {name}\n\nIt answers with a number, {md.format_code(data.output_names[0])}, learnt from numbers "
            f"between {learnt.min():.5g} and {learnt.max():.5g}"
        )
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    classes = f"{', '.join(map(md.format_code, names[:_MOST_NAMED]))}{more}"
    if task.has_labels:
        return f"labels {name}\n\nIt says which of {len(names):,} labels a picture has, several or none: {classes}"
    kinds, order = ("grades", ", from the lowest") if task.ordered else ("classes", "")
    return f"classifier {name}\n\nIt tells {len(names):,} {kinds} apart{order}: {classes}"


def _format_refusal(card: CardInput) -> str:
    return f"{_capitalise(md.format_sentence(card.evaluation.refusal))}."


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _format_intended_use(card: CardInput) -> str:
    uncertainty, task = card.uncertainty, card.dataset.learning_task
    abstains = uncertainty is not None and (
        uncertainty.novelty is not None or bool(np.isfinite(uncertainty.floors).any())
    )
    works = uncertainty is None or uncertainty.verdict is None or uncertainty.verdict.answer != "no"
    sentence = (
        "It may answer `unknown`; such pictures are for a person to look at."
        + ("" if works else " `unknown` does not work here (see the limits): keep other pictures away from it.")
        if abstains
        else f"It always {'names one of its classes' if task.has_classes else 'answers'}, whatever a picture shows: "
        "keep other pictures away from it."
    )
    word = "class" if task.has_classes else "label"
    shares = f"the shares of wrong ones are below, {word} by {word}"
    shares = "how often it is wrong is not known" if card.evaluation.refusal else shares
    shown = "show one of its classes and" if task.has_classes else "show what it measures and" if task.is_number else ""
    lines = [
        f"For single pictures that {f'{shown} ' if shown else ''}were made as those of "
        f"{md.format_code(card.dataset.name)} were. {sentence}",
        "An answer is a suggestion with an interval, not a fact; how far answers are off is below."
        if task.is_number
        else f"An answer is a suggestion with a probability, not a fact; {shares}.",
        "Not for pictures of other things or from other sources without measuring it there first (`headstart evaluate "
        "RUN FOLDER`), and not for decisions about people without a person who decides.",
    ]
    return "## Intended use\n\n" + md.format_bullets(lines)


def _format_data(card: CardInput) -> str:
    data, splits = card.dataset, card.splits
    sides = {"training": splits.train, "validation": splits.val, "test": splits.test}
    filled_sides = {name: rows for name, rows in sides.items() if len(rows)}
    strata = find_strata(data)
    names = strata.names
    ending = "with the fewest training pictures; `read/files.csv` beside this card lists every file"
    counts = [strata.count_rows(np.asarray(rows)) for rows in filled_sides.values()]
    rarest = sorted(np.argsort(counts[0], kind="stable")[:_MOST_ROWS].tolist())
    rows = [[md.format_code(names[c]), *(f"{count[c]:,}" for count in counts)] for c in rarest]
    rows.append(
        [
            "all pictures" if data.learning_task.has_labels else f"all {len(names):,}",
            *(f"{len(r):,}" for r in filled_sides.values()),
        ]
    )
    count = len(data.uris) - len(np.unique(np.asarray(splits.clusters)))
    bond = "are of a group with an earlier one or look like it" if data.groups else "look like an earlier one"
    origin = "The folder gave the splits" if splits.given else md.format_sentence(_capitalise(splits.why).rstrip("."))
    lines = [
        f"Name {md.format_code(data.name)}, {len(data.uris):,} pictures, SHA-256 `{data.digest}`.",
        f"{origin}. Pictures that {bond}: {count:,}; {_format_straddling(card)}.",
        _format_excused(data),
    ]
    return (
        "## Training data\n\n"
        + md.format_bullets(lines)
        + f"\n{_format_few(len(names), ending)}"
        + md.format_table((strata.word, *(f"{n} pictures" for n in filled_sides)), rows)
    )


def _format_straddling(card: CardInput) -> str:
    count = len(np.unique(np.asarray(card.splits.straddling)[:, 1]))
    lie = format_plural(count, "of them lies", "of them lie")
    return f"{lie} in another split than that one" if count else "such pictures stay on one side"


def _format_few(count: int, ending: str) -> str:
    """A line above a table that does not hold all classes."""
    return f"The {_MOST_ROWS} of {count:,} classes {ending}:\n\n" if count > _MOST_ROWS else ""


def _format_results(card: CardInput, card_slices: list[Slice]) -> str:
    scores, classes = _headline_scores(card), len(card.dataset.class_names)
    word = "label" if card.dataset.learning_task.has_labels else "class"
    if card.evaluation.refusal:
        return f"## Results\n\n{_format_refusal(card)}\n"
    overall_rows = [(s.replace("_", " "), *_format_value_and_n(scores[s])) for s in _SCORES if s in scores]
    parts = [
        f"## Results\n\nOn {_format_split(card).rstrip(',')}.\n",
        md.format_table(("score", "value [95 % interval]", "n"), overall_rows),
    ]
    if classes:
        few = _format_few(classes, "that are found least; `evaluate/scores.csv` beside this card has all")
        heading = f"{word.capitalize()} by {word}:\n"
        parts += [heading, few + md.format_table((word, *_OF_CLASS, "n"), _class_rows(card))]
    if card_slices:
        head = ("slice", "accuracy" if word == "class" else "labels right", "n", "from the rest")
        heading = "Slices, cut by facts of the files and thirds of the training pictures, before any answer was seen:\n"
        parts += [heading, md.format_table(head, map(_slice_row, card_slices))]
    compared = card.dataset.learning_task.shown[0]
    others = [s for s in card.evaluation.baselines if s.name == compared]
    if others:
        rows = [(md.escape_markup(s.subject), *_format_value_and_n(s)) for s in others]
        heading = "Baselines (some on other pictures than the table above: mind the n):\n"
        parts += [heading, md.format_table(("baseline", compared.replace("_", " "), "n"), rows)]
    return "\n".join(parts)


def _format_domain(card: CardInput) -> list[str]:
    """Pictures of another domain: how they differ, and what was adapted; empty without any."""
    shift, adaptation = card.shift, card.adaptation
    if shift is None:
        return []
    sentences = [shift.verdict.sentence, shift.label_verdict.sentence, format_estimates(shift)]
    if adaptation is not None:
        sentences += list_sentences(adaptation)
    lines = [f"{_capitalise(md.format_sentence(sentence.rstrip('.')))}." for sentence in sentences]
    if (target := card.target) is not None:
        count = f"{format_plural(len(target.labels), 'picture')}, {len(target.labelled):,} with a label"
        lines.insert(0, f"{count}. {_format_excused(target.pictures)}")
    return ["## The new domain\n\n" + md.format_bullets(lines)]


def _format_excused(data: Dataset) -> str:
    excused = format_plural(len(data.excused), "file on disk was", "files on disk were")
    return f"{excused} not used" + ("; the report names each with the reason." if data.excused else ".")


def _format_value_and_n(score: Score) -> tuple[str, str]:
    return md.format_interval(score), f"{score.n:,}"


def _class_rows(card: CardInput) -> Iterator[list[str]]:
    scores = {(s.subject, s.name): s for s in card.evaluation.scores if s.split == card.evaluation.split}
    classes = [(name, [scores[name, metric] for metric in _OF_CLASS]) for name in card.dataset.class_names]
    by_recall = sorted((row[0].value if row[0].n else math.inf, place) for place, (_, row) in enumerate(classes))
    for name, row in (classes[place] for place in sorted(place for _, place in by_recall[:_MOST_ROWS])):
        yield [md.format_code(name), *map(md.format_interval, row), f"{row[0].n:,}"]


def _slice_row(card_slice: Slice) -> tuple[str, ...]:
    name = f"{card_slice.by}: {md.escape_markup(card_slice.name)}"
    value, low, high = card_slice.apart
    return name, *_format_value_and_n(card_slice.score), f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _format_uncertainty(card: CardInput) -> str:
    uncertainty = card.uncertainty
    if uncertainty is None:
        return "## Calibration and uncertainty\n\nUncertainty was not measured in this run.\n"
    names = card.dataset.class_names
    many = set(names) if len(names) > _MOST_ROWS else ()  # one by one they are in the run folder
    by_subject = {s.subject: s for s in uncertainty.scores if s.name == "ece"}
    task = card.dataset.learning_task
    outcome = "number in the interval" if task.is_number else "class in the prediction set"
    outcome = "state of each label in its set" if task.has_labels else outcome
    lines = []
    if not task.is_number:
        lines = [f"Logits are divided by {card.model.calibration.temperature:.3f} (temperature scaling)."]
    if {"before", "after"} <= by_subject.keys():
        before, after = by_subject["before"], by_subject["after"]
        pictures = "as in the results above"
        if card.evaluation.nested:
            pictures = "both on the folds that chose the model; the results above are of nested ones"
        ends = f"{md.format_interval(before)} before that, {md.format_interval(after)} after it"
        lines.append(f"Calibration error {ends} (n = {after.n:,}), {pictures}.")
    lines.append(
        f"Asked for: the true {outcome} of {100 * uncertainty.coverage:g} % of pictures. "
        f"{_capitalise(md.format_sentence(uncertainty.why.rstrip('.')))}."
    )
    if uncertainty.has_target:
        lines.append(_format_caution(uncertainty))
    rows = [
        (_UNCERTAINTY[s.name] + (f" ({md.escape_markup(s.subject)})" if s.subject else ""), *_format_value_and_n(s))
        for s in uncertainty.scores
        if s.name in _UNCERTAINTY and s.subject not in many
    ]
    table = "\n" + md.format_table(("measured", "value [95 % interval]", "n"), rows) if rows else ""
    return f"## Calibration and uncertainty\n\n{md.format_bullets(lines)}{table}"


def _format_caution(uncertainty: UncertaintyReport) -> str:
    """What the coverage is worth in the new domain that the model is for."""
    measured = next((s for s in uncertainty.scores if (s.name, s.subject) == ("coverage", NEW_DOMAIN)), None)
    if measured is None:
        return "In the new domain that need not hold: too few pictures there have a label to measure it."
    share = f"{md.format_interval(measured)} (n = {measured.n:,})"
    return f"In the new domain that need not hold: of its labelled pictures it is {share}."


def _format_model(card: CardInput) -> str:
    head = card.adapted.fitted
    trunks = [
        [
            md.format_code(t.name),
            ", ".join(md.format_code(depth.name) for depth in t.depths),
            f"{t.input.size_px} px, {t.input.resize}",
            md.escape_markup(t.licence),
        ]
        for t in card.model.trunks
    ]
    fitted = f"with {head.trainable_params:,} fitted numbers on features of {len(trunks)} trunk"
    fitted += "s" if len(trunks) > 1 else ""
    tuning = card.adapted.tuning
    if tuning and tuning.taken and tuning.network and tuning.network.is_untrained:
        fitted += f"; {md.format_sentence(tuning.why)}"
    elif tuning and tuning.taken:
        fitted = f"of a network of which {head.trainable_params:,} weights were trained"
    lines = [
        f"{_capitalise(md.escape_markup(card.adapted.strategy))}: a head {md.format_code(head.head)} {fitted}.",
        f"Saved in `model/`, {format_bytes(card.exported.bytes)}, without executable parts; it answers with numpy, "
        f"Pillow and OpenVINO. Written by headstart {md.escape_markup(card.model.headstart)}.",
    ]
    table = md.format_table(("trunk", "read at", "input", "licence of the weights"), trunks)
    terms = md.format_bullets(_format_licence_terms(card))
    return f"## Model and licence\n\n{md.format_bullets(lines)}\n{table}\n{terms}"


def _format_licence_terms(card: CardInput) -> Iterator[str]:
    """What the licence of each trunk means for the model that holds it."""
    for trunk in card.model.trunks:
        name, licence = md.format_code(trunk.name), md.escape_markup(trunk.licence)
        if is_permissive(trunk.licence):
            yield (
                f"{name} ({licence}): the model holds its weights, so it may be used, changed and passed on, also for "
                "money, as long as the licence and its notices go with it."
            )
        else:
            yield (
                f"{name} ({licence}): this is on no list of permissive licences. The model holds its weights, so the "
                "same terms hold for the model: read them before it is used for money or passed on."
            )
        if trunk.licence_note:
            note = md.format_sentence(trunk.licence_note.rstrip("."))
            yield f"{name}, what else to know of its licence: {note}."
    yield (
        "The licence of the weights says nothing of the rights in the pictures that the head learnt from: whoever "
        "passes the model on must have these."
    )
