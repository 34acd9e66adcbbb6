"""The report and the comparison as a browser reads them: well-formed, self-contained, escaped, whole in every case."""

import base64
import hashlib
import io
import math
import re
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from subprocess import run

import av
import numpy as np
import pytest
from scipy.stats import binomtest

from components.audio.opus import encode_opus
from components.drift.report import DriftReport, Far, Moved, not_tested
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.metrics import measure
from components.evaluation.predictions import Prediction, ScoredClips, predictions
from components.evaluation.results import Verdict
from components.library.layout import Manifest, SplitCount
from components.reporting.charts import compared_histogram, histogram, line_chart
from components.reporting.comparison import COLUMNS, Comparison, Row, best, cells, curves, render_comparison
from components.reporting.fit import calibration_in_words, fit_in_words
from components.reporting.labels import Suspect, render_labels
from components.reporting.listening import Heard, Window, clips_to_hear
from components.reporting.page import number, p_value, percent
from components.reporting.report import MOST_BYTES, ReportInputs, render_report
from components.reporting.runs import RunRow, render_runs
from components.reporting.spectrograms import SpectrogramScale
from components.retraining.timeline import Event, Timeline
from components.store.model_store import Lineage

SECTIONS = ("verdict", "accuracy", "confusion", "matrix", "genres", "clips")
OF_CLIPS = ("tools", "list", "confidence")
"""Where there are predictions of single clips."""
LATER = ("training", "data", "schema", "config")
SCRIPTS = 2
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects what a test asks about, and fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href", "action", "data", "srcset", "poster"):
                self.references.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data


def track(index: int, genre: str, split: str) -> dict[str, str]:
    return {
        "track_id": f"{index:04d}",
        "path": f"{genre}/{index:04d}.mp3",
        "genre": genre,
        "group": f"artist {index // 2}",
        "split": split,
        "duration_seconds": "29.98",
        "rms_dbfs": f"{-10 - index % 9}",
        "peak_dbfs": "-0.5",
        "silence_ratio": "0.01",
        "clipping_ratio": "0.0",
        "source_rate": "44100",
        "source_channels": "2",
        "something_else": "ignored",
    }


def epoch(number: int, **values: float) -> dict[str, float]:
    return {"epoch": number, "loss": 2.0 / number, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.4, **values}


def hear(generator: np.random.Generator, seconds: float = 2.2, frames: int = 96) -> Heard:
    """Noise."""
    noise = generator.uniform(-80, 0, (frames, 64)).astype(np.float32)
    return Heard(
        noise, seconds, encode_opus(generator.integers(-999, 999, round(22050 * min(seconds, 10.0))), 22050), ()
    )


