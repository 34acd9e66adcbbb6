"""The pages in a headless Chromium: players play, filters filter, keys work, and all can be read by everybody."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from components.audio.opus import encode_opus
from components.drift.report import DriftReport, Far
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips, predictions
from components.library.layout import Manifest, SplitCount
from components.library.restating.corrections import read_corrections
from components.reporting.labels import Suspect, render_labels
from components.reporting.listening import Heard, Window, clips_to_hear
from components.reporting.page import percent
from components.reporting.report import ReportInputs, render_report
from components.reporting.runs import RunRow, render_runs
from components.reporting.spectrograms import SpectrogramScale

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GENRES = ("Folk", "Pop", "Rock")
CLIPS = 45
Opened = Callable[..., "Page"]


FAR = "a new one"


def make_report(right: bool = False) -> ReportInputs:
    """45 test clips of three genres, a third of them named wrong, or all right; and a clip that drifted far."""
    generator = np.random.default_rng(1)
    truth = np.arange(CLIPS) % 3
    said = generator.dirichlet(np.ones(3), CLIPS) * 0.6 + 0.4 * np.eye(3)[(truth + (np.arange(CLIPS) % 7 < 2)) % 3]
    if right:
        said = np.eye(3)[truth] * 0.7 + 0.1
    clips = ScoredClips([f"track {index:02d}" for index in range(CLIPS)], truth, said, span=1)
    rows = predictions(GENRES, clips)
    tone = (np.sin(2 * np.pi * 440 * np.arange(44100) / 22050) * 9000).astype(np.int16)
    windows = tuple(Window(float(i), i + 1.0, dict(zip(GENRES, (0.2, 0.3, 0.5), strict=True))) for i in range(2))
    heard = Heard(generator.uniform(-80, 0, (87, 48)), 2.0, encode_opus(tone, 22050), windows)
    count = SplitCount(clips=CLIPS, groups=9, genres=dict.fromkeys(GENRES, CLIPS // 3))
    facts = {
        f"track {index:02d}": {
            "track_id": f"track {index:02d}",
            "path": f"music/{GENRES[index % 3]}/{index:02d}.{'mp3' if index % 2 else 'flac'}",
            "artist": f"artist {index % 9}",
            "split": "test",
            "duration_seconds": str(100 + index),
            "rms_dbfs": str(-30 + index / 3),
            "source_rate": "44100" if index % 3 else "48000",
            "source_channels": "2",
        }
        for index in range(CLIPS)
    }
    return ReportInputs(
        title="Music genres, span 1",
        pipeline_name="genre",
        genres=GENRES,
        manifest=Manifest(
            span=1,
            source="folder",
            digest="abc",
            input_files=CLIPS,
            splits={"train": count, "eval": count, "test": count},
            rejects={},
            genres=(),
            schema_digest="",
            files={},
        ),
        tracks=list(facts.values()),
        rejects=[],
        learnt=CLIPS,
        validated=CLIPS,
        heard=dict.fromkeys(clips_to_hear(rows, GENRES, [FAR]), heard),
        history={
            "kind": "mel_cnn",
            "train_accuracy": 0.9,
            "validation_accuracy": 0.7,
            "best_epoch": 2,
            "epochs": [
                {"epoch": n, "loss": 2.0 / n, "accuracy": 0.5, "val_loss": 1, "val_accuracy": 0.4} for n in (1, 2)
            ],
        },
        verdict=judge(GateConfig(min_accuracy=0.2), GENRES, clips, latency_ms=12.5, megabytes=3.25),
        anomalies=[],
        model={"kind": "mel_cnn"},
        config={"name": "genre"},
        pushed=None,
        scale=SpectrogramScale(22050),
        predictions=rows,
        facts=facts,
        drift=DriftReport(
            drifted=True,
            false_alarm_rate=0.01,
            p_value=0.001,
            findings=("differs",),
            farthest=(Far(track_id=FAR, genre="Pop", distance=4.0),),
        ),
        embeddings={row.track_id: generator.normal(0, 1, 8) for row in rows},
    )


@pytest.fixture(scope="module")
def report() -> ReportInputs:
    return make_report()


@pytest.fixture(scope="module")
def page_file(report: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pages") / "report.html"
    file.write_text(render_report(report), encoding="utf-8")
    return file


@contextmanager
def opened(chromium: "Browser", file: Path, **context: object) -> Iterator["Page"]:
    """The page, which asks for nothing and says nothing on the console."""
    with chromium.new_context(**context) as made:
        page = made.new_page()
        noise: list[str] = []
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on(
            "request", lambda asked: noise.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None
        )
        page.goto(file.as_uri())
        yield page
        assert noise == []


@pytest.fixture
def page(chromium: "Browser", page_file: Path) -> Iterator["Page"]:
    with opened(chromium, page_file) as page:
        page.eval_on_selector_all(
            "audio", "sounds => sounds.forEach(sound => { sound.loop = true })"
        )  # to find it playing
        yield page


def names(page: "Page") -> list[str]:
    """The clips that are listed, in order."""
    return page.eval_on_selector_all("#list > :not([hidden])", "items => items.map(item => item.dataset.name)")


def playing(page: "Page") -> list[str]:
    """The clips whose sound is running."""
    script = "items => items.filter(item => !item.querySelector('audio').paused).map(item => item.dataset.name)"
    return page.eval_on_selector_all("#list > :has(audio)", script)


def mistakes(report: ReportInputs) -> list[str]:
    wrong = [row for row in report.predictions if not row.correct]
    return [row.track_id for row in sorted(wrong, key=lambda row: -row.probabilities[row.predicted])]


def test_a_player_plays_to_its_end(page: "Page", report: ReportInputs) -> None:
    first = page.locator("#list > :not([hidden]) audio").first
    first.evaluate("sound => { sound.loop = false; return sound.play() }")
    first.evaluate("sound => new Promise(done => { sound.onended = done; sound.currentTime = 1.7 })")
    assert first.evaluate("sound => sound.currentTime") == pytest.approx(2.0, abs=0.1)
    assert first.evaluate("sound => sound.error") is None
    needle = page.locator("#list > :not([hidden]) .needle").first
    assert float(needle.get_attribute("x1")) == pytest.approx(470, abs=20), "at the end of the picture"


def test_every_player_has_a_sound_that_this_browser_decodes(page: "Page", report: ReportInputs) -> None:
    script = """sounds => Promise.all(sounds.map(sound => new Promise((done, fail) => {
        sound.onloadedmetadata = () => done(sound.duration); sound.onerror = fail; sound.preload = 'auto'; sound.load();
    })))"""
    durations = page.eval_on_selector_all("audio", script)
    assert durations == pytest.approx([2.0] * len(report.heard), abs=0.1)


def test_mistakes_are_listed_the_most_confident_first(page: "Page", report: ReportInputs) -> None:
    assert names(page) == mistakes(report)


def test_filters_filter_and_orders_order(page: "Page", report: ReportInputs) -> None:
    page.select_option("[name=show]", "")
    assert sorted(names(page)) == [row.track_id for row in report.predictions]
    page.select_option("[name=true]", label="Pop")
    assert set(names(page)) == {row.track_id for row in report.predictions if row.genre == "Pop"}
    page.select_option("[name=predicted]", label="Rock")
    wanted = {row.track_id for row in report.predictions if (row.genre, row.predicted) == ("Pop", "Rock")}
    assert set(names(page)) == wanted
    page.select_option("[name=true]", "")
    page.select_option("[name=predicted]", "")
    page.fill("[name=words]", "/07.MP3")
    assert names(page) == ["track 07"]
    page.fill("[name=words]", "")
    page.select_option("[name=order]", "name")
    assert names(page) == sorted(row.track_id for row in report.predictions)
    page.select_option("[name=order]", "p+")
    chances = {row.track_id: row.probabilities[row.predicted] for row in report.predictions}
    assert [chances[name] for name in names(page)] == sorted(chances.values())
    assert "45 clips" in page.locator("#tools output").inner_text()


def test_a_cell_of_the_confusion_matrix_lists_and_plays_its_clips(page: "Page", report: ReportInputs) -> None:
    wanted = [row for row in report.predictions if (row.genre, row.predicted) == ("Folk", "Pop")]
    assert wanted
    page.get_by_role("button", name=f"Folk taken for Pop: {len(wanted)} of 15").click()
    page.locator(".playing").wait_for()
    assert set(names(page)) == {row.track_id for row in wanted}
    assert playing(page) == names(page)[:1]


def test_the_keyboard_plays_the_next_one(page: "Page", report: ReportInputs) -> None:
    order = mistakes(report)
    for key, expected in (("n", order[0]), ("n", order[1]), ("n", order[2]), ("p", order[1])):
        page.keyboard.press(key)
        page.locator(f".playing[data-name={expected!r}]").wait_for()
        assert playing(page) == [expected]
    page.keyboard.press("k")
    assert playing(page) == []
    page.focus("[name=words]")
    page.keyboard.press("n")
    assert playing(page) == [] and page.input_value("[name=words]") == "n"


def test_what_drifted_is_heard_after_the_list_by_the_same_player(page: "Page", report: ReportInputs) -> None:
    for _ in mistakes(report):
        page.keyboard.press("n")
    page.locator(f".playing[data-name={mistakes(report)[-1]!r}]").wait_for()
    page.keyboard.press("n")
    far = page.locator("#drift .playing")
    far.wait_for()
    assert playing(page) == [], "one at a time"
    far.locator("audio").evaluate(
        "sound => new Promise(done => { sound.onseeked = () => requestAnimationFrame(done); sound.currentTime = 1 })"
    )
    assert float(far.locator(".needle").get_attribute("x1")) == pytest.approx(294, abs=40), "in the middle"
    page.keyboard.press("p")
    page.locator("#list .playing").wait_for()
    assert playing(page) == mistakes(report)[-1:]


def test_the_map_is_walked_and_heard_by_keyboard(page: "Page", report: ReportInputs) -> None:
    focused = "document.activeElement.dataset.name"
    places = page.eval_on_selector_all(
        ".map [data-name]", "all => all.map(g => [g.dataset.name, g.getCTM().e, g.getCTM().f, g.tabIndex])"
    )
    across, up = ([row[0] for row in sorted(places, key=key)] for key in (lambda row: row[1], lambda row: -row[2]))
    assert [row[0] for row in places if row[3] == 0] == across[:1], "one stop of the tabulator"
    page.locator(".map [tabindex='0']").focus()
    walked = [page.evaluate(focused)]
    for _ in across[1:]:
        page.keyboard.press("ArrowRight")
        walked.append(page.evaluate(focused))
    assert walked == across, "every clip, from left to right"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == across[-1]
    page.keyboard.press("Home")
    assert page.evaluate(focused) == across[0]
    at = up.index(across[0])
    page.keyboard.press("ArrowDown" if at else "ArrowUp")
    assert page.evaluate(focused) == up[at + (-1 if at else 1)]
    assert page.eval_on_selector_all(".map [tabindex='0']", "all => all.map(g => g.dataset.name)") == [
        page.evaluate(focused)
    ]
    heard = next(name for name in across if name in report.heard)
    page.locator(f".map [data-name='{heard}']").focus()
    page.keyboard.press("Enter")
    page.locator(f".playing[data-name='{heard}']").wait_for()
    assert playing(page) == [heard]


def test_a_screen_reader_names_every_clip_of_the_map(page: "Page", report: ReportInputs) -> None:
    wrong = next(row for row in report.predictions if not row.correct)
    words = f"{wrong.track_id}: {wrong.genre}, taken for {wrong.predicted}"
    assert page.locator(".map").get_by_role("button").count() == CLIPS
    assert page.get_by_role("button", name=words).count() == 1
    assert page.get_by_role("group", name=f"Map of {CLIPS} clips by genre").count() == 1


def test_a_run_without_mistakes_lists_and_plays_right_clips(chromium: "Browser", tmp_path: Path) -> None:
    report = make_report(right=True)
    (tmp_path / "report.html").write_text(render_report(report), encoding="utf-8")
    with opened(chromium, tmp_path / "report.html") as page:
        assert "All 45 test clips are named right." in page.inner_text("#clips")
        assert sorted(names(page)) == [row.track_id for row in report.predictions]
        assert page.inner_text("#tools output") == "45 clips, 3 with sound"
        page.keyboard.press("n")
        page.locator("#list .playing").wait_for()
    with opened(chromium, tmp_path / "report.html", java_script_enabled=False) as page:
        assert page.locator("#list audio:visible").count() == 3


def test_a_path_is_copied(chromium: "Browser", page_file: Path, report: ReportInputs) -> None:
    with opened(chromium, page_file, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.get_by_role("button", name="Copy path").first.click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == report.facts[mistakes(report)[0]]["path"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_everybody_can_read_it(chromium: "Browser", page_file: Path, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(chromium, page_file, color_scheme=theme, viewport={"width": width, "height": 800}) as page:
        page.locator(".map [tabindex='0']").focus()
        violations = axe.run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off"


def test_without_scripts_the_figures_and_the_players_are_there(
    chromium: "Browser", page_file: Path, report: ReportInputs
) -> None:
    with opened(chromium, page_file, java_script_enabled=False) as page:
        text = page.inner_text("body")
        assert percent(report.verdict.candidate.accuracy) in text
        assert all(name.split()[-1] in text for name in mistakes(report))
        assert not page.locator("#tools").is_visible()
        assert page.locator("#list audio").first.is_visible()


def test_its_figures_are_those_of_the_verdict(page: "Page", report: ReportInputs) -> None:
    cells = page.eval_on_selector_all("#matrix td:not(.n)", "cells => cells.map(cell => +cell.textContent)")
    assert cells == [count for row in report.verdict.candidate.confusion for count in row]
    assert page.locator(".figure").first.inner_text() == percent(report.verdict.candidate.accuracy)


def test_what_somebody_else_puts_in_does_not_run(chromium: "Browser", page_file: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered.html"
    attack = "<script>document.title = 'taken'</script><img src='data:,' onerror=\"document.title = 'taken'\">"
    tampered.write_text(page_file.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}"), encoding="utf-8")
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(tampered.as_uri())
        page.wait_for_timeout(200)
        assert page.title() == "Music genres, span 1"


HOSTILE = '<script>alert("x")</script>'


def make_rows() -> list[RunRow]:
    """Three runs, the newest first; the oldest was of an earlier version, and failed."""
    settings = {"model.kind": "knn", "train.epochs": "20", "name": "genre"}
    return [
        RunRow(
            run_id="20260303-060000",
            outcome="refused",
            state="bad",
            kind="knn",
            spans="span 1",
            figures={"accuracy": 0.625, "macro-F1": 0.5},
            seconds=100.5,
            reasons=("accuracy 0.62 is below the floor", HOSTILE),
            settings=settings,
            nodes={"Trainer": 9.0},
            report="../artifacts/report.html",
        ),
        RunRow(
            run_id="20260302-060000-2",
            outcome="pushed as version 1",
            state="good",
            kind=HOSTILE,
            spans="span 1",
            figures={"accuracy": 0.75, "macro-F1": 0.7},
            seconds=20.0,
            settings=settings | {"train.epochs": "30"},
        ),
        RunRow(run_id=HOSTILE, outcome="failed", state="bad", kind="", spans="", figures={}, seconds=3.0),
    ]


@pytest.fixture
def runs_file(tmp_path: Path) -> Path:
    file = tmp_path / "index.html"
    file.write_text(render_runs(make_rows(), HOSTILE), encoding="utf-8")
    return file


def times(page: "Page") -> list[str]:
    return page.eval_on_selector_all("#list tbody tr:not([hidden]) th", "cells => cells.map(cell => cell.textContent)")


def test_runs_are_listed_searched_and_sorted(chromium: "Browser", runs_file: Path) -> None:
    first, second, third = "2026-03-03 06:00:00", "2026-03-02 06:00:00", HOSTILE
    with opened(chromium, runs_file) as page:
        assert times(page) == [first, second, third], "the newest first"
        assert page.get_attribute("#list a", "href") == "../artifacts/report.html"
        page.get_by_role("button", name="accuracy").click()
        assert times(page) == [first, second, third], "ascending; what has no figure comes last"
        page.get_by_role("button", name="accuracy").click()
        assert times(page) == [second, first, third]
        page.get_by_role("button", name="Seconds").click()
        assert times(page) == [third, second, first]
        page.fill("[name=words]", "REFUSED")
        assert times(page) == [first] and page.inner_text("output") == "1 run"


def test_two_runs_stand_side_by_side(chromium: "Browser", runs_file: Path) -> None:
    with opened(chromium, runs_file) as page:
        boxes = page.locator("#list input")
        assert not page.locator("#compared").is_visible()
        boxes.nth(0).check()
        boxes.nth(1).check()
        assert boxes.nth(2).is_disabled()
        lines = page.eval_on_selector_all(
            "#compared tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
        )
        assert lines[0] == ["Run", "2026-03-02 06:00:00", "2026-03-03 06:00:00"], "the earlier one first"
        assert ["accuracy", "75.0 %", "62.5 %"] in lines and ["macro-F1", "0.700", "0.500"] in lines
        settings = [line for line in lines if line[0].startswith(("model.", "train.", "name"))]
        assert settings == [["train.epochs", "30", "20"]]
        assert ["Reasons", "", f"accuracy 0.62 is below the floor\n{HOSTILE}"] in lines
        assert ["Trainer", "–", "9.0 s"] in lines


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_everybody_can_read_the_list_of_runs(chromium: "Browser", runs_file: Path, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(chromium, runs_file, color_scheme=theme, viewport={"width": width, "height": 800}) as page:
        for box in page.locator("#list input").all()[:2]:
            box.check()
        violations = axe.run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_workspace_without_runs_has_a_list(chromium: "Browser", tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(render_runs([], "genre"), encoding="utf-8")
    with opened(chromium, tmp_path / "index.html") as page:
        assert "Nothing has run yet." in page.inner_text("main")


@pytest.fixture
def labels_file(tmp_path: Path, report: ReportInputs) -> Path:
    heard = next(iter(report.heard.values())).without_windows()
    suspects = [
        Suspect(
            f'{name}, "live"',
            f"{HOSTILE}/{name}.mp3",
            "train",
            "Folk",
            "Rock",
            {"Folk": 0.1, "Pop": 0.2, "Rock": 0.7},
            heard,
        )
        for name in ("one", "two", "three")
    ]
    page = render_labels(GENRES, suspects, 100, SpectrogramScale(22050))
    (tmp_path / "labels.html").write_text(page, encoding="utf-8")
    return tmp_path / "labels.html"


def test_labels_are_corrected_and_saved(chromium: "Browser", labels_file: Path, tmp_path: Path) -> None:
    with opened(chromium, labels_file) as page:
        page.locator("#list select").nth(1).select_option("Rock")
        page.locator("#list select").nth(2).select_option("Pop")
        assert page.inner_text("#tools output") == "2 corrections"
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save corrections.csv").click()
        saved.value.save_as(tmp_path / "saved.csv")
        assert saved.value.suggested_filename == "corrections.csv"
    assert read_corrections(tmp_path / "saved.csv") == {'two, "live"': "Rock", 'three, "live"': "Pop"}


def test_everybody_can_read_the_page_of_labels(chromium: "Browser", labels_file: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(chromium, labels_file, color_scheme="dark", viewport={"width": 390, "height": 800}) as page:
        violations = axe.run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("n")
        page.locator(".playing[data-name^=one]").wait_for()
