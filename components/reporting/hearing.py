"""Hears clips: their spectrograms, their sound, and what a model says about them over time."""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.mel import log_mel
from components.audio.opus import encode_opus
from components.audio.waveform import decode_wavs, to_float
from components.library.tfrecords import compression_of
from components.reporting.listening import HEARD_SECONDS, Heard, Window, excerpt_start

WINDOWS = "windows"
"""The signature that answers each window of a clip."""


def heard_clips(
    saved_model: epath.Path,
    files: list[str],
    chosen: Collection[str],
    features: FeatureConfig,
) -> dict[str, Heard]:
    """Finds clips in TFRecord files: their spectrograms, their sound, and what the model says over time.

    Args:
      saved_model: of an earlier version of this project, it may lack the signature `windows`.
      files: of raw examples.
      chosen: track ids.
      features: of the model.

    Returns:
      By track id.
    """
    strings = tf.io.FixedLenFeature([], tf.string)
    wavs: dict[str, tf.Tensor] = {}
    for record in tf.data.TFRecordDataset(files, compression_of(files)) if chosen else ():
        example = tf.io.parse_single_example(record, {"track_id": strings, "audio": strings})
        name = example["track_id"].numpy().decode()
        if name in chosen:
            wavs[name] = example["audio"]
        if len(wavs) == len(chosen):
            break
    signature = tf.saved_model.load(str(saved_model)).signatures.get(WINDOWS) if wavs else None
    rate, seconds = features.audio.sample_rate, features.audio.clip_seconds
    start = round(excerpt_start(seconds) * rate)

    def hear(wav: tf.Tensor) -> Heard:
        samples = decode_wavs(wav[tf.newaxis], features.audio)
        part = samples[0, start : start + round(HEARD_SECONDS * rate)].numpy()
        return Heard(
            log_mel=log_mel(to_float(samples), features.audio, features.mel)[0].numpy(),
            seconds=seconds,
            sound=encode_opus(part, rate),
            windows=windows_of(signature(audio=wav[tf.newaxis]), features.genres) if signature else (),
        )

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(wavs, threads.map(hear, wavs.values()), strict=True))


def windows_of(answer: dict[str, tf.Tensor], genres: Sequence[str]) -> tuple[Window, ...]:
    """Reads what the signature `windows` answered about one clip: its windows with sound."""
    parts = (answer[name].numpy()[0].tolist() for name in ("starts", "ends", "probabilities", "heard"))
    return tuple(
        Window(start, end, dict(zip(genres, chances, strict=True)))
        for start, end, chances, sounds in zip(*parts, strict=True)
        if sounds
    )
