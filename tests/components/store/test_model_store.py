"""The model store: numbering, lineage, and what is left when a push is killed at any point."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from components.base.errors import UserError
from components.base.locks import held
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import Predecessor
from components.store import model_store
from components.store.checksums import write_checksums
from components.store.model_store import (
    Lineage,
    WithdrawnError,
    best_on_golden,
    champion_of,
    current_version,
    prune,
    publish,
    read_lineage,
    read_verdict,
    roll_back,
    version_dir,
    versions,
    withdrawal_of,
    withdrawn_version,
)

ROOT = Path(__file__).resolve().parents[3]
LOCKS = {".lock", ".push.lock"}


@pytest.fixture
def store(tmp_path: epath.Path) -> epath.Path:
    return epath.Path(tmp_path) / "store"


@pytest.fixture
def source(tmp_path: epath.Path) -> epath.Path:
    """Looks like a SavedModel; the store must not care."""
    model = epath.Path(tmp_path) / "candidate"
    for name, content in {
        "saved_model.pb": b"\x00graph\xff",
        "variables/variables.index": b"i",
        "assets/a.txt": b"",
    }.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    return model


def lineage(candidate: str, parent: int | None = None) -> Lineage:
    return Lineage(candidate=candidate, parent=parent, data="/data", span=3, window=(3,))


def push(store: epath.Path, source: epath.Path, candidate: str) -> int:
    """As a run of the pipeline does: look up the champion, be judged against it, be pushed."""
    return publish(store, source, lineage(candidate, champion_of(store, candidate)))


def contents(directory: epath.Path) -> dict[str, bytes]:
    """By path relative to `directory`, hidden files included."""
    found = {}
    for path in directory.iterdir():
        inner = (
            {f"{path.name}/{k}": v for k, v in contents(path).items()}
            if path.is_dir()
            else {path.name: path.read_bytes()}
        )
        found |= inner
    return found


def test_a_store_that_is_not_there_is_empty(store: epath.Path) -> None:
    assert versions(store) == []
    assert current_version(store) is None
    assert champion_of(store, "A") is None


def test_publishing_copies_the_model_and_points_at_it(store: epath.Path, source: epath.Path) -> None:
    assert publish(store, source, lineage("A")) == 1
    assert versions(store) == [1]
    assert current_version(store) == 1
    copied = contents(version_dir(store, 1))
    kept = json.loads(copied.pop("assets.extra/lineage.json"))
    assert kept.pop("sha256")
    assert kept == lineage("A").model_dump(mode="json")
    assert copied.pop("assets.extra/checksums.json")
    assert copied == contents(source)
    assert read_lineage(store, 1) == lineage("A")
    assert set(contents(store)) - LOCKS == {"current.json", *(f"1/{name}" for name in contents(version_dir(store, 1)))}


def test_a_new_candidate_gets_the_next_number(store: epath.Path, source: epath.Path) -> None:
    assert [push(store, source, name) for name in "ABC"] == [1, 2, 3]
    assert [read_lineage(store, version).parent for version in versions(store)] == [None, 1, 2]
    assert current_version(store) == 3


def test_numbers_are_ordered_as_numbers(store: epath.Path, source: epath.Path) -> None:
    for index in range(11):
        push(store, source, f"candidate {index}")
    assert versions(store) == list(range(1, 12))
    assert current_version(store) == 11


def test_numbers_are_not_used_again_after_a_clean_up(store: epath.Path, source: epath.Path) -> None:
    for name in "ABC":
        push(store, source, name)
    version_dir(store, 1).rmtree()
    assert push(store, source, "D") == 4
    assert versions(store) == [2, 3, 4]


def test_the_same_candidate_is_not_numbered_twice(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    before = contents(store)
    assert push(store, source, "A") == 1
    assert contents(store) == before


def test_champion_is_what_is_served(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    assert champion_of(store, "B") == 1
    push(store, source, "B")
    assert champion_of(store, "C") == 2


def test_champion_of_what_is_served_is_its_parent(store: epath.Path, source: epath.Path) -> None:
    """Running again with nothing changed must ask the same question."""
    asked = []
    for name in "AB":
        asked.append(champion_of(store, name))
        push(store, source, name)
        assert champion_of(store, name) == asked[-1]
    assert asked == [None, 1]


def test_back_to_an_earlier_candidate_and_forth(store: epath.Path, source: epath.Path) -> None:
    assert push(store, source, "A") == 1
    assert push(store, source, "B") == 2
    assert champion_of(store, "A") == 2
    assert push(store, source, "A") == 3
    assert read_lineage(store, 3) == lineage("A", 2)
    assert champion_of(store, "A") == 2  # asked again: against B, as it was judged, not against itself as version 1
    assert champion_of(store, "B") == 3
    assert push(store, source, "A") == 3


def test_rolling_back_makes_the_earlier_version_champion(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    assert roll_back(store, reason="calls jazz rock") == (2, 1)
    assert current_version(store) == 1
    assert champion_of(store, "C") == 1
    assert champion_of(store, "B") == 1
    assert push(store, source, "C") == 3
    assert read_lineage(store, 3).parent == 1


def test_what_was_rolled_back_is_known_by_its_candidate(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    assert withdrawn_version(store, "B") is None
    roll_back(store, reason="calls jazz rock")
    assert withdrawn_version(store, "B") == 2
    assert withdrawn_version(store, "A") is None
    assert withdrawal_of(store, 2).reason == "calls jazz rock"
    assert withdrawal_of(store, 1) is None


def test_rolling_back_twice_goes_further_back(store: epath.Path, source: epath.Path) -> None:
    for name in "ABC":
        push(store, source, name)
    assert roll_back(store) == (3, 2)
    assert roll_back(store) == (2, 1)
    with pytest.raises(UserError, match="no version before 1"):
        roll_back(store)
    assert current_version(store) == 1


def test_rolling_back_skips_a_parent_that_is_gone(store: epath.Path, source: epath.Path) -> None:
    for name in "ABC":
        push(store, source, name)
    version_dir(store, 2).rmtree()
    assert roll_back(store) == (3, 1)


@pytest.mark.parametrize(
    ("version", "told"), [(3, "is served already"), (2, "was itself rolled back"), (9, "is not there. There are .1.")]
)
def test_versions_that_cannot_be_gone_back_to(store: epath.Path, source: epath.Path, version: int, told: str) -> None:
    for name in "AB":
        push(store, source, name)
    roll_back(store)
    push(store, source, "C")
    with pytest.raises(UserError, match=told):
        roll_back(store, version)
    assert current_version(store) == 3


def test_a_roll_back_that_is_killed_is_finished_by_the_next(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ABC":
        push(store, source, name)
    with monkeypatch.context() as patch:
        kill_at(patch, "write_record", after=1)
        with pytest.raises(Killed):
            roll_back(store, reason="first")
    assert current_version(store) == 3
    assert withdrawal_of(store, 3).served == 2
    assert roll_back(store, 1, reason="second") == (3, 1)
    assert (withdrawal_of(store, 3).reason, withdrawal_of(store, 3).served) == ("first", 1)
    assert withdrawal_of(store, 2) is None


def test_the_oldest_versions_go_but_not_what_is_needed(store: epath.Path, source: epath.Path) -> None:
    for name in "ABCDE":
        push(store, source, name)
    assert prune(store, 4) == [1]
    roll_back(store, 2)
    assert prune(store, 2) == [3]
    assert versions(store) == [2, 4, 5]
    assert current_version(store) == 2


def test_a_roll_back_is_remembered_longer_than_the_version(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    roll_back(store)
    for name in "CDE":
        push(store, source, name)
    assert prune(store, 2) == [1, 2, 3]
    assert withdrawn_version(store, "B") == 2


def test_a_parent_that_was_cleaned_up_is_no_champion(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    version_dir(store, 1).rmtree()
    assert champion_of(store, "B") is None
    assert champion_of(store, "C") == 2


@pytest.mark.parametrize("name", ["1/assets.extra/lineage.json", "1/assets.extra/verdict.json", "withdrawn/1.json"])
@pytest.mark.parametrize("text", ["", "{", '{"candidate": 3}'])
def test_a_damaged_record_is_named(store: epath.Path, source: epath.Path, name: str, text: str) -> None:
    push(store, source, "A")
    (store / name).parent.mkdir(exist_ok=True)
    (store / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: damaged"):
        for read in (read_lineage, read_verdict, withdrawal_of):
            read(store, 1)


class Killed(BaseException):
    """Ends a push as a kill would: nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, function: str, after: int = 0) -> None:
    """Makes the `after`-th next call of a function of the store the end of the process."""
    real = getattr(model_store, function)
    calls = iter(range(after + 1))

    def dying(*args: object) -> object:
        if next(calls) == after:
            raise Killed
        return real(*args)

    monkeypatch.setattr(model_store, function, dying)


