"""The card of a pushed model, for those who use it: what it is for, what it learnt from, how good it is, and where not.

As Markdown it follows Hugging Face's format, so that it can be published as it is. It tells what Mitchell et al. ask
for in "Model Cards for Model Reporting" (2019). The page has the same content. `components.store.model_card` is another
thing: facts for programs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.base.text import one_line
from components.evaluation.curves import Slice
from components.evaluation.metrics import wilson_interval
from components.evaluation.predictions import Prediction
from components.evaluation.results import Judged, Metrics, Verdict
from components.library.layout import SPLITS, Manifest
from components.reporting.fit import calibration_in_words
from components.reporting.page import environment, number, percent
from components.retraining.policy import spans_in_words
from components.store.model_card import ModelCard
from components.store.model_store import Lineage

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
_WEAKEST = 3
"""Genres that are named as weak."""


@dataclass(frozen=True)
class CardInputs:
    """Everything that a card is made of."""

    name: str
    """Of the pipeline."""
    card: ModelCard
    lineage: Lineage
    verdict: Verdict
    manifests: Sequence[Manifest] = ()
    """Of the spans that it was trained on; empty where the library cannot be read any more."""
    predictions: Sequence[Prediction] = ()
    """Of the clips that judged it."""
    weak: Sequence[Slice] = ()
    """Parts of the test clips on which it is weak."""


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    code: str = ""
    language: str = ""
    parts: Sequence["Section"] = field(default_factory=tuple)


def card_markdown(inputs: CardInputs) -> str:
    """Returns the card as Markdown with Hugging Face's front matter; text from outside is escaped."""
    import yaml

    matter = yaml.safe_dump(_front_matter(inputs), sort_keys=False, allow_unicode=True)
    lines = ["---", matter.rstrip("\n"), "---", "", f"# {_escaped(_title(inputs))}", ""]
    for section in _sections(inputs):
        lines += _markdown(section, 2)
    return "\n".join(lines).rstrip("\n") + "\n"


def card_page(inputs: CardInputs) -> str:
    """Returns the card as one HTML page. All text is escaped; the same inputs give the same page."""
    return environment().get_template("card.html").render(title=_title(inputs), sections=_sections(inputs))


def _title(inputs: CardInputs) -> str:
    return f"{inputs.name}: {len(inputs.card.features.genres)} genres by {inputs.card.kind}"


def _escaped(text: str) -> str:
    """Returns text in which nothing is markup."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def _markdown(section: Section, level: int) -> list[str]:
    lines = [f"{'#' * level} {_escaped(section.title)}", ""]
    for paragraph in section.paragraphs:
        lines += [_escaped(paragraph), ""]
    if section.items:
        lines += [*(f"- {_escaped(item)}" for item in section.items), ""]
    if section.rows:
        rule = ["---", *["---:"] * (len(section.columns) - 1)]
        rows = [map(_escaped, section.columns), rule, *(map(_escaped, row) for row in section.rows)]
        lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    if section.code:
        lines += [f"```{section.language}", section.code, "```", ""]
    for part in section.parts:
        lines += _markdown(part, level + 1)
    return lines


def _front_matter(inputs: CardInputs) -> dict[str, Any]:
    """Returns the metadata that Hugging Face's hub reads."""
    dataset = inputs.manifests[-1].source if inputs.manifests else "a library of songs"

    def results(judged: Judged) -> dict[str, Any]:
        found = judged.candidate
        figures = {"accuracy": found.accuracy, "f1": found.macro_f1}
        names = {"accuracy": "Accuracy", "f1": "Macro-F1"}
        return {
            "task": {"type": "audio-classification", "name": "Music genre classification"},
            "dataset": {"name": one_line(dataset), "type": "custom", "split": judged.split},
            "metrics": [
                {"type": name, "value": round(value, 6), "name": names[name]} for name, value in figures.items()
            ],
        }

    return {
        "license": "unknown",
        "library_name": "tensorflow",
        "pipeline_tag": "audio-classification",
        "tags": ["music", "genre-classification", "tfx"],
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": one_line(inputs.name), "results": [results(each) for each in inputs.verdict.sets]}],
    }


def _sections(inputs: CardInputs) -> list[Section]:
    card, audio = inputs.card, inputs.card.features.audio
    genres = ", ".join(card.features.genres)
    return [
        Section(
            "What it is",
            [
                f"A model of kind {card.kind} with {number(card.parameters, 0)} parameters. It takes a recording "
                f"(mono, {number(audio.sample_rate, 0)} Hz; {audio.clip_seconds:g} s from the middle of a song) and "
                f"returns a probability for each of these genres: {genres}.",
                f"At the gate: {inputs.verdict.headline}.",
            ],
        ),
        Section(
            "What it is for",
            items=[
                "Sorting music of the same kinds by genre, with a person who looks at what it is unsure of.",
                "Proposing genres for songs that have none.",
            ],
        ),
        Section(
            "What it is not for",
            items=[
                "Genres other than these: it always names one of them, also for speech, noise or silence.",
                "Music unlike what it learned from, such as of other decades or regions: measure it there first.",
                "Decisions about people or money, such as who is paid, without a person's judgement.",
            ],
        ),
        _data(inputs),
        Section(
            "How good it is",
            [
                "Measured on songs by artists that it was not trained on. In brackets: 95 % interval (Wilson).",
            ],
            parts=[_figures(judged) for judged in inputs.verdict.sets],
        ),
        _weak(inputs),
        _calibration(inputs),
        Section(
            "What it had learned before",
            items=[f"{kind}: {origin}" for kind, origin in card.trained_on.items()],
            paragraphs=[] if card.trained_on else ["Nothing: all its weights were learned from the data above."],
        ),
        _lineage(inputs),
        Section(
            "How to use it",
            ["The model is a TensorFlow SavedModel; MODEL is its folder. The file is PCM16 WAV of the rate above."],
            code="import tensorflow as tf\n"
            'model = tf.saved_model.load("MODEL")\n'
            'print(model.signatures["audio"](audio=tf.constant([open("song.wav", "rb").read()])))',
            language="python",
        ),
    ]