def make_inputs(
    genres: tuple[str, ...] = ("Folk", "Pop", "Rock"),
    champion: bool = True,
    golden_set: bool = False,
    **changes: object,
) -> ReportInputs:
    generator = np.random.default_rng(0)
    truth = np.arange(6 * len(genres)) % len(genres)
    said = generator.dirichlet(np.ones(len(genres)), len(truth)) * 0.85 + 0.15 * np.eye(len(genres))[truth]
    before = ("3", generator.dirichlet(np.ones(len(genres)), len(truth))) if champion else None
    test = ScoredClips([f"{i:04d}" for i in range(len(truth))], truth, said, before, span=4)
    golden = ScoredClips([f"golden {i}" for i in range(len(truth))], truth, said[::-1], before, "golden", 1)
    answers = (test, golden) if golden_set else (test,)
    tracks = [
        track(index, genre, split) for split in ("train", "eval", "test") for index, genre in enumerate(genres * 2)
    ]
    count = SplitCount(clips=2 * len(genres), groups=len(genres), genres=dict.fromkeys(genres, 2))
    inputs = ReportInputs(
        title="Music genres, span 1",
        pipeline_name="genre",
        genres=genres,
        manifest=Manifest(
            span=1,
            source="folder",
            digest="abc",
            input_files=len(tracks) + 1,
            splits={"train": count, "eval": count, "test": count},
            rejects={"too short": 1},
            genres=(),
            schema_digest="",
            files={},
        ),
        tracks=tracks,
        rejects=[{"path": "bad.mp3", "genre": genres[0], "reason": "too short: 0.3 s"}],
        learnt=2 * len(genres),
        validated=2 * len(genres),
        heard={f"{index:04d}": hear(generator) for index in range(len(genres))},
        history={
            "kind": "mel_cnn",
            "parameters": 123456,
            "strategy": "one device (CPU)",
            "seconds": 81.2,
            "best_epoch": 2,
            "train_accuracy": 0.8,
            "validation_accuracy": 0.4,
            "epochs": [epoch(1), epoch(2, accuracy=0.8), epoch(3)],
        },
        verdict=judge(
            GateConfig(min_accuracy=0.2, min_genre_recall=0.01),
            genres,
            *answers,
            latency_ms=12.5,
            megabytes=3.25,
        ),
        anomalies=["artist: 2 values missing"],
        model={"kind": "mel_cnn", "window_seconds": 9.98, "normalised": True},
        config={"name": "genre", "audio": {"sample_rate": 22050}},
        pushed={"version": "4", "path": "serving/4"},
        scale=SpectrogramScale(22050),
        predictions=[row for each in answers for row in predictions(genres, each)],
    )
    return replace(inputs, **changes)


RUNS = {
    "whole": make_inputs(),
    "first run": make_inputs(champion=False),
    "golden set": make_inputs(golden_set=True),
    "golden set, first run": make_inputs(golden_set=True, champion=False),
    "two genres": make_inputs(("Folk", "Rock")),
    "sixty genres": make_inputs(tuple(f"Genre {index}" for index in range(60))),
    "no epochs": make_inputs(history={"kind": "svm", "seconds": 2.0, "best_epoch": None, "epochs": []}),
    "one epoch": make_inputs(
        history={
            "kind": "mel_cnn",
            "best_epoch": 1,
            "train_accuracy": 0.8,
            "validation_accuracy": 0.4,
            "epochs": [epoch(1)],
        }
    ),
    "no history": make_inputs(history={}),
    "nothing rejected": make_inputs(rejects=[]),
    "nothing drawn": make_inputs(heard={}, tracks=[], predictions=(), anomalies=[], model={}),
    "unicode": make_inputs(("Música Popular Brasileira", "音楽", "Фолк")),
}


@pytest.fixture(scope="module", params=RUNS)
def rendered(request) -> tuple[ReportInputs, str]:
    return RUNS[request.param], render_report(RUNS[request.param])


def test_every_run_gives_a_whole_well_formed_page(rendered) -> None:
    inputs, html = rendered
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert tuple(page.ids) == (*SECTIONS, *(OF_CLIPS if inputs.predictions else ()), *LATER)
    assert all(genre in page.text for genre in inputs.genres)
    assert not re.search(r"\bnan\b", re.sub(r"data:[^\"]*", "", html), re.IGNORECASE)


def test_the_page_refers_to_nothing_outside(rendered) -> None:
    page = Page(rendered[1])
    assert not {"link", "iframe", "object", "embed"} & set(page.tags) and page.tags.count("script") == SCRIPTS
    inline = ("#", "data:image/png;base64,", "data:audio/webm;base64,")
    assert all(reference.startswith(inline) for reference in page.references)
    assert "://" not in rendered[1]
    assert "@import" not in rendered[1] and "url(" not in rendered[1]


def test_the_policy_of_a_page_allows_its_own_script_and_no_other(rendered) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", rendered[1], re.S)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', rendered[1])
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = dict(part.strip().split(" ", 1) for part in unescape(policy).split(";"))
    assert len(digests) == SCRIPTS and all(f"'sha256-{digest}'" in allowed["script-src"] for digest in digests)
    assert "unsafe" not in allowed["script-src"]
    assert allowed["default-src"] == "'none'"