def test_killed_before_the_pointer_moves(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, source, "A")
    with monkeypatch.context() as patch:
        kill_at(patch, "_write_pointer")
        with pytest.raises(Killed):
            push(store, source, "B")
    assert versions(store) == [1, 2]
    assert current_version(store) == 1  # complete, but not served
    assert champion_of(store, "B") == 1  # the same question as before
    assert push(store, source, "B") == 2
    assert versions(store) == [1, 2]
    assert current_version(store) == 2
    assert read_lineage(store, 2).parent == 1


def test_killed_before_the_pointer_moves_and_never_finished(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, source, "A")
    with monkeypatch.context() as patch:
        kill_at(patch, "_write_pointer")
        with pytest.raises(Killed):
            push(store, source, "B")
    assert push(store, source, "C") == 3
    assert read_lineage(store, 3).parent == 1
    assert current_version(store) == 3


@pytest.mark.parametrize("copied", [0, 1, 2])
def test_killed_in_the_midst_of_the_copy(
    copied: int, store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, source, "A")
    served = contents(store)
    with monkeypatch.context() as patch:
        kill_at(patch, "_copy_tree", after=copied)
        with pytest.raises(Killed):
            push(store, source, "B")
    left = contents(store)
    assert {name: left[name] for name in served} == served
    assert versions(store) == [1]
    assert current_version(store) == 1
    assert push(store, source, "B") == 2
    copy = contents(version_dir(store, 2))
    del copy["assets.extra/lineage.json"], copy["assets.extra/checksums.json"]
    assert copy == contents(source)
    assert {name for name in contents(store) if name.startswith(".")} == LOCKS


