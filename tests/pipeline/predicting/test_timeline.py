"""Pictures of songs, looked into pixel by pixel; for their looks there is docs/python.md."""

from pathlib import Path

import librosa
import numpy as np
from PIL import Image

from components.audio.config import AudioConfig
from components.audio.samples import Samples
from components.store.answers import Segment, SongGenres
from pipeline.predicting.picture import BANDS, band_of, draw
from pipeline.predicting.timeline import MOST_GENRES, _shown, _stretches, draw_timeline

RATE = 8000
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=5.0)


def tones() -> Samples:
    """A second of 500 Hz, 20 s of silence, and 4.4 s of 2000 Hz."""
    time = np.arange(RATE * 25.4) / RATE
    loud = (time < 1.0) | (time >= 21.0)
    return Samples(np.where(loud, np.sin(2 * np.pi * np.where(time < 1.0, 500, 2000) * time), 0.0), RATE)


def test_a_picture_shows_where_and_how_high_the_song_is_loud() -> None:
    """In bands of mel as librosa has them, by the formula of HTK."""
    picture = draw(tones(), AUDIO)
    assert picture.seconds == 25.4
    assert len(picture.mel) == len(picture.peaks)
    times = (np.arange(len(picture.mel)) + 0.5) * 25.4 / len(picture.mel)
    middles = librosa.mel_frequencies(n_mels=BANDS + 2, fmin=0.0, fmax=RATE / 2, htk=True)[1:-1]
    for time, tone in ((0.5, 500.0), (23.0, 2000.0), (25.3, 2000.0)):
        loudest = np.flatnonzero(picture.mel[np.abs(times - time).argmin()] >= 250)
        band = np.interp(tone, middles, np.arange(BANDS))
        assert abs(loudest.mean() - band) <= 1.0
        assert abs(float(band_of(tone, RATE)) - band) <= 0.01
    silent = (times > 1.2) & (times < 20.8)
    assert picture.mel[silent].max() == picture.peaks[silent].max() == 0
    assert draw(Samples(np.zeros(9 * RATE), RATE), AUDIO).mel.max() == 0


def test_spectrogram_and_bands_line_up(tmp_path: Path) -> None:
    """In pixels of the picture, of a song that goes on after its last segment."""
    heard = {"Rock": 0.9}
    segments = (Segment(0.0, 1.0, heard), Segment(1.0, 21.0, {}), Segment(21.0, 24.0, heard))
    draw_timeline(tones(), "a song", SongGenres(heard, 1, segments), AUDIO, tmp_path / "song.png")
    with Image.open(tmp_path / "song.png") as image:
        pixels = np.asarray(image.convert("RGB"), int)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    bright = (red > 200) & (blue < red - 30)  # yellow of magma
    dark_blue = (blue > red + 60) & (blue > green + 30)
    half = len(pixels) * 6 // 10

    def edges(rows: np.ndarray) -> list[int]:
        return np.flatnonzero(np.diff(rows.any(axis=0).astype(int))).tolist()

    loud, named = edges(bright[:half]), edges(dark_blue[half:])[:4]  # on the right is the bar of colours
    assert len(loud) == len(named) == 4
    np.testing.assert_allclose(loud[:3], named[:3], atol=6)  # half a frame of the spectrogram
    second = (named[2] - named[0]) / 21.0
    np.testing.assert_allclose([named[3], loud[3]], named[0] + second * np.array([24.0, 25.4]), atol=6)


def test_each_segment_is_shown_where_it_was_heard() -> None:
    def shown(*spans: tuple[float, float]) -> list[tuple[float, float]]:
        return _stretches([Segment(start, end, {}) for start, end in spans])

    assert shown((0.0, 1.0), (1.0, 2.0)) == [(0.0, 1.0), (1.0, 2.0)]
    assert shown((0.0, 1.0), (3.0, 4.0)) == [(0.0, 1.0), (3.0, 4.0)]
    assert shown((0.0, 2.0), (1.0, 3.0), (2.0, 4.0)) == [(0.0, 1.5), (1.5, 2.5), (2.5, 4.0)]


def test_a_picture_of_any_song(tmp_path: Path) -> None:
    """Names that a typesetter would trip over, silence, a single segment, one of no length, many genres."""
    many = {f"$x_{number}$ \\frac" + "\x1b[31m" * (number == 1): 0.1 for number in range(3 * MOST_GENRES)}
    answers = {
        "over time": (Segment(0.0, 5.0, {"Rock": 0.7}), Segment(4.0, 9.0, {}), Segment(8.0, 25.0, many)),
        "silent": (Segment(0.0, 25.0, {}),),
        "one": (Segment(0.0, 25.0, many),),
    }
    for name, segments in answers.items():
        picture = tmp_path / "new" / f"{name}.png"
        answer = SongGenres(segments[0].probabilities, 1, segments)
        draw_timeline(tones(), "a $name_$ \n\udcf6.mp3", answer, AUDIO, picture)
        with Image.open(picture) as image:
            assert image.format == "PNG"
            assert image.width > 1000
    assert len(_shown(answers["one"])) == MOST_GENRES
    assert _shown(answers["over time"])[0] == "Rock"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["one.png", "over time.png", "silent.png"]
