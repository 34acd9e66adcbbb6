"""Settings of a clip and of what is computed from it."""

from typing import Literal

from pydantic import Field, model_validator

from components.base.section import Section

Representation = Literal["log_mel", "waveform", "yamnet_mel", "descriptors"]
"""What a network may ask to see of a clip; see `components.audio.representations`."""


class AudioConfig(Section):
    """What a clip is: mono PCM16 of one rate and one length."""

    sample_rate: int = Field(22050, ge=4000, le=192000, description="Hz")
    clip_seconds: float = Field(
        30.0, gt=0.0, le=600.0, description="longer is cut from the middle, shorter zero-padded"
    )

    @property
    def clip_samples(self) -> int:
        """Samples in a clip."""
        return round(self.sample_rate * self.clip_seconds)


class MelConfig(Section):
    """Short-time Fourier transform and mel filter bank, named and valued as in librosa."""

    n_fft: int = Field(2048, ge=64, le=65536, description="samples per frame")
    hop_length: int = Field(512, ge=16, description="samples between frame starts")
    n_mels: int = Field(128, ge=8, le=512, description="mel bins")
    fmin: float = Field(0.0, ge=0.0, description="Hz")
    fmax: float | None = Field(None, gt=0.0, description="Hz; null: half the sample rate")
    top_db: float = Field(80.0, gt=0.0, le=200.0, description="dynamic range kept below the clip's loudest bin")

    @model_validator(mode="after")
    def _check(self) -> "MelConfig":
        if self.hop_length > self.n_fft:
            raise ValueError(f"hop_length {self.hop_length} exceeds n_fft {self.n_fft}: samples would be skipped")
        if self.fmax is not None and self.fmax <= self.fmin:
            raise ValueError(f"fmax {self.fmax} must exceed fmin {self.fmin}")
        return self


class FeatureConfig(Section):
    """Everything that the Transform graph depends on."""

    representation: Representation
    genres: tuple[str, ...]
    audio: AudioConfig
    mel: MelConfig
