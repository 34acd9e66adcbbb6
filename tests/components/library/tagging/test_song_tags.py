"""Tags of songs, and libraries that are sorted by them: written and read back by mutagen and by FFmpeg."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mutagen
import numpy as np
import pytest
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TCON, TPE1, TPE2

from components.base.errors import UserError
from components.library.sources.tags import GenreNames, read_tags
from components.library.tagging.song_tags import SongTags, TagError, read_song_tags, write_genre

FORMATS = (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wma", ".wav", ".aiff")
BY_FFMPEG = FORMATS[:6]
"""Where FFmpeg writes tags of the kinds that mutagen reads."""


@pytest.mark.parametrize("name", BY_FFMPEG)
def test_tags_that_ffmpeg_wrote_are_read(tmp_path, name, ffmpeg):
    file = ffmpeg.encode(tmp_path / f"a{name}", genre="Drum & Bass", artist="Björk", album_artist="Someone")
    expected = "Björk" if name == ".wma" and not mutagen.File(file).tags.get("WM/AlbumArtist") else "Someone"
    assert read_song_tags(file) == SongTags(("Drum & Bass",), expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("before", [{}, {"genre": "Old", "title": "Kept"}])
def test_a_genre_is_written_and_nothing_else_changes(tmp_path, name, before, ffmpeg):
    file = ffmpeg.encode(tmp_path / f"a{name}", **before)
    heard, tags = ffmpeg.sound(file), ffmpeg.tags(file)
    assert tags.items() >= before.items() or name not in BY_FFMPEG
    write_genre(file, "Hip-Hop/Räp", file.name)
    assert read_song_tags(file).genres == ("Hip-Hop/Räp",)
    assert ffmpeg.sound(file) == heard
    assert ffmpeg.tags(file) == tags | {"genre": "Hip-Hop/Räp"}


@pytest.mark.parametrize("version", [3, 4])
def test_the_version_of_id3_is_kept(tmp_path, version, ffmpeg):
    file = ffmpeg.encode(tmp_path / "a.mp3")
    tags = ID3(file)
    tags.add(TPE1(encoding=3, text="Someone"))
    tags.save(file, v2_version=version)
    write_genre(file, "Rock", file.name)
    assert file.read_bytes()[:4] == b"ID3" + bytes([version])
    assert ID3(file)["TPE1"].text == ["Someone"]


@pytest.mark.parametrize(
    ("texts", "genres"),
    [
        (["(17)"], ("Rock",)),
        (["17"], ("Rock",)),
        (["(4)Eurodisco"], ("Disco", "Eurodisco")),
        (["Rock", "Pop"], ("Rock", "Pop")),
        (["(200)"], ()),
        ([""], ()),
    ],
)
def test_numbers_of_id3_have_names(tmp_path, texts, genres, ffmpeg):
    file = ffmpeg.encode(tmp_path / "a.mp3")
    tags = ID3(file)
    tags.add(TCON(encoding=3, text=texts))
    tags.save(file)
    assert read_song_tags(file).genres == genres
    song = FLAC(ffmpeg.encode(tmp_path / "a.flac"))
    song["genre"] = texts
    song.save()
    assert read_song_tags(tmp_path / "a.flac").genres == genres


def test_id3_at_the_end_of_old_files(tmp_path, ffmpeg):
    file = ffmpeg.encode(tmp_path / "a.mp3")
    ID3(file).delete(file)
    tag = b"TAG" + b"Title".ljust(30, b"\0") + b"Artist".ljust(30, b"\0") + bytes(30 + 4 + 30) + bytes([17])
    file.write_bytes(file.read_bytes() + tag)
    assert read_song_tags(file) == SongTags(("Rock",), "Artist")


@pytest.mark.parametrize(
    ("album", "song", "artist"),
    [("Band", "Band feat. Else", "Band"), ("Various Artists", "Band", "Band"), ("", " Band  ", "Band"), ("VA", "", "")],
)
def test_the_artist_is_that_of_the_album_or_else_of_the_song(tmp_path, album, song, artist, ffmpeg):
    file = ffmpeg.encode(tmp_path / "a.mp3")
    tags = ID3(file)
    for frame in (TPE2(encoding=3, text=album), TPE1(encoding=3, text=song)):
        tags.add(frame)
    tags.save(file)
    assert read_song_tags(file).artist == artist


@pytest.mark.parametrize("name", FORMATS)
def test_broken_tags_are_an_error_of_that_file(tmp_path, name, ffmpeg):
    """Whatever bytes are wrong, it is a `TagError`, or tags."""
    whole = ffmpeg.encode(tmp_path / f"a{name}", genre="Rock", artist="Someone").read_bytes()
    generator = np.random.default_rng(1)
    errors = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 4096), 8):
            damaged[place] = generator.integers(256)
        (tmp_path / f"a{name}").write_bytes(damaged[: generator.integers(1, len(damaged))])
        for touch in (read_song_tags, lambda file: write_genre(file, "Rock", file.name)):
            try:
                assert isinstance(touch(tmp_path / f"a{name}"), SongTags | None)
            except TagError as error:
                errors += 1
                assert str(error)
    assert errors > 0


def test_a_format_without_known_tags(tmp_path):
    (tmp_path / "a.mka").write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    with pytest.raises(TagError, match="not known"):
        read_song_tags(tmp_path / "a.mka")


@pytest.mark.parametrize(
    ("texts", "genre"),
    [
        (["hip hop/rap"], "Hip-Hop"),
        (["Hip  Hop & Rap"], "Hip  Hop & Rap"),
        (["HIPHOP"], "Hip-Hop"),
        (["Rap/Hip Hop"], "Hip-Hop"),
        (["Rock; hip-hop"], "Hip-Hop"),
        (["Other", "Rock"], "Rock"),
        (["Other"], None),
        (["Other; Rock"], "Rock"),
        (["Rock/Pop"], "Rock/Pop"),
        (["Pop, Rock"], "Pop"),
        (["Folk, World, & Country"], "Folk"),
        ([" ; "], ""),
        ([], ""),
    ],
)
def test_the_genre_of_several(texts, genre):
    names = GenreNames({"Hip Hop/Rap": "Hip-Hop", "Other": None, "Folk, World, & Country": "Folk"})
    assert names.choose(texts) == genre


@pytest.fixture
def songs(tmp_path: Path, ffmpeg) -> Path:
    """A folder of songs that are sorted by nothing but their tags."""
    root = tmp_path / "songs"
    for number in range(4):
        artist = f"Artist {number}"
        ffmpeg.encode(root / f"in/a/{number}.mp3", genre="Hip Hop/Rap", artist=artist, samples=200.0 + number)
        ffmpeg.encode(root / f"{number}.ogg", genre="hip-hop", artist=artist, samples=300.0 + number)
        ffmpeg.encode(root / f"b/{number}.flac", genre="Jazz", artist=f"Trio {number}", samples=400.0 + number)
        ffmpeg.encode(root / f"b/{number}.m4a", genre="Jazz", artist=f"Trio {number}", samples=500.0 + number)
    ffmpeg.encode(root / "polka.mp3", genre="Polka", artist="Trio 1", samples=600.0)
    ffmpeg.encode(root / "speech.mp3", genre="Speech", artist="Trio 2", samples=700.0)
    ffmpeg.encode(root / "nothing.flac", samples=800.0)
    ffmpeg.encode(root / ".trash/x.mp3", genre="Rock", artist="Nobody")
    (root / "broken.flac").write_bytes(b"fLaC" + bytes(10))
    (root / "cover.jpg").touch()
    return root


NAMES = GenreNames({"Hip Hop/Rap": "Hip-Hop", "Speech": None})


def test_a_folder_by_its_tags(songs):
    found = read_tags(songs, NAMES, min_songs=2)
    usable = [track for track in found.tracks if not track.problem]
    assert Counter((track.genre, track.group) for track in usable) == {
        (genre, f"{artist} {number}"): 2
        for genre, artist in (("Hip-Hop", "Artist"), ("Jazz", "Trio"))
        for number in range(4)
    }
    assert found.texts == {"Hip-Hop": Counter({"Hip Hop/Rap": 4, "hip-hop": 4}), "Jazz": Counter({"Jazz": 8})}
    assert found.artists("Jazz") == 4
    problems = {track.path: track.problem for track in found.tracks if track.problem}
    assert problems.pop("broken.flac").startswith("unreadable: its tags are broken: ")
    assert problems == {
        ".trash": "not audio: a hidden folder",
        "cover.jpg": "not audio",
        "nothing.flac": "unknown genre: no genre tag",
        "polka.mp3": "rare genre: songs of 'Polka': 1, fewer than 2",
        "speech.mp3": "unwanted genre: Speech",
    }


def test_a_genre_that_the_library_has_is_never_rare(songs):
    assert "Polka" in read_tags(songs, NAMES, min_songs=2, known=("Polka",)).texts


def test_names_and_tags_that_are_no_text(songs, ffmpeg):
    try:
        os.rename(os.fsencode(songs / "polka.mp3"), os.fsencode(songs) + b"/caf\xe9.mp3")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    ffmpeg.encode(songs / "control.flac", genre="Ro\x07ck", artist="Someone")
    problems = {track.path: track.problem for track in read_tags(songs, NAMES).tracks}
    assert problems["caf\udce9.mp3"].startswith("unreadable: its name is not valid UTF-8")
    assert "it has control characters" in problems["control.flac"]


def test_folders_without_songs(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        read_tags(tmp_path / "nowhere", NAMES)
    (tmp_path / "cover.jpg").touch()
    with pytest.raises(UserError, match="no audio file in it"):
        read_tags(tmp_path, NAMES)


def genre_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_the_command_shows_before_it_writes(songs, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text("Hip Hop/Rap: Hip-Hop\nSpeech: null\n")
    data = tmp_path / "data"
    settings = (
        "--set",
        "ingest.min_seconds=0.1",
        "--set",
        "ingest.max_reject_share=0.2",
        "--set",
        "beam.mode=in_memory",
    )
    command = ("ingest", "tags", songs, "--genres", names, "--min-songs", 2, "--data", data, *settings)
    shown = genre_command(*command, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "Hip Hop/Rap 4, hip-hop 4" in shown.stdout and "Polka 1" in shown.stdout
    asked = genre_command(*command)
    assert asked.returncode == 1 and "--yes" in asked.stderr
    assert not data.exists()
    done = genre_command(*command, "--yes")
    assert done.returncode == 0, done.stderr
    assert "16 of 18 files are examples of span 1" in done.stdout
    left_out = (data / "span-1" / "left-out.csv").read_text()
    assert "polka.mp3,\"rare genre: songs of 'Polka': 1, fewer than 2\"" in left_out
    names.write_text("Hip Hop/Rap: 17\n")
    wrong = genre_command(*command)
    assert wrong.returncode == 1 and "Hip Hop/Rap: 17 is no name for a genre" in wrong.stderr
