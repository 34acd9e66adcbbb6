"""The walk of docs/walk.md: its files, its commands one after the other, and its labels corrected in a browser."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "docs" / "walk.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", TEXT, re.S))
COMMANDS = re.findall(r"^\$ (.*)$", TEXT, re.M)
QUICK = {"genre.yaml": "audio:\n  clip_seconds: 6\nmodel:\n  kind: svm_rbf\nbeam:\n  mode: in_memory\n"}
"""Settings for less time; the walk itself takes the default kind."""


def correct(chromium: "Browser", page_file: Path, corrections: Path) -> None:
    """Does what the walk asks of the reader: the genre of each wrong song, on the page, and saves."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        for song in page.locator("#list > li").all():
            genre, _, name = song.locator("code").inner_text().partition("/")
            if name.endswith("artist-01/song-01.wav") and genre in ("Experimental", "Hip-Hop", "Pop"):
                song.locator("select").select_option(genre)
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save corrections.csv").click()
        saved.value.save_as(corrections)


@pytest.mark.long
def test_the_commands_follow_each_other(chromium: "Browser", tmp_path: Path) -> None:
    assert FILES.keys() == {"genre.yaml", "tag_songs.py"}
    for name, content in (FILES | QUICK).items():
        (tmp_path / name).write_text(content)
    places = {"PYTHONPATH": str(REPOSITORY), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def pasted(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=os.environ | places, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    printed: list[tuple[str, str]] = []
    for line in COMMANDS:
        if line == "cat corrections.csv":
            correct(chromium, tmp_path / "workspace/reports/labels.html", tmp_path / "corrections.csv")
        printed.append((line, pasted(line)))
    with (tmp_path / "corrections.csv").open(newline="") as file:
        assert {row["was"] for row in csv.DictReader(file)} == {"Folk", "International", "Electronic"}, "all three"
    assert any("3 songs have another genre now" in text for _, text in printed)
    first, second = (text for line, text in printed if line == "genre labels")
    assert int(second.split()[0]) < int(first.split()[0])
    [history] = (text for line, text in printed if line == "genre history")
    assert history.count("pushed as version") + history.count("refusal") == 2
    assert pasted("genre open --runs --print").strip() == str(tmp_path / "workspace/reports/index.html")
