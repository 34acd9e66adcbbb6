"""The page in a real Chromium: a song is dropped, seen, heard and named; by mouse, by keyboard, on a phone."""

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@pytest.fixture
def opened(chromium: "Browser", server: Any) -> Iterator[Open]:
    """Opens the page, as `opened(color_scheme="dark")`; nothing may be on the console, or asked elsewhere."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(path: str = "/", url: str = server.url, **options: Any) -> "Page":
        options = {"viewport": {"width": 1280, "height": 900}} | options
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium itself writes down every answer that is an error.
    assert [line for line in said if "Failed to load resource" not in line] == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory, sound: Any) -> Path:
    """Four seconds of MP3 with a gap of silence."""
    path = tmp_path_factory.mktemp("songs") / "My song.mp3"
    samples = sound(4.0, 3, 22050)
    samples[22050 : 2 * 22050] = 0
    soundfile.write(path, samples, 22050, format="MP3")
    return path


def choose(page: "Page", *songs: Path) -> None:
    page.set_input_files("#file", list(songs))
    expect(page.locator("#song")).to_be_visible(timeout=120_000)
    expect(page.locator("#play")).to_be_enabled(timeout=120_000)


def left(page: "Page") -> float:
    """Where the cursor is, as a share of the song."""
    return page.evaluate("parseFloat(document.getElementById('cursor').style.left) / 100")


def no_violation(page: "Page") -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_song_is_named_and_seen_over_time(opened: Open, server: Any, song: Path) -> None:
    page = opened()
    expect(page.locator("#served")).to_have_text("version 1 · mel_cnn")
    choose(page, song)
    window = server.client.get("/model").json()["window_seconds"]
    answer = server.predict(song.read_bytes(), hop=window / 3).json()
    best, share = next(iter(answer["genres"].items()))
    expect(page.locator("#best")).to_have_text(best)
    expect(page.locator("#genres li").first).to_have_text(f"{best}{round(100 * share)} %")
    expect(page.locator("#title")).to_have_text("My song.mp3")
    assert page.title() == f"{best}: My song.mp3"
    assert page.locator("#labels li").all_text_contents() == list(answer["genres"])
    # Every window is in the table, and the bands are painted where there is sound, and not where there is none.
    page.locator("#windows summary").click()
    rows = page.locator("#windows tbody tr")
    expect(rows).to_have_count(len(answer["segments"]))
    for row, segment in zip(rows.all(), answer["segments"], strict=True):
        expect(row.locator("td").first).to_have_text(next(iter(segment["genres"]), "silent"))
    silent, heard = page.evaluate(
        """() => {
            const { width, height } = document.getElementById("bands");
            const { data } = document.getElementById("bands").getContext("2d").getImageData(0, 0, width, height);
            const rows = document.querySelectorAll("#labels li").length;
            const line = (row) => width * Math.round(height * (row + 0.5) / rows);
            return [1.5, 3.1].map((moment) => Array.from({ length: rows }, (_, row) => {
                const place = 4 * (line(row) + Math.round(width * moment / 4));
                return [...data.subarray(place, place + 3)].join();
            }));
        }"""
    )
    assert len(set(silent)) == 1
    assert len(set(heard)) > 1
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert (saved["song"], saved["segments"]) == ("My song.mp3", answer["segments"])


def test_playing_moves_the_cursor_and_a_window_is_heard_alone(opened: Open, song: Path) -> None:
    page = opened()
    choose(page, song)
    assert left(page) == 0.0
    page.locator("#play").click()
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    places = []
    while len(places) < 4:
        page.wait_for_function(
            "share => parseFloat(document.getElementById('cursor').style.left) / 100 > share", arg=max([0.0, *places])
        )
        places.append(left(page))
    assert all(before < after for before, after in itertools.pairwise(places))
    seconds = page.evaluate("document.getElementById('audio').currentTime")
    assert left(page) == pytest.approx(seconds / 4.0, abs=0.25)
    page.locator("#play").click()
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    # A click at three quarters plays the window there, and ends with it.
    box = page.locator("#seek").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    shown = page.locator("#seek").get_attribute("aria-valuetext")
    expect(page.locator("#readout")).to_contain_text(shown)
    start, end = (float(each.split(":")[1]) for each in shown.partition(": ")[0].split(" to "))
    assert start <= 3.0 <= end
    page.wait_for_function("seconds => document.getElementById('audio').currentTime >= seconds", arg=end - 0.01)
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    assert page.evaluate("document.getElementById('audio').currentTime") == pytest.approx(end, abs=0.05)


def test_a_file_that_cannot_be_read_says_why(opened: Open, song: Path, tmp_path: Path) -> None:
    text = tmp_path / "letter.mp3"
    text.write_text("Dear model, I am no song.\n" * 50)
    page = opened()
    page.set_input_files("#file", text)
    problem = page.get_by_role("alert")
    expect(problem).to_have_text("letter.mp3: not one of the formats that are read (it is text)", timeout=120_000)
    expect(page.locator("#song")).to_be_hidden()
    no_violation(page)
    choose(page, song)
    expect(problem).to_be_hidden()
    # This visit, the newest first: what failed says so, what was heard can be opened again.
    assert page.locator("#history b").all_text_contents() == ["My song.mp3", "letter.mp3"]
    expect(page.locator("#history button").nth(1)).to_be_disabled()


def test_several_songs_and_back(opened: Open, song: Path, tmp_path: Path) -> None:
    other = shutil.copy(song, tmp_path / "Another song.mp3")
    page = opened()
    choose(page, song, Path(other))
    expect(page.locator("#title")).to_have_text("Another song.mp3", timeout=120_000)
    page.get_by_role("button", name="My song.mp3").click()
    expect(page.locator("#title")).to_have_text("My song.mp3")
    expect(page.locator("#history [aria-current]")).to_contain_text("My song.mp3")


def test_dropping_a_file(opened: Open, song: Path) -> None:
    page = opened()
    expect(page.locator("#served")).to_be_visible()
    data = list(song.read_bytes())
    page.evaluate(
        """(data) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "dropped.mp3"));
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        data,
    )
    expect(page.locator("#title")).to_have_text("dropped.mp3", timeout=120_000)


