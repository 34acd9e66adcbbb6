"""What a pushed model needs to answer; its answers are tested with a trained one, in test_end_to_end."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.decoding import AudioError
from components.audio.samples import Samples
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.store.predictor import Predictor, Segment, SongGenres

ROOT = Path(__file__).resolve().parents[3]
RATE = 8000
GENRES = ("Folk", "Rock", "Jazz")
CLIP, WINDOW = 3.0, 1.0
"""Seconds."""


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """int16 [n], whose spectrum changes over time."""
    samples = np.random.default_rng(seed).normal(size=round(seconds * RATE)).cumsum()
    steps = np.diff(samples, prepend=0.0)
    turn = np.linspace(0.0, 3.0 * seconds, len(samples)) % 1.0
    mixed = turn * steps + (1.0 - turn) * (samples - samples.mean()) / samples.std()
    return (mixed * 4000.0).astype(np.int16)


@pytest.fixture(scope="module")
def saved(export_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose clips of 3 s have three windows that do not overlap."""
    audio = AudioConfig(sample_rate=RATE, clip_seconds=CLIP)
    features = FeatureConfig(representation="waveform", genres=GENRES, audio=audio, mel=MelConfig())
    return export_model(tmp_path_factory.mktemp("model") / "1", features, WINDOW)


@pytest.fixture(scope="module")
def predictor(saved: Path) -> Predictor:
    return Predictor(epath.Path(saved))