def test_the_page_is_deterministic_and_small() -> None:
    html = render_report(RUNS["sixty genres"])
    assert html == render_report(RUNS["sixty genres"])
    assert html.count("<audio") == 60
    assert len(re.sub(r"data:[^\"]*", "", html)) < 1_500_000, "without sounds and pictures"


def full_page(players: int, times: int) -> tuple[ReportInputs, str]:
    """Eight genres, many mistakes, and clips of 30 s with 28 windows, each longer as Opus than real ones."""
    generator = np.random.default_rng(0)
    genres = tuple(f"Genre {index}" for index in range(8))
    clip = replace(
        hear(generator, 30.0, 1292), windows=tuple(Window(i, i + 3, dict.fromkeys(genres, 0.1)) for i in range(28))
    )
    clip = replace(clip, sound=clip.sound * times)
    inputs = make_inputs(genres)
    rows = [replace_id(row, f"{row.track_id} {number}") for number in range(20) for row in inputs.predictions]
    chosen = clips_to_hear(rows, genres)[:players]
    inputs = replace(inputs, predictions=rows, heard=dict.fromkeys(chosen, clip))
    return inputs, render_report(inputs)


def test_a_page_full_of_long_clips_has_all_its_players() -> None:
    inputs, html = full_page(80, 1)
    assert html.count("<audio") == len(inputs.heard) == 80 and "more have none" not in html
    assert 3_000_000 < len(html.encode()) < MOST_BYTES


def test_a_page_that_would_be_too_large_has_fewer_players_and_says_so() -> None:
    inputs, html = full_page(80, 3)
    assert 0.9 * MOST_BYTES < len(html.encode()) <= MOST_BYTES, "no fewer than needed"
    left = html.count("<audio")
    assert 25 < left < 80
    assert f"{left} clips have sound here" in html and f"{80 - left} more have none, because the page" in html
    heard = re.findall(r'<li class="clip[^>]*data-name="([^"]*)"[^>]*>(?:(?!</li>).)*<audio', html, re.S)
    assert set(heard) == set(list(inputs.heard)[:left]), "the most important ones stay"


def replace_id(row: Prediction, track_id: str) -> Prediction:
    return row.model_copy(update={"track_id": track_id})


def test_mistakes_are_heard_before_right_clips_and_a_right_clip_of_every_genre() -> None:
    inputs = make_inputs(tuple(f"Genre {index}" for index in range(12)))
    rows = list(inputs.predictions)
    chosen = clips_to_hear(rows, inputs.genres)
    by_id = {row.track_id: row for row in rows}
    wrong = [row for row in rows if not row.correct]
    assert len(wrong) > 25
    heard = [by_id[each] for each in chosen]
    assert all(not row.correct for row in heard[:25])
    certainty = [row.probabilities[row.predicted] for row in heard[:25]]
    assert certainty == sorted(certainty, reverse=True)
    assert {row.genre for row in heard if row.correct} == {row.genre for row in rows if row.correct}
    assert {row.track_id for row in wrong} <= set(chosen)


def test_what_is_encoded_is_the_sound_for_every_decoder() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)
    coded = encode_opus((tone * 16000).astype(np.int16), 22050)
    assert coded == encode_opus((tone * 16000).astype(np.int16), 22050)
    with av.open(io.BytesIO(coded)) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)[0]
    spectrum = np.abs(np.fft.rfft(heard[:48000] * np.hanning(48000)))
    assert spectrum.argmax() == pytest.approx(440, abs=2)
    assert heard.std() == pytest.approx(16000 / 32768 / np.sqrt(2), rel=0.1)
    assert len(heard) == pytest.approx(48000, rel=0.1)


HOSTILE = '\'"></title></svg></script><script>alert("x")</script><img src=x onerror=alert(1)>'


