"""`genre labels`: a wrong label is found and heard, in a library of any name, without TFX."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.base.errors import UserError
from components.library.config import IngestConfig
from components.library.ingest import ingest
from components.library.restating.corrections import restate
from components.library.sources.manifest_csv import Columns, read_csv
from components.store import checksums, model_store
from pipeline.cli import cli
from pipeline.local.labels import find_label_errors

AUDIO = AudioConfig(sample_rate=8000, clip_seconds=1.0)


@pytest.fixture(scope="module")
def root(compose: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose path a pattern would take for another one, with a tone that is called a noise."""
    directory = tmp_path_factory.mktemp("labels")
    table = compose(directory / "songs", {"train": 6, "eval": 2, "test": 2})
    root = directory / "mine [new]*" / "data"
    tracks = read_csv(table, directory / "songs", Columns("path", "genre", None, "split", None, (), ()))
    ingest(tracks, directory / "songs", "csv", root, AUDIO, IngestConfig(min_seconds=0.5))
    restate(root, {"tone/train-1.wav": "noise"})
    return root


@pytest.fixture(scope="module")
def model(export_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    mel = MelConfig(n_fft=256, hop_length=128, n_mels=16)
    features = FeatureConfig(representation="log_mel", genres=("clicks", "noise", "tone"), audio=AUDIO, mel=mel)
    return epath.Path(export_model(tmp_path_factory.mktemp("model") / "1", features))


def test_a_wrong_label_comes_first(root: Path, model: epath.Path, tmp_path: Path) -> None:
    page = tmp_path / "[new]" / "labels.html"
    assert find_label_errors(root, 1, model, page, 1) >= 1
    html = page.read_text()
    assert "tone/train-1.wav" in html and "data:audio/webm" in html and "tone/train-2.wav" not in html


def test_a_span_that_is_stated_again_meanwhile_is_not_judged(
    root: Path, model: epath.Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.local import labels

    def refuse(*_: object) -> None:
        raise UserError("stated again")

    monkeypatch.setattr(labels, "require_unchanged", refuse)
    with pytest.raises(UserError, match="stated again"):
        find_label_errors(root, 1, model, tmp_path / "labels.html", 1)
    assert not (tmp_path / "labels.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--span", "9"], r"no complete span 9 \(complete spans: 1\)"), ([], "no complete span. Ingest")],
)
def test_a_missing_span_is_named_before_tensorflow_is_imported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr(model_store, "current_version", lambda store: 1)
    monkeypatch.setattr(checksums, "require_sound", lambda version: None)
    if not words:
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "library.json").write_bytes((root / "library.json").read_bytes())
        root = tmp_path / "empty"
    done = CliRunner().invoke(cli, ["labels", "--data", str(root), "--workspace", str(tmp_path), *words])
    with pytest.raises(UserError, match=message):
        raise done.exception or AssertionError(done.output)


def test_tfx_is_not_imported() -> None:
    code = "import pipeline.local.labels, sys; print(sorted({'tfx', 'apache_beam', 'ml_metadata'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