def _data(inputs: CardInputs) -> Section:
    if not inputs.manifests:
        return Section("Data", [f"The library was at {inputs.lineage.data}; it can no longer be read."])
    seconds = inputs.card.features.audio.clip_seconds
    splits = {name: [each.splits[name] for each in inputs.manifests if name in each.splits] for name in SPLITS}
    totals = [
        ("clips", [sum(each.clips for each in found) for found in splits.values()]),
        ("artists or other groups", [sum(each.groups for each in found) for found in splits.values()]),
    ]
    rows = [
        (genre, *(number(sum(each.genres.get(genre, 0) for each in found), 0) for found in splits.values()))
        for genre in inputs.card.features.genres
    ]
    rows += [(name, *(number(count, 0) for count in counts)) for name, counts in totals]
    rows.append(("hours", *(number(count * seconds / 3600) for count in totals[0][1])))
    sources = ", ".join(dict.fromkeys(each.source for each in inputs.manifests))
    return Section(
        "Data",
        [
            f"{sources}, {spans_in_words(inputs.lineage.window)}. No artist is in two splits. The licence of the "
            "music is not recorded: whoever publishes the model states it.",
        ],
        columns=("genre", "training", "validation", "test"),
        rows=rows,
    )


def _with_interval(right: int, of: int) -> str:
    if not of:
        return "–"
    low, high = wilson_interval(right, of)
    return f"{right / of:.2f} ({low:.2f} to {high:.2f})"


def _figures(judged: Judged) -> Section:
    found = judged.candidate
    low, high = found.accuracy_interval
    columns = [sum(row[index] for row in found.confusion) for index in range(len(found.confusion))]
    rows = []
    for index, (genre, of) in enumerate(found.genres.items()):
        right = found.confusion[index][index]
        rows.append(
            (
                genre,
                number(of.support, 0),
                _with_interval(right, columns[index]),
                _with_interval(right, of.support),
                number(of.f1),
            )
        )
    return Section(
        f"On {judged.clips_text}",
        [
            f"Accuracy {percent(found.accuracy)} ({percent(low)} to {percent(high)}), "
            f"macro-F1 {number(found.macro_f1, 3)}, log loss {number(found.log_loss, 3)}."
        ],
        columns=("genre", "clips", "precision", "recall", "F1"),
        rows=rows,
    )


def _weak(inputs: CardInputs) -> Section:
    found = inputs.verdict.candidate
    tested = [(genre, of) for genre, of in found.genres.items() if of.recall is not None]
    tested.sort(key=lambda each: each[1].f1 or 0.0)
    items = [
        f"{genre}: F1 {number(of.f1)}{_taken_for(found, genre)}"
        for genre, of in tested[:_WEAKEST]
        if (of.f1 or 0.0) < 1.0
    ]
    items += [f"Not tested, for there are no clips: {', '.join(found.untested)}"] if found.untested else []
    items += [
        f"{each.dimension} {each.name}: {percent(each.accuracy)} of {each.clips} clips "
        f"({percent(each.interval[0])} to {percent(each.interval[1])})"
        for each in inputs.weak
    ]
    return Section("Where it is weak", [] if items else ["On no genre and no part of its test clips."], items)


def _taken_for(found: Metrics, genre: str) -> str:
    """Says which genre is named most often instead."""
    genres = list(found.genres)
    row = found.confusion[genres.index(genre)]
    count, other = max((count, other) for other, count in zip(genres, row, strict=True) if other != genre)
    return f"; {count} of {sum(row)} clips are taken for {other}" if count else ""


def _calibration(inputs: CardInputs) -> Section:
    return Section(
        "What its confidence is worth",
        [calibration_in_words(judged, inputs.predictions) for judged in inputs.verdict.sets],
    )


def _lineage(inputs: CardInputs) -> Section:
    lineage = inputs.lineage
    parent = f"version {lineage.parent}" if lineage.parent is not None else "no model: there was none"
    return Section(
        "Lineage",
        items=[
            f"Candidate {lineage.candidate}: the digest of all that determined it.",
            f"Configuration {lineage.config or 'unknown'}, source {lineage.code or 'unknown'}.",
            *(f"Span {each.span}: data digest {each.digest}." for each in inputs.manifests),
            f"Judged against {parent}.",
        ],
    )
