"""What a pushed model needs to answer; its answers are tested with a trained one, in test_end_to_end."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from components.audio.config import AudioConfig
from components.audio.wav import encode_wav
from components.store.predictor import Predictor, SongGenres

ROOT = Path(__file__).resolve().parents[3]


def test_no_tfx_is_loaded_to_predict() -> None:
    training = ["apache_beam", "librosa", "ml_metadata", "tensorflow_transform", "tfx", "tfx_bsl"]
    code = """if True:
        import sys
        import components.store.predictor
        print(*sorted({*sys.argv[1:], 'tensorflow'} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code, *training], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "tensorflow\n"


def test_silence_has_no_vote_and_no_genre(tmp_path: Path) -> None:
    heard = []

    def answer(audio: tf.Tensor) -> dict[str, tf.Tensor]:
        heard.append(len(audio))
        return {
            "genres": tf.constant([["Folk", "Rock"]] * len(audio)),
            "probabilities": tf.constant([[0.25, 0.75]] * len(audio)),
        }

    predictor = object.__new__(Predictor)
    predictor._model = SimpleNamespace(signatures={"audio": answer})
    predictor._audio = AudioConfig(sample_rate=8000, clip_seconds=1.0)
    sound = np.random.default_rng(0).integers(-9000, 9000, 8000, np.int16)
    half = np.resize(np.append(sound, 0 * sound), 48_000)
    for name, samples in (("silent", 0 * half), ("half", half)):
        (tmp_path / name).write_bytes(encode_wav(samples, 8000))
    assert predictor.predict(tmp_path / "silent") == SongGenres({}, 0)
    assert not heard
    assert predictor.predict(tmp_path / "half") == SongGenres({"Rock": 0.75, "Folk": 0.25}, 3)
