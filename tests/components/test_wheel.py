"""What `pip install .` makes of an empty environment."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.wav import encode_wav

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_the_wheel_predicts_where_only_its_base_is_installed(export_model: Callable[..., Path], tmp_path: Path) -> None:
    """`pip install .` in an empty environment, from whatever index pip is told to use."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if not name.startswith(("tests/", "bench/", "docs/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    binaries = tmp_path / "env" / "bin"
    install = [binaries / "python", "-m", "pip", "install", "--quiet", source]
    done = subprocess.run(install, capture_output=True, text=True, timeout=1500)
    if done.returncode:
        pytest.skip(f"pip reaches no packages here: {done.stderr.strip()[-300:]}")

    installed = json.loads(
        subprocess.run([binaries / "pip", "list", "--format", "json"], capture_output=True, check=True).stdout
    )
    assert not {each["name"] for each in installed} & {"tfx", "apache-beam", "librosa", "scikit-learn", "kfp"}
    packages = {path.name for path in (tmp_path / "env" / "lib" / "python3.11" / "site-packages").iterdir()}
    assert {"components", "genre", "models", "pipeline"} <= packages
    assert not {"bench", "tests"} & packages

    def genre(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [binaries / "genre", *map(str, words)], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )

    audio = AudioConfig(sample_rate=8000, clip_seconds=1.0)
    features = FeatureConfig(
        representation="log_mel", genres=("Folk", "Rock"), audio=audio, mel=MelConfig(n_fft=256, hop_length=128)
    )
    version = export_model(tmp_path / "workspace" / "models" / "1", features)
    (version.parent / "current.json").write_text(json.dumps({"version": 1}))
    tone = (np.sin(np.arange(16000) / 3.0) * 9000).astype(np.int16)
    (tmp_path / "song.wav").write_bytes(encode_wav(tone, 8000))
    code = "import genre, json, sys; print(json.dumps(genre.load(sys.argv[1]).predict('song.wav')))"
    python = subprocess.run(
        [binaries / "python", "-c", code, version], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = json.loads(python.stdout)
    assert set(expected) == {"Folk", "Rock"}
    shown = genre("predict", "song.wav", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)[0]["genres"] == pytest.approx(expected, abs=1e-6)
    assert genre("--help").returncode == 0
    assert "1  served" in genre("models").stdout
    for command in (["run"], ["ingest", "folder", "."], ["retrain"], ["status", "--target", "kubeflow"]):
        refused = genre(*command)
        assert refused.returncode == 1, command
        assert "Traceback" not in refused.stderr, refused.stderr
