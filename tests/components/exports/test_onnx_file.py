"""The Fourier transforms of ONNX files, against numpy's."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import scipy.signal
import tensorflow as tf
import tf2onnx

from components.audio.config import AudioConfig
from components.audio.resampling import resample, resampled_length
from components.exports.onnx_file import OPSET, handlers

TRANSFORMS: dict[str, tuple[Callable, Callable]] = {
    "magnitude": (lambda x: tf.abs(tf.signal.rfft(x)), lambda x: np.abs(np.fft.rfft(x))),
    "real": (lambda x: tf.math.real(tf.signal.rfft(x)), lambda x: np.fft.rfft(x).real),
    "imaginary": (lambda x: tf.math.imag(tf.signal.rfft(x)), lambda x: np.fft.rfft(x).imag),
    "padded": (lambda x: tf.abs(tf.signal.rfft(x, [512])), lambda x: np.abs(np.fft.rfft(x, 512))),
    "fewer": (lambda x: tf.signal.irfft(tf.signal.rfft(x), [240]), lambda x: np.fft.irfft(np.fft.rfft(x), 240)),
    "odd": (lambda x: tf.signal.irfft(tf.signal.rfft(x), [301]), lambda x: np.fft.irfft(np.fft.rfft(x), 301)),
}


def converted(function: Callable, samples: int, dtype: tf.DType, x: np.ndarray) -> np.ndarray:
    signature = [tf.TensorSpec([None, samples], dtype, name="x")]
    model, _ = tf2onnx.convert.from_function(
        tf.function(function), signature, opset=OPSET, custom_op_handlers=handlers()
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"x": x})
    return found


@pytest.mark.parametrize("samples", [300, 301])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_equals_numpy(name: str, dtype: tf.DType, samples: int) -> None:
    ours, theirs = TRANSFORMS[name]
    if dtype == tf.float64 and "irfft" in ours.__code__.co_names:
        pytest.skip("only float32 is resampled")
    x = np.random.default_rng(0).normal(size=(3, samples)).astype(dtype.as_numpy_dtype)
    found = converted(lambda x: ours(x) + 0, samples, dtype, x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, theirs(x), atol=1e-10 if dtype == tf.float64 else 5e-5)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
def test_clips_are_resampled_as_by_scipy(rate: int) -> None:
    audio = AudioConfig(sample_rate=rate, clip_seconds=0.2)
    # Below 3.5 kHz: at half of a rate, scipy and TensorFlow treat the spectrum differently.
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=(2, audio.clip_samples)))
    spectrum[:, 700:] = 0.0
    x = np.fft.irfft(spectrum, audio.clip_samples).astype(np.float32)
    found = converted(lambda x: resample(x, audio), audio.clip_samples, tf.float32, x)
    np.testing.assert_allclose(found, scipy.signal.resample(x, resampled_length(audio), axis=1), atol=1e-5)
