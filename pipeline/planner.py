"""The first node of a compiled pipeline: it makes the plan of the run."""

import dataclasses

from tfx.dsl.component.experimental.annotations import OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component

from components.errors import UserError
from pipeline.config import PipelineConfig, changed_config
from pipeline.plan import Plan, make_plan
from pipeline.preflight import check

NEWEST = -1
"""As a span: the newest that is complete when the run begins."""
_COMPILED = ("name", "data", "span", "workspace", "beam", "kubeflow", "vertex")
"""Settings that `settings` cannot change: the pipeline was compiled with them, or they are run parameters."""


def parse_settings(text: str) -> list[str]:
    """The single settings, as `section.key=value`, of a text that has them divided by line ends or semicolons."""
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def run_config(compiled: PipelineConfig, data: str, span: int, settings: str) -> PipelineConfig:
    """The configuration of a run: that of the compiled pipeline with what the run parameters say.

    Raises:
      UserError: settings that are not known, not valid, or fixed in the compiled pipeline.
    """
    changed = changed_config(compiled, parse_settings(settings))
    fixed = [key for key in _COMPILED if getattr(changed, key) != getattr(compiled, key)]
    if changed.tune.enabled != compiled.tune.enabled:
        fixed.append("tune.enabled")
    if fixed:
        raise UserError(
            f"run parameter `settings`: {', '.join(fixed)} cannot be changed by it. The parameters `data` and `span` "
            "say what to run on; for the rest, compile the pipeline again."
        )
    return changed.model_copy(update={"data": data, "span": None if span == NEWEST else span})


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
