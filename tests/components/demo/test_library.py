"""The composed library: its plan, its files, and that it takes more than one statistic to tell its genres."""

import csv
import os
import signal
import subprocess
import sys
import time
import wave
from collections import Counter, defaultdict
from pathlib import Path

import librosa
import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from components.base.errors import UserError
from components.demo import library as demo
from components.demo.library import LibraryOptions, build, compose, plan
from components.demo.song import RATE
from pipeline.cli import cli
from pipeline.commands.demo_library import demo_library

TINY = LibraryOptions(artists=3, songs=1, seconds=2.0)
TINY_ARGS = ["--artists", "3", "--songs", "1", "--seconds", "2"]
GENRES = ["Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock"]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "tiny"
    assert build(directory, TINY)
    return directory


# --- Plan ---


@pytest.mark.parametrize("artists", [3, 4, 5, 6, 10, 25])
def test_every_genre_has_artists_in_every_split_and_none_in_two(artists: int) -> None:
    splits = defaultdict(set)
    genres = defaultdict(set)
    for piece in plan(LibraryOptions(artists=artists)):
        splits[piece.artist].add(piece.split)
        genres[piece.genre, piece.split].add(piece.artist)
    assert len(splits) == 8 * artists
    assert all(len(found) == 1 for found in splits.values())
    assert set(genres) == {(genre, split) for genre in GENRES for split in ("train", "eval", "test")}


def test_default_shares_are_near_the_configured_ones() -> None:
    pieces = plan(LibraryOptions())
    shares = {split: count / len(pieces) for split, count in Counter(piece.split for piece in pieces).items()}
    assert shares == pytest.approx({"train": 0.64, "eval": 0.16, "test": 0.20}, abs=0.05)


# --- Files ---


