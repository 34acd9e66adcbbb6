"""Fingerprints of recordings: the same after another encoding, cut or level, and unlike those of other songs."""

import numpy as np
import pytest

from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip
from components.library.repeats.fingerprint import PAIRS, as_text, fingerprint, of_text
from components.library.repeats.near_duplicates import FEWEST, Heard, alike

RATE = 44100
AUDIO = AudioConfig()


def music(seed: int, seconds: float = 40.0) -> np.ndarray:
    """Chords of random notes with an attack, which change at random times."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(int(seconds * RATE))
    at = 0.0
    while at < seconds - 1.0:
        length = rng.uniform(0.2, 0.9)
        axis = np.arange(int(length * RATE)) / RATE
        for pitch in 55.0 * 2 ** (rng.integers(0, 48, 3) / 12):
            tone = sum(np.sin(2 * np.pi * pitch * n * axis) / n for n in range(1, 6))
            samples[int(at * RATE) :][: len(axis)] += 0.05 * tone * np.exp(-3 * axis)
        at += length * rng.uniform(0.5, 1.0)
    return samples + rng.normal(0, 1e-4, len(samples))


COPIES = {
    "mp3": (".mp3", 64000, slice(None), 1.0),
    "aac": (".m4a", 96000, slice(None), 1.0),
    "vorbis": (".ogg", 0, slice(None), 1.0),
    "quiet": (".flac", 0, slice(None), 0.1),
    "cut": (".flac", 0, slice(int(3.37 * RATE), None), 1.0),
    "all of it": (".mp3", 96000, slice(int(7.77 * RATE), -int(1.11 * RATE)), 0.3),
}


def shared(clips: dict[str, np.ndarray]) -> dict[str, int]:
    """Pairs of peaks that each clip shares with the one called `song`."""
    split = {name: "train" if name == "song" else "test" for name in clips}
    heard = [
        Heard(name, split[name], None, as_text(fingerprint(pcm, AUDIO.sample_rate))) for name, pcm in clips.items()
    ]
    return {each.clip.track_id: each.shared for each in alike(heard)}


def test_copies_are_recognised_and_others_are_not(tmp_path, ffmpeg):
    song = music(1)
    clips = {"song": decode_clip(ffmpeg.encode(tmp_path / "song.flac", song, RATE), AUDIO).pcm}
    for name, (end, bit_rate, part, gain) in COPIES.items():
        file = ffmpeg.encode(tmp_path / f"{name}{end}", gain * song[part], RATE, bit_rate or 128000)
        clips[name] = decode_clip(file, AUDIO).pcm
    for seed in range(2, 8):
        file = ffmpeg.encode(tmp_path / f"{seed}.flac", music(seed), RATE)
        clips[f"other {seed}"] = decode_clip(file, AUDIO).pcm
    found = shared(clips)
    assert set(found) == set(COPIES)
    assert min(found.values()) >= FEWEST


def test_real_music(shared_data, tmp_path, ffmpeg):
    import soundfile

    clips = {}
    for file in sorted((shared_data / "music").rglob("*.ogg"))[:8]:
        samples, rate = soundfile.read(file, always_2d=True)
        if len(samples) < 20 * rate:
            continue
        mono = samples[: 60 * rate].mean(axis=1)
        clips[file.stem] = decode_clip(ffmpeg.encode(tmp_path / f"{file.stem}.flac", mono, rate), AUDIO).pcm
        copy = ffmpeg.encode(tmp_path / f"{file.stem}.mp3", 0.4 * mono[int(2.3 * rate) :], rate, 96000)
        clips[f"copy of {file.stem}"] = decode_clip(copy, AUDIO).pcm
    heard = [
        Heard(name, "test" if name.startswith("copy") else "train", None, as_text(fingerprint(pcm, AUDIO.sample_rate)))
        for name, pcm in clips.items()
    ]
    found = {(each.clip.track_id, each.other.track_id) for each in alike(heard)}
    assert found == {(f"copy of {name}", name) for name in clips if not name.startswith("copy")}


@pytest.mark.parametrize("samples", [0, 10, 8000, 661500])
def test_silence_and_short_audio_have_none(samples):
    assert fingerprint(np.zeros(samples, np.int16), 22050).shape == (0, 2)


def test_text_there_and_back():
    found = fingerprint((8000 * music(3)).astype(np.int16), RATE)
    assert found.shape == (PAIRS, 2)
    np.testing.assert_array_equal(of_text(as_text(found)), found)
    assert of_text("").shape == (0, 2)


def test_which_of_two_is_told():
    marks = as_text(fingerprint((8000 * music(3)).astype(np.int16), RATE))
    clips = [Heard("a", "train", None, marks), Heard("b", "test", None, marks), Heard("c", "eval", 1, marks)]
    assert [(each.clip.track_id, each.other.track_id) for each in alike(clips)] == [("a", "c"), ("b", "a"), ("b", "c")]
    assert alike([Heard("b", "test", 1, marks), Heard("c", "eval", 1, marks)]) == []
    assert alike([Heard("b", "test", None, marks), Heard("c", "test", None, marks)]) == []
    assert alike([]) == []
