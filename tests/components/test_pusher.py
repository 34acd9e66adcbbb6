"""What is deployed: nothing that was judged against another model than the one it would replace."""

from pathlib import Path

import pytest
from etils import epath
from tfx.types import standard_artifacts

from components.errors import UserError
from components.model_store import Lineage, current_version, publish, read_lineage
from components.pusher import Executor


def lineage(candidate: str, parent: int | None) -> Lineage:
    return Lineage(candidate=candidate, parent=parent, data="/data", span=1)


@pytest.fixture
def store(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "models")


def push(root: Path, store: epath.Path, origin: Lineage, blessed: bool = True) -> standard_artifacts.PushedModel:
    model, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    model.uri = str(root / "model")
    saved_model = root / "model" / "Format-Serving"
    saved_model.mkdir(parents=True, exist_ok=True)
    (saved_model / "saved_model.pb").write_text(origin.candidate)
    blessing.set_int_custom_property("blessed", int(blessed))
    properties = {"store": str(store), "lineage": origin.model_dump_json()}
    Executor().Do({"model": [model], "model_blessing": [blessing]}, {"pushed_model": [pushed]}, properties)
    return pushed


def test_a_blessed_candidate_replaces_the_champion_it_was_judged_against(tmp_path: Path, store: epath.Path) -> None:
    for candidate, parent in (("a", None), ("b", 1), ("c", 2)):
        push(tmp_path, store, lineage(candidate, parent))
    assert current_version(store) == 3
    assert (store / "3" / "saved_model.pb").read_text() == "c"
    assert read_lineage(store, 3) == lineage("c", 2)


def test_a_push_that_is_repeated_changes_nothing(tmp_path: Path, store: epath.Path) -> None:
    for _ in range(2):
        pushed = push(tmp_path, store, lineage("a", None))
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert current_version(store) == 1


@pytest.mark.parametrize("judged_against", [None, 1])
def test_a_candidate_that_was_judged_against_a_former_champion_is_not_pushed(
    tmp_path: Path, store: epath.Path, judged_against: int | None
) -> None:
    for candidate, parent in (("a", None), ("b", 1)):  # the second by a run that was quicker
        push(tmp_path, store, lineage(candidate, parent))
    with pytest.raises(UserError, match="version 2 is served by now") as refusal:
        push(tmp_path, store, lineage("c", judged_against))
    assert ("version 1" if judged_against else "judged against none") in str(refusal.value)
    assert current_version(store) == 2


def test_a_refused_candidate_is_not_pushed_whoever_is_champion(tmp_path: Path, store: epath.Path) -> None:
    publish(store, epath.Path(tmp_path), lineage("a", None))
    pushed = push(tmp_path, store, lineage("b", None), blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert current_version(store) == 1