def test_killed_before_the_pointers_new_text_takes_its_place(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, source, "A")
    with monkeypatch.context() as patch:
        replaced = type(store).replace

        def dying(self: epath.Path, target: epath.Path) -> epath.Path:
            if epath.Path(target).name == "current.json":
                raise Killed
            return replaced(self, target)

        patch.setattr(type(store), "replace", dying)
        with pytest.raises(Killed):
            push(store, source, "B")
    assert current_version(store) == 1
    assert versions(store) == [1, 2]
    assert push(store, source, "B") == 2
    assert current_version(store) == 2


def test_other_things_in_the_store_are_no_versions(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    (store / "notes.txt").write_text("3")
    (store / ".incoming-7").mkdir()
    (store / "old-2").mkdir()
    assert versions(store) == [1]


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"2", b'{"version": "1"}', b'{"version": 1, "by": "hand"}', b"\xff\xfe\x00", b'{"version": null}'],
)
def test_a_broken_pointer_is_told_in_words(text: bytes, store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    (store / "current.json").write_bytes(text)
    with pytest.raises(UserError, match=r"current\.json: damaged") as caught:
        current_version(store)
    assert '{"version": N} into it, with N one of [1]' in str(caught.value)
    with pytest.raises(UserError, match="damaged"):
        champion_of(store, "B")


def test_a_pointer_to_nowhere_is_told_in_words(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    (store / "current.json").write_text('{"version": 4}')
    with pytest.raises(UserError, match=r"points at version 4, which does not exist\. .* with N one of \[1\]"):
        current_version(store)


def push_judged(
    store: epath.Path,
    source: epath.Path,
    right: int | None,
    clips: str = "",
    comparable: bool = True,
    keep: int = 100,
) -> int:
    """The next version, right about so many of 40 golden clips; as a run does, with what the plan and the gate do.

    `right` None: judged where there was no golden set. Not `comparable`: judged without its champion's answers.
    """
    number = (versions(store) or [0])[-1] + 1
    parent, truth = champion_of(store, f"{number}"), np.zeros(40, int)

    def about(count: int) -> np.ndarray:
        return np.eye(2)[[0] * count + [1] * (40 - count)]

    champion = None
    if parent and comparable and (before := read_verdict(store, parent).on_golden):
        champion = (str(parent), about(before.outcomes.right.count("1")))
    ids = [f"{clips}{index:02d}" for index in range(40)]
    test = ScoredClips(ids, truth, about(40))
    golden = None if right is None else ScoredClips(ids, truth, about(right), champion, "golden", 1)
    verdict = judge(
        GateConfig(), ("a", "b"), test, golden, best=best_on_golden(store, parent), latency_ms=1.0, megabytes=1.0
    )
    publish(store, source, lineage(f"{number}", parent), verdict)
    prune(store, keep)
    return number


def test_the_best_of_a_line_on_the_golden_set(store: epath.Path, source: epath.Path) -> None:
    assert best_on_golden(store, None) is None
    found = []
    for right in (30, 34, 33, 32, 36, 35):
        best = best_on_golden(store, push_judged(store, source, right))
        found.append(best and (best.version, best.right.count("1")))
    # The first has none before it; a version that is the best of its line needs none.
    assert found == [None, None, (2, 34), (2, 34), None, (5, 36)]
    assert isinstance(best_on_golden(store, 6), Predecessor)


def test_the_best_of_a_line_survives_its_removal(store: epath.Path, source: epath.Path) -> None:
    for right in (30, 34, 33, 33, 33, 32):
        push_judged(store, source, right, keep=2)
    assert versions(store) == [5, 6]
    assert best_on_golden(store, 6).version == 2


def test_a_best_that_was_rolled_back_does_not_count(store: epath.Path, source: epath.Path) -> None:
    for right in (33, 36, 32):
        push_judged(store, source, right)
    assert best_on_golden(store, 3).version == 2
    roll_back(store)  # to 2
    roll_back(store)  # to 1
    assert withdrawal_of(store, 2) and current_version(store) == 1
    assert best_on_golden(store, 3).version == 1


def test_a_best_on_other_golden_clips_does_not_count(store: epath.Path, source: epath.Path) -> None:
    push_judged(store, source, 39)
    push_judged(store, source, 33, clips="new-", comparable=False)
    assert best_on_golden(store, 2) is None
    push_judged(store, source, 32, clips="new-")
    assert best_on_golden(store, 3).version == 2


def test_on_new_golden_clips_the_champion_counts_with_its_answers_to_those(
    store: epath.Path, source: epath.Path
) -> None:
    for clips, right in (("", 39), ("new-", 33)):
        push_judged(store, source, right, clips=clips)
    best = best_on_golden(store, 2)
    assert (best.version, best.clips) == (1, read_verdict(store, 2).on_golden.outcomes.clips)


def test_a_version_that_was_not_judged_on_a_golden_set_has_no_best(store: epath.Path, source: epath.Path) -> None:
    push_judged(store, source, 30)
    push_judged(store, source, None)
    assert best_on_golden(store, 2) is None
    by_hand = version_dir(store, 7)
    by_hand.mkdir()
    assert best_on_golden(store, 7) is None


def test_a_push_that_a_roll_back_overtakes_is_refused(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    with pytest.raises(UserError, match="version 1 is served by now, but the candidate was judged against version 2"):
        publish(store, source, lineage("C", 2), check=lambda version: roll_back(store) and None)
    assert (current_version(store), versions(store)) == (1, [1, 2])
    assert push(store, source, "D") == 3


def test_a_version_that_is_rolled_back_while_it_is_pushed_again(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    roll_back(store)
    with pytest.raises(WithdrawnError) as refusal:
        push(store, source, "B")
    assert refusal.value.version == 2
    assert (current_version(store), versions(store)) == (1, [1, 2])


def test_no_child_of_what_is_being_rolled_back(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "AB":
        push(store, source, name)
    with monkeypatch.context() as patch:
        kill_at(patch, "_write_pointer")
        with pytest.raises(Killed):
            roll_back(store)
    with pytest.raises(UserError, match=r"a roll-back of it was interrupted\. `genre rollback` finishes it"):
        push(store, source, "C")
    assert roll_back(store) == (2, 1)
    assert push(store, source, "C") == 3


def test_a_push_that_was_killed_is_not_finished_after_a_roll_back_of_its_parent(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "AB":
        push(store, source, name)
    with monkeypatch.context() as patch:
        kill_at(patch, "_write_pointer")
        with pytest.raises(Killed):
            push(store, source, "C")
    roll_back(store)
    with pytest.raises(UserError, match="version 3 was judged against version 2, which was rolled back"):
        roll_back(store, 3)
    assert push(store, source, "C") == 4
    assert read_lineage(store, 4).parent == 1
    assert roll_back(store) == (4, 1)


def test_a_roll_back_waits_for_another_process(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    other = held(Path(store) / ".lock", "123 on host", "is changing this model store")
    with ThreadPoolExecutor() as threads, other:  # is left before the threads are waited for
        rolled = threads.submit(roll_back, store)
        with pytest.raises(TimeoutError):
            rolled.result(0.2)
        assert (current_version(store), withdrawal_of(store, 2)) == (2, None)
    assert rolled.result() == (2, 1)


def test_a_process_that_holds_the_store_for_ever_is_named(
    store: epath.Path, source: epath.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "AB":
        push(store, source, name)
    monkeypatch.setattr(model_store, "_PATIENCE", 0.0)
    with (
        held(Path(store) / ".lock", "123 on host", "is changing this model store"),
        pytest.raises(UserError, match=r"process 123 on host is changing this model store\. Wait for it to end"),
    ):
        roll_back(store)
    assert roll_back(store) == (2, 1)


def test_a_number_is_not_used_again_after_a_roll_back(store: epath.Path, source: epath.Path) -> None:
    for name in "AB":
        push(store, source, name)
    roll_back(store)
    version_dir(store, 2).rmtree()
    assert push(store, source, "C") == 3
    assert withdrawal_of(store, 3) is None


def test_a_lineage_that_goes_in_a_circle_ends(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    (store / "1" / "assets.extra" / "lineage.json").write_text(lineage("A", 1).model_dump_json())
    write_checksums(store / "1")
    for ask in (lambda: champion_of(store, "A"), lambda: best_on_golden(store, 1), lambda: prune(store, 1)):
        with pytest.raises(UserError, match=r"lineage\.json: damaged: parent: version 1 is no earlier version"):
            ask()


def test_odd_names_in_the_store_are_survived(store: epath.Path, source: epath.Path) -> None:
    push(store, source, "A")
    for name in ("²", "٣", "007", "0", "-1", "1.5", "9" * 40, ".incoming-7", ".removed-8", "withdrawn/²"):
        (store / name).mkdir(parents=True)
    for name in ("99", "2", ".incoming-9", ".current.json.abc", "withdrawn/.2.json.abc", "withdrawn/x.json"):
        (store / name).write_text("{")
    assert versions(store) == [1]
    assert push(store, source, "B") == 100
    assert (current_version(store), versions(store)) == (100, [1, 100])
    assert roll_back(store) == (100, 1)
    assert prune(store, 1) == []
    assert push(store, source, "C") == 101


ROLL_BACKS = """if True:
    import os, shutil, signal, sys
    from pathlib import Path
    from etils import epath
    from components.store.model_store import current_version, roll_back, versions, withdrawal_of

    def die_at(call):
        # Kills this process instead of the call of the system that changes something.
        calls = iter(range(call))
        def counted(real):
            def function(*arguments, **options):
                if next(calls, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)
            return function
        for name in ("fsync", "replace", "rename", "mkdir", "unlink", "remove"):
            setattr(os, name, counted(getattr(os, name)))

    original, died = Path(sys.argv[1]), 0
    while True:
        store = epath.Path(shutil.copytree(original, original.with_name(f"kill-{died}")))
        child = os.fork()
        if not child:
            die_at(died)
            roll_back(store)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        died += 1
        served = current_version(store)
        assert served == 2 or withdrawal_of(store, 2).served == served == 1
        if served == 2:
            assert roll_back(store) == (2, 1)
        assert (current_version(store), withdrawal_of(store, 2).served, withdrawal_of(store, 1)) == (1, 1, None)
        assert versions(store) in ([1], [1, 2])
    print(died)
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_a_roll_back_that_is_killed_at_every_step(store: epath.Path, source: epath.Path, damaged: bool) -> None:
    for name in "AB":
        push(store, source, name)
    if damaged:
        (store / "2" / "saved_model.pb").write_bytes(b"")
    command = [sys.executable, "-c", ROLL_BACKS, str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= (10 if damaged else 6)