@pytest.fixture(scope="module")
def windows(saved: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What TensorFlow's own signature says of a clip."""
    model = tf.saved_model.load(str(saved))

    def ask(pcm: np.ndarray) -> dict[str, np.ndarray]:
        answer = model.signatures["windows"](audio=tf.constant([encode_wav(pcm, RATE)]))
        return {name: values.numpy()[0] for name, values in answer.items()}

    return ask


def values(probabilities: dict[str, float]) -> list[float]:
    return [probabilities[genre] for genre in GENRES]


def spans(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments]


def test_no_tfx_is_loaded_to_predict() -> None:
    training = ["apache_beam", "keras", "librosa", "ml_metadata", "tensorflow_transform", "tfx", "tfx_bsl"]
    code = """if True:
        import sys
        import components.store.predictor
        print('tensorflow' in sys.modules)
        import components.store.saved_model_runtime
        print(*sorted({*sys.argv[1:], 'tensorflow'} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code, *training], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before == "False"
    assert set(after.split()) - {"keras"} == {"tensorflow"}


def answered(predictor: Predictor, song: Any, **asked: Any) -> SongGenres:
    """What is said of one song."""
    answer = next(predictor.predict_all([song], **asked))
    if isinstance(answer, Exception):
        raise answer
    return answer


def over_time(predictor: Predictor, song: Any, hop: float | None = None) -> list[Segment]:
    return list(answered(predictor, song, segments=True, hop=hop).segments)


# --- Whole songs ---------------------------------------------------------------------------------------------------


def test_a_song_is_the_mean_of_its_clips(predictor: Predictor, windows: Callable) -> None:
    """8 s are two clips and 2 s, which are repeated to a clip; 7 s are two clips, and the last second has no vote."""
    song = noise(8.0)
    third = np.resize(song[6 * RATE :], 3 * RATE)
    clips = [windows(pcm)["probabilities"].mean(axis=0) for pcm in (song[: 3 * RATE], song[3 * RATE : 6 * RATE], third)]
    answer = answered(predictor, io.BytesIO(encode_wav(song, RATE)))
    assert (answer.clips, answer.segments) == (3, ())
    assert list(answer.probabilities.values()) == sorted(answer.probabilities.values(), reverse=True)
    np.testing.assert_allclose(values(answer.probabilities), np.mean(clips, axis=0), atol=1e-6)
    shorter = answered(predictor, Samples(song[: 7 * RATE], RATE))
    assert shorter.clips == 2
    np.testing.assert_allclose(values(shorter.probabilities), np.mean(clips[:2], axis=0), atol=1e-6)


def test_what_is_in_memory_is_answered_as_the_file(predictor: Predictor, tmp_path: Path) -> None:
    song = noise(4.0)
    path = tmp_path / "song.wav"
    path.write_bytes(encode_wav(song, RATE))
    expected = answered(predictor, path)
    mono = song.astype(np.float32) / 32768.0
    for values_ in (song, mono, mono.astype(float), np.stack([mono, mono], axis=1), song.astype(np.int32) << 16):
        assert answered(predictor, Samples(values_, RATE)) == expected
    with path.open("rb") as file:
        assert answered(predictor, file) == expected


@pytest.mark.parametrize(
    ("array", "rate", "reason"),
    [
        (np.zeros((2, 30_000)), RATE, "the other way around"),
        (np.zeros((2, 2, 2)), RATE, "shape 2x2x2"),
        (np.zeros(100, np.uint8), RATE, "an array of uint8"),
        (np.zeros(100, complex), RATE, "an array of complex128"),
        (np.zeros(0), RATE, "no samples"),
        (np.full(100, np.nan), RATE, "not numbers"),
        (np.zeros(100), 0, "sample rate of 0 Hz"),
    ],
)
def test_an_array_that_is_no_audio_says_why(predictor: Predictor, array: np.ndarray, rate: int, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        answered(predictor, Samples(array, rate))


class Recorder:
    """A runtime whose answers depend on nothing, and that counts the clips of every call."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        audio = AudioConfig(sample_rate=8000, clip_seconds=1.0)
        self.card: Any = SimpleNamespace(features=SimpleNamespace(genres=("Folk", "Rock"), audio=audio))

    def answers(self, what: str) -> bool:
        return what == "audio"

    def answer(self, clips: list[np.ndarray], what: str) -> dict[str, np.ndarray]:
        assert self.answers(what)
        self.calls.append(len(clips))
        return {"probabilities": np.array([[0.25, 0.75]] * len(clips))}


def of_recorder() -> tuple[Predictor, Recorder]:
    recorder = Recorder()
    return Predictor(epath.Path("none"), recorder), recorder


def test_silence_has_no_vote_and_no_genre() -> None:
    predictor, recorder = of_recorder()
    sound = noise(1.0)
    half = np.resize(np.append(sound, 0 * sound), 48_000)
    assert answered(predictor, Samples(0 * half, RATE)) == SongGenres({}, 0)
    assert not recorder.calls
    assert answered(predictor, Samples(half, RATE)) == SongGenres({"Rock": 0.75, "Folk": 0.25}, 3)


def test_short_songs_are_answered_together_and_errors_stay_with_their_songs() -> None:
    predictor, recorder = of_recorder()
    songs = [Samples(noise(1.0, seed), RATE) for seed in range(8)]
    answers = list(predictor.predict_all([*songs[:3], Path("none.wav"), *songs[3:]]))
    assert [isinstance(answer, OSError) for answer in answers] == [index == 3 for index in range(9)]
    assert sorted(recorder.calls) == [1, 3, 4]
    assert list(predictor.predict_all([])) == []


def test_songs_are_read_as_their_answers_are_taken() -> None:
    predictor, _ = of_recorder()
    asked: list[int] = []

    def songs() -> Iterator[Samples]:
        for number in range(1000):
            asked.append(number)
            yield Samples(noise(1.0, number % 3), RATE)

    answers = predictor.predict_all(songs())
    assert next(answers).clips == 1
    answers.close()
    assert len(asked) < 100


# --- Over time -----------------------------------------------------------------------------------------------------


def test_segments_are_the_windows_of_the_clips(predictor: Predictor, windows: Callable) -> None:
    song = noise(6.0)
    both = answered(predictor, Samples(song, RATE), segments=True)
    segments = both.segments
    halves = [windows(song[: 3 * RATE]), windows(song[3 * RATE :])]
    starts = np.concatenate([halves[0]["starts"], 3.0 + halves[1]["starts"]])
    np.testing.assert_allclose([segment.start for segment in segments], starts, atol=1e-3)
    assert segments[-1].end == 6.0
    expected = np.concatenate([half["probabilities"] for half in halves])
    np.testing.assert_allclose([values(segment.probabilities) for segment in segments], expected, atol=1e-6)
    np.testing.assert_allclose(values(both.probabilities), expected.mean(axis=0), atol=1e-6)
    alone = answered(predictor, Samples(song, RATE))
    np.testing.assert_allclose(values(alone.probabilities), values(both.probabilities), atol=1e-6)


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [
        (0.3, [0.3]),
        (1.7, [1.0, 1.7]),
        (3.2, [1.0, 2.0, 3.0]),  # less than half a window is left
        (4.6, [1.0, 2.0, 3.0, 4.0, 4.6]),
    ],
)
def test_segments_end_with_the_song(predictor: Predictor, seconds: float, ends: list[float]) -> None:
    segments = over_time(predictor, Samples(noise(seconds), RATE))
    assert [segment.end for segment in segments] == ends
    assert all(segment.probabilities for segment in segments)


