"""What is looked at before a run: on this machine its runner, too, which elsewhere is another machine's matter."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from components.base.errors import UserError
from components.beam.config import BeamConfig
from pipeline.cli import cli
from pipeline.config.settings import PipelineConfig
from pipeline.planning.preflight import check, check_run

DATAFLOW = {"runner": "dataflow", "dataflow": {"temp_location": "gs://b/tmp"}}


def test_a_step_on_vertex_ai_may_have_its_beam_steps_on_dataflow(tmp_path: Path) -> None:
    """The Planner checks, too: all that is wrong here is that there is no library."""
    config = PipelineConfig(
        data=str(tmp_path / "data"), workspace=str(tmp_path), beam=BeamConfig.model_validate(DATAFLOW)
    )
    with pytest.raises(UserError, match="data") as refusal:
        check(config, leave_out=False)
    assert "beam.runner" not in str(refusal.value)


def test_a_run_on_this_machine_may_not(tmp_path: Path) -> None:
    settings = ("beam.runner=dataflow", "beam.dataflow.temp_location=gs://b/tmp")
    words = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(cli, ["run", "--data", str(tmp_path / "data"), "--workspace", str(tmp_path), *words])
    assert isinstance(done.exception, UserError)
    assert "beam.runner: workers of dataflow see buckets only" in str(done.exception)


def test_packages_that_the_push_would_lack_are_named_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tf2onnx" else find(name, *more)
    )
    naive = {"kind": "naive_bayes"}
    check_run(PipelineConfig.model_validate({"model": naive, "deploy": {"export": ("keras", "tflite")}}))
    with pytest.raises(UserError, match=r"deploy\.export: onnx needs the Python packages tf2onnx, .*\[export\]"):
        check_run(PipelineConfig.model_validate({"model": naive, "deploy": {"export": ("keras", "onnx")}}))


@pytest.mark.parametrize(
    ("settings", "window", "golden"),
    [
        ({}, [3, 4, 5], 1),
        ({"window": 1}, [5], 1),
        ({"window": 9}, [1, 2, 3, 4, 5], 1),
        ({"span": "first"}, [1], 1),
        ({"span": "last", "golden": "last"}, [3, 4, 5], 5),
        ({"span": 4, "golden": 2}, [2, 3, 4], 2),
        ({"exclude": (4, 7)}, [2, 3, 5], 1),
        ({"exclude": (5,)}, [2, 3, 4], 1),  # the last that may be used
        ({"exclude": (1,), "span": "first"}, [2], 1),  # judged by what it is not trained on
        ({"golden": None}, [3, 4, 5], None),
    ],
)
def test_windows(place: Any, settings: dict[str, Any], window: list[int], golden: int | None) -> None:
    found = check(place.config(**settings), leave_out=True)
    assert [manifest.span for manifest in found.window] == window
    assert found.manifest.span == window[-1]
    assert (found.golden and found.golden.span) == golden


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"span": 7}, r"no complete span 7 \(complete spans: 1, 2, 3, 4, 5\)"),
        ({"golden": 7}, r"no complete span 7 \(complete spans: 1, 2, 3, 4, 5\)"),
        ({"span": 4, "exclude": (4,)}, r"cannot end at span 4: it is excluded \(spans to choose from: 1, 2, 3, 5\)"),
        ({"exclude": (1, 2, 3, 4, 5)}, "every complete span is excluded or set aside"),
    ],
)
def test_windows_that_cannot_be(place: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check(place.config(**settings), leave_out=True)


def test_a_span_without_its_manifest_does_not_exist(place: Any) -> None:
    for span in (1, 4):
        (place.data / f"span-{span}" / "manifest.json").unlink()
    found = check(place.config(span="last"), leave_out=True)
    assert [manifest.span for manifest in found.window] == [2, 3, 5]
    assert found.golden.span == 2, "the first that is complete"


@pytest.mark.parametrize(
    ("clips", "tested"),
    [({"eval": 0, "test": 0}, [5]), ({"eval": 0}, [5, 6]), ({"train": 0, "eval": 0, "test": 3}, [5, 6])],
)
def test_a_small_span_does_not_count_in_the_window(place: Any, clips: dict[str, int], tested: list[int]) -> None:
    place.add(6, **clips)
    found = check(place.config(window=2), leave_out=True)
    assert [manifest.span for manifest in found.window] == [4, 5, 6]
    assert set(found.slots) == {(4,), (5, 6)}
    assert [manifest.span for manifest in found.tested] == tested
    assert check(place.config(golden="last"), leave_out=True).golden.span == tested[-1]
    place.add(7, **clips)
    assert [manifest.span for manifest in check(place.config(window=1), leave_out=True).window] == [5, 6, 7]


def test_a_small_span_alone_has_nothing_to_learn_from(place: Any) -> None:
    place.add(6, eval=0, test=0)
    with pytest.raises(UserError, match="span 6 of the window has no eval clips to validate with"):
        check(place.config(exclude=(1, 2, 3, 4, 5)), leave_out=True)
    place.add(6, test=0)
    only = {"exclude": (1, 2, 3, 4, 5), "golden": None}
    with pytest.raises(UserError, match="no test clips to judge by, and there is no golden set"):
        check(place.config(**only), leave_out=True)
    assert [each.span for each in check(place.config(**only | {"golden": 1}), leave_out=True).tested] == [1]
    with pytest.raises(UserError, match="golden: span 6 has no test clips"):
        check(place.config(golden=6), leave_out=True)
