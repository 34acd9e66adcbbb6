"""What is computed of a clip on a processor with AVX-512, and on one that has only AVX2.

NumPy and TensorFlow choose among their kernels when they start, so each set of instructions has a process of its own.
That is this file, run as a program. To run any test under the lesser set:

    TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=AVX2 NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" pytest ...
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core import _multiarray_umath as numpy_core

ROOT = Path(__file__).parents[3]
AVX512 = [name for name in numpy_core.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
"""What NumPy calls its kernels of AVX-512, which depends on its version."""
AVX2_ONLY = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # of TensorFlow's matrix products, and with the next line of nothing else
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "NPY_DISABLE_CPU_FEATURES": " ".join(AVX512),
}
ALLOWED = {
    "descriptors": 1e-5,  # of the value, or of its unit where that is larger
    "log_mel": 1e-4,  # dB
    "yamnet_mel": 1e-4,  # of a natural logarithm
}
CLIPS = ("silence", "DC", "tone", "noise", "clicks", "very quiet noise")


def clips(rate: int, size: int) -> np.ndarray:
    """float32 [6, size] in [-1, 1], in the order of `CLIPS`, on the grid of PCM16."""
    noise = np.random.default_rng(4).uniform(-1.0, 1.0, size)
    samples = [
        np.zeros(size),
        np.full(size, 0.25),
        0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(size) / rate),
        noise,
        0.9 * (np.arange(size) % (rate // 7) == 0),
        2.0 * noise / 32768.0,
    ]
    return (np.rint(np.stack(samples) * 32767.0) / 32768.0).astype(np.float32)


def measure(path: Path) -> None:
    """Writes to an .npz what this process computes of the clips, and which instructions it does so with."""
    import tensorflow as tf

    from components.audio.config import AudioConfig, MelConfig
    from components.audio.descriptors import descriptors
    from components.audio.mel import log_mel
    from components.audio.yamnet_mel import yamnet_mel

    mel = MelConfig()
    found = {}
    for rate in (8000, 22050):  # of 32 frames and of 87, of which kernels for many at a time leave some over
        audio = AudioConfig(sample_rate=rate, clip_seconds=2.0)
        waveform = tf.constant(clips(rate, audio.clip_samples))
        found[f"descriptors {rate}"] = descriptors(waveform, audio, mel)
        found[f"log_mel {rate}"] = log_mel(waveform, audio, mel)
        found[f"yamnet_mel {rate}"] = yamnet_mel(waveform, audio)
    found["avx512"] = any(numpy_core.__cpu_features__.get(name, False) for name in AVX512)
    factors = np.random.default_rng(0).normal(size=(2, 87, 87)).astype(np.float32)
    found["product"] = tf.matmul(factors[0], factors[1])
    np.savez(path, **found)


def measured(path: Path, environment: dict[str, str]) -> dict[str, np.ndarray]:
    """What a process with these variables computes."""
    unrestricted = {name: value for name, value in os.environ.items() if name not in AVX2_ONLY}
    # Only of this processor: a GPU would compute the same both times.
    inherited = {**unrestricted, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, str(path)]
    done = subprocess.run(command, env={**inherited, **environment}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(path) as found:
        return dict(found)


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is computed with all instructions of this processor, and with AVX2 only."""
    if not AVX512:
        pytest.skip("this NumPy has no kernels of AVX-512 to be told not to use")
    if not any(numpy_core.__cpu_features__[name] for name in AVX512) and "NPY_DISABLE_CPU_FEATURES" not in os.environ:
        pytest.skip("this processor has no AVX-512: every test runs without it anyway")
    directory = tmp_path_factory.mktemp("instruction_sets")
    full = measured(directory / "full.npz", {})
    restricted = measured(directory / "restricted.npz", AVX2_ONLY)
    if not full["avx512"] or restricted["avx512"]:
        pytest.skip(f"NumPy uses the same instructions whatever it is told: AVX-512 is {full['avx512']}")
    if np.array_equal(full["product"], restricted["product"]):
        pytest.skip("TensorFlow multiplies alike whatever it is told: its build may be without oneDNN")
    return full, restricted


@pytest.mark.long
@pytest.mark.parametrize("rate", [8000, 22050])
@pytest.mark.parametrize("kind", ALLOWED)
def test_instruction_sets_agree(kind: str, rate: int, of_both: tuple[dict[str, np.ndarray], ...]) -> None:
    full, restricted = (found[f"{kind} {rate}"] for found in of_both)
    relative = ALLOWED[kind] if kind == "descriptors" else 0.0
    furthest = {}
    for clip, one, other in zip(CLIPS, full, restricted, strict=True):
        assert np.isfinite(one).all()
        furthest[clip] = float(np.max(np.abs(one - other) / (ALLOWED[kind] + relative * np.abs(one))))
    assert {clip: share for clip, share in furthest.items() if share > 1.0} == {}


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
