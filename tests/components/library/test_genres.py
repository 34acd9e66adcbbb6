"""Genres that are added to a library on purpose: refused, killed on the way, and their songs brought in afterwards."""

import fcntl
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.audio.config import AudioConfig
from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.config import IngestConfig
from components.library.genres import add_genres
from components.library.ingest import Ingested, ingest
from components.library.layout import complete_spans, read_library
from components.library.sources.manifest_csv import Columns, read_csv
from components.library.sources.track import Track
from components.library.tables import read_rejects
from pipeline.cli import cli

COLUMNS = Columns("path", "genre", None, "split", None, (), ())


class Songs:
    """Two batches of songs, and a copy of a library of two genres with a span of each batch.

    The second batch has songs of a third genre, clicks, which its span rejected: two, one and one.
    """

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory, self.root = directory, root

    def tracks(self, batch: str) -> list[Track]:
        return read_csv(self.directory / batch / "tracks.csv", self.directory / batch, COLUMNS)

    def ingest(self, batch: str, span: int | None = None) -> Ingested:
        config = IngestConfig(min_seconds=0.1, max_reject_share=0.5)
        audio = AudioConfig(sample_rate=4000, clip_seconds=0.5)
        args = beam_args(BeamConfig(mode="in_memory", workers=1))
        return ingest(self.tracks(batch), self.directory / batch, "test", self.root, audio, config, span, args)

    def schema_genres(self) -> list[str]:
        schema = text_format.Parse((self.root / "schema.pbtxt").read_text(), schema_pb2.Schema())
        return next(list(domain.value) for domain in schema.string_domain if domain.name == "genre")

    def files(self) -> dict[str, bytes]:
        files = (path for path in self.root.iterdir() if path.is_file() and not path.name.startswith("."))
        return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, compose: Callable[..., Path]) -> Songs:
    directory = tmp_path_factory.mktemp("songs")
    for seed, batch in enumerate(("first", "second")):
        compose(directory / batch, {"train": 2, "eval": 1, "test": 1}, seed)
    first = directory / "first" / "tracks.csv"
    first.write_text("".join(line for line in first.read_text().splitlines(True) if "clicks" not in line))
    songs = Songs(directory, tmp_path_factory.mktemp("data"))
    for batch in ("first", "second"):
        songs.ingest(batch)
    return songs


@pytest.fixture
def songs(ingested: Songs, tmp_path: Path) -> Songs:
    shutil.copytree(ingested.root, tmp_path / "data")
    return Songs(ingested.directory, tmp_path / "data")


def test_songs_of_a_new_genre_are_rejected_with_the_way_to_bring_them_in(songs: Songs) -> None:
    reason = "unknown genre: 'clicks' is no genre of this library; to add it: genre classes add clicks"
    assert [row["reason"] for row in read_rejects(songs.root, 2)] == [reason] * 4


def test_new_genres_come_last(songs: Songs) -> None:
    added = add_genres(songs.root, ["clicks", "Old-Time / Historic", 'any "quoted" {thing}'])
    genres = ("noise", "tone", "clicks", "Old-Time / Historic", 'any "quoted" {thing}')
    assert added.library.genres == read_library(songs.root).genres == genres
    assert songs.schema_genres() == list(genres)
    assert added.rejected == {2: {"clicks": 4}}
    assert add_genres(songs.root, ["a"]).library.genres == (*genres, "a")  # beside a domain that looks unlike ours
    assert songs.schema_genres() == [*genres, "a"]


def test_a_reviewed_schema_keeps_its_words(songs: Songs) -> None:
    file = songs.root / "schema.pbtxt"
    reviewed = "# By Ann.\n" + file.read_text().replace("max: 86400.0", "max: 600.0 # ours are short")
    file.write_text(reviewed)
    add_genres(songs.root, ["clicks"])
    before, after = reviewed.splitlines(), file.read_text().splitlines()
    new = [i for i, line in enumerate(after) if line == '  value: "clicks"']
    assert len(new) == 1 and after[: new[0]] + after[new[0] + 1 :] == before
    assert songs.schema_genres() == ["noise", "tone", "clicks"]


@pytest.mark.parametrize(
    "schema",
    [
        '# string_domain { name: "genre" }\nstring_domain { value: "noise" name: \'genre\' value: "tone" }',
        'string_domain: < name: "genre" value: "noise" value: "tone" >',
        'string_domain { # not {other} domains\n name: "genre" value: "noise" value: "tone" }',
    ],
)
def test_a_schema_laid_out_unlike_ours(songs: Songs, schema: str) -> None:
    (songs.root / "schema.pbtxt").write_text(schema)
    add_genres(songs.root, ["clicks"])
    assert songs.schema_genres() == ["noise", "tone", "clicks"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "schema.pbtxt: missing"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "schema.pbtxt: missing, or no text"),
        (lambda file: file.write_text("feature {"), "not a schema with"),
        (lambda file: file.write_text('string_domain { name: "split" }'), "not a schema with"),
    ],
)
def test_a_damaged_schema(songs: Songs, damage: Callable[[Path], None], said: str) -> None:
    damage(songs.root / "schema.pbtxt")
    with pytest.raises(UserError, match=said):
        add_genres(songs.root, ["clicks"])
    assert read_library(songs.root).genres == ("noise", "tone")


