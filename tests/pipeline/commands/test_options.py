"""Paths of the command line, as settings."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from pipeline.commands.options import with_paths
from pipeline.config.settings import load_config

PATHS = ["a b", 'a"b', "it's", "a\nb", "\n", "a\\b", "-x", "#x", "{x}", "[x]", "*?", "~", "é🎸", "\x7f\x85\u2028", "no"]


@pytest.mark.parametrize("path", [*PATHS, "x " * 300 + "y"])
def test_any_path_arrives(path: str) -> None:
    assert load_config(None, with_paths((), data=Path(path))).data == path


def test_a_path_that_is_not_utf8() -> None:
    with pytest.raises(UserError, match=r"--data .*not valid UTF-8"):
        with_paths((), data=Path("caf\udce9"))
