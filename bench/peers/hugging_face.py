"""Hugging Face's method: `datasets.map` with a feature extractor of `transformers`, in as many processes as cores.

`python -m bench.peers.hugging_face TABLE OUT SECONDS` writes the data set's Arrow files. `datasets` needs a newer
pyarrow than TFX allows, so this runs in another environment, with datasets, transformers, librosa, soundfile, soxr and
pydantic. $GENRE_HUGGING_FACE_PYTHON names its Python.
"""

import os
import sys
from pathlib import Path

import librosa

from bench.harness.music import songs
from components.audio.config import AudioConfig, MelConfig


def _main(table: Path, directory: Path, seconds: float) -> None:
    from datasets import Dataset
    from transformers import WhisperFeatureExtractor

    audio, mel = AudioConfig(clip_seconds=seconds), MelConfig()
    extractor = WhisperFeatureExtractor(
        feature_size=mel.n_mels,
        sampling_rate=audio.sample_rate,
        hop_length=mel.hop_length,
        chunk_length=round(seconds),
        n_fft=mel.n_fft,
    )

    def features(row: dict) -> dict:
        samples, rate = librosa.load(row["path"], sr=audio.sample_rate, mono=True, duration=audio.clip_seconds)
        return {"mel": extractor(samples, sampling_rate=rate, return_tensors="np")["input_features"][0]}

    listed = Dataset.from_dict({"path": [str(song) for song in songs(table)]})
    listed.map(features, num_proc=os.cpu_count()).save_to_disk(str(directory))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