@pytest.mark.parametrize(
    ("genres", "said"),
    [
        (["clicks", "tone"], r"genre 'tone' exists \(genres: noise, tone\)\. Nothing was added"),
        (["Tone"], "genre 'Tone' differs from 'tone' by its case"),
        (["clicks", "ska", "clicks"], "genre 'clicks' is given twice"),
        (["m\u00fasica", "mu\u0301sica"], "'m\u00fasica' is given twice"),
        (["m\u00fasica", "M\u00daSICA"], "differs from 'm\u00fasica' by its case or its encoding"),
        (["clicks", ""], "'' is no name for a genre"),
        (["a\nb"], r"'a\\nb' is no name"),
        (["--"], "'--' is no name"),
    ],
)
def test_a_genre_that_cannot_be_added(songs: Songs, genres: list[str], said: str) -> None:
    before = songs.files()
    with pytest.raises(UserError, match=said):
        add_genres(songs.root, genres)
    assert songs.files() == before


def test_nowhere_to_add_it(tmp_path: Path, songs: Songs) -> None:
    with pytest.raises(UserError, match="no such data directory"):
        add_genres(tmp_path / "none", ["ska"])
    assert not (tmp_path / "none").exists()
    for span in (1, 2):
        shutil.rmtree(songs.root / f"span-{span}")
    with pytest.raises(UserError, match="no complete span"):
        add_genres(songs.root, ["ska"])


def test_not_while_another_process_writes(songs: Songs) -> None:
    with (songs.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("1 on elsewhere")
        lock.flush()
        with pytest.raises(UserError, match="process 1 on elsewhere is writing to this library"):
            add_genres(songs.root, ["ska"])
    assert add_genres(songs.root, ["ska"]).library.genres == ("noise", "tone", "ska")


KILLED = """
import os, signal, sys
from pathlib import Path
from components.library.genres import add_genres

replace, left = os.replace, int(sys.argv[2])

def replace_or_die(*arguments):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return replace(*arguments)

os.replace = replace_or_die
add_genres(Path(sys.argv[1]), ["clicks", "ska"])
"""


@pytest.mark.parametrize("replaced", [0, 1])
def test_killed_before_each_of_the_two_files(songs: Songs, replaced: int) -> None:
    whole = shutil.copytree(songs.root, songs.root.with_name("whole"))
    add_genres(whole, ["clicks", "ska"])
    killed = subprocess.run([sys.executable, "-c", KILLED, songs.root, str(replaced)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # As before, to those who ask the library for its genres; the songs of the new ones are not taken.
    assert read_library(songs.root).genres == ("noise", "tone")
    assert songs.schema_genres() == ["noise", "tone", *["clicks", "ska"] * replaced]
    assert songs.ingest("second").existed
    add_genres(songs.root, ["clicks", "ska"])
    assert songs.files() == Songs(songs.directory, whole).files()


def test_the_same_songs_again_bring_in_those_of_the_new_genre(songs: Songs) -> None:
    before = {path: path.read_bytes() for path in songs.root.glob("span-*/**/*") if path.is_file()}
    assert songs.ingest("second").existed and songs.ingest("second", span=2).now_known == {}
    add_genres(songs.root, ["clicks"])
    kept = songs.ingest("second", span=2)
    assert (kept.existed, kept.manifest.span, kept.now_known) == (True, 2, {"clicks": 4})
    assert songs.ingest("first").existed, "it had no song of that genre"

    brought = songs.ingest("second")
    assert (brought.existed, brought.manifest.span, brought.genres) == (False, 3, ("noise", "tone", "clicks"))
    assert {split: count.genres for split, count in brought.manifest.splits.items()} == {
        "train": {"clicks": 2}, "eval": {"clicks": 1}, "test": {"clicks": 1},
    }  # fmt: skip
    assert brought.manifest.rejects == {"already ingested": 8}
    assert brought.manifest.genres == brought.genres
    assert all(path.read_bytes() == data for path, data in before.items()), "an earlier span was written to"

    for span, number in ((None, 3), (3, 3), (2, 2)):
        again = songs.ingest("second", span)
        assert (again.existed, again.manifest.span, again.now_known) == (True, number, {})
    assert complete_spans(songs.root) == [1, 2, 3]


def test_a_span_asked_for_by_its_number_stays_and_the_rest_is_pointed_out(
    songs: Songs, capfd: pytest.CaptureFixture[str]
) -> None:
    add_genres(songs.root, ["clicks"])
    batch = songs.directory / "second"
    command = ["ingest", "csv", batch / "tracks.csv", "--audio-root", batch, "--split-column", "split", "--span", 2]
    command += ["--data", songs.root, "--set", "audio.sample_rate=4000", "--set", "audio.clip_seconds=0.5"]
    cli([*map(str, command), "--set", "ingest.min_seconds=0.1"], standalone_mode=False)
    said = capfd.readouterr().out
    assert "already ingested as span 2, nothing to do" in said
    assert "warning: 4 files of genre 'clicks' were rejected then; it is known now: without --span, they" in said
