"""The input of a benchmark, and the commands that most benchmarks run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import music
from bench.harness.timing import Sample, in_new_process
from components.demo.library import scratch_beside

GENRE = (sys.executable, "-c", "from pipeline.cli import main; main()")
"""The `genre` command of the code that this process runs."""


@dataclass(frozen=True)
class Setting:
    """Size and place of a measurement."""

    clips: int
    repeats: int
    seconds: float
    """Length of a clip, in seconds."""
    scratch: Path
    """Directory of the songs, which are kept, and of temporary files."""
    report: Callable[[str], None] = lambda line: None
    """Called with a line of progress."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings of our pipeline that differ from its defaults."""
        return (f"audio.clip_seconds={self.seconds}", f"ingest.min_seconds={self.seconds / 2}", "gate.min_accuracy=0.0")

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Makes a new directory and removes it at the end; first it removes those of benchmarks that were killed."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with scratch_beside(self.scratch / "work") as directory:
            yield directory

    def library(self, splits: tuple[str, ...] = music.SPLITS, clips: int | None = None) -> Path:
        """Makes `clips` MP3 files, by default as many as this setting has; returns their table, see `music.library`."""
        self.report(f"  {clips or self.clips} songs of {self.seconds:g} s")
        return music.library(self.scratch, clips or self.clips, self.seconds, splits)

    def ingest(self, table: Path, data: Path, *settings: str) -> Sample:
        """Runs `genre ingest csv` on a table of `library`, into `data`."""
        columns = ("--group-column", "artist", "--split-column", "split")
        command = (*GENRE, "ingest", "csv", table, "--audio-root", table.parent, *columns, "--data", data)
        return in_new_process([*map(str, command), *self.options(*settings)], data.with_suffix(".log"))

    def run(self, data: Path, workspace: Path, *settings: str) -> Sample:
        """Runs `genre run` on the ingested `data`."""
        command = (*GENRE, "run", "--data", data, "--workspace", workspace)
        return in_new_process([*map(str, command), *self.options(*settings)], workspace.with_suffix(".log"))

    def options(self, *settings: str) -> list[str]:
        """Returns `settings`, and those that every command needs, as options of a command."""
        return [word for setting in (*self.settings, *settings) for word in ("--set", setting)]