def test_by_keyboard_alone(opened: Open, song: Path) -> None:
    page = opened()
    page.on("filechooser", lambda chooser: None)  # Chromium takes a moment until it tells of them
    expect(page.locator("#served")).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"{name} cannot be reached by Tab")

    tab_to("choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(song)
    expect(page.locator("#play")).to_be_enabled(timeout=120_000)
    tab_to("seek")
    seek = page.locator("#seek")
    expect(seek).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("ArrowRight")
    expect(seek).to_have_attribute("aria-valuenow", "1")
    assert seek.get_attribute("aria-valuetext").startswith("0:00.2 to 0:00.7")
    page.keyboard.press("End")
    expect(seek).to_have_attribute("aria-valuenow", seek.get_attribute("aria-valuemax"))
    page.keyboard.press("Home")
    page.keyboard.press("Enter")  # hears the first window
    page.wait_for_function("() => document.getElementById('audio').currentTime > 0.4")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.keyboard.press("Space")  # plays on
    page.wait_for_function("() => document.getElementById('audio').currentTime > 0.7")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_recording(opened: Open) -> None:
    page = opened(permissions=["microphone"])
    expect(page.locator("#served")).to_be_visible()
    page.locator("#record").click()
    expect(page.locator("#record-label")).to_have_text("Stop (0:02)", timeout=60_000)
    no_violation(page)
    page.locator("#record").click()
    expect(page.locator("#song")).to_be_visible(timeout=120_000)
    expect(page.locator("#title")).to_contain_text("Recording")
    expect(page.locator("#play")).to_be_enabled()
    page.locator("#play").click()  # a recording has no length, and plays all the same
    page.wait_for_function("() => document.getElementById('audio').currentTime > 0.2")
    assert 0.0 < left(page) < 1.0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_is_accessible(opened: Open, song: Path, scheme: str, width: int) -> None:
    page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme, is_mobile=width == 390)
    expect(page.locator("#served")).to_be_visible()
    no_violation(page)
    choose(page, song)
    page.locator("#windows summary").click()
    no_violation(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = np.mean(
        page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    )
    assert (dark < 60) == (scheme == "dark")


def test_a_token_is_asked_for_and_does_not_stay_in_the_address(
    opened: Open, serve: Any, exported: tuple[Path, Path], push: Any, tmp_path: Path, song: Path
) -> None:
    push(tmp_path / "models", exported[0])
    guarded = serve(tmp_path / "models", token="secret")
    page = opened(url=guarded.url)
    page.get_by_label("This server asks for a token").fill("secret")
    no_violation(page)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#served")).to_be_visible()
    choose(page, song)
    expect(page.locator("#api")).to_have_attribute("href", re.compile("blob:.*"))
    page.locator("#api").click()
    expect(page.locator("body")).to_contain_text('"openapi":')  # which a link alone would not be given
    page = opened("/#token=secret", url=guarded.url)
    expect(page.locator("#served")).to_be_visible()
    assert page.url == guarded.url + "/"


def test_the_reason_is_told_whatever_it_is(opened: Open, server: Any, serve: Any, song: Path, tmp_path: Path) -> None:
    """A token that is missing or wrong, and a server that fails when it is asked about its model."""
    page = opened("/healthz")  # nothing is asked before the page's own requests can be answered in the server's place
    page.route("**/model", lambda route: route.fulfill(status=500, json={"error": "the server failed; see its log"}))
    page.goto(server.url)
    expect(page.get_by_role("alert")).to_have_text("the server failed; see its log")
    page.set_input_files("#file", [song])
    expect(page.get_by_role("alert")).to_have_text("My song.mp3: the server failed; see its log")
    expect(page.locator("#history li")).to_contain_text("the server failed; see its log")
    expect(page.locator("#login")).to_be_hidden()
    page.unroute("**/model")
    choose(page, song)
    expect(page.locator("#problem")).to_have_text("")

    shutil.copytree(server.follower.store, tmp_path / "models")
    page = opened(url=serve(tmp_path / "models", token="secret").url)
    expect(page.get_by_role("alert")).to_have_text("The server asks for a token.")
    page.get_by_label("This server asks for a token").fill("wrong")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not take this token.")
