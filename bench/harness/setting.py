"""What a benchmark is given, and the commands that most of them run."""

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
    """Of a clip."""
    scratch: Path
    """Where the music is kept, and all else for as long as it is needed."""
    tell: Callable[[str], None] = lambda line: None
    """Called with a line for the person who waits."""

    @property
    def settings(self) -> tuple[str, ...]:
        """What our pipeline is told otherwise than its defaults."""
        return (f"audio.clip_seconds={self.seconds}", f"ingest.min_seconds={self.seconds / 2}", "gate.min_accuracy=0.0")

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A new directory, gone in the end; those of killed benchmarks go first."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with scratch_beside(self.scratch / "work") as directory:
            yield directory

    def library(self, splits: tuple[str, ...] = music.SPLITS, clips: int | None = None) -> Path:
        """The table of as many MP3 files as this setting says; see `music.library`."""
        self.tell(f"  {clips or self.clips} songs of {self.seconds:g} s")
        return music.library(self.scratch, clips or self.clips, self.seconds, splits)

    def ingest(self, table: Path, data: Path, *settings: str) -> Sample:
        """`genre ingest csv` of a table of `library` into `data`."""
        columns = ("--group-column", "artist", "--split-column", "split")
        command = (*GENRE, "ingest", "csv", table, "--audio-root", table.parent, *columns, "--data", data)
        return in_new_process([*map(str, command), *self.options(*settings)], data.with_suffix(".log"))

    def run(self, data: Path, workspace: Path, *settings: str) -> Sample:
        """`genre run` on the ingested `data`."""
        command = (*GENRE, "run", "--data", data, "--workspace", workspace)
        return in_new_process([*map(str, command), *self.options(*settings)], workspace.with_suffix(".log"))

    def options(self, *settings: str) -> list[str]:
        """`settings` and those that every command needs, as a command's options."""
        return [word for setting in (*self.settings, *settings) for word in ("--set", setting)]
