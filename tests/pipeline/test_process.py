"""Large imports are left alone by the garbage collector, which otherwise works on as before."""

import gc
from collections.abc import Iterator

import pytest

from pipeline.process import large_imports


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()
    assert gc.isenabled()


def test_what_is_imported_is_never_collected_again() -> None:
    with large_imports():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    assert not {id(item) for item in made} & {id(item) for item in gc.get_objects()}


def test_later_garbage_is_collected() -> None:
    with large_imports():
        pass
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() > 0


def test_a_failing_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError("no such library")
    assert gc.isenabled()
