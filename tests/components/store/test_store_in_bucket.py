"""The model store in a bucket: two machines that push, a lock whose holder is dead, and a storage that fails.

The storage is fake-gcs-server, which is asked by TensorFlow's own file system and by Google's library.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from etils import epath

from components.base import leases
from components.base.errors import UserError
from components.base.locks import HeldError
from components.base.objects import NONE, ChangedError, StoredObject
from components.store import model_store
from components.store.checksums import find_damage
from components.store.model_store import (
    Lineage,
    champion_of,
    current_version,
    prune,
    publish,
    roll_back,
    version_dir,
    versions,
    withdrawal_of,
)

pytestmark = pytest.mark.long


@pytest.fixture
def store(bucket: epath.Path) -> epath.Path:
    return bucket / "workspace" / "models"


@pytest.fixture
def model(tmp_path: Path) -> epath.Path:
    """Looks like a SavedModel."""
    files = {"saved_model.pb": b"graph", "variables/variables.index": b"i", "variables/variables.data": b"d" * 300_000}
    for name, content in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    return epath.Path(tmp_path / "model")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of two seconds."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(leases, "_LOOK_SECONDS", 0.1)


def push(store: epath.Path, model: epath.Path, candidate: str) -> int:
    lineage = Lineage(candidate=candidate, parent=champion_of(store, candidate), data="/data", span=1, window=(1,))
    return publish(store, model, lineage)


def lock_of(store: epath.Path) -> StoredObject:
    return StoredObject(str(store / ".lock"))


def test_an_object_is_replaced_only_where_it_is_known(bucket: epath.Path) -> None:
    place = StoredObject(str(bucket / "a" / "b c.json"))
    assert place.read() == (b"", NONE)
    first = place.write(b"1", NONE)
    with pytest.raises(ChangedError):
        place.write(b"2", NONE)
    second = place.write(b"2", first)
    assert second > first
    assert place.read() == (b"2", second)
    for generation in (first, NONE):
        with pytest.raises(ChangedError):
            place.write(b"3", generation)
    assert place.write(b"2", first) == second, "it is what was to be written: an answer was lost"
    place.delete(second)
    assert place.read() == (b"", NONE)
    assert epath.Path(place.address).exists() is False
    with pytest.raises(UserError, match=r"only buckets of Google Cloud Storage \(gs://\)"):
        StoredObject("s3://bucket/name").read()


def test_pushes_a_roll_back_and_what_goes_with_time(store: epath.Path, model: epath.Path) -> None:
    assert [push(store, model, name) for name in "ABC"] == [1, 2, 3]
    assert (versions(store), current_version(store)) == ([1, 2, 3], 3)
    assert find_damage(version_dir(store, 3)) is None
    assert push(store, model, "C") == 3
    assert roll_back(store, reason="wrong") == (3, 2)
    assert current_version(store) == 2
    assert withdrawal_of(store, 3)
    with pytest.raises(UserError, match="rolled back"):
        push(store, model, "C")
    assert push(store, model, "D") == 4
    assert prune(store, 2) == [1]
    assert versions(store) == [2, 3, 4] or versions(store) == [2, 4]
    assert lock_of(store).read()[0] == b"", "who has done leaves no lock"


def test_of_two_that_push_at_once_one_wins_and_the_other_is_told(
    store: epath.Path, model: epath.Path, short: None
) -> None:
    assert push(store, model, "first") == 1
    judged = threading.Barrier(2)

    def attempt(candidate: str) -> int | str:
        lineage = Lineage(candidate=candidate, parent=champion_of(store, candidate), data="/", span=1, window=(1,))
        judged.wait()
        try:
            return publish(store, model, lineage)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        won, lost = sorted(threads.map(attempt, ["A", "B"]), key=lambda each: isinstance(each, str))
    assert won == 2
    assert "version 2 is served by now" in str(lost)
    assert (versions(store), current_version(store)) == ([1, 2], 2)


def test_the_lock_of_the_dead_is_taken_over(store: epath.Path, model: epath.Path, short: None) -> None:
    lock_of(store).write(b"7 on elsewhere\nof a process that was killed", NONE)
    begun = time.monotonic()
    assert push(store, model, "A") == 1
    assert time.monotonic() - begun > 2.0


def test_the_lock_of_the_living_is_respected(
    store: epath.Path, model: epath.Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "_PATIENCE", 6.0)
    with (
        leases.leased(str(store / ".lock"), "7 on elsewhere", "", "", 0.0),
        pytest.raises(HeldError, match="process 7 on elsewhere is changing this model store"),
    ):
        push(store, model, "A")
    assert versions(store) == []
    assert push(store, model, "A") == 1


def test_who_lost_the_lock_moves_nothing(store: epath.Path, model: epath.Path) -> None:
    push(store, model, "A")
    with model_store._locked(store) as pointer:
        place = lock_of(store)
        place.write(b"8 on elsewhere\nwho waited for long", place.read()[1])
        with pytest.raises(UserError, match="another process has taken this lock over"):
            pointer.move(2)
    assert current_version(store) == 1
    assert lock_of(store).read()[0].startswith(b"8 on elsewhere"), "the lock is the other's"


def test_who_lost_the_lock_of_pushes_makes_no_version(store: epath.Path, model: epath.Path) -> None:
    push(store, model, "A")

    def meanwhile(incoming: epath.Path) -> None:
        place = StoredObject(str(store / ".push.lock"))
        place.write(b"8 on elsewhere\nwho waited for long", place.read()[1])

    lineage = Lineage(candidate="B", parent=1, data="/data", span=1, window=(1,))
    with pytest.raises(UserError, match="another process has taken this lock over"):
        publish(store, model, lineage, check=meanwhile)
    assert (versions(store), current_version(store)) == ([1], 1)


def test_a_pointer_that_moved_meanwhile_stays(store: epath.Path, model: epath.Path) -> None:
    push(store, model, "A")
    push(store, model, "B")
    with model_store._locked(store) as pointer:
        (store / "current.json").write_text('{"version": 1}')  # by a person
        with pytest.raises(UserError, match="another process has moved it meanwhile"):
            pointer.move(2)
    assert current_version(store) == 1


def test_half_a_version_is_none(store: epath.Path, model: epath.Path) -> None:
    push(store, model, "A")
    (store / "2" / "variables").mkdir(parents=True)
    (store / "2" / "variables" / "variables.index").write_bytes(b"i")  # of a machine that was lost
    assert versions(store) == [1]
    assert push(store, model, "B") == 2
    assert find_damage(version_dir(store, 2)) is None
    assert current_version(store) == 2


@pytest.mark.parametrize("fault", ["429", "503", "cut"])
def test_a_storage_that_fails_for_a_while_loses_nothing(
    store: epath.Path, model: epath.Path, faults: Path, fault: str
) -> None:
    push(store, model, "A")
    faults.write_text(fault)
    threading.Timer(3.0, faults.unlink).start()
    try:
        assert push(store, model, "B") == 2
    except (UserError, OSError):  # it gave up, and nothing has changed
        assert (versions(store), current_version(store)) == ([1], 1)
        assert push(store, model, "B") == 2
    assert current_version(store) == 2
    for version in versions(store):
        assert find_damage(version_dir(store, version)) is None
        assert (version_dir(store, version) / "variables" / "variables.data").read_bytes() == b"d" * 300_000
