import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from bench.harness.registry import BENCHMARKS, choose
from components.base.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_name_is_a_module(name: str) -> None:
    assert importlib.util.find_spec(f"bench.benchmarks.{name}") is not None


def test_without_names_all_but_those_by_name_only() -> None:
    assert set(choose(())) == {name for name, each in BENCHMARKS.items() if not each.by_name_only}


def test_names_are_taken_in_the_registry_s_order() -> None:
    first, second, *_ = BENCHMARKS
    assert list(choose((second, first))) == [first, second]


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"transfrom: no such benchmark.*transform"):
        choose(("transfrom",))


def test_listing_loads_no_tensorflow() -> None:
    code = (
        "import sys\nfrom bench.__main__ import bench\nbench(['--list'], standalone_mode=False)\n"
        "print([name for name in ('tensorflow', 'tfx', 'apache_beam', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert all(name in done.stdout for name in BENCHMARKS)
