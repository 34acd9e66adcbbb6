"""The card of a model: accepted by Hugging Face's own reader, with the figures of the verdict, and nothing injected."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.evaluation.config import GateConfig
from components.evaluation.curves import Slice
from components.evaluation.gate import judge
from components.evaluation.metrics import wilson_interval
from components.evaluation.predictions import ScoredClips, predictions
from components.library.layout import Manifest, SplitCount
from components.reporting.card import CardInputs, card_markdown, card_page
from components.reporting.fit import calibration_in_words
from components.store.model_card import ModelCard
from components.store.model_store import Lineage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = '<script>alert("x")</script> | `a` [b](javascript:c) \n# d'
GENRES = ("Folk", HOSTILE, "Rock")


def make_card(**changes: object) -> CardInputs:
    generator = np.random.default_rng(0)
    truth = np.arange(60) % 3
    said = generator.dirichlet(np.ones(3), 60) * 0.7 + 0.3 * np.eye(3)[truth]
    names = [f"{index:02d}" for index in range(60)]
    test, golden = ScoredClips(names, truth, said, span=2), ScoredClips(names, truth, said[::-1], None, "golden", 1)
    counts = {
        split: SplitCount(clips=3 * number, groups=number, genres=dict.fromkeys(GENRES, number))
        for split, number in (("train", 60), ("eval", 10), ("test", 20))
    }
    manifest = Manifest(
        span=2,
        source=f"folder {HOSTILE}",
        digest="abcd",
        input_files=270,
        splits=counts,
        rejects={},
        genres=GENRES,
        schema_digest="",
        files={},
    )
    audio = AudioConfig(sample_rate=22050, clip_seconds=20.0)
    features = FeatureConfig(representation="log_mel", genres=GENRES, audio=audio, mel=MelConfig())
    inputs = {
        "name": HOSTILE,
        "card": ModelCard(
            kind="yamnet",
            parameters=3_751_369,
            window_seconds=20.0,
            features=features,
            trained_on={"yamnet": "521 kinds of sound (Apache 2.0)"},
        ),
        "lineage": Lineage(candidate="c0ffee", parent=1, data="/data", span=2, window=(2,), config="cf", code="cd"),
        "verdict": judge(GateConfig(), GENRES, test, golden, latency_ms=1.0, megabytes=1.0),
        "manifests": [manifest],
        "predictions": [*predictions(GENRES, test), *predictions(GENRES, golden)],
        "weak": [Slice("artist", HOSTILE, 10, 2, wilson_interval(2, 10), True)],
    }
    return CardInputs(**(inputs | changes))


@pytest.fixture(scope="module")
def text() -> str:
    return card_markdown(make_card())


def test_hugging_face_reads_it(text: str, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    card = hub.ModelCard.load(tmp_path / "README.md")
    verdict = make_card().verdict
    assert card.data.pipeline_tag == "audio-classification"
    found = {(each.dataset_split, each.metric_type): each.metric_value for each in card.data.eval_results}
    for judged in verdict.sets:
        assert found[judged.split, "accuracy"] == pytest.approx(judged.candidate.accuracy, abs=1e-6)
        assert found[judged.split, "f1"] == pytest.approx(judged.candidate.macro_f1, abs=1e-6)
    again = hub.ModelCardData(**card.data.to_dict())
    assert again.eval_results == card.data.eval_results


def test_its_front_matter_is_yaml_with_what_the_hub_asks_for(text: str) -> None:
    _, matter, body = text.split("---\n", 2)
    known = yaml.safe_load(matter)
    assert known["library_name"] and known["license"] == "unknown"
    [model] = known["model-index"]
    for result in model["results"]:
        assert result["task"]["type"] == "audio-classification"
        assert {"name", "type"} <= result["dataset"].keys()
        assert all(metric.keys() >= {"type", "value"} for metric in result["metrics"])
    assert body.lstrip().startswith("# ")


def test_it_says_all_that_a_card_says(text: str) -> None:
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings == [
        "What it is",
        "What it is for",
        "What it is not for",
        "Data",
        "How good it is",
        "Where it is weak",
        "What its confidence is worth",
        "What it had learned before",
        "Lineage",
        "How to use it",
    ]
    assert "| clips | 180 | 30 | 60 |" in text
    assert "| hours | 1.00 | 0.17 | 0.33 |" in text
    assert "yamnet: 521 kinds of sound (Apache 2.0)" in text and "c0ffee" in text
    assert "20.0 % of 10 clips" in text


def test_its_confidence_is_judged_in_the_words_of_the_report(text: str) -> None:
    inputs = make_card()
    section = text.partition("## What its confidence is worth\n")[2].partition("\n#")[0]
    said = [calibration_in_words(judged, inputs.predictions) for judged in inputs.verdict.sets]
    assert len(said) == 2 and section.strip().split("\n\n") == said


def test_every_genre_has_its_figures_with_intervals_on_both_sets(text: str) -> None:
    for judged in make_card().verdict.sets:
        section = text.partition(f"### On {judged.clips_text}\n")[2].partition("\n#")[0]
        row = next(line for line in section.splitlines() if line.startswith("| Folk"))
        of = judged.candidate.genres["Folk"]
        low, high = wilson_interval(round(of.recall * of.support), of.support)
        assert f"{of.recall:.2f} ({low:.2f} to {high:.2f})" in row
        assert f"| {of.support} | {of.precision:.2f} (" in row and row.endswith(f"| {of.f1:.2f} |")


def test_text_from_outside_is_only_text(text: str) -> None:
    body = text.split("---\n", 2)[2]
    assert "<script" not in body.replace("\\<script", "")
    assert not re.search(r"^# d", body, re.M) and not re.search(r"(?<!\\)\]\(javascript", body)
    tables = [line for line in body.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert widths == {5, 6}, "a bar in a name does not make another column"
    page = card_page(make_card())
    assert "<script" not in page and "alert(&#34;x&#34;)" in page


def test_three_lines_of_use_run_as_they_are(text: str) -> None:
    [code] = re.findall(r"```python\n(.*?)\n```", text, re.S)
    assert len(code.splitlines()) == 3
    compile(code, "card", "exec")


def test_without_the_library_it_says_so() -> None:
    assert "can no longer be read" in card_markdown(make_card(manifests=[]))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_its_page(chromium: "Browser", tmp_path: Path, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    digest = "0123456789abcdef" * 4
    made = make_card()
    [manifest] = made.manifests
    made = make_card(manifests=[manifest.model_copy(update={"digest": digest})])
    (tmp_path / "model_card.html").write_text(card_page(made), encoding="utf-8")
    with chromium.new_context(color_scheme=theme, viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        page.goto((tmp_path / "model_card.html").as_uri())
        violations = axe.run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert digest in page.inner_text("main")