def hostile_report() -> str:
    genres = (HOSTILE, f"{HOSTILE} again", "{{ 7 * 7 }} & {% raise %}")
    inputs = make_inputs(genres, title=HOSTILE, pipeline_name=HOSTILE, anomalies=[HOSTILE])
    rows = [replace_id(row, f"{HOSTILE} {row.track_id}") for row in inputs.predictions]
    heard = replace(inputs.heard["0000"], windows=(Window(0.0, 2.2, dict.fromkeys(genres, 1 / 3)),))
    moved = Moved(family=HOSTILE, figure=HOSTILE, shift=1.0, edges=(0.0, 1.0), newest=(1,), reference=(1,))
    drift = DriftReport(
        drifted=True,
        false_alarm_rate=0.01,
        p_value=0.001,
        p_values={HOSTILE: 0.001},
        findings=(HOSTILE,),
        notes=(HOSTILE,),
        moved=(moved,),
        farthest=(Far(track_id=HOSTILE, genre=HOSTILE, distance=2.0),),
    )
    times = ("2026-03-01T06:00:00+00:00", "2026-03-02T06:00:00+00:00")
    events = tuple(Event(time=time, kind="run", words=HOSTILE) for time in times)
    return render_report(
        replace(
            inputs,
            rejects=[{"path": HOSTILE, "genre": HOSTILE, "reason": HOSTILE}],
            config={HOSTILE: HOSTILE},
            model={HOSTILE: HOSTILE},
            pushed={"version": HOSTILE, "path": HOSTILE},
            history={**inputs.history, "kind": HOSTILE, "chosen": {"explanation": HOSTILE}},
            predictions=rows,
            heard={f"{HOSTILE} 0000": heard, HOSTILE: heard},
            facts={
                row.track_id: {
                    "path": f"{HOSTILE}.mp3",
                    "artist": f"{HOSTILE} {index % 3}",
                    "source_rate": f"{HOSTILE} {index % 2}",
                }
                for index, row in enumerate(rows)
            },
            drift=drift,
            embeddings={row.track_id: np.random.default_rng(int(row.track_id[-4:])).normal(0, 1, 4) for row in rows},
            timeline=Timeline(served=None, events=events, records=()),
            lineage=Lineage(candidate=HOSTILE, parent=1, data=HOSTILE, span=1, window=(1,), config=HOSTILE),
        )
    )


def hostile_labels() -> str:
    chances = {HOSTILE: 0.2, "Rock": 0.8}
    suspect = Suspect(HOSTILE, HOSTILE, HOSTILE, HOSTILE, "Rock", chances, hear(np.random.default_rng(0)))
    return render_labels((HOSTILE, "Rock"), [suspect], 10, SpectrogramScale(22050))


def hostile_runs() -> str:
    row = RunRow(
        run_id=HOSTILE,
        outcome=HOSTILE,
        state="bad",
        kind=HOSTILE,
        spans=HOSTILE,
        figures={HOSTILE: 0.5},
        seconds=1.0,
        reasons=(HOSTILE,),
        settings={HOSTILE: HOSTILE},
        nodes={HOSTILE: 1.0},
        report=HOSTILE,
    )
    return render_runs([row], HOSTILE)


HOSTILE_PAGES = {"report": (hostile_report, SCRIPTS), "labels": (hostile_labels, 2), "runs": (hostile_runs, 2)}
"""Those of the card, the comparison and the history are in their own tests."""


@pytest.mark.parametrize("name", HOSTILE_PAGES)
def test_hostile_names_are_escaped_everywhere(name: str) -> None:
    write, scripts = HOSTILE_PAGES[name]
    html = write()
    page = Page(html)
    assert page.tags.count("script") == html.count("<script") == scripts and "img" not in page.tags
    assert "<img" not in html and HOSTILE in page.text
    assert name == "runs" or "<audio" in html


def test_each_part_of_a_report_shows_hostile_names_as_text() -> None:
    html = hostile_report()
    page = Page(html)
    assert {"map", "slices", "drift", "timeline", "lineage"} <= set(page.ids)
    for part in ("confusion", "genres", "clips", "confidence", "map", "slices", "training", "data", "drift"):
        [section] = re.findall(rf'<section id="{part}".*?</section>', html, re.S)
        assert HOSTILE in Page(section).text, part
    assert "{{ 7 * 7 }}" in page.text


