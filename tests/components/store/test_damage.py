"""Files of the store and the history that a disk damaged: a message that names the file, never another answer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from components.base.errors import UserError
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.store.checksums import find_damage
from components.store.model_store import (
    Lineage,
    current_version,
    find_version_card,
    publish,
    read_lineage,
    read_verdict,
    roll_back,
    version_dir,
    versions,
    withdrawals,
)
from components.store.predictor import Predictor

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "one bit": lambda content: flipped(content, len(content) // 2),
    "last bit": lambda content: flipped(content, len(content) - 1),
    "removed": lambda content: None,
}


def flipped(content: bytes, at: int, bit: int = 0) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def lineage(candidate: str, parent: int | None) -> Lineage:
    return Lineage(candidate=candidate, parent=parent, data="/data", span=1, window=(1,))


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, save_model: Callable[..., Path]) -> Path:
    """Two versions, with all that a push puts beside the graph."""
    root = tmp_path_factory.mktemp("pushed")
    truth = np.array([0, 1, 0, 1])
    verdict = judge(
        GateConfig(), ("a", "b"), ScoredClips(list("1234"), truth, np.eye(2)[truth]), latency_ms=1.0, megabytes=1.0
    )
    model = save_model(root / "model", signature="audio")
    (model / "assets.extra" / "weights.npz").write_bytes(b"weights")
    (root / "profile").write_bytes(b"profile")
    for candidate, parent in (("a", None), ("b", 1)):
        store = epath.Path(root / "models")
        publish(store, epath.Path(model), lineage(candidate, parent), verdict, reference=epath.Path(root / "profile"))
    return root


@pytest.fixture
def store(pushed: Path, tmp_path: Path) -> epath.Path:
    return epath.Path(shutil.copytree(pushed / "models", tmp_path / "models"))


def files(store: Path) -> list[Path]:
    return sorted(path for path in (store / "2").rglob("*") if path.is_file())


def harm(file: Path, damage: str) -> None:
    content = DAMAGES[damage](file.read_bytes())
    file.unlink() if content is None else file.write_bytes(content)


def test_a_damaged_model_does_not_answer(store: epath.Path) -> None:
    found = files(Path(store))
    named = {str(file.relative_to(store)) for file in found}
    assert {"2/saved_model.pb", "2/fingerprint.pb", "2/variables/variables.index"} < named
    assert {f"2/assets.extra/{name}.json" for name in ("model", "lineage", "verdict", "checksums")} < named
    for file in found:
        whole = file.read_bytes()
        for damage in DAMAGES:
            harm(file, damage)
            with pytest.raises(UserError) as error:
                Predictor(version_dir(store, 2))
            assert str(file) in str(error.value)
            assert "Serve an earlier version with `genre rollback`" in str(error.value)
            file.write_bytes(whole)
    Predictor(version_dir(store, 2))


def test_a_version_of_an_earlier_release_is_loaded_as_it_is(pushed: Path, store: epath.Path) -> None:
    """Which recorded neither checksums nor the SHA-256 of a lineage."""
    version = version_dir(store, 2)
    lineage_file = version / "assets.extra" / "lineage.json"
    record = json.loads(lineage_file.read_text())
    lineage_file.write_text(json.dumps({key: value for key, value in record.items() if key != "sha256"}))
    (version / "assets.extra" / "checksums.json").unlink()
    assert find_damage(version) is None
    Predictor(version)


@pytest.mark.parametrize("name", ["saved_model.pb", "assets.extra/lineage.json", "assets.extra/checksums.json"])
@pytest.mark.parametrize("damage", ["emptied", "removed"])
def test_a_damaged_version_can_be_rolled_back(pushed: Path, store: epath.Path, name: str, damage: str) -> None:
    harm(Path(store) / "2" / name, damage)
    assert roll_back(store) == (2, 1)
    assert find_damage(version_dir(store, 1)) is None
    assert (current_version(store), versions(store), withdrawals(store)[2].damaged) == (1, [1], True)
    assert (store / "damaged" / "2").is_dir()
    assert publish(store, epath.Path(pushed / "model"), lineage("b", 1)) == 3, "the same model, a new number"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("current.json", current_version),
        ("withdrawn/2.json", withdrawals),
        ("1/assets.extra/lineage.json", lambda store: read_lineage(store, 1)),
        ("1/assets.extra/verdict.json", lambda store: read_verdict(store, 1)),
        ("1/assets.extra/model.json", lambda store: find_version_card(store, 1)),
    ],
)
def test_a_bit_anywhere_in_a_record_changes_no_answer(
    store: epath.Path, name: str, read: Callable[[epath.Path], object]
) -> None:
    roll_back(store, reason="calls jazz rock")
    file, answer = Path(store) / name, read(store)
    whole = file.read_bytes()
    tried = range(0, len(whole), 1 + len(whole) // 80)
    refused = 0
    for at in tried:
        file.write_bytes(flipped(whole, at, bit=at % 7))
        try:
            assert read(store) == answer
        except UserError as error:
            assert str(file) in str(error)
            refused += 1
    assert refused > len(tried) // 2


def test_a_damaged_version_that_is_there_already_is_not_pointed_at(store: epath.Path, pushed: Path) -> None:
    (Path(store) / "2" / "saved_model.pb").write_bytes(b"")
    assert publish(store, epath.Path(pushed / "model"), lineage("b", 1)) == 3
    assert (current_version(store), versions(store)) == (3, [1, 3])
    assert [find_damage(version_dir(store, version)) for version in (1, 3)] == [None, None]
    assert (store / "damaged" / "2" / "saved_model.pb").read_bytes() == b""


def test_a_damaged_version_that_is_rolled_back_while_its_model_is_pushed_again(store: epath.Path, pushed: Path) -> None:
    (Path(store) / "2" / "saved_model.pb").write_bytes(b"")

    def overtake(version: epath.Path) -> None:
        assert roll_back(store) == (2, 1)

    assert publish(store, epath.Path(pushed / "model"), lineage("b", 1), check=overtake) == 3
    assert (current_version(store), versions(store)) == (3, [1, 3])


def test_without_another_version_none_is_served(store: epath.Path, pushed: Path) -> None:
    roll_back(store, reason="calls jazz rock")
    (Path(store) / "1" / "saved_model.pb").write_bytes(b"")
    assert roll_back(store) == (1, None)
    assert (current_version(store), versions(store)) == (None, [2])
    assert "saved_model.pb: damaged" in withdrawals(store)[1].reason
    assert publish(store, epath.Path(pushed / "model"), lineage("a", None)) == 3
    assert current_version(store) == 3


def test_a_damaged_version_is_not_gone_back_to(store: epath.Path, pushed: Path) -> None:
    assert publish(store, epath.Path(pushed / "model"), lineage("c", 2)) == 3
    (Path(store) / "2" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match=r"version 2 is damaged\. There are \[1\]"):
        roll_back(store, 2)
    assert roll_back(store) == (3, 1)


def test_a_model_that_was_put_there_by_hand_is_loaded_unless_it_cannot_be(store: epath.Path, pushed: Path) -> None:
    by_hand = Path(shutil.copytree(pushed / "model", Path(store) / "7"))
    Predictor(epath.Path(by_hand))
    for name in ("saved_model.pb", "variables/variables.index"):
        whole = (by_hand / name).read_bytes()
        (by_hand / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="models/7: the model does not load"):
            Predictor(epath.Path(by_hand))
        (by_hand / name).write_bytes(whole)
