"""Ingests that are killed, whose storage fails, and whose library is damaged: nothing is lost, nothing is false."""

import csv
import errno
import hashlib
import io
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from components.audio.config import AudioConfig
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library import song_files
from components.library.config import IngestConfig
from components.library.ingest import Ingested, ingest
from components.library.inputs import look_at
from components.library.layout import complete_spans, read_library, verify
from components.library.shards import examine
from components.library.song_files import StorageError, opened_song
from components.library.sources.folder import read_folder
from components.library.sources.track import Track

RATE = 4000
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=0.5)
SPLIT_OF = ("train", "train", "eval", "test")
PASSING = ("EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "ESTALE", "ENOMEM", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")


def compose(songs: Path, first: int, count: int) -> None:
    """Songs of two genres, two per artist."""
    for number in range(first, first + count):
        path = songs / ("rock", "jazz")[number % 2] / f"artist {number // 2}" / f"{number:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        pcm = np.random.default_rng(number).integers(-9000, 9000, RATE // 2).astype(np.int16)
        path.write_bytes(encode_wav(pcm, RATE))


def ingested(songs: Path, root: Path, **changes: Any) -> Ingested:
    tracks = [replace(track, split=SPLIT_OF[int(track.group.split()[1]) % 4]) for track in read_folder(songs)]
    settings = {"audio": AUDIO, "config": IngestConfig(min_seconds=0.1), "data_set": "test", "clips_per_shard": 4}
    args = beam_args(BeamConfig(mode="in_memory", workers=1))
    return ingest(tracks, songs, root=root, beam_args=args, **settings | changes)


def content(root: Path) -> dict[str, str]:
    """Hash of every file that equal inputs promise to give the same bytes of."""
    files = [path for path in root.rglob("*") if path.is_file()]
    promised = [path for path in files if not path.name.startswith(".") and path.name != "source.json"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in promised}


def rejects(span: Path) -> dict[str, str]:
    with (span / "rejects.csv").open(newline="") as rows:
        return {row["path"]: row["reason"] for row in csv.DictReader(rows)}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("songs")
    compose(directory, 0, 24)
    return directory


@pytest.fixture(scope="module")
def whole(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that an undisturbed ingest makes."""
    root = tmp_path_factory.mktemp("whole") / "data"
    ingested(songs, root)
    return root


# --- Songs that cannot be read for a while -------------------------------------------------------------------------


def failing(function: Callable[..., Any], path: Path, code: int) -> Callable[..., Any]:
    """`function`, but for `path` it fails."""

    def call(given: Any, *args: Any, **kwargs: Any) -> Any:
        if given == path:
            raise OSError(code, os.strerror(code), str(path))
        return function(given, *args, **kwargs)

    return call


@pytest.mark.parametrize(("where", "name"), [("stat", "EACCES"), ("open", "ESTALE")])
def test_an_error_of_the_storage_rejects_no_song(
    songs: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    ill = songs / "rock" / "artist 2" / "0004.wav"
    if where == "stat":
        monkeypatch.setattr("components.library.sources.walk.os.stat", failing(os.stat, ill, getattr(errno, name)))
    else:
        monkeypatch.setattr(song_files, "_RawFile", failing(song_files._RawFile, ill, getattr(errno, name)))
    words = {
        "stat": rf"{ill}: cannot be listed: {name} \(.*\)",
        "open": rf"cannot be read now:\n  {ill}: {name} \(.*\)\nNo song was rejected",
    }
    with pytest.raises(UserError, match=words[where]):
        ingested(songs, tmp_path / "data")
    assert complete_spans(epath.Path(tmp_path / "data")) == []
    monkeypatch.undo()
    again = ingested(songs, tmp_path / "data")
    assert again.resumed == (0 if where == "stat" else again.shards - 1)
    assert content(tmp_path / "data") == content(whole)


@pytest.mark.parametrize("name", PASSING)
def test_errors_that_pass_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    song = tmp_path / "a.wav"
    track = Track("a", "a.wav", "rock", "Ann")
    monkeypatch.setattr("components.library.sources.walk.os.stat", failing(os.stat, song, getattr(errno, name)))
    monkeypatch.setattr(song_files, "_RawFile", failing(song_files._RawFile, song, getattr(errno, name)))
    with pytest.raises(StorageError, match=rf"^{song}: {name} \(.+\)$"):
        look_at(track, tmp_path)
    with pytest.raises(StorageError, match=rf"^{song}: {name} \(.+\)$"):
        examine(track, tmp_path, AUDIO, IngestConfig())


def test_a_disk_that_fails_in_the_middle_of_a_song(songs: Path, whole: Path, tmp_path: Path) -> None:
    """The system's own EIO: of the memory of this process, nothing is mapped at address 0."""
    copy = shutil.copytree(songs, tmp_path / "songs")
    ill = copy / "rock" / "artist 2" / "0004.wav"
    ill.unlink()
    ill.symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=rf"{ill}: EIO \(Input/output error\)"):
        ingested(copy, tmp_path / "data")
    ill.unlink()
    shutil.copy2(songs / ill.relative_to(copy), ill)
    assert ingested(copy, tmp_path / "data").manifest.rejects == {}
    assert content(tmp_path / "data") == content(whole)