def test_the_banner_says_what_became_of_the_model() -> None:
    whole = RUNS["whole"]
    assert "Pushed as version 4" in render_report(whole)
    first = RUNS["first run"]
    assert "Accepted, but not pushed" in render_report(replace(first, pushed=None))
    wrong = ScoredClips(["1", "2", "3"], np.array([0, 1, 2]), np.eye(3)[[1, 2, 0]])
    refused = judge(GateConfig(), first.genres, wrong, latency_ms=12.5, megabytes=3.25)
    page = Page(render_report(replace(first, verdict=refused, pushed=None)))
    assert "Refused" in page.text
    assert "accuracy 0.00 on 3 test clips is below the floor gate.min_accuracy 0.50" in page.text


def test_every_check_is_listed(rendered) -> None:
    inputs, html = rendered
    text = Page(html).text
    assert all(check.text in text and check.name in text for check in inputs.verdict.checks)
    assert all(reason in text for reason in inputs.verdict.reasons)


@pytest.mark.parametrize("run", ["whole", "golden set"])
def test_a_confusion_matrix_per_set_holds_its_counts(run: str) -> None:
    inputs = RUNS[run]
    matrices = re.findall(r'<table class="matrix.*?</table>', render_report(inputs), re.S)
    for matrix, judged in zip(matrices, inputs.verdict.sets, strict=True):
        cells = [int(cell) for cell in re.findall(r"<td class=\"[^\"]*\" style[^>]*>(\d+)</td>", matrix)]
        assert cells == [count for row in judged.candidate.confusion for count in row]


def test_figures_on_test_and_golden_stand_side_by_side() -> None:
    inputs = RUNS["golden set"]
    html = render_report(inputs)
    [accuracy] = re.findall(r'<section id="accuracy">.*?</section>', html, re.S)
    test, golden = accuracy.split("On 18 golden clips of span 1")
    assert "On 18 test clips of span 4" in test
    for part, judged in ((test, inputs.verdict), (golden, inputs.verdict.golden)):
        assert percent(judged.candidate.accuracy) in part
        assert percent(judged.champion.metrics.accuracy) in part
        assert f"p {p_value(judged.paired.p_worse)} that" in unescape(part)
    [genres] = re.findall(r'<section id="genres">.*?</section>', html, re.S)
    [row] = re.findall(r'<th scope="row">Folk</th>(.*?)</tr>', genres, re.S)
    recalls = [judged.candidate.genres["Folk"].recall for judged in inputs.verdict.sets]
    assert [cell for cell in re.findall(r">([\d.]+)<", row)[2::5]] == [number(recall) for recall in recalls]
    assert "golden 1" not in Page(html).text, "mistakes are those on the test clips"


def test_what_has_no_limit_is_neither_passed_nor_failed() -> None:
    [section] = re.findall(r'<section id="verdict".*?</section>', render_report(RUNS["first run"]), re.S)
    rows = dict(re.findall(r"<code>(\w+)</code>(.*?)</tr>", section, re.S))
    assert "measured" in rows["max_latency_ms"] and "pass" not in rows["max_latency_ms"]
    assert "12.500" in rows["max_latency_ms"] and "3.250" in rows["max_megabytes"]
    assert "pass" in rows["min_accuracy"] and "≥ 0.200" in rows["min_accuracy"]


def test_an_ensemble_is_explained_and_its_bases_are_disclosed() -> None:
    chosen = {"log_loss": 0.2, "weights": {"knn": 0.25, "yamnet": 0.75}, "explanation": "Mean of knn 25%, yamnet 75%."}
    page = render_report(
        make_inputs(
            history={"kind": "auto", "epochs": [], "chosen": chosen},
            model={"kind": "auto", "trained_on": {"yamnet": "521 kinds of sound"}},
        )
    )
    assert "Chosen by inner cross-validation: Mean of knn 25%, yamnet 75%. Training accuracy" in page
    assert "yamnet 521 kinds of sound" in page


