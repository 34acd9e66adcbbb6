"""Following the served version: with models that only count, and with real ones under requests."""

import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from components.base.errors import UserError
from components.store.model_store import roll_back
from pipeline.serving.following import Follower, NoModelError

Push = Callable[[Path, Path], int]


class Model:
    def __init__(self, version: int) -> None:
        self.version = version
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Store:
    """A store with versions that are empty folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: set[int] = set()
        self.loaded: list[Model] = []
        self.follower = Follower(epath.Path(root), self.load)

    def load(self, version: int) -> Model:
        if version in self.broken:
            raise UserError(f"version {version} is broken")
        self.loaded.append(Model(version))
        return self.loaded[-1]

    def point(self, version: int) -> None:
        (self.root / str(version)).mkdir(parents=True, exist_ok=True)
        (self.root / "current.json").write_text(json.dumps({"version": version}))


@pytest.fixture
def counted(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_model_is_let_go_when_nobody_uses_it_any_more(counted: Store) -> None:
    follower = counted.follower
    counted.point(1)
    assert follower.look()
    with follower.model() as first, follower.model():
        counted.point(2)
        assert follower.look()
        with follower.model() as second:
            assert (first.version, second.version, follower.version) == (1, 2, 2)
        assert first.closed == 0
    assert [model.closed for model in counted.loaded] == [1, 0]
    counted.point(1)  # a roll-back: it is loaded anew
    assert follower.look() and follower.look()
    assert [model.closed for model in counted.loaded] == [1, 1, 0]
    follower.end()
    assert [model.closed for model in counted.loaded] == [1, 1, 1]
    with pytest.raises(NoModelError), follower.model():
        pass


def test_a_version_that_does_not_load_leaves_the_one_before(counted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = counted.follower
    counted.point(1)
    assert follower.look()
    counted.broken = {2}
    counted.point(2)
    assert not follower.look()
    assert follower.version == 1
    assert follower.problem == "version 2 is broken"
    (counted.root / "current.json").write_text("{")
    assert not follower.look()
    assert follower.version == 1
    counted.point(3)  # another version is loaded at once
    assert follower.look()
    assert (follower.version, follower.problem) == (3, "")
    counted.broken = set()
    counted.point(2)
    assert not follower.look()  # one that did not load, after a while
    monkeypatch.setattr(follower, "_failed", (2, 0.0))
    assert follower.look()
    assert (follower.version, follower.problem) == (2, "")


def test_without_a_version_nothing_answers(counted: Store) -> None:
    follower = counted.follower
    with pytest.raises(NoModelError, match="is being loaded"), follower.model():
        pass
    assert follower.look()
    with pytest.raises(NoModelError, match="no model has been pushed"), follower.model():
        pass
    counted.point(1)
    assert follower.look()
    (counted.root / "current.json").unlink()
    assert follower.look()
    assert (follower.version, counted.loaded[0].closed) == (None, 1)


def test_pushes_and_roll_backs_drop_no_request(
    serve: Any, store: Path, exported: tuple[Path, Path], push: Push, wav: Any, until: Any
) -> None:
    server = serve(store)
    with server.follower.model() as model:
        former = weakref.ref(model)
        del model
    song = wav(2.0)
    answers: list[tuple[int, dict[str, Any]]] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            answered = server.predict(song)
            answers.append((answered.status_code, answered.json()))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        assert push(store, exported[1]) == 2
        until(lambda: any(answer.get("version") == 2 for _, answer in answers[-4:]))
        assert roll_back(epath.Path(store)) == (2, 1)
        until(lambda: server.follower.version == 1)
        seen = len(answers)
        until(lambda: len(answers) > seen + 8)
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert {status for status, _ in answers} == {200}
    by_version = {answer["version"]: answer["genres"] for _, answer in answers}
    assert by_version.keys() == {1, 2}
    assert by_version[1] != by_version[2]
    for _, answer in answers:  # every answer is of one model alone
        assert answer["genres"] == pytest.approx(by_version[answer["version"]], abs=1e-5)
    gc.collect()
    assert former() is None
    assert server.client.get("/readyz").json() == {"status": "ready", "version": 1}
    assert "genre_model_version 1.0" in server.client.get("/metrics").text
