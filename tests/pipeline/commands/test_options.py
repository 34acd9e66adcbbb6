"""Paths of the command line, as settings."""

from pathlib import Path

import click
import pytest

from components.base.errors import UserError
from pipeline.cli import cli
from pipeline.commands.options import with_paths
from pipeline.config.settings import load_config

PATHS = ["a b", 'a"b', "it's", "a\nb", "\n", "a\\b", "-x", "#x", "{x}", "[x]", "*?", "~", "é🎸", "\x7f\x85\u2028", "no"]


@pytest.mark.parametrize("path", [*PATHS, "x " * 300 + "y"])
def test_any_path_arrives(path: str) -> None:
    assert load_config(None, with_paths((), data=Path(path))).data == path


def test_a_path_that_is_not_utf8() -> None:
    with pytest.raises(UserError, match=r"--data .*not valid UTF-8"):
        with_paths((), data=Path("caf\udce9"))


@pytest.mark.parametrize(
    "command",
    [
        ("spans", "--data", "gs://music/data"),
        ("ingest", "folder", "songs", "--data", "gs://music/data"),
        ("run", "--workspace", "gs://music/ws"),
    ],
)
def test_a_bucket_becomes_no_folder(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for genre in ("folk", "rock"):
        (tmp_path / "songs" / genre).mkdir(parents=True)
        (tmp_path / "songs" / genre / "song.mp3").touch()
    with pytest.raises(click.BadParameter, match=r"lies in a bucket: give it as --set (data|workspace)=gs://music/"):
        cli(list(command), standalone_mode=False)
    (tmp_path / "genre.yaml").write_text("data: gs://music/data\n")
    with pytest.raises(UserError, match="lies in a bucket, and songs are ingested on a disk"):
        cli(["ingest", "folder", "songs"], standalone_mode=False)
    assert not (tmp_path / "gs:").exists()