def test_mistakes_come_the_most_confident_first() -> None:
    whole = RUNS["whole"]
    wrong = sorted(
        (row for row in whole.predictions if not row.correct), key=lambda row: -row.probabilities[row.predicted]
    )
    assert wrong
    [section] = re.findall(r'<section id="clips">.*?</section>', render_report(whole), re.S)
    shown = re.findall(r'<li class="clip([^"]*)".*?data-name="(\d+)"', section)
    assert [name for kind, name in shown if "wrong" in kind] == [row.track_id for row in wrong]
    assert len(shown) == len([row for row in whole.predictions if row.split == "test"])


@pytest.mark.parametrize(
    ("train", "right", "clips", "words"),
    [
        (0.3, 33, 100, "That is not better than chance: always naming the most frequent genre gets 34.0 % right"),
        (0.3, 33, 100, "(underfitted)"),
        (1.0, 36, 100, "(overfitted)"),
        (0.7, 6, 12, "More test clips would show"),
        (1.0, 60, 100, "It is overfitted: 40 percentage points less on new music"),
        (0.5, 52, 100, "It is underfitted"),
        (0.9, 84, 100, "too few clips to say whether it is overfitted"),
        (0.9, 88, 100, "It generalises"),
        (0.8, 90, 100, "It generalises"),
        (1.0, 2, 2, "Too few clips, or too much of one genre, to say more"),
    ],
)
def test_the_words_about_the_fit_follow_from_the_figures(train: float, right: int, clips: int, words: str) -> None:
    truth = np.arange(clips) % 3
    said = np.eye(3)[np.where(np.arange(clips) < right, truth, (truth + 1) % 3)]
    test = ScoredClips([f"{i:04d}" for i in range(clips)], truth, said)
    verdict = judge(GateConfig(), ("Folk", "Pop", "Rock"), test, latency_ms=1.0, megabytes=1.0)
    fit = fit_in_words(train, 0.5, verdict)
    branches = ("not better than chance", "It is overfitted", "It is underfitted", "oo few clips", "It generalises")
    assert words in fit and sum(branch in fit for branch in branches) == 1
    p = binomtest(right, clips, np.bincount(truth).max() / clips, alternative="greater").pvalue
    assert ("It generalises" in fit or "It is" in fit or "whether it is" in fit) == (p < 0.05)


def answers_of(confidence: float, right: int, clips: int) -> tuple[Verdict, list[Prediction]]:
    """A model that is as sure of every clip, and right about so many."""
    truth = np.arange(clips) % 2
    said = np.eye(2)[np.where(np.arange(clips) < right, truth, 1 - truth)] * (2 * confidence - 1) + 1 - confidence
    test = ScoredClips([f"{index:03d}" for index in range(clips)], truth, said, span=1)
    verdict = judge(GateConfig(), ("Folk", "Rock"), test, latency_ms=1.0, megabytes=1.0)
    return verdict, list(predictions(("Folk", "Rock"), test))


@pytest.mark.parametrize(
    ("confidence", "right", "clips", "words"),
    [
        (0.92, 90, 100, "(in 15 bins): its confidence can be taken at its word."),
        (
            0.95,
            70,
            100,
            "do not take its confidence at its word; it is 95.0 % sure on average, and right about 70.0 %, ",
        ),
        (0.95, 70, 100, "so it is more sure than it should be."),
        (0.60, 90, 100, "so it is less sure than it should be."),
        (0.80, 7, 10, "On so few clips that may be chance: even a confidence that is exactly right gets up to "),
    ],
)
def test_the_words_about_the_confidence_follow_from_the_figures(
    confidence: float, right: int, clips: int, words: str
) -> None:
    verdict, rows = answers_of(confidence, right, clips)
    said = calibration_in_words(verdict, rows)
    assert words in said
    assert said.startswith(
        f"On {clips} test clips of span 1 the expected calibration error is {percent(abs(confidence - right / clips))} "
    )
    assert said in unescape(render_report(make_inputs(("Folk", "Rock"), verdict=verdict, predictions=rows)))


