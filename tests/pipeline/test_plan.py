"""What the parameters of a run change, and what they may not."""

import pytest

from components.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.plan import parse_settings, run_config

COMPILED = PipelineConfig(data="gs://b/data", workspace="gs://b", span=3)


def test_settings_are_divided_by_semicolons_and_lines() -> None:
    text = " train.epochs=5;model.options={filters: [8, 16]} \n\n; gate.min_accuracy=0.6"
    assert parse_settings(text) == ["train.epochs=5", "model.options={filters: [8, 16]}", "gate.min_accuracy=0.6"]
    assert parse_settings("") == []


def test_a_run_has_its_own_data_span_and_settings() -> None:
    config = run_config(COMPILED, "gs://c/data", 4, "model.kind=knn; gate.min_accuracy=0.6")
    assert (config.data, config.span, config.model.kind, config.gate.min_accuracy) == ("gs://c/data", 4, "knn", 0.6)
    assert config.train == COMPILED.train
    assert run_config(COMPILED, COMPILED.data, 3, "") == COMPILED
    assert run_config(COMPILED, COMPILED.data, "last", "").span == "last"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("train.epoch=3", "train.epoch: unknown key"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs", "expected --set section.key=value"),
        ("beam.mode=multi_processing; name=other", "name, beam cannot be changed by it"),
        ("tune.enabled=true", "tune.enabled cannot be changed by it"),
        ("data=gs://c", "data cannot be changed by it. The parameters `data` and `span`"),
        ("workspace=gs://c", "workspace cannot be changed by it"),
    ],
)
def test_settings_that_a_run_cannot_have(settings: str, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        run_config(COMPILED, COMPILED.data, 3, settings)
    assert told in str(refusal.value)