def test_the_list_names_every_song_and_every_song_is_pcm16_mono(tiny: Path) -> None:
    with (tiny / "tracks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "genre", "artist", "split"]
    assert {row["path"] for row in rows} == {path.relative_to(tiny).as_posix() for path in tiny.rglob("*.wav")}
    assert sorted({row["genre"] for row in rows}) == GENRES
    for row in rows:
        assert row["path"].split("/")[:2] == [row["genre"], row["artist"]]
        with wave.open(str(tiny / row["path"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert len(samples) == 2 * RATE
        assert 1000 < np.abs(samples.astype(int)).max() < 32767, "neither silent nor clipped"


def test_same_options_give_the_same_bytes_and_another_seed_other_songs(tiny: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", TINY)
    assert contents(tmp_path / "again") == contents(tiny)
    first, *_ = plan(TINY)
    assert not np.array_equal(compose(first, TINY), compose(first, LibraryOptions(3, 1, 2.0, seed=1)))


def test_a_song_does_not_depend_on_the_others() -> None:
    piece = plan(TINY)[-1]
    larger = LibraryOptions(artists=7, songs=4, seconds=2.0)
    twin = next(other for other in plan(larger) if other.path == piece.path)
    assert np.array_equal(compose(piece, TINY), compose(twin, larger))


# --- What is there already ---


def test_a_complete_library_is_left_alone(tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    assert not build(tiny, TINY)
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    assert build(tmp_path, TINY)
    assert (tmp_path / "tracks.csv").is_file()


def test_nothing_else_is_overwritten(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other options.*remove"):
        build(tiny, LibraryOptions(3, 1, 2.0, seed=7))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.mp3").write_bytes(b"music")
    (tmp_path / "file").write_bytes(b"text")
    for name in ("mine", "file"):
        with pytest.raises(UserError, match=r"not a composed library.*Choose another"):
            build(tmp_path / name, TINY)
    assert contents(tmp_path) == {"mine/song.mp3": b"music", "file": b"text"}


def test_a_library_that_lost_songs_is_not_called_complete(tmp_path: Path) -> None:
    build(tmp_path / "library", TINY)
    next((tmp_path / "library").rglob("*.wav")).unlink()
    with pytest.raises(UserError, match=r"1 of its songs are missing"):
        build(tmp_path / "library", TINY)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def full_disk() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        build(tmp_path / "library", TINY, full_disk)
    assert not list(tmp_path.iterdir())


def test_killed_half_way_it_starts_over_and_cleans_up(tiny: Path, tmp_path: Path) -> None:
    code = "import sys; from pipeline.cli import main; sys.argv[0] = 'genre'; main()"
    args = ["demo-library", str(tmp_path / "library"), *TINY_ARGS]
    process = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(tmp_path.rglob("*.wav")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "library").exists() and list(tmp_path.iterdir()), "it was not killed half-way"
    assert build(tmp_path / "library", TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["library"]
    assert contents(tmp_path / "library") == contents(tiny)


def test_the_scratch_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with demo.scratch_beside(tmp_path / "library") as other:
        assert build(tmp_path / "library", TINY)
        assert other.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


# --- Command ---


def test_the_command_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    directory = tmp_path / "my library"
    first = CliRunner().invoke(cli, ["demo-library", str(directory), *TINY_ARGS], catch_exceptions=False)
    assert first.exit_code == 0
    assert "24 songs of 2 s, 8 genres, 24 artists" in first.output and "composed in" in first.output
    assert (
        f"genre ingest csv '{directory}/tracks.csv' --audio-root '{directory}' "
        "--genre-column genre --group-column artist --split-column split "
        "--config configs/demo.yaml --set audio.clip_seconds=2"
    ) in first.output
    second = CliRunner().invoke(cli, ["demo-library", str(directory), *TINY_ARGS], catch_exceptions=False)
    assert second.exit_code == 0 and "already there" in second.output


def test_what_comes_next_is_what_make_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.demo.library.build", lambda *args: False)
    made = CliRunner().invoke(cli, ["demo-library", "workspace/demo/library"], catch_exceptions=False)
    makefile = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = " ".join(makefile.replace("$(BIN)/", "").replace("$(DEMO)", "workspace/demo").split())
    assert made.output.partition("Next: ")[2].strip() + " genre run --config configs/demo.yaml" in recipe


@pytest.mark.parametrize(
    "args",
    [
        ("--artists", "2"),
        ("--songs", "0"),
        ("--seconds", "-1"),
        ("--seconds", "nan"),
        ("--seconds", "1e9"),
        ("--songs", "many"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, args: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["demo-library", str(tmp_path / "library"), *args])
    assert result.exit_code != 0
    assert args[0] in f"{result.output}{result.exception}"
    assert not list(tmp_path.iterdir())


def test_the_command_has_the_defaults_of_the_options() -> None:
    others = ("directory", "quiet", "verbose")
    defaults = {option.name: option.default for option in demo_library.params if option.name not in others}
    assert LibraryOptions(**defaults) == LibraryOptions()


def test_the_command_imports_nothing_heavy_before_it_runs() -> None:
    code = "import sys, pipeline.commands.demo_library; print({'numpy', 'scipy', 'rich'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# --- What tells a genre ---

STATISTICS = ("loudness", "centroid", "tempo", "zero crossings", "rolloff", "flatness", "onsets per second")


def describe(samples: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The STATISTICS of a song, and a vector of its timbre and rhythm; `samples` is int16 [samples]."""
    sound = samples.astype(np.float32) / 32768
    magnitude = np.abs(librosa.stft(sound))
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=RATE, n_mels=64))
    onset = librosa.onset.onset_strength(S=mel, sr=RATE)
    statistics = [
        float(np.log(np.mean(sound**2))),
        float(librosa.feature.spectral_centroid(S=magnitude, sr=RATE).mean()),
        float(librosa.feature.tempo(onset_envelope=onset, sr=RATE)[0]),
        float(librosa.feature.zero_crossing_rate(sound).mean()),
        float(librosa.feature.spectral_rolloff(S=magnitude, sr=RATE).mean()),
        float(np.log(librosa.feature.spectral_flatness(S=magnitude).mean())),
        len(librosa.onset.onset_detect(onset_envelope=onset, sr=RATE)) / (len(sound) / RATE),
    ]
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=20)
    pulse = librosa.autocorrelate(onset - onset.mean(), max_size=100)
    rhythm = [onset.mean(), onset.std(), *pulse[4::3] / pulse[0]]
    return statistics, np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1), rhythm])


@pytest.fixture(scope="module")
def described() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Statistics [songs, statistics], features [songs, features], genres [songs], artists [songs]."""
    options = LibraryOptions(artists=8, songs=3, seconds=5.0, seed=11)
    pieces = plan(options)
    statistics, features = zip(*(describe(compose(piece, options)) for piece in pieces), strict=True)
    genres, artists = (np.array([getattr(piece, name) for piece in pieces]) for name in ("genre", "artist"))
    return np.array(statistics), np.array(features), genres, artists


def accuracy(classifier, features: np.ndarray, genres: np.ndarray, artists: np.ndarray) -> float:
    """Share of songs whose genre is found by a classifier that never heard their artist; chance is 1/8."""
    return float(cross_val_score(classifier, features, genres, groups=artists, cv=GroupKFold(4)).mean())


def best_of_one(statistic: np.ndarray, genres: np.ndarray, artists: np.ndarray) -> float:
    """The better of two classifiers that see one number per song, `statistic` [songs]."""
    neighbours = make_pipeline(StandardScaler(), KNeighborsClassifier(11))
    tree = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=6, random_state=0)
    return max(accuracy(one, statistic[:, None], genres, artists) for one in (neighbours, tree))


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(STATISTICS)), ids=STATISTICS)
def test_no_single_statistic_tells_the_genre(described, index: int) -> None:
    statistics, _, genres, artists = described
    assert best_of_one(statistics[:, index], genres, artists) < 0.35


@pytest.mark.long
def test_a_statistic_that_told_the_genre_would_be_found_out(described) -> None:
    _, _, genres, artists = described
    telling = np.searchsorted(GENRES, genres) + np.random.default_rng(0).normal(0, 0.8, len(genres))
    assert best_of_one(telling, genres, artists) > 0.4


@pytest.mark.long
def test_timbre_and_rhythm_together_tell_the_genre(described) -> None:
    _, features, genres, artists = described
    forest = RandomForestClassifier(300, random_state=0)
    assert 0.6 < accuracy(forest, features, genres, artists) < 0.97, "learnable, but not trivial"