@pytest.mark.parametrize(("hop", "distance"), [(0.5, 0.5), (0.4, 1 / 3), (1.0, 1.0), (3.5, 3.0)])
def test_windows_overlap_by_choice(predictor: Predictor, windows: Callable, hop: float, distance: float) -> None:
    """Each is what the signature says of the window in a clip that begins where ours did."""
    song = noise(10.0)
    both = answered(predictor, Samples(song, RATE), segments=True, hop=hop)
    segments = both.segments
    starts = np.array([segment.start for segment in segments])
    np.testing.assert_allclose(starts, distance * np.arange(len(starts)), atol=1e-3)
    assert segments[-1].end == 10.0
    assert len(segments) == 1 or segments[-2].end < 10.0
    for index, segment in enumerate(segments):
        start = index * distance + 1e-9
        clip = start // CLIP * CLIP + start % WINDOW
        answer = windows(song[round(clip * RATE) :][: round(CLIP * RATE)])
        number = round((start - clip) / WINDOW)
        np.testing.assert_allclose(values(segment.probabilities), answer["probabilities"][number], atol=1e-5)
    np.testing.assert_allclose(
        values(both.probabilities), values(answered(predictor, Samples(song, RATE)).probabilities), atol=1e-6
    )


def test_a_silent_segment_is_empty(predictor: Predictor) -> None:
    song = np.concatenate([noise(3.0), np.zeros(4 * RATE, np.int16), noise(2.0)])
    segments = over_time(predictor, Samples(song, RATE))
    heard = [(segment.start, bool(segment.probabilities)) for segment in segments]
    assert [sound for _, sound in heard] == [True] * 3 + [False] * 4 + [True] * 2
    assert all(not segment.probabilities for segment in over_time(predictor, Samples(0 * song, RATE), 0.7))


def test_a_hop_that_no_one_can_mean_is_refused(predictor: Predictor) -> None:
    for hop in (0.0, -1.0, 0.001, float("nan")):
        with pytest.raises(UserError, match="hop"):
            over_time(predictor, Samples(noise(3.0), RATE), hop)


def test_a_model_without_windows_answers_whole_clips() -> None:
    predictor, _ = of_recorder()
    assert not predictor.answers_windows
    song = np.concatenate([noise(1.0), np.zeros(RATE, np.int16), noise(0.7)])
    answer = {"Rock": 0.75, "Folk": 0.25}
    expected = [Segment(0.0, 1.0, answer), Segment(1.0, 2.0, {}), Segment(2.0, 2.7, answer)]
    assert over_time(predictor, Samples(song, RATE)) == expected
    assert spans(over_time(predictor, Samples(song, RATE), 0.5)) == [
        (0.0, 1.0),
        (0.5, 1.5),
        (1.0, 2.0),
        (1.5, 2.5),
        (2.0, 2.7),
    ]


# --- What the last layer sees --------------------------------------------------------------------------------------


def test_the_embedding_is_the_mean_over_the_clips(predictor: Predictor, saved: Path) -> None:
    song = noise(6.0)
    signature = tf.saved_model.load(str(saved)).signatures["embeddings"]
    wavs = [encode_wav(part, RATE) for part in np.split(song, 2)]
    features = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[wav])) for wav in wavs]
    examples = [
        tf.train.Example(features=tf.train.Features(feature={"audio": each})).SerializeToString() for each in features
    ]
    expected = signature(examples=tf.constant(examples))["embedding"].numpy().mean(axis=0)
    songs = [Samples(song, RATE), Samples(0 * song, RATE), Path("none.wav"), Samples(song, RATE)]
    found, silent, missing, again = predictor.embed_all(songs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(again, expected, atol=1e-5)
    assert silent.shape == (0,)
    assert isinstance(missing, FileNotFoundError)
    with pytest.raises(UserError, match="embeddings"):
        next(of_recorder()[0].embed_all([Samples(song, RATE)]))
