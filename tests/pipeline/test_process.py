"""State of the process: the garbage collector during large imports, and the proxies in the environment."""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from requests.utils import should_bypass_proxies

from pipeline.process import direct_to_this_machine, large_imports


@pytest.fixture
def unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()
    assert gc.isenabled()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported."""
    name = f"library_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("MADE = [[] for _ in range(1000)]")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.usefixtures("unfrozen")
def test_what_is_imported_is_never_collected_again(library: str) -> None:
    with large_imports():
        assert not gc.isenabled()
        made = importlib.import_module(library).MADE
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    assert not {id(item) for item in made} & {id(item) for item in gc.get_objects()}


@pytest.mark.usefixtures("unfrozen")
def test_a_second_import_keeps_nothing_that_is_let_go_later(library: str) -> None:
    """A server imports before every version that it loads; what was frozen then would be the version before."""
    with large_imports():
        importlib.import_module(library)
    model: list[object] = []
    model.append(model)
    with large_imports():
        importlib.import_module(library)
    assert id(model) in {id(item) for item in gc.get_objects()}
    del model
    assert gc.collect() > 0


@pytest.mark.usefixtures("unfrozen")
def test_later_garbage_is_collected(library: str) -> None:
    with large_imports():
        importlib.import_module(library)
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() > 0


@pytest.mark.usefixtures("unfrozen")
def test_a_failing_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError("no such library")
    assert gc.isenabled()


PROXY = "http://127.0.0.1:9"  # the port at which nobody answers
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture(params=["", "example.org", "*"])
def spared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A proxy in every variable that libraries read, and what the user spared from it in NO_PROXY."""
    for name in VARIABLES:
        for spelt in (name, name.upper()):
            monkeypatch.delenv(spelt, raising=False)
            if not name.startswith("no"):
                monkeypatch.setenv(spelt, PROXY)
    if request.param:
        monkeypatch.setenv("NO_PROXY", request.param)
    return request.param


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_grpc_reaches_this_machine_past_a_proxy(host: str, spared: str) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with direct_to_this_machine(), grpc.insecure_channel(f"{host}:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
    finally:
        server.stop(None)


def test_only_this_machine_is_spared_from_the_proxy(spared: str) -> None:
    before = dict(os.environ)
    with direct_to_this_machine():
        assert all(
            should_bypass_proxies(f"http://{host}:8081/jobs", None) for host in ("localhost", "127.0.0.1", "[::1]")
        )
        assert should_bypass_proxies("https://storage.googleapis.com/b", None) == (spared == "*")
        assert should_bypass_proxies("https://example.org", None) == bool(spared)
    assert dict(os.environ) == before