def test_the_fit_is_in_the_page() -> None:
    assert "80.0 % of the training clips right, 40.0 % of the validation clips and" in render_report(RUNS["whole"])
    assert "fitted in one go" in render_report(RUNS["no epochs"])


def test_drift_is_shown_with_histograms_of_what_moved_most() -> None:
    moved = Moved(
        family="audio health",
        figure="rms <dbfs>",
        shift=-1.25,
        edges=(-30.0, -20.0, -10.0, 0.0),
        newest=(4, 1, 0),
        reference=(0, 2, 8),
    )
    drift = DriftReport(
        drifted=True,
        false_alarm_rate=0.01,
        p_value=0.001,
        p_values={"audio health": 0.001, "predictions": 0.4},
        findings=("audio health: differs (p = 0.001): rms dbfs -1.2 sd",),
        notes=("predictions: does not differ (p = 0.4)",),
        moved=(moved,),
        newest_clips=5,
        reference_clips=10,
    )
    page = Page(render_report(make_inputs(drift=drift)))
    assert "drift" in page.ids and "rms <dbfs> (-1.2 sd)" in page.text
    assert drift.headline in page.text and drift.findings[0] in page.text and drift.notes[0] in page.text
    chart = compared_histogram("t", "dBFS", moved.edges, {"earlier": moved.reference, "new": moved.newest})
    heights = [[float(y) for y in re.findall(r"V([\d.]+)H", line.path)] for line in chart.lines]
    shares = [[(chart.frame.bottom - y) / (chart.frame.bottom - chart.frame.top) for y in ys] for ys in heights]
    assert shares == [[0.0, 0.25, 1.0], [1.0, 0.25, 0.0]], "0, 2 and 8 of 10; 4, 1 and 0 of 5; on an axis up to 0.8"
    first = render_report(make_inputs(drift=not_tested("there is nothing to compare with", 0.01)))
    assert "drift was not tested: there is nothing to compare with" in first


def test_the_timeline_is_shown_where_there_were_runs_before() -> None:
    def story(runs: int) -> Timeline:
        times = [f"2026-03-0{day + 1}T06:00:00+00:00" for day in range(runs)]
        events = tuple(Event(time=time, kind="run", words=HOSTILE) for time in times)
        return Timeline(served=None, events=events, records=())

    page = Page(render_report(make_inputs(timeline=story(2))))
    assert page.ids[-2:] == ["timeline", "config"]
    assert "#timeline" in page.references and page.tags.count("script") == SCRIPTS
    assert page.text.count(HOSTILE) == 2
    assert render_report(make_inputs(timeline=story(1))) == render_report(make_inputs())


def test_missing_and_infinite_numbers_do_no_harm() -> None:
    whole = RUNS["whole"]
    rows = [
        {**row, "rms_dbfs": value, "silence_ratio": value}
        for row, value in zip(whole.tracks, ["nan", "-inf", "", None, "x"] * 9, strict=False)
    ]
    diverged = {**whole.history, "epochs": [epoch(1), epoch(2, loss=math.nan, val_loss=math.inf), {"epoch": 3}]}
    heard = {"0000": replace(whole.heard["0000"], log_mel=np.full((10, 16), np.nan, np.float32))}
    page = Page(render_report(replace(whole, tracks=rows, history=diverged, heard=heard)))
    assert "Loudness" not in page.text
    assert "Duration" in page.text


def test_long_lists_of_rejects_are_cut_with_a_note() -> None:
    rejects = [{"path": f"{index}.mp3", "genre": "Folk", "reason": "not decodable"} for index in range(1200)]
    html = render_report(make_inputs(rejects=rejects))
    assert "The first 500 of 1,200" in html
    assert html.count("not decodable") == 500


