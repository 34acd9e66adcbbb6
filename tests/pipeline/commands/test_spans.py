"""`genre spans`: what it tells of a library whose songs are long gone, and what it puts back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from etils import epath

from components.base.errors import UserError
from components.store.model_store import Lineage, current_version, publish
from pipeline.cli import cli


def genre(place: Any, *words: object) -> Result:
    places = ("--data", place.data, "--workspace", place.workspace)
    done = CliRunner().invoke(cli, ["spans", *map(str, (*places, *words))])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def told(place: Any, *words: object) -> dict[int, dict[str, Any]]:
    return {account["span"]: account for account in json.loads(genre(place, "--json", *words).stdout)}


def spans_with(accounts: dict[int, dict[str, Any]], name: str) -> list[int]:
    return [span for span, account in accounts.items() if account[name]]


def push(place: Any, source: Path, window: tuple[int, ...], data: str | None = None) -> None:
    source.mkdir(exist_ok=True)
    (source / "saved_model.pb").write_bytes(b"graph")
    store = epath.Path(place.workspace / "models")
    known = {"candidate": f"{window}", "parent": current_version(store), "data": data or str(place.data)}
    publish(store, epath.Path(source), Lineage(span=window[-1], window=window, **known))


def test_spans_are_listed_with_their_use(place: Any, tmp_path: Path) -> None:
    push(place, tmp_path / "model", (1, 2))
    push(place, tmp_path / "model", (2, 3))
    push(place, tmp_path / "model", (4,), data="/another/library")
    place.set_aside(4)
    header, *lines = genre(place, "--set", "window=2", "--set", "exclude=[2]").stdout.splitlines()
    assert header.split() == ["span", "train", "eval", "test", "trained"]
    assert [" ".join(line.split()) for line in lines[:3] + lines[4:]] == [
        "1 10 4 6 golden version 1",
        "2 20 4 6 excluded version 1, 2",
        "3 30 4 6 window version 2",
        "5 50 4 6 window",
    ]
    assert lines[3].split()[:6] == ["4", "40", "4", "6", "set", "aside"]
    assert lines[3].endswith("+00:00 damaged TFRecord files")
    accounts = told(place, "--set", "window=2", "--set", "exclude=[2]")
    assert spans_with(accounts, "window") == [3, 5]
    assert spans_with(accounts, "set_aside") == [4]
    assert accounts[2] == {
        "span": 2,
        "clips": {"train": 20, "eval": 4, "test": 6},
        "window": False,
        "golden": False,
        "excluded": True,
        "set_aside": None,
        "versions": [1, 2],
    }


def test_a_span_that_was_set_aside_is_put_back(place: Any) -> None:
    for span in (4, 5):
        place.set_aside(span)
    assert spans_with(told(place, "--set", "window=3"), "window") == [1, 2, 3]
    assert genre(place, "--restore", 4).stdout == "span 4 is used again\n"
    assert spans_with(told(place, "--set", "window=3"), "window") == [2, 3, 4]
    with pytest.raises(UserError, match=r"span 4 is not set aside \(spans that are: 5\)"):
        genre(place, "--restore", 4)


def test_what_cannot_be_trained_on_is_listed_all_the_same(place: Any) -> None:
    for span in range(1, 6):
        place.set_aside(span)
    done = genre(place)
    assert len(done.stdout.splitlines()) == 6
    assert "every complete span is excluded or set aside: 1, 2, 3, 4, 5" in done.stderr
    genre(place, "--restore", 5)
    assert "span 3 is set aside" in genre(place, "--set", "span=3").stderr


def test_without_a_library(place: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such data directory"):
        genre(place, "--data", tmp_path / "none")


def test_neither_beam_nor_tensorflow_is_loaded(place: Any) -> None:
    words = ["spans", "--data", str(place.data), "--workspace", str(place.workspace)]
    program = (
        f"import sys\nfrom pipeline.cli import cli\ncli({words!r}, standalone_mode=False)\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'tfx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stderr
