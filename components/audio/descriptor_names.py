"""Names of the descriptors, apart from their computation: modules that only name them do not depend on it."""

import math

from components.audio.config import AudioConfig

MFCCS = 20
CHROMAS = 12
TONNETZ = 6
CONTRAST_HERTZ = 200.0
CONTRAST_OCTAVES = 6
STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")


def contrast_octaves(audio: AudioConfig) -> int:
    """Returns the number of octave bands from 200 Hz on: those of librosa's 6 that begin below half the sample rate."""
    return min(CONTRAST_OCTAVES, math.ceil(math.log2(audio.sample_rate / 2.0 / CONTRAST_HERTZ)))


def row_names(audio: AudioConfig) -> tuple[str, ...]:
    """Returns the names of what is measured of every frame, in order: 50 of them, fewer below 12.8 kHz."""

    def numbered(name: str, count: int) -> list[str]:
        return [f"{name}_{index + 1:02d}" for index in range(count)]

    return (
        *numbered("mfcc", MFCCS),
        *numbered("chroma_stft", CHROMAS),
        *numbered("tonnetz", TONNETZ),
        *numbered("spectral_contrast", contrast_octaves(audio) + 1),
        "spectral_centroid",
        "spectral_bandwidth",
        "spectral_rolloff",
        "rms",
        "zcr",
    )


def descriptor_names(audio: AudioConfig) -> tuple[str, ...]:
    """Returns the names of a clip's descriptors, in order, such as `mfcc_01_mean`."""
    return tuple(f"{row}_{statistic}" for row in row_names(audio) for statistic in STATISTICS)


def descriptor_count(audio: AudioConfig) -> int:
    """Returns the number of descriptors of a clip: 350, fewer below 12.8 kHz."""
    return len(row_names(audio)) * len(STATISTICS)
