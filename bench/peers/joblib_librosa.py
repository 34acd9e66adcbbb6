"""The usual script for log-mels of a folder: librosa in as many processes as there are cores, by joblib.

`python -m bench.peers.joblib_librosa TABLE OUT SECONDS` writes a .npy file per song of a table of
`bench.harness.music.library`.
"""

import os
import sys
from pathlib import Path

import joblib
import librosa
import numpy as np

from bench.harness.music import songs
from components.audio.config import AudioConfig, MelConfig


def write_log_mel(song: Path, out: Path, audio: AudioConfig, mel: MelConfig) -> None:
    """Writes the log-mel of an MP3 file, float32 [n_mels, frames], to `out`."""
    samples, rate = librosa.load(song, sr=audio.sample_rate, mono=True, duration=audio.clip_seconds)
    power = librosa.feature.melspectrogram(
        y=samples, sr=rate, n_fft=mel.n_fft, hop_length=mel.hop_length, n_mels=mel.n_mels
    )
    np.save(out, librosa.power_to_db(power, ref=np.max))


if __name__ == "__main__":
    table, directory, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    work = [
        joblib.delayed(write_log_mel)(
            song, directory / f"{number:05d}.npy", AudioConfig(clip_seconds=seconds), MelConfig()
        )
        for number, song in enumerate(songs(table))
    ]
    joblib.Parallel(n_jobs=os.cpu_count())(work)