def test_a_song_that_this_user_may_not_read(songs: Path, whole: Path) -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        copy, root = shutil.copytree(songs, Path(directory) / "songs"), Path(directory) / "data"
        root.mkdir()
        root.chmod(0o777)
        copy.chmod(0o755)
        song, folder = copy / "rock" / "artist 2" / "0004.wav", copy / "jazz" / "artist 3"

        def as_somebody() -> Ingested:
            os.seteuid(65534 if user == 0 else user)  # root may read everything
            try:
                return ingested(copy, root)
            finally:
                os.seteuid(user)

        for path, words in ((song, r"EACCES \(Permission denied\)"), (folder, "Permission denied")):
            mode = path.stat().st_mode
            path.chmod(0)
            with pytest.raises(UserError, match=rf"{path}.*{words}"):
                as_somebody()
            path.chmod(mode)
        assert as_somebody().manifest.rejects == {}
        assert content(root) == content(whole)


def test_memory_that_is_used_up_is_no_fact_about_a_song(
    songs: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("components.library.shards.decode_clip", decode)
    with pytest.raises(UserError, match=r"0000.wav: ENOMEM \(Cannot allocate memory\)(?s:.*)and \d more|ENOMEM"):
        ingested(songs, tmp_path / "data")
    monkeypatch.undo()
    ingested(songs, tmp_path / "data")
    assert content(tmp_path / "data") == content(whole)


def test_what_says_that_there_is_no_song_is_a_reject(songs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(songs, tmp_path / "songs")
    tracks = [replace(track, split="train") for track in read_folder(copy)]
    (copy / "rock" / "dangling.wav").symlink_to("nowhere.wav")
    (copy / "rock" / "circle.wav").symlink_to("circle.wav")
    names = ("rock/gone.wav", "rock/dangling.wav", "rock/circle.wav", "x" * 300, "rock/a\0b.wav")
    tracks += [replace(tracks[0], track_id=name, path=name) for name in names]
    config = IngestConfig(min_seconds=0.1, max_reject_share=0.5)
    with pytest.raises(UserError, match="No example in split eval"):
        ingest(
            tracks, copy, "test", tmp_path / "data", AUDIO, config, beam_args=beam_args(BeamConfig(mode="in_memory"))
        )
    reasons = rejects(tmp_path / "data" / ".staging" / "span-1")
    assert {name: reasons[name].partition(":")[0] for name in names} == dict.fromkeys(names, "missing file") | {
        "rock/circle.wav": "unreadable"
    }


def test_a_song_that_vanishes_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened_song(tmp_path / "gone.wav"):
        pass


def test_what_was_read_of_a_song_counts_only_if_all_was(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="mem: EIO"), opened_song(Path("/proc/self/mem")) as file:
        assert file.read(100) == b""  # to a decoder, the end
    with pytest.raises(StorageError, match="ESTALE"), opened_song(Path(__file__)):
        raise OSError(errno.ESTALE, "of a decoder")
    with opened_song(Path(__file__)) as file:
        file.seek(-1)  # as of a broken header: a fact about the song
        assert isinstance(file, io.BufferedReader) and file.read() == Path(__file__).read_bytes()


# --- Libraries that are damaged ------------------------------------------------------------------------------------


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


HARM: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "at a line": lambda file: file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1])),
    "flipped": flip,
}
READ_BY_INGEST = (
    "library.json",
    "span-1/manifest.json",
    "span-1/tracks.csv",
    "span-1/rejects.csv",
    "span-1/fingerprints.csv",
    "span-1/source.json",
)