def test_a_line_breaks_where_a_value_is_missing() -> None:
    chart = line_chart("Loss", "nats", [1, 2, 3, 4], {"training": [2.0, math.nan, 1.0, 0.5]}, math.nan, share=False)
    assert chart is not None and chart.mark is None
    assert re.fullmatch(r"M\S+ \S+ M\S+ \S+ L\S+ \S+", chart.lines[0].path)
    assert len(chart.lines[0].dots) == 3
    assert line_chart("Loss", "nats", [1], {"training": [math.nan]}, math.nan, share=False) is None


def test_a_histogram_counts_every_clip_within_its_frame() -> None:
    values = np.random.default_rng(0).normal(-17, 4, 500)
    chart = histogram("Loudness", "dBFS", values, from_zero=False)
    assert chart is not None
    assert sum(int(bar.label.split(": ")[1].split()[0]) for bar in chart.bars) == 500
    for bar in chart.bars:
        assert chart.frame.left <= bar.x <= bar.x + bar.width <= chart.frame.right
        assert chart.frame.top <= bar.y <= chart.frame.bottom
        assert bar.y + bar.height == pytest.approx(chart.frame.bottom)
    assert histogram("Loudness", "dBFS", np.array([]), from_zero=False) is None
    assert histogram("Silence", "%", np.zeros(3), from_zero=True) is not None


def test_numbers_as_a_person_reads_them() -> None:
    assert number(1234.5, 1) == "1,234.5"
    assert number(-0.001) == "0.00" and number(-1.5) == "−1.50"
    assert [number(value) for value in (None, math.nan, -math.inf, "")] == ["–"] * 4
    assert percent(0.125) == "12.5 %" and percent(None) == "–"
    assert p_value(0.0117) == "= 0.0117" and p_value(1e-9) == "< 0.0001"


@pytest.mark.parametrize("folds", [("test",), ("2019", HOSTILE, "'\"><img src=x onerror=alert(1)>")])
def test_a_comparison_is_a_page_of_the_same_kind(folds: tuple[str, ...]) -> None:
    truth = np.arange(30) % 3
    rows = tuple(
        Row(
            kind=kind,
            metrics=measure(("a", "b", "c"), truth, np.eye(3)[np.where(np.arange(30) < right, truth, (truth + 1) % 3)]),
            fold_accuracies=(right / 30,) * len(folds),
            train_accuracy=0.9,
            validation_accuracy=0.7,
            seconds=2.0,
            megabytes=3.0,
            milliseconds=4.0,
            better_than=better_than,
        )
        for kind, right, better_than in (("svm", 27, (HOSTILE,)), (HOSTILE, 12, ()))
    )
    comparison = Comparison(
        data=HOSTILE, clips=30, genres=("a", "b", HOSTILE), folds=folds, rows=rows, left_out={HOSTILE: HOSTILE}
    )
    assert best(comparison).kind == "svm"
    fewer = comparison.model_copy(update={"rows": rows[1:]})
    table = [("model", "5 clips per genre", "20 clips per genre"), ("svm", "-", "90.0%"), (HOSTILE, "40.0%", "40.0%")]
    assert curves({5: fewer, 20: comparison}) == table
    html = render_comparison(comparison)
    page = Page(html)
    assert tuple(page.ids) == (("models", "folds", "left-out") if len(folds) > 1 else ("models", "left-out"))
    assert page.references == [] and not {"script", "link", "img"} & set(page.tags) and "://" not in html
    assert all(text in page.text for row in rows for text in (*COLUMNS, *cells(row)))
    assert len(folds) == 1 or all(fold in page.text for fold in folds)
    assert re.findall(r'aria-label="svm: ([^"]*)"', html) == ["90.0 %, 95 % interval 74.4 % to 96.5 %"]


def test_nothing_heavy_is_imported_before_it_computes() -> None:
    heavy = ("tensorflow", "tfx", "apache_beam", "matplotlib.pyplot", "scipy", "sklearn")
    code = (
        "import sys, components.reporting.report, components.reporting.comparison, components.evaluation.gate; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
