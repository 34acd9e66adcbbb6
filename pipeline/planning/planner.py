"""The first node of a compiled pipeline: it makes the plan of the run."""

from datetime import UTC, datetime

from tfx.dsl.component.experimental.annotations import OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component

from pipeline.config.settings import PipelineConfig
from pipeline.planning.plan import NAMES, make_plan, parse_span, run_config, slot_name
from pipeline.planning.preflight import check

MAX_WINDOW = 26
"""Spans of a compiled pipeline's window at most: the outputs of a node must be known when it is declared."""
_NOTHING = dict.fromkeys((*NAMES, *map(slot_name, range(MAX_WINDOW))), "")


@component
def Planner(  # noqa: N802 (the name of a node)
    compiled: Parameter[str],
    data: Parameter[str],
    span: Parameter[str],
    settings: Parameter[str],
    run: Parameter[str],
) -> OutputDict(**dict.fromkeys(_NOTHING, str)):  # type: ignore[valid-type]  # TFX reads the outputs here
    """Makes the plan, whose texts are this node's outputs. It must not be cached: it looks at what is there now.

    Args:
      compiled: PipelineConfig of the compiled pipeline, JSON.
      data: root of the library.
      span: the newest span to train on: a number, first or last.
      settings: other settings than the compiled ones, as `train.epochs=5; gate.min_accuracy=0.6`.
      run: name of the run. No two runs have the same, and so none is served what another saw, even where caching is
        forced on for all nodes of a run.

    Raises:
      UserError: the settings are wrong, or do not fit the library; or the library is not there.
    """
    del run
    config = run_config(PipelineConfig.model_validate_json(compiled), data, parse_span(span), settings)
    plan = make_plan(config, check(config, leave_out=True), datetime.now(UTC), asked=False)
    print(f"span {span}: {plan.lineage.model_dump_json()}", flush=True)
    return _NOTHING | plan.texts()
