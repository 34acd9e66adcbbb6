"""What must not be served: models that do not load, or whose answer is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from components.base.errors import UserError
from components.store.smoke import check_answer, smoke_test

GENRES = ("clicks", "noise", "tone")
SaveModel = Callable[..., Path]


@pytest.mark.parametrize(
    ("predictions", "told"),
    [
        ([], "not one clip's"),
        ([0.5], "not one clip's"),
        ([{"genres": list(GENRES)}], "not one clip's"),
        ([{"genres": list(GENRES)[::-1], "probabilities": [1, 0, 0]}], "not clicks, noise, tone"),
        ([{"genres": list(GENRES), "probabilities": [0.5, 0.5]}], "not one for each genre"),
        ([{"genres": list(GENRES), "probabilities": [1.5, -0.5, 0.0]}], "not one for each genre"),
        ([{"genres": list(GENRES), "probabilities": [float("nan")] * 3}], "not one for each genre"),
        ([{"genres": list(GENRES), "probabilities": ["1", "0", "0"]}], "not one for each genre"),
    ],
)
def test_wrong_answers(predictions: list[Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_answer(predictions, GENRES)
    check_answer([{"genres": list(GENRES), "probabilities": [1, 0.0, 0.0]}], GENRES)


def test_a_model_that_answers(tmp_path: Path, save_model: SaveModel) -> None:
    smoke_test(epath.Path(save_model(tmp_path)))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"genres": ("rock", "folk")}, "genres are .'rock', 'folk'., not folk, rock"),
        ({"probabilities": (0.25, 0.25)}, "a sum of 1"),
        ({"probabilities": (float("nan"), 1.0)}, "a sum of 1"),
        ({"signature": "other"}, "has no signature `serving_default`"),
    ],
)
def test_a_model_that_must_not_be_served(
    tmp_path: Path, save_model: SaveModel, model: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        smoke_test(epath.Path(save_model(tmp_path, **model)))


def test_a_model_that_was_damaged_on_its_way(tmp_path: Path, save_model: SaveModel) -> None:
    graph = save_model(tmp_path) / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:100])
    with pytest.raises(UserError, match="does not load"):
        smoke_test(epath.Path(tmp_path))
