"""Trainer and Tuner that learn from the transformed examples of several spans, each an artifact of its own.

TFX's take the artifacts of one channel. Channels can be united on the machine that runs TFX, but the compiler for
Kubeflow Pipelines refuses that; so the others come in by inputs of their own, `examples_1` and so on.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from tfx.components import Trainer as TfxTrainer
from tfx.components import Tuner as TfxTuner
from tfx.components.trainer import executor as trainer_executor
from tfx.components.tuner import executor as tuner_executor
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_component_specs
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel

_EXAMPLES = standard_component_specs.EXAMPLES_KEY
_Node = TypeVar("_Node", bound=BaseComponent)


def united(inputs: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
    """Inputs of a node, with all of its examples as one input."""
    others = {name: artifacts for name, artifacts in inputs.items() if not name.startswith(f"{_EXAMPLES}_")}
    more = sorted(set(inputs) - set(others), key=lambda name: int(name.removeprefix(f"{_EXAMPLES}_")))
    return others | {_EXAMPLES: [artifact for name in (_EXAMPLES, *more) for artifact in inputs[name]]}


def with_window(node: _Node, more: Sequence[BaseChannel]) -> _Node:
    """`node`, which was given the examples of one span, with those of the others."""
    channels = {f"{_EXAMPLES}_{number}": examples for number, examples in enumerate(more, 1)}
    # Of this node alone: TFX's class declares one input, and how many spans there are is not known before.
    node.spec.INPUTS = {**node.spec.INPUTS, **dict.fromkeys(channels, node.spec.INPUTS[_EXAMPLES])}
    node.spec.inputs.update(channels)
    return node


class TrainerExecutor(trainer_executor.GenericExecutor):
    """TFX's, for several spans."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """As TFX's."""
        super().Do(united(input_dict), output_dict, exec_properties)


class TunerExecutor(tuner_executor.Executor):
    """TFX's, for several spans."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """As TFX's."""
        super().Do(united(input_dict), output_dict, exec_properties)


class Trainer(TfxTrainer):
    """As TFX's; see `with_window`."""

    EXECUTOR_SPEC = ExecutorClassSpec(TrainerExecutor)


class Tuner(TfxTuner):
    """As TFX's; see `with_window`."""

    EXECUTOR_SPEC = ExecutorClassSpec(TunerExecutor)
