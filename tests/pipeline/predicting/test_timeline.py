"""Pictures of songs, looked into pixel by pixel; for their looks there is docs/python.md."""

from pathlib import Path

import numpy as np
from PIL import Image

from components.audio.config import AudioConfig
from components.audio.samples import Samples
from components.store.answers import Segment, SongGenres
from pipeline.predicting.timeline import MOST_GENRES, _levels, _shown, draw_timeline

RATE = 8000
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=5.0)


def tones() -> Samples:
    """A second of 500 Hz, 20 s of silence, and 4 s of 2000 Hz."""
    second = np.arange(RATE) / RATE
    parts = [np.sin(2 * np.pi * 500 * second), np.zeros(20 * RATE), *[np.sin(2 * np.pi * 2000 * second)] * 4]
    return Samples(np.concatenate(parts), RATE)


def test_the_spectrogram_is_loud_where_the_song_is() -> None:
    levels, hertz = _levels(tones(), AUDIO, 25.0)
    times = (np.arange(levels.shape[1]) + 0.5) * 25.0 / levels.shape[1]
    assert levels.max() == 0.0
    for time, tone in ((0.5, 500.0), (23.0, 2000.0)):
        column = levels[:, np.abs(times - time).argmin()]
        assert abs(hertz[column.argmax()] - tone) <= RATE / 1024
    assert levels[:, (times > 2.0) & (times < 20.0)].max() == -80.0


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
