"""Trainer and Tuner that learn from the transformed examples of several spans, each an artifact of its own.

TFX's nodes take the artifacts of one channel. Channels can be united on the machine that runs TFX, but the compiler for
Kubeflow Pipelines refuses that; so the other spans come in by inputs of their own, `examples_1` and so on. TFX's
constructors also refuse parameters that become known in the run, so these nodes have their own.
"""

from collections.abc import Sequence
from typing import Any

from tfx.components.trainer import executor as trainer_executor
from tfx.components.tuner import executor as tuner_executor
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import trainer_pb2
from tfx.types import Channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_component_specs import EXAMPLES_KEY, TrainerSpec, TunerSpec


def united(inputs: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
    """Returns the inputs of a node, with all of its examples as one input."""
    others = {name: artifacts for name, artifacts in inputs.items() if not name.startswith(f"{EXAMPLES_KEY}_")}
    more = sorted(set(inputs) - set(others), key=lambda name: int(name.removeprefix(f"{EXAMPLES_KEY}_")))
    return others | {EXAMPLES_KEY: [artifact for name in (EXAMPLES_KEY, *more) for artifact in inputs[name]]}


def _spec(kind: type[ComponentSpec], spans: Sequence[BaseChannel], **given: Any) -> ComponentSpec:
    """Returns a specification of TFX's kind, with an input for the examples of each of `spans`."""
    more = {f"{EXAMPLES_KEY}_{number}": examples for number, examples in enumerate(spans[1:], 1)}
    inputs = {**kind.INPUTS, **dict.fromkeys(more, kind.INPUTS[EXAMPLES_KEY])}
    # A class for this node alone: TFX declares inputs by class, and how many spans there are is not known before.
    return type(kind.__name__, (kind,), {"INPUTS": inputs})(
        **{EXAMPLES_KEY: spans[0], **more, **{name: value for name, value in given.items() if value is not None}},
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
    )


class _OfSpans(BaseExecutor):
    """Lets one of TFX's executors see several spans as one."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Does as TFX's."""
        super().Do(united(input_dict), output_dict, exec_properties)


class TrainerExecutor(_OfSpans, trainer_executor.GenericExecutor):
    """TFX's, for several spans."""


class TunerExecutor(_OfSpans, tuner_executor.Executor):
    """TFX's, for several spans."""


class Trainer(BaseComponent):
    """Fits the model: `models.fitting.training.run_fn`."""

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(TrainerExecutor)

    def __init__(
        self,
        spans: Sequence[BaseChannel],
        transform_graph: BaseChannel,
        schema: BaseChannel,
        parameters: str,
        hyperparameters: BaseChannel | None = None,
        base_model: BaseChannel | None = None,
    ) -> None:
        """Wires the node.

        Args:
          spans: the transformed examples of each.
          transform_graph: the graph that transformed them.
          schema: of the raw examples.
          parameters: `models.config.TrainerParameters`, JSON.
          hyperparameters: what the Tuner found.
          base_model: the model whose weights training may start from.
        """
        super().__init__(
            _spec(
                TrainerSpec,
                spans,
                transform_graph=transform_graph,
                schema=schema,
                hyperparameters=hyperparameters,
                base_model=base_model,
                run_fn="models.fitting.training.run_fn",
                custom_config=parameters,
                model=Channel(type=standard_artifacts.Model),
                model_run=Channel(type=standard_artifacts.ModelRun),
            )
        )


class Tuner(BaseComponent):
    """Searches for hyper-parameters: `models.fitting.tuning.tuner_fn`."""

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(TunerExecutor)

    def __init__(
        self, spans: Sequence[BaseChannel], transform_graph: BaseChannel, schema: BaseChannel, parameters: str
    ) -> None:
        """Wires the node; as `Trainer`, with `models.fitting.tuning_config.TunerParameters`."""
        super().__init__(
            _spec(
                TunerSpec,
                spans,
                transform_graph=transform_graph,
                schema=schema,
                tuner_fn="models.fitting.tuning.tuner_fn",
                custom_config=parameters,
                best_hyperparameters=Channel(type=standard_artifacts.HyperParameters),
                tuner_results=Channel(type=standard_artifacts.TunerResults),
            )
        )