@pytest.fixture(scope="module")
def more_songs(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and as many new ones."""
    directory = shutil.copytree(songs, tmp_path_factory.mktemp("more") / "songs")
    compose(directory, 24, 24)
    return directory


@pytest.fixture(scope="module")
def grown(whole: Path, more_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with the second span that an undisturbed ingest makes."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("grown") / "data")
    ingested(more_songs, root)
    return root


@pytest.mark.parametrize("name", READ_BY_INGEST)
def test_songs_that_are_known_stay_known(
    songs: Path, more_songs: Path, whole: Path, grown: Path, tmp_path: Path, name: str
) -> None:
    """A table of an earlier span says which songs are known, and in which split. Without it, no song is taken in."""
    root = shutil.copytree(whole, tmp_path / "data")
    text = (root / name).read_bytes()
    for harm, damage in HARM.items():
        damage(root / name)
        if not (root / name).exists() or (root / name).read_bytes() != text:
            place = "span-1" if name == "span-1/manifest.json" and harm == "gone" else name
            with pytest.raises(UserError, match=rf"{root}(/{place})?: .*(Put|Make)"):
                # Rejects are read to find out whether the songs are those of the span.
                ingested(songs if name == "span-1/rejects.csv" else more_songs, root)
        (root / name).write_bytes(text)
    assert content(root) == content(whole)
    if name == "span-1/tracks.csv":
        ingested(more_songs, root)
        assert content(root) == content(grown)


def test_every_damage_to_a_span_is_found(whole: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(whole) for path in (whole / "span-1").rglob("*") if path.is_file())
    assert len(files) > 9
    for number, file in enumerate(files):
        for harm, damage in HARM.items():
            root = shutil.copytree(whole, tmp_path / f"{number}-{harm}")
            before = (root / file).read_bytes()
            damage(root / file)
            if (root / file).exists() and (root / file).read_bytes() == before:
                continue
            try:
                problems = verify(epath.Path(root), 1)
            except UserError as error:
                problems = [str(error)]
            named = root if file.name == "manifest.json" and harm == "gone" else root / file
            assert [str(named) in problem for problem in problems] == [True], (file, harm)


def test_a_damaged_library_file_is_named(whole: Path, tmp_path: Path) -> None:
    root = shutil.copytree(whole, tmp_path / "data")
    text = (root / "library.json").read_text()
    (root / "library.json").write_text(text.replace("jazz", "jezz"))
    with pytest.raises(UserError, match=r"library\.json: damaged: its content does not match its sha256"):
        read_library(epath.Path(root))


def test_spans_that_changed_places(grown: Path, more_songs: Path, tmp_path: Path) -> None:
    root = shutil.copytree(grown, tmp_path / "data")
    (root / "span-1").rename(root / "span-3")
    compose(tmp_path / "new", 100, 8)
    with pytest.raises(UserError, match=r"span-3/manifest\.json: it is the manifest of span 1"):
        ingested(tmp_path / "new", root)


# --- Kills ---------------------------------------------------------------------------------------------------------


def checked(root: Path) -> None:
    """What a run would find is whole, or nothing."""
    for span in complete_spans(epath.Path(root)):
        assert verify(epath.Path(root), span) == []


@pytest.fixture(scope="module")
def operations(songs: Path, tmp_path_factory: pytest.TempPathFactory, run_killed: Callable[..., int]) -> int:
    """The number of operations on files of an undisturbed ingest."""
    root = tmp_path_factory.mktemp("counted") / "data"
    return run_killed(lambda: ingested(songs, root), root, 0)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 12))])
def test_three_kills_lose_nothing(
    songs: Path, whole: Path, tmp_path: Path, operations: int, seed: int, run_killed: Callable[..., int]
) -> None:
    root, generator = tmp_path / "data", random.Random(seed)
    for _ in range(3):
        run_killed(lambda: ingested(songs, root), root, generator.randint(1, operations))
        checked(root)
    ingested(songs, root)
    assert content(root) == content(whole)
    assert not (root / ".staging").exists()


@pytest.mark.parametrize("then", ["the same songs", "more songs"])
def test_the_staging_of_a_complete_span_is_removed(
    songs: Path,
    more_songs: Path,
    whole: Path,
    grown: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
) -> None:
    """As after a kill between the rename of the span and the removal of its shards."""
    root = tmp_path / "data"
    monkeypatch.setattr("components.library.ingest.shutil.rmtree", lambda *_, **__: None)
    ingested(songs, root)
    monkeypatch.undo()
    assert complete_spans(epath.Path(root)) == [1] and list((root / ".staging" / "span-1" / "shards").iterdir())
    (root / ".staging" / "span-7" / "shards").mkdir(parents=True)  # of another ingest, which may go on
    ingested(songs if then == "the same songs" else more_songs, root)
    assert content(root) == content(whole if then == "the same songs" else grown)
    assert [path.name for path in (root / ".staging").iterdir()] == ["span-7"]
