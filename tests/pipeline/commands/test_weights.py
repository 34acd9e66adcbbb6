"""`genre weights`: what it lists, and what it fetches, whole or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from components.base.errors import UserError
from models import pretrained
from models.pretrained import WEIGHTS, cached
from pipeline.commands.weights import weights


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_without_kinds_it_lists_and_fetches_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(weights)
    assert result.exit_code == 0
    for kind, known in WEIGHTS.items():
        assert kind in result.output
        assert known.licence in result.output
        assert str(cached(kind)) in result.output
    assert not (tmp_path / "cache").exists()


def test_a_failed_fetch_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half of it")
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setitem(pretrained.WEIGHTS, "yamnet", replace(WEIGHTS["yamnet"], fetch=fail))
    with pytest.raises(UserError, match=r"URL fetch failure.*no network"):
        CliRunner().invoke(weights, ["yamnet"], catch_exceptions=False)
    assert list(cached("yamnet").parent.iterdir()) == []


@pytest.mark.long
def test_musicnn_is_fetched_from_the_package_index(shared_data: Path) -> None:
    result = CliRunner().invoke(weights, ["musicnn"])
    if isinstance(result.exception, UserError):
        pytest.skip(str(result.exception))
    assert result.exit_code == 0, result.output
    with np.load(cached("musicnn")) as ours, np.load(shared_data / "weights" / "musicnn_msd.npz") as theirs:
        assert sorted(ours.files) == sorted(theirs.files)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)
    assert "already here" in CliRunner().invoke(weights, ["musicnn"]).output
