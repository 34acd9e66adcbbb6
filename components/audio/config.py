"""Settings of a clip and of what is computed from it."""

from pydantic import Field, model_validator

from components.base.section import Section

COMBINED_PARTS = ("descriptors", "musicnn_mel", "yamnet_mel")
"""Representations that the representation `combined` holds side by side."""


class AudioConfig(Section):
    """Rate and length of a clip, which is mono PCM16."""

    sample_rate: int = Field(
        22050, ge=4000, le=192000, description="sample rate of every clip, in Hz; files of other rates are resampled"
    )
    clip_seconds: float = Field(
        30.0,
        gt=0.0,
        le=600.0,
        description="length of a clip, in seconds; of longer files the middle is kept, shorter ones are repeated",
    )

    @property
    def clip_samples(self) -> int:
        """Number of samples in a clip."""
        return round(self.sample_rate * self.clip_seconds)


class MelConfig(Section):
    """Short-time Fourier transform and mel filter bank, named and valued as in librosa."""

    n_fft: int = Field(2048, ge=64, le=65536, description="length of a frame of the Fourier transform, in samples")
    hop_length: int = Field(
        512, ge=16, description="distance between the starts of two frames, in samples; at most n_fft"
    )
    n_mels: int = Field(128, ge=8, le=512, description="number of mel bands")
    fmin: float = Field(0.0, ge=0.0, description="lower edge of the lowest mel band, in Hz")
    fmax: float | None = Field(
        None, gt=0.0, description="upper edge of the highest mel band, in Hz; null: half the sample rate"
    )

    @model_validator(mode="after")
    def _check(self) -> "MelConfig":
        if self.hop_length > self.n_fft:
            raise ValueError(f"hop_length {self.hop_length} exceeds n_fft {self.n_fft}: samples would be skipped")
        if self.fmax is not None and self.fmax <= self.fmin:
            raise ValueError(f"fmax {self.fmax} must exceed fmin {self.fmin}")
        return self


class FeatureConfig(Section):
    """Everything that the Transform graph depends on."""

    representation: str
    """A name in `components.audio.representations.REPRESENTATIONS`."""
    genres: tuple[str, ...]
    audio: AudioConfig
    mel: MelConfig
