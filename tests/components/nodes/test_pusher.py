"""What is deployed: nothing that was judged against another model than the one it would replace."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.base.errors import UserError
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import VERDICT, Verdict
from components.nodes.artifacts import PROFILE
from components.nodes.parameters.pusher import PusherParameters
from components.nodes.pusher import Executor
from components.store.model_store import (
    Lineage,
    current_version,
    publish,
    read_lineage,
    read_verdict,
    roll_back,
    versions,
)
from components.store.saved_model import SavedModel


def lineage(candidate: str, parent: int | None) -> Lineage:
    return Lineage(candidate=candidate, parent=parent, data="/data", span=1, window=(1,))


def verdict() -> Verdict:
    """Of a model that is right about all of four clips."""
    truth = np.array([0, 1, 0, 1])
    answers = ScoredClips(["1", "2", "3", "4"], truth, np.eye(2)[truth])
    return judge(GateConfig(), ("a", "b"), answers, latency_ms=12.5, megabytes=3.25)


@pytest.fixture
def store(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "models")


@pytest.fixture(autouse=True)
def answering(tmp_path: Path, save_model: Callable[..., Path]) -> None:
    """The model that is pushed."""
    save_model(tmp_path / "model" / "Format-Serving")


def push(
    root: Path, store: epath.Path, origin: Lineage, blessed: bool = True, reference: str = ""
) -> standard_artifacts.PushedModel:
    model, blessing, evaluation, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.ModelEvaluation(),
        standard_artifacts.PushedModel(),
    )
    model.uri = str(root / "model")
    (root / "model" / "Format-Serving" / "assets.extra" / "candidate").write_text(origin.candidate)
    blessing.set_int_custom_property("blessed", int(blessed))
    evaluation.uri = str(root / "evaluation")
    Path(evaluation.uri).mkdir(exist_ok=True)
    (Path(evaluation.uri) / VERDICT).write_text(verdict().model_dump_json())
    parameters = PusherParameters(store=str(store), lineage=origin, keep_versions=3)
    inputs = {"model": [model], "model_blessing": [blessing], "evaluation": [evaluation]}
    if reference:
        profile = simple_artifacts.File()
        profile.uri = str(root / "reference")
        Path(profile.uri).mkdir(exist_ok=True)
        (Path(profile.uri) / PROFILE).write_text(reference)
        inputs["reference"] = [profile]
    Executor().Do(inputs, {"pushed_model": [pushed]}, {"parameters": parameters.model_dump_json()})
    return pushed


def test_a_blessed_candidate_replaces_the_champion_it_was_judged_against(tmp_path: Path, store: epath.Path) -> None:
    for candidate, parent in (("a", None), ("b", 1), ("c", 2)):
        push(tmp_path, store, lineage(candidate, parent))
    assert current_version(store) == 3
    assert (store / "3" / "assets.extra" / "candidate").read_text() == "c"
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


def test_the_verdict_goes_with_the_model(tmp_path: Path, store: epath.Path) -> None:
    push(tmp_path, store, lineage("a", None))
    assert read_verdict(store, 1) == verdict()


def test_the_profile_of_its_clips_goes_with_the_model(tmp_path: Path, store: epath.Path) -> None:
    push(tmp_path, store, lineage("a", None))
    assert not SavedModel(store / "1").reference.exists()
    push(tmp_path, store, lineage("b", 1), reference="a profile")
    assert SavedModel(store / "2").reference.read_text() == "a profile"
    assert (store / "2" / "assets.extra" / "candidate").read_text() == "b"


def test_what_was_rolled_back_is_not_pushed_again(tmp_path: Path, store: epath.Path) -> None:
    for candidate, parent in (("a", None), ("b", 1)):
        push(tmp_path, store, lineage(candidate, parent))
    roll_back(store)
    pushed = push(tmp_path, store, lineage("b", 1))
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("withdrawn_version") == "2"
    assert (current_version(store), versions(store)) == (1, [1, 2])
    push(tmp_path, store, lineage("c", 1))
    assert current_version(store) == 3


def test_old_versions_are_removed(tmp_path: Path, store: epath.Path) -> None:
    for number, candidate in enumerate("abcde"):
        push(tmp_path, store, lineage(candidate, number or None))
    assert versions(store) == [3, 4, 5]


def test_what_does_not_answer_is_not_served(tmp_path: Path, store: epath.Path) -> None:
    push(tmp_path, store, lineage("a", None))
    graph = tmp_path / "model" / "Format-Serving" / "saved_model.pb"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:100])
    with pytest.raises(UserError, match="does not load"):
        push(tmp_path, store, lineage("b", 1))
    assert (current_version(store), versions(store)) == (1, [1])
    graph.write_bytes(whole)
    push(tmp_path, store, lineage("b", 1))
    assert (current_version(store), versions(store)) == (2, [1, 2])
