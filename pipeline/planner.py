"""The first node of a compiled pipeline: it makes the plan of the run."""

import dataclasses

from tfx.dsl.component.experimental.annotations import OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component

from pipeline.config import PipelineConfig
from pipeline.plan import Plan, make_plan, run_config
from pipeline.preflight import check


@component
def Planner(  # noqa: N802 (the name of a node)
    compiled: Parameter[str],
    data: Parameter[str],
    span: Parameter[int],
    settings: Parameter[str],
    run: Parameter[str],
) -> OutputDict(**{field.name: str for field in dataclasses.fields(Plan)}):
    """Makes the plan, whose parts are this node's outputs. It must not be cached: it looks at what is there now.

    Args:
      compiled: PipelineConfig of the compiled pipeline, JSON.
      data: root of the library.
      span: the span to run on; -1 for the newest.
      settings: other settings than the compiled ones, as `train.epochs=5; gate.min_accuracy=0.6`.
      run: name of the run. No two runs have the same, and so none is served what another saw, even where caching is
        forced on for all nodes of a run.

    Raises:
      UserError: the settings are wrong, or do not fit the library; or the library is not there.
    """
    del run
    config = run_config(PipelineConfig.model_validate_json(compiled), data, span, settings)
    plan = make_plan(config, check(config))
    print(f"span {config.span if config.span is not None else 'newest'}: {plan.lineage}", flush=True)
    return dataclasses.asdict(plan)
