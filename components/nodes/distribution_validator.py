"""TFX's DistributionValidator, with thresholds that another node has found, and its findings as sentences."""

from typing import Any

from etils import epath
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.distribution_validator import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.types.experimental import simple_artifacts

from components.drift.report import DriftReport

_DISTANCES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "L-infinity distance",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
}


class DistributionValidatorSpec(component_spec.ComponentSpec):
    """TFX's inputs and outputs, with the thresholds as an artifact: its executor takes that, its component does not."""

    PARAMETERS: dict[str, component_spec.ExecutionParameter] = {}  # noqa: RUF012 (TFX's way)
    INPUTS = {  # noqa: RUF012
        specs.STATISTICS_KEY: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        specs.BASELINE_STATISTICS_KEY: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        specs.ARTIFACT_DISTRIBUTION_VALIDATOR_CONFIG_KEY: component_spec.ChannelParameter(type=simple_artifacts.File),
    }
    OUTPUTS = {  # noqa: RUF012
        specs.ANOMALIES_KEY: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }


class Executor(executor.Executor):
    """TFX's, which compares nothing where there is no baseline: here that is a baseline without splits."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Does as TFX's. A node always emits its artifact, so an empty baseline stands for none."""
        baseline = artifact_utils.get_single_instance(input_dict[specs.BASELINE_STATISTICS_KEY])
        if not artifact_utils.decode_split_names(baseline.split_names):
            input_dict = {**input_dict, specs.BASELINE_STATISTICS_KEY: []}
        return super().Do(input_dict, output_dict, exec_properties)


class DistributionValidator(base_component.BaseComponent):
    """Compares the distributions of the schema's features, by statistics of both sides."""

    SPEC_CLASS = DistributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, statistics: types.BaseChannel, baseline_statistics: types.BaseChannel, thresholds: types.BaseChannel
    ) -> None:
        """Wires the node.

        Args:
          statistics: of what is new.
          baseline_statistics: of what it is compared with; without splits, there is nothing to compare.
          thresholds: the only file of the artifact is a DistributionValidatorConfig.
        """
        super().__init__(
            DistributionValidatorSpec(
                **{
                    specs.STATISTICS_KEY: statistics,
                    specs.BASELINE_STATISTICS_KEY: baseline_statistics,
                    specs.ARTIFACT_DISTRIBUTION_VALIDATOR_CONFIG_KEY: thresholds,
                    specs.ANOMALIES_KEY: types.Channel(type=standard_artifacts.ExampleAnomalies),
                }
            )
        )


def add_anomalies(report: DriftReport, anomalies: standard_artifacts.ExampleAnomalies) -> DriftReport:
    """Adds to the report what DistributionValidator found; every distance above its threshold is drift."""
    findings: list[str] = []
    notes: list[str] = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = epath.Path(anomalies.uri) / f"SplitPair-{split}" / executor.DEFAULT_FILE_NAME
        found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        for info in found.drift_skew_info:
            for measured in info.drift_measurements:
                differs = measured.value > measured.threshold
                (findings if differs else notes).append(
                    f"{'.'.join(info.path.step)}: {'differs' if differs else 'does not differ'} "
                    f"({_DISTANCES[measured.type]} {measured.value:.2g}, threshold {measured.threshold:.2g})"
                )
        compared = {tuple(info.path.step) for info in found.drift_skew_info}
        for info in found.anomaly_info.values():
            if tuple(info.path.step) not in compared:
                reasons = " ".join(reason.description for reason in info.reason)
                notes.append(f"{'.'.join(info.path.step)}: was not compared: {reasons}")
    return report.model_copy(
        update={
            "drifted": report.drifted or bool(findings),
            "findings": (*report.findings, *findings),
            "notes": (*report.notes, *notes),
        }
    )
