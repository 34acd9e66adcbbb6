"""The log-mel alone: clips that are in memory already, on one core."""

import librosa
import numpy as np
import tensorflow as tf

from bench.harness.music import composed
from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import in_this_process, interleave, ratio, walls
from bench.peers.template_mel import template_log_mel
from components.audio.config import AudioConfig, MelConfig
from components.audio.mel import TOP_DB, log_mel

_BATCH = 8
_CLOSE = 0.01
"""Largest difference between ours and librosa's, in dB: both must compute the same."""


def measure(setting: Setting) -> Measured:
    """Times ours, `librosa.feature.melspectrogram` clip by clip, and `tf.signal` as in a template."""
    audio, mel = AudioConfig(clip_seconds=setting.seconds), MelConfig()
    waveforms = composed(setting.clips, setting.seconds).astype(np.float32) / 32768.0
    batches = [tf.constant(waveforms[start : start + _BATCH]) for start in range(0, len(waveforms), _BATCH)]
    ours = tf.function(lambda batch: log_mel(batch, audio, mel))
    stock = tf.function(lambda batch: template_log_mel(batch, audio, mel))

    def by_librosa(waveform: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=waveform, sr=audio.sample_rate, n_fft=mel.n_fft, hop_length=mel.hop_length, n_mels=mel.n_mels
        )
        return librosa.power_to_db(power, ref=np.max, top_db=TOP_DB)

    error = np.abs(ours(batches[0])[0].numpy() - by_librosa(waveforms[0]).T).max()
    if error > _CLOSE:
        raise ValueError(f"ours and librosa's log-mel differ by {error:.3g} dB: they are not the same work")
    stock(batches[0])  # traced before it is timed, as ours above
    sides = {
        "ours": lambda: in_this_process(lambda: [ours(batch) for batch in batches]),
        "librosa": lambda: in_this_process(lambda: [by_librosa(waveform) for waveform in waveforms]),
        "tf.signal": lambda: in_this_process(lambda: [stock(batch) for batch in batches]),
    }
    samples = interleave(sides, setting.repeats, setting.report)
    mine = walls(samples["ours"])
    return Measured(samples, {name: ratio(walls(samples[name]), mine) for name in ("librosa", "tf.signal")})
