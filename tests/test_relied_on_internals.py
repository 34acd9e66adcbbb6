"""What this project relies on inside its libraries beyond what they document, so that an upgrade fails here.

`TABLE` lists it: names that no documentation promises, methods of theirs that we override or call on ourselves, what we
set on their objects, and what we know of their insides. Each row is checked against what is installed. Other tests read
our source, and fail where it takes something of the kind that is in no row; and a row that nothing of ours uses fails,
too. Which files use it is found in the source, so files may be moved freely.

A row fails: look at what the message names in the new version of the library, mend the files of ours that it lists, and
then the row.
"""

import argparse
import ast
import functools
import importlib
import inspect
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"tests", "build", "dist", "shared", "docs"}
"""Directories without code of ours that a run or a person starts."""


@dataclass(frozen=True)
class Relied:
    """One thing that we rely on."""

    name: str
    """Where it is, dotted."""
    why: str
    """What our use of it is."""
    call: str = ""
    """Arguments as we call it with: their names count where they are given by name, as in `self, path, retry=_`."""
    takes: str = ""
    """Its parameters, all of them and no other: we override it, or pass on what it is given."""
    has: tuple[str, ...] = ()
    """Attributes, or the fields of a message, that we use."""
    made: tuple[str, ...] = ()
    """Attributes that only its objects have, in a way that `look` alone can tell."""
    value: Any = None
    """That a constant must have, because we, or files of ours, have it written out."""
    look: Callable[[Any], str] | None = None
    """What is wrong with it, in words; empty if nothing is."""
    used: str = ""
    """Regular expression for the text by which the files of ours that use it are found, where no import tells."""


# --- What rows look at -------------------------------------------------------------------------------------------


def spec_has(**keys: tuple[str, ...]) -> Callable[[Any], str]:
    """That a TFX node, or its specification, declares these INPUTS, OUTPUTS and PARAMETERS."""

    def look(node: Any) -> str:
        missing = [
            f"{kind}[{key!r}]"
            for kind, wanted in keys.items()
            for key in wanted
            if key not in getattr(getattr(node, "SPEC_CLASS", node), kind)
        ]
        return f"its specification has no {', '.join(missing)}" if missing else ""

    return look


def says(*texts: str) -> Callable[[Any], str]:
    """That the source of something still has these texts: for what shows in no signature."""

    def look(found: Any) -> str:
        source = inspect.getsource(found)
        missing = [text for text in texts if text not in source]
        return f"its source has no {' and no '.join(map(repr, missing))} any more" if missing else ""

    return look


def properties(*names: str) -> Callable[[Any], str]:
    """That an artifact type declares properties of these names, which we set and read as attributes."""

    def look(artifact: Any) -> str:
        missing = sorted(set(names) - set(artifact.PROPERTIES))
        return f"no properties {', '.join(missing)}" if missing else ""

    return look


def generated(*parameters: str) -> Callable[[Any], str]:
    """That a method of kfp's generated client takes these parameters: its signature is **kwargs."""

    def look(method: Any) -> str:
        owner, _, name = method.__qualname__.partition(".")
        inner = getattr(getattr(sys.modules[method.__module__], owner), f"{name}_with_http_info")
        source = inspect.getsource(inner)
        missing = [each for each in (*parameters, "_request_timeout") if f"'{each}'" not in source]
        return f"it takes no {', '.join(missing)}" if missing else ""

    return look


def split_directory(get_split_uri: Any) -> str:
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = "/x", '["train"]'
    found = get_split_uri([examples], "train")
    return "" if found == "/x/Split-train" else f"a split's directory is {found}, not /x/Split-train"


def split_names(decode: Any) -> str:
    from tfx.types import artifact_utils, standard_artifacts

    nothing = decode(standard_artifacts.ExampleStatistics().split_names)
    there_and_back = decode(artifact_utils.encode_split_names(["train", "eval"]))
    if nothing != []:
        return f"an artifact whose split names nobody set has the splits {nothing}, not none"
    return "" if there_and_back == ["train", "eval"] else f"train and eval come back as {there_and_back}"


def more_inputs(spec: Any) -> str:
    """A node whose spec is of a class of its own, with one input more than its parent's, has that input."""
    from tfx.types import channel, component_spec, standard_artifacts

    class Spec(spec):
        PARAMETERS: dict[str, Any] = {}  # noqa: RUF012 (TFX's way)
        INPUTS = {"one": component_spec.ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012
        OUTPUTS: dict[str, Any] = {}  # noqa: RUF012

    one, other = (channel.Channel(type=standard_artifacts.Examples) for _ in range(2))
    made = type("Spec", (Spec,), {"INPUTS": {**Spec.INPUTS, "other": Spec.INPUTS["one"]}})(one=one, other=other)
    return "" if set(made.inputs) == {"one", "other"} else f"its inputs are {sorted(made.inputs)}"


def image_is_enough(flags: Any) -> str:
    given = ["--sdk_container_image=none"]
    return "" if flags(list(given)) == given else "TFX packs itself up for workers although an image is named"


def future_value(_: Any) -> str:
    from tfx.components import ImportExampleGen

    try:
        _ = ImportExampleGen(input_base="/x").outputs["examples"].future()[0].value
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        return f"future()[0].value of a node's output is no placeholder: {error!r}"
    return ""


def value_of_variable(variable: Any) -> str:
    import tensorflow as tf

    value = variable(1.0).value
    return "" if isinstance(value, tf.Variable) else f"its value is a {type(value).__name__}, not a tf.Variable"


def batch_norm_weights(layer: Any) -> str:
    norm = layer(epsilon=0.0, center=False, scale=False, trainable=False)
    norm.build((None, 2))
    names = [weight.path.rpartition("/")[2] for weight in norm.weights]
    if names != ["moving_mean", "moving_variance"]:
        return f"without center and scale its weights are {names}, not its mean and variance, in that order"
    return "" if isinstance(norm.synchronized, bool) else "`synchronized` cannot be set on a layer"


def mobilenet_blocks(build: Any) -> str:
    body = build((224, 224, 3), include_top=False, weights=None, pooling="avg", name="body")
    first, blocks, last = ("Conv1", "expanded_conv"), tuple(f"block_{number}" for number in range(1, 17)), "Conv_1"
    names = [f"{layer.name}_" for layer in body.layers]
    missing = [each for each in (*first, *blocks, last) if not any(name.startswith(f"{each}_") for name in names)]
    return f"no layer is named after {', '.join(missing)}" if missing else ""


def tuned_values(parameters: Any) -> str:
    return "" if "values" in parameters().get_config() else 'its get_config() has no "values"'


def apis_of(client: Any) -> str:
    class Health:
        multi_user = False

    class Ours(client):
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            return Health()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it needs Kubeflow Pipelines v2
        made = Ours(host="http://localhost:1")
    wanted = ("healthzs", "runs", "recurring_runs", "experiments")
    missing = [name for name in wanted if not hasattr(made, name)]
    if missing:
        return f"it has no {', '.join(missing)} when it is made"
    return "" if hasattr(made.runs.run_service_get_run, "__self__") else "the methods of its runs are not bound ones"


def stand_in(_: Any) -> str:
    if "tfx_bsl.arrow.sql_util" not in sys.modules:
        return "importing tfx brings in tfx_bsl.arrow.sql_util no more, neither the real one nor a stand-in"
    importlib.import_module("tensorflow_data_validation")
    return ""


def flags_it_looks_at(run: Any) -> str:
    given = {"executor_class_path", "json_serialized_invocation_args", "json_serialized_inputs_spec_args"}
    others = set(re.findall(r"\bargs\.(\w+)", inspect.getsource(run))) - given
    return f"it looks at {sorted(others)}, too, which we do not give it" if others else ""


def tflite_details(_: Any) -> str:
    import tensorflow as tf

    inner = getattr(tf.lite.Interpreter, "_get_tensor_details", None)
    keys = ("name", "index", "shape", "quantization_parameters", "scales", "zero_points", "quantized_dimension")
    if inner is None:
        return "what the details of a tensor are cannot be looked up in _get_tensor_details any more"
    return says(*(f"'{key}'" for key in keys))(inner)


DO = "self, input_dict, output_dict, exec_properties"

# --- The table ---------------------------------------------------------------------------------------------------

TABLE: list[Relied] = [
    # TFX: its nodes. Only `tfx.v1` is public, which our code leaves alone, because it imports the cloud's client.
    Relied(
        "tfx",
        "the workers of Beam import it first, so that TFDV can be imported",
        look=stand_in,
        used=r"beam_plugins=tfx|TFX first|before TFX",
    ),
    Relied(
        "tfx.components.ExampleValidator",
        "a node of the DAG and of doctor",
        call="statistics=_, schema=_",
        look=spec_has(OUTPUTS=("anomalies",)),
    ),
    Relied("tfx.components.ImportExampleGen", "a node of doctor's pipeline", call="input_base=_"),
    Relied("tfx.components.SchemaGen", "a node of doctor's pipeline", call="statistics=_"),
    Relied(
        "tfx.components.StatisticsGen",
        "a node of the DAG and of doctor",
        call="examples=_, schema=_",
        look=spec_has(OUTPUTS=("statistics",)),
    ),
    # TFX: its executors.
    Relied(
        "tfx.components.distribution_validator.executor.Executor",
        "we subclass it, and give it a baseline without artifacts where there is nothing to compare with",
        look=says("if input_dict[standard_component_specs.BASELINE_STATISTICS_KEY]:", "'SplitPair-%s'"),
    ),
    Relied("tfx.components.distribution_validator.executor.Executor.Do", "we override it", takes=DO),
    Relied(
        "tfx.components.distribution_validator.executor._get_distribution_validator_config",
        "it reads the thresholds from an artifact, which TFX's own node has no input for",
        look=says("ARTIFACT_DISTRIBUTION_VALIDATOR_CONFIG_KEY"),
        used="ARTIFACT_DISTRIBUTION_VALIDATOR_CONFIG_KEY",
    ),
    Relied(
        "tfx.components.distribution_validator.executor._add_anomalies_for_missing_comparisons",
        "a feature that was not compared is told of by an anomaly with a path and reasons",
        look=says("reason.description", ".path.CopyFrom"),
        used="was not compared",
    ),
    Relied("tfx.components.distribution_validator.executor.DEFAULT_FILE_NAME", "name of the file of anomalies"),
    Relied(
        "tfx.components.evaluator.constants",
        "our gate writes the blessing as TFX's Evaluator does, so that its Pusher's executor obeys it",
        has=(
            "ARTIFACT_PROPERTY_BLESSED_KEY",
            "ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY",
            "ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY",
            "BLESSED_FILE_NAME",
            "NOT_BLESSED_FILE_NAME",
        ),
    ),
    Relied(
        "tfx.components.util.model_utils.is_model_blessed",
        "it goes by the property that our gate sets, and not by the file",
        look=says("get_int_custom_property"),
        used="ARTIFACT_PROPERTY_BLESSED_KEY",
    ),
    Relied(
        "tfx.components.example_validator.executor.DEFAULT_FILE_NAME",
        "name of the file of anomalies, which doctor has written out",
        value="SchemaDiff.pb",
    ),
    Relied(
        "tfx.components.schema_gen.executor.DEFAULT_FILE_NAME",
        "name of the schema in an artifact, which all who read one go by",
        value="schema.pbtxt",
    ),
    Relied(
        "tfx.components.statistics_gen.stats_artifact_utils.BINARY_PB_BASENAME",
        "name of the file of statistics, which we write for DistributionValidator and doctor has written out",
        value="FeatureStats.pb",
    ),
    Relied("tfx.components.pusher.executor.Executor", "we subclass it: its own copy could be read half-way"),
    Relied("tfx.components.pusher.executor.Executor.Do", "we override it", takes=DO),
    Relied(
        "tfx.components.pusher.executor.Executor._log_startup",
        "we call it as TFX's own Do does",
        call="self, input_dict, output_dict, exec_properties",
    ),
    Relied(
        "tfx.components.pusher.executor.Executor.CheckBlessing", "it reads the gate's verdict", call="self, input_dict"
    ),
    Relied(
        "tfx.components.pusher.executor.Executor.GetModelPath", "where the candidate's SavedModel is", call="self, _"
    ),
    Relied(
        "tfx.components.pusher.executor.Executor._MarkNotPushed",
        "it sets the property `pushed` to 0",
        call="self, artifact",
    ),
    Relied(
        "tfx.components.pusher.executor.Executor._MarkPushed",
        "it sets the properties `pushed`, `pushed_destination` and `pushed_version`",
        call="self, artifact, destination, version",
    ),
    Relied("tfx.components.pusher.executor._PUSHED_KEY", "we read it", value="pushed", used='"pushed"'),
    Relied(
        "tfx.components.pusher.executor._PUSHED_DESTINATION_KEY",
        "we read it",
        value="pushed_destination",
        used='"pushed_destination"',
    ),
    Relied(
        "tfx.components.pusher.executor._PUSHED_VERSION_KEY",
        "we read it",
        value="pushed_version",
        used='"pushed_version"',
    ),
    Relied("tfx.components.trainer.executor.GenericExecutor", "we subclass it, for several spans"),
    Relied("tfx.components.trainer.executor.GenericExecutor.Do", "we override it", takes=DO),
    Relied("tfx.components.tuner.executor.Executor", "we subclass it, for several spans"),
    Relied("tfx.components.tuner.executor.Executor.Do", "we override it", takes=DO),
    Relied(
        "tfx.components.trainer.fn_args_utils.FnArgs",
        "what TFX calls our run_fn and tuner_fn with",
        has=(
            *("working_dir", "train_files", "eval_files", "transform_output", "serving_model_dir", "model_run_dir"),
            *("base_model", "hyperparameters", "custom_config"),
        ),
    ),
    Relied("tfx.components.tuner.component.TunerFnResult", "what our tuner_fn returns", call="tuner=_, fit_kwargs=_"),
    Relied("tfx.components.transform.executor.Executor", "we subclass it: it makes the graph, we transform with it"),
    Relied(
        "tfx.components.transform.executor.Executor.Do",
        "we override it, and have it make the graph alone by leaving out the output of transformed examples",
        takes=DO,
        look=says("TRANSFORMED_EXAMPLES_KEY"),
    ),
    Relied(
        "tfx.components.transform.executor.Executor._make_beam_pipeline",
        "our copy of the records runs on the node's Beam",
        call="self",
    ),
    Relied(
        "tfx.components.transform.executor_utils.MatchNumberOfTransformedExamplesArtifacts",
        "as many outputs as inputs, as TFX's own Do makes them",
        call="input_dict, output_dict",
    ),
    Relied(
        "tfx.components.transform.executor_utils.ResolveSplitsConfig",
        "which splits to transform",
        call="config, examples",
    ),
    Relied(
        "tfx.components.transform.executor_utils.SetSplitNames",
        "splits of the transformed examples",
        call="splits, examples",
    ),
    Relied(
        "tfx.components.util.examples_utils.set_payload_format",
        "our ExampleGen says that its records are tf.Examples",
        call="artifact, payload_format",
    ),
    # TFX: nodes of our own.
    Relied(
        "tfx.dsl.component.experimental.annotations",
        "annotations of our nodes that are functions",
        has=("BeamComponentParameter", "InputArtifact", "OutputArtifact", "OutputDict", "Parameter"),
    ),
    Relied("tfx.dsl.component.experimental.annotations.OutputDict", "texts that a node returns", takes="**kwargs"),
    Relied(
        "tfx.dsl.component.experimental.decorators.component",
        "makes our functions nodes; one of them is given a Beam pipeline",
        call="use_beam=_",
    ),
    Relied(
        "tfx.dsl.components.base.base_component.BaseComponent",
        "we subclass it, and set platform_config",
        has=(
            *("SPEC_CLASS", "EXECUTOR_SPEC", "spec", "exec_properties", "platform_config", "outputs", "id", "with_id"),
            *("upstream_nodes", "add_upstream_node"),
        ),
    ),
    Relied(
        "tfx.dsl.components.base.base_beam_component.BaseBeamComponent",
        "we subclass it",
        has=("SPEC_CLASS", "EXECUTOR_SPEC"),
    ),
    Relied("tfx.dsl.components.base.base_beam_executor.BaseBeamExecutor", "we subclass it"),
    Relied("tfx.dsl.components.base.base_beam_executor.BaseBeamExecutor.Do", "we override it", takes=DO),
    Relied(
        "tfx.dsl.components.base.base_beam_executor.BaseBeamExecutor._make_beam_pipeline",
        "our copy of the records runs on the node's Beam",
        call="self",
    ),
    Relied("tfx.dsl.components.base.executor_spec.BeamExecutorSpec", "names our executors", call="executor_class"),
    Relied("tfx.dsl.components.base.executor_spec.ExecutorClassSpec", "names our executors", call="executor_class"),
    Relied(
        "tfx.types.standard_component_specs.TrainerSpec",
        "our Trainer is of it, with more inputs, and with parameters that may be placeholders",
        look=spec_has(
            INPUTS=("examples", "transform_graph", "schema", "base_model", "hyperparameters"),
            OUTPUTS=("model", "model_run"),
            PARAMETERS=("custom_config", "run_fn", "train_args", "eval_args"),
        ),
    ),
    Relied(
        "tfx.types.standard_component_specs.TunerSpec",
        "our Tuner is of it, with more inputs, and with parameters that may be placeholders",
        look=spec_has(
            INPUTS=("examples", "transform_graph", "schema"),
            OUTPUTS=("best_hyperparameters", "tuner_results"),
            PARAMETERS=("custom_config", "tuner_fn", "train_args", "eval_args"),
        ),
    ),
    Relied(
        "tfx.types.standard_component_specs.TransformSpec",
        "our Transform is of it, with parameters that may be placeholders",
        look=spec_has(
            INPUTS=("examples", "schema"),
            OUTPUTS=("transform_graph", "transformed_examples"),
            PARAMETERS=(
                *("custom_config", "preprocessing_fn", "splits_config", "disable_statistics", "force_tf_compat_v1"),
            ),
        ),
    ),
    Relied("tfx.dsl.components.base.base_executor.BaseExecutor", "an outline of ours for two of TFX's executors"),
    Relied("tfx.dsl.components.base.base_executor.BaseExecutor.Do", "we override it", takes=DO),
    Relied("tfx.types.component_spec.ChannelParameter", "declares inputs and outputs", call="type=_, optional=_"),
    Relied("tfx.types.component_spec.ExecutionParameter", "declares parameters", call="type=_"),
    Relied(
        "tfx.types.component_spec.ComponentSpec",
        "we subclass it, also for a single node, with an input for each span of a window",
        has=("PARAMETERS", "INPUTS", "OUTPUTS", "inputs", "exec_properties"),
        look=more_inputs,
    ),
    # TFX: artifacts.
    Relied("tfx.types", "annotations of our executors", has=("Artifact", "BaseChannel", "Channel")),
    Relied("tfx.types.channel.BaseChannel", "annotations"),
    Relied("tfx.types.Channel", "outputs of our nodes", call="type=_"),
    Relied("tfx.types.Channel.matching_channel_name", "as many transformed examples as examples"),
    Relied(
        "tfx.types.channel.OutputChannel.future",
        "what a node says, for a parameter of another",
        call="self",
        look=future_value,
        used=r"\.future\(\)",
    ),
    Relied(
        "tfx.types.artifact.Artifact",
        "what executors and our nodes are given",
        has=(
            *("id", "uri", "mlmd_artifact", "get_int_custom_property", "set_int_custom_property"),
            *("get_string_custom_property", "set_string_custom_property"),
        ),
    ),
    Relied(
        "tfx.types.artifact_utils.decode_split_names",
        "splits of an artifact; none where nobody set them",
        call="text",
        look=split_names,
    ),
    Relied("tfx.types.artifact_utils.encode_split_names", "splits of an artifact", call="names"),
    Relied("tfx.types.artifact_utils.get_single_instance", "the artifact of an input", call="artifacts"),
    Relied("tfx.types.artifact_utils.get_single_uri", "the directory of an input", call="artifacts"),
    Relied(
        "tfx.types.artifact_utils.get_split_uri",
        "directory of a split, which doctor, the bench and others have written out as Split-NAME",
        call="artifacts, split",
        look=split_directory,
    ),
    Relied("tfx.types.experimental.simple_artifacts.File", "type of our reports, thresholds and profiles"),
    Relied(
        "tfx.types.standard_artifacts",
        "types of what our nodes pass on",
        has=(
            *("ExampleAnomalies", "ExampleStatistics", "Examples", "Model", "ModelBlessing", "ModelEvaluation"),
            *("HyperParameters", "ModelRun", "PushedModel", "Schema", "TransformGraph", "TunerResults"),
        ),
    ),
    Relied(
        "tfx.types.standard_artifacts.Examples",
        "our ExampleGen sets them",
        made=("span", "split_names"),
        look=properties("span", "split_names"),
    ),
    Relied(
        "tfx.types.standard_artifacts.ExampleStatistics",
        "DriftDetector sets them",
        made=("split_names",),
        look=properties("split_names"),
    ),
    Relied("tfx.types.standard_artifacts.ExampleAnomalies", "we read them", look=properties("split_names")),
    Relied(
        "tfx.types.standard_component_specs",
        "names of inputs, outputs and parameters of TFX's executors",
        has=(
            *("ANOMALIES_KEY", "ARTIFACT_DISTRIBUTION_VALIDATOR_CONFIG_KEY", "BASELINE_STATISTICS_KEY"),
            *("CUSTOM_CONFIG_KEY", "EXAMPLES_KEY", "SPLITS_CONFIG_KEY", "STATISTICS_KEY"),
            *("TRANSFORMED_EXAMPLES_KEY", "TRANSFORM_GRAPH_KEY"),
        ),
    ),
    Relied(
        "tfx.types.standard_component_specs.EXAMPLES_KEY",
        "the inputs examples_1 and so on are named after it",
        value="examples",
    ),
    # TFX: its files.
    Relied(
        "tfx.dsl.io.fileio",
        "files of artifacts, wherever",
        has=("copy", "glob", "makedirs", "open", "rename", "rmtree"),
    ),
    Relied("tfx.dsl.io.fileio.rename", "puts a file into place, whole", call="source, target, overwrite=_"),
    Relied("tfx.utils.io_utils.all_files_pattern", "the files of a split", call="directory"),
    Relied("tfx.utils.io_utils.copy_dir", "copies the champion", call="source, target"),
    Relied("tfx.utils.path_utils.serving_model_dir", "where a SavedModel is put", call="directory"),
    Relied("tfx.utils.path_utils.serving_model_path", "where a SavedModel is", call="directory, old"),
    Relied(
        "tfx.utils.dependency_utils.make_beam_dependency_flags",
        "beam_args name some image, so that TFX does not pack itself up for workers in every node",
        look=image_is_enough,
        used="--sdk_container_image",
    ),
    # TFX: messages.
    Relied(
        "tfx.proto.distribution_validator_pb2.DistributionValidatorConfig",
        "we write the thresholds of DistributionValidator",
        has=("default_slice_config",),
    ),
    Relied(
        "tfx.proto.distribution_validator_pb2.FeatureComparator",
        "we write the thresholds of DistributionValidator",
        has=("path", "distribution_comparator"),
        used=r"default_slice_config\.feature",
    ),
    Relied(
        "tensorflow_metadata.proto.v0.schema_pb2.FeatureComparator",
        "we write the thresholds of DistributionValidator",
        has=("infinity_norm", "jensen_shannon_divergence"),
        used="jensen_shannon_divergence",
    ),
    Relied(
        "tensorflow_metadata.proto.v0.schema_pb2.InfinityNorm",
        "we write the thresholds of DistributionValidator",
        has=("threshold",),
        used="infinity_norm",
    ),
    Relied(
        "tfx.proto.example_gen_pb2",
        "our ExampleGen's format, and the bench's splits",
        has=("FORMAT_TF_EXAMPLE", "Input"),
    ),
    Relied("tfx.proto.example_gen_pb2.Input.Split", "the bench's splits", call="name=_, pattern=_"),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.Pipeline",
        "we run the nodes of the compiled pipeline one by one",
        has=("nodes", "runtime_spec"),
    ),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.PipelineNode",
        "names of the nodes; the bench switches their caching",
        has=("node_info", "execution_options"),
        used="pipeline_node",
    ),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.NodeInfo",
        "by its type we find the executions of a node",
        has=("id", "type"),
        used=r"node_info\.type",
    ),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.NodeExecutionOptions",
        "the bench switches the caching of nodes",
        has=("caching_options",),
        used="execution_options",
    ),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.NodeExecutionOptions.CachingOptions",
        "the bench switches the caching of nodes",
        has=("enable_cache",),
        used=r"caching_options\.enable_cache",
    ),
    Relied(
        "tfx.proto.orchestration.pipeline_pb2.PipelineRuntimeSpec",
        "which run it is",
        has=("pipeline_run_id",),
        used=r"runtime_spec\.pipeline_run_id",
    ),
    Relied("tfx.proto.trainer_pb2", "splits that the Trainer reads", has=("EvalArgs", "TrainArgs")),
    Relied("tfx.proto.trainer_pb2.TrainArgs", "splits that the Trainer reads", has=("splits",)),
    Relied("tfx.proto.trainer_pb2.EvalArgs", "splits that the Trainer reads", has=("splits",)),
    Relied(
        "tfx.proto.transform_pb2.SplitsConfig", "splits that Transform reads and writes", has=("analyze", "transform")
    ),
    # TFX: compiling and running on this machine.
    Relied("tfx.dsl.compiler.compiler.Compiler", "the DAG as an intermediate representation", has=("compile",)),
    Relied("tfx.dsl.compiler.compiler.Compiler.compile", "as LocalDagRunner does it", call="self, pipeline"),
    Relied("tfx.dsl.compiler.constants.PIPELINE_RUN_ID_PARAMETER_NAME", "the run's name goes there"),
    Relied(
        "tfx.dsl.compiler.constants.PIPELINE_RUN_CONTEXT_TYPE_NAME",
        "by it we find the executions of a run",
        value="pipeline_run",
        used='"pipeline_run"',
    ),
    Relied(
        "tfx.orchestration.data_types.RuntimeParameter", "what is set when a run is submitted", call="name=_, ptype=_"
    ),
    Relied("tfx.orchestration.local.local_dag_runner.LocalDagRunner", "runs nodes", has=("run",)),
    Relied(
        "tfx.orchestration.local.local_dag_runner.LocalDagRunner.run_with_ir",
        "runs one node at a time, of a copy of the compiled pipeline",
        call="self, ir",
    ),
    Relied(
        "tfx.orchestration.metadata.Metadata",
        "ML Metadata, for what became of a node",
        call="config",
        has=("store", "__enter__"),
    ),
    Relied("tfx.orchestration.metadata.sqlite_metadata_connection_config", "a file of the workspace", call="path"),
    Relied(
        "tfx.orchestration.pipeline.Pipeline",
        "our DAG",
        call="pipeline_name=_, pipeline_root=_, components=_, enable_cache=_, metadata_connection_config=_, "
        "beam_pipeline_args=_",
        has=("components", "metadata_connection_config", "pipeline_info"),
    ),
    Relied(
        "tfx.orchestration.portable.execution_publish_utils.publish_failed_execution",
        "ends the execution that a killed run left behind",
        call="handle, contexts, execution",
    ),
    Relied(
        "tfx.orchestration.portable.mlmd.execution_lib.get_output_artifacts",
        "outputs of a node by name",
        call="handle, execution",
    ),
    Relied(
        "tfx.orchestration.portable.outputs_utils._SYSTEM",
        "directory of a killed node that we remove",
        value=".system",
        used=r"\.system/",
    ),
    Relied(
        "tfx.orchestration.portable.outputs_utils._STATEFUL_WORKING_DIR",
        "directory of a killed node that we remove",
        value="stateful_working_dir",
        used="stateful_working_dir",
    ),
    Relied(
        "tfx.orchestration.portable.runtime_parameter_utils.substitute_runtime_parameter",
        "puts the run's name in, as LocalDagRunner does it",
        call="ir, values",
    ),
    # TFX: Kubeflow Pipelines and Vertex AI.
    Relied(
        "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor.main",
        "we call it with what its own parser of flags would have made",
        call="parsed_argv",
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor._run_executor",
        "these are all the flags that it looks at",
        look=flags_it_looks_at,
        used="json_serialized_inputs_spec_args",
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner.KubeflowV2DagRunner", "compiles the DAG", call="config"
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner.KubeflowV2DagRunner.run",
        "compiles the DAG to a PipelineJob, without a file",
        call="self, pipeline, parameter_values=_, write_out=_",
        used=r"write_out=False",
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig",
        "image and command of every step",
        call="default_image=_, default_commands=_, use_pipeline_spec_2_1=_",
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.step_builder._EXECUTOR_LABEL_PATTERN",
        "the name of a node's executor in what TFX compiles, which we amend",
        value="{}_executor",
        used=r"\{\}_executor",
    ),
    Relied(
        "tfx.orchestration.kubeflow.v2.step_builder.StepBuilder",
        "it takes a node's platform_config for resources; and it calls the task of a parameter's producer NAME_task, "
        "which we put right",
        look=says("platform_config", "+ '_task'"),
        used="platform_config|_task",
    ),
    # The libraries around TFX.
    Relied(
        "tfx_bsl.arrow.table_util.CanonicalizeRecordBatch",
        "makes a table of answers what TFMA takes",
        call="record_batch",
    ),
    Relied(
        "tensorflow_transform.coders.ExampleProtoCoder",
        "writes transformed rows, as one example that it fills over and over",
        call="schema, serialized=_",
        has=("encode",),
    ),
    Relied(
        "tensorflow_transform.TFTransformOutput",
        "the graph of Transform, for our own pass and for what is served",
        call="directory",
        has=("raw_feature_spec", "transform_features_layer", "transformed_metadata"),
    ),
    Relied(
        "tensorflow_model_analysis.metrics",
        "its metrics that we name by their classes; the others are Keras's",
        has=("ExampleCount", "MultiClassConfusionMatrixPlot"),
        used="class_name=",
    ),
    Relied(
        "tensorflow_model_analysis.ExtractEvaluateAndWriteResults",
        "evaluates a record batch that holds answers already, without a model",
        call="eval_config=_, output_path=_, writers=_",
    ),
    Relied("tensorflow_model_analysis.default_writers", "writers without a model", call="output_path, eval_config=_"),
    # Beam.
    Relied("apache_beam.utils.shared.Shared", "one model for all the threads of a worker"),
    Relied(
        "apache_beam.utils.shared.Shared.acquire",
        "with a holder that can be weakly referred to",
        call="self, make",
        used=r"_shared\.acquire",
    ),
    Relied("apache_beam.DoFn.process", "we override it", takes="self, element, *args, **kwargs"),
    Relied("apache_beam.DoFn.setup", "we override it", takes="self"),
    Relied("apache_beam.runners.runner.PipelineRunner", "our runner is one"),
    Relied("apache_beam.runners.runner.PipelineRunner.run_pipeline", "we override it", takes="self, pipeline, options"),
    Relied(
        "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
        "runs our pipelines on this machine",
        call="provision_info=_",
        used=r"fn_runner\.FnApiRunner",
    ),
    Relied(
        "apache_beam.runners.portability.fn_api_runner.fn_runner.ExtendedProvisionInfo",
        "what workers that are processes ask for",
        call="provision",
        used=r"fn_runner\.ExtendedProvisionInfo",
    ),
    Relied(
        "apache_beam.portability.api.beam_provision_api_pb2.ProvisionInfo",
        "what workers that are processes ask for",
        has=("pipeline_options",),
    ),
    Relied("apache_beam.runners.portability.portable_runner.JobServiceHandle", "encodes the options of a pipeline"),
    Relied(
        "apache_beam.runners.portability.portable_runner.JobServiceHandle.encode_pipeline_options",
        "the options for workers that are processes",
        call="options",
    ),
    Relied(
        "apache_beam.runners.portability.fn_api_runner.worker_handlers.DATA_BUFFER_TIME_LIMIT_MS",
        "we set it to 0: a flush by time loses elements",
    ),
    Relied(
        "apache_beam.runners.worker.sdk_worker_main._import_beam_plugins",
        "workers import `tfx` by it before anything else",
        call="plugins",
        used="--beam_plugins",
    ),
    Relied(
        "apache_beam.runners.portability.sdk_container_builder.SDK_CONTAINER_ENTRYPOINT",
        "where an image of Beam has the program that starts a worker",
        value="/opt/apache/beam/boot",
        used="/opt/apache/beam/boot",
    ),
    # Keras and KerasTuner.
    Relied("keras.callbacks.Callback.on_train_begin", "we override it", takes="self, logs"),
    Relied("keras.callbacks.Callback.on_train_end", "we override it", takes="self, logs"),
    Relied("keras.callbacks.Callback.on_epoch_begin", "we override it", takes="self, epoch, logs"),
    Relied("keras.callbacks.Callback.on_epoch_end", "we override it", takes="self, epoch, logs"),
    Relied("keras.callbacks.Callback.model", "the network that is fitted"),
    Relied(
        "keras.Model",
        "a callback stops training by setting stop_training; and the optimizer's weights are read by hand",
        has=("stop_training", "optimizer", "load_weights", "trainable_variables", "get_layer"),
    ),
    Relied(
        "keras.optimizers.Optimizer.build",
        "before a killed training's weights are read",
        call="self, variables",
        used=r"optimizer\.build",
    ),
    Relied(
        "keras.Variable",
        "what we export lists the values of its variables, which SavedModel must find; and weights are told by path",
        has=("path",),
        look=value_of_variable,
        used=r"variable\.value for|weight\.path",
    ),
    Relied(
        "keras.layers.BatchNormalization",
        "a classical model's standardisation is one, with its weights set in order; and we set synchronized",
        has=("synchronized",),
        look=batch_norm_weights,
    ),
    Relied(
        "keras.applications.MobileNetV2", "blocks to fine-tune are found by the names of layers", look=mobilenet_blocks
    ),
    Relied("keras.layers.Layer.call", "we override it", takes="self, *args, **kwargs"),
    Relied("keras.layers.Layer.compute_output_spec", "we override it", takes="self, *args, **kwargs"),
    Relied("keras.layers.Layer.get_config", "we override it", takes="self"),
    Relied("keras.utils.get_file", "downloads and unpacks YAMNet", call="name, origin, extract=_"),
    Relied("keras_tuner.RandomSearch.run_trial", "we override it", takes="self, trial, *args, **kwargs"),
    Relied("keras_tuner.RandomSearch.get_trial_dir", "where a trial keeps its files", call="self, trial_id"),
    Relied("keras_tuner.engine.trial.Trial", "what run_trial is given", has=("hyperparameters", "trial_id")),
    Relied(
        "keras_tuner.HyperParameters",
        "TFX's Tuner writes its configuration, of which our Trainer reads the values",
        look=tuned_values,
    ),
    # TensorFlow.
    Relied("tensorflow.autograph.experimental.do_not_convert", "spares tracing seconds", call="func"),
    Relied("tensorflow.core.protobuf.saved_model_pb2.SavedModel", "what a server says of signatures"),
    Relied("tensorflow.core.protobuf.saved_model_pb2.SavedModel.FromString", "what a server says of signatures"),
    Relied("tensorflow.config.experimental.get_device_details", "names and abilities of GPUs", call="device"),
    Relied("tensorflow.config.experimental_connect_to_cluster", "a TPU", call="resolver"),
    Relied("tensorflow.tpu.experimental.initialize_tpu_system", "a TPU", call="resolver"),
    Relied(
        "tensorflow.distribute.cluster_resolver.TPUClusterResolver",
        "finds a TPU; where nothing names one it raises ValueError, or RuntimeError on Google Cloud",
        has=("master",),
    ),
    Relied("tensorflow.data.experimental.assert_cardinality", "so that training knows its steps", call="count"),
    Relied(
        "tensorflow.data.experimental.OptimizationOptions.apply_default_optimizations",
        "they would copy the tensors that a dataset reads: all clips",
    ),
    Relied("tensorflow.experimental.dlpack.from_dlpack", "a tensor in the memory of an array", call="dlcapsule"),
    Relied("tensorflow.random.experimental.stateless_shuffle", "mixup's partners", call="values, seed"),
    Relied(
        "tensorflow.lite.Interpreter.get_tensor_details",
        "weights of a .tflite file, by the names of its tensors",
        made=("name", "index", "shape", "quantization_parameters"),
        look=tflite_details,
    ),
    Relied(
        "tensorflow.python.framework.convert_to_constants.convert_variables_to_constants_v2",
        "a graph without variables, as a .keras file holds it, and with whole loops, which ONNX needs",
        call="func, lower_control_flow=_, aggressive_inlining=_",
    ),
    # tf2onnx.
    Relied(
        "tf2onnx.graph.Graph",
        "handlers of the Fourier transforms that it lacks",
        has=("get_dtype", "get_shape", "make_const", "make_node", "remove_node"),
        used=r"custom_op_handlers",
    ),
    # ML Metadata.
    Relied("ml_metadata.metadata_store.ListOptions", "the last execution", call="limit=_, order_by=_, is_asc=_"),
    Relied("ml_metadata.metadata_store.OrderByField", "the last execution", has=("ID",)),
    Relied(
        "ml_metadata.metadata_store.MetadataStore",
        "what became of nodes",
        has=(
            *("get_executions", "get_context_by_type_and_name", "get_executions_by_context", "get_artifacts_by_type"),
            *("get_artifacts", "get_contexts_by_type", "get_events_by_execution_ids", "put_artifacts"),
        ),
    ),
    # kfp.
    Relied(
        "kfp.pipeline_spec.pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec",
        "resources of a step, as the platform_config that TFX's compiler takes",
        has=("cpu_limit", "cpu_request", "memory_limit", "memory_request", "accelerator"),
    ),
    Relied(
        "kfp.pipeline_spec.pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec."
        "AcceleratorConfig",
        "GPUs of a step",
        has=("type", "count"),
        used=r"accelerator\.count",
    ),
    Relied(
        "kfp.Client",
        "we subclass it, and ask its generated APIs ourselves, which it has as attributes before it asks for health",
        call="host=_, existing_token=_, ssl_ca_cert=_",
        has=("get_user_namespace",),
        made=("healthzs", "runs", "recurring_runs", "experiments"),
        look=apis_of,
    ),
    Relied(
        "kfp.Client.get_kfp_healthz",
        "we override it, because it waits and words otherwise",
        takes="self, sleep_duration",
    ),
    Relied("kfp.Client._NAMESPACE_PATH", "whether a pod's namespace is known, where users have one each"),
    Relied(
        "kfp.client.client._add_generated_apis",
        "it gives a client `healthzs`, `runs` and so on by these rules",
        look=says("ServiceApi", "'s'"),
        used="healthzs",
    ),
    Relied(
        "kfp.client.client.KF_PIPELINES_ENDPOINT_ENV",
        "for dry runs we must know the host, too",
        value="KF_PIPELINES_ENDPOINT",
        used="KF_PIPELINES_ENDPOINT",
    ),
    Relied(
        "kfp.client.client.KF_PIPELINES_UI_ENDPOINT_ENV",
        "address of a run's page",
        value="KF_PIPELINES_UI_ENDPOINT",
        used="KF_PIPELINES_UI_ENDPOINT",
    ),
    Relied("kfp_server_api.exceptions.ApiException", "what its client raises", has=("status", "body", "reason")),
    Relied(
        "kfp_server_api.ApiClient",
        "we look at the type of the last answer",
        has=("last_response",),
        used="last_response",
    ),
    Relied("kfp_server_api.rest.RESTResponse.getheader", "we look at the type of the last answer", call="self, name"),
    Relied("kfp_server_api.HealthzServiceApi.healthz_service_get_healthz", "is it there", look=generated()),
    Relied("kfp_server_api.V2beta1GetHealthzResponse", "is it there", has=("multi_user",), used="multi_user"),
    Relied(
        "kfp_server_api.RunServiceApi.run_service_list_runs",
        "lists runs",
        look=generated("experiment_id", "filter", "page_size", "sort_by"),
    ),
    Relied("kfp_server_api.RunServiceApi.run_service_create_run", "starts a run", look=generated("run")),
    Relied("kfp_server_api.RunServiceApi.run_service_get_run", "looks at a run", look=generated("run_id")),
    Relied(
        "kfp_server_api.V2beta1Run",
        "looks at a run",
        used=r"found\.run_details",
        has=(*("run_id", "display_name", "state", "created_at", "pipeline_spec", "run_details", "error"),),
    ),
    Relied(
        "kfp_server_api.V2beta1PipelineTaskDetail",
        "looks at a run's nodes",
        used=r"run_details\.task_details",
        has=("display_name", "state", "start_time", "end_time"),
    ),
    Relied(
        "kfp_server_api.RecurringRunServiceApi.recurring_run_service_create_recurring_run",
        "makes a schedule",
        look=generated("recurring_run"),
    ),
    Relied(
        "kfp_server_api.RecurringRunServiceApi.recurring_run_service_list_recurring_runs",
        "lists schedules",
        look=generated("experiment_id", "page_size", "page_token"),
    ),
    *(
        Relied(
            f"kfp_server_api.RecurringRunServiceApi.recurring_run_service_{verb}_recurring_run",
            "pauses, resumes and deletes schedules",
            look=generated("recurring_run_id"),
            used=rf'"{verb}"',
        )
        for verb in ("disable", "enable", "delete")
    ),
    Relied(
        "kfp_server_api.V2beta1RecurringRun",
        "lists schedules",
        used="recurring_run_id",
        has=("recurring_run_id", "display_name", "status", "trigger"),
    ),
    Relied(
        "kfp_server_api.ExperimentServiceApi.experiment_service_list_experiments",
        "finds the experiment",
        look=generated("filter", "namespace"),
    ),
    Relied(
        "kfp_server_api.ExperimentServiceApi.experiment_service_create_experiment",
        "makes the experiment",
        look=generated("experiment"),
    ),
    # Google's clients.
    Relied(
        "google.api_core.operations_v1.AbstractOperationsClient",
        "operations by REST; the client's own asks a path that no documentation knows of",
        call="transport=_",
    ),
    Relied(
        "google.api_core.operations_v1.AbstractOperationsClient.get_operation",
        "waits for operations",
        call="self, name, retry=_, timeout=_",
        used=r"_operations\.get_operation",
    ),
    Relied(
        "google.api_core.operations_v1.AbstractOperationsClient.list_operations",
        "finds operations under way",
        call="self, name, retry=_, timeout=_",
        used=r"_operations\.list_operations",
    ),
    Relied(
        "google.api_core.operations_v1.AbstractOperationsClient.cancel_operation",
        "stops an operation",
        call="self, name, retry=_, timeout=_",
        used=r"_operations\.cancel_operation",
    ),
    Relied(
        "google.api_core.operations_v1.transports.rest.OperationsRestTransport",
        "operations by REST, from a plain URL too",
        call="host=_, credentials=_",
    ),
    Relied(
        "google.api_core.operation.Operation",
        "we wait for the message in it, not by its own polling",
        has=("operation",),
    ),
    Relied(
        "google.api_core.retry.Retry",
        "with_predicate and with_timeout make others of it",
        has=("with_predicate", "with_timeout"),
        call="predicate, initial=_, maximum=_, timeout=_",
    ),
    Relied("google.api_core.exceptions.RetryError", "why it gave up", has=("cause",)),
    Relied("google.api_core.exceptions.from_grpc_status", "the error of an operation", call="code, message"),
    Relied("google.api_core.exceptions.from_http_response", "the error of a prediction", call="response"),
    Relied("google.cloud.storage.retry.DEFAULT_RETRY", "we shorten its patience", has=("with_timeout", "with_delay")),
    Relied(
        "google.cloud.aiplatform_v1.MachineSpec",
        "machine of an endpoint",
        has=("accelerator_type", "accelerator_count", "machine_type", "tpu_topology"),
    ),
    Relied(
        "google.cloud.aiplatform_v1.ContainerSpec",
        "a step's command goes into its custom job",
        has=("command",),
        used=r"container_spec\.command",
    ),
    Relied(
        "google.cloud.aiplatform_v1.CustomJob",
        "a step's digest goes into the labels of its job",
        has=("labels", "job_spec", "pb"),
    ),
    # rich.
    Relied(
        "rich.live.Live",
        "draws the table anew whenever it refreshes",
        call="get_renderable=_, console=_, refresh_per_second=_",
    ),
    Relied(
        "rich.console.Console.render_str",
        "makes a text of every string that is printed, so that ours escapes control characters",
        call="self, text",
    ),
]

BEAM_OPTIONS = {
    "runner": "which one",
    "direct_running_mode": "threads or processes",
    "direct_num_workers": "how many",
    "flink_master": "address of the cluster",
    "flink_submit_uber_jar": "the pipeline goes in the jar, so that a step needs no Java",
    "flink_job_server_jar": "of a file",
    "parallelism": "of Flink",
    "spark_master_url": "address of the cluster",
    "spark_job_server_jar": "of a file",
    "environment_type": "how workers are started",
    "environment_config": "how workers are started",
    "environment_cache_millis": "how long a worker waits for the next stage",
    "beam_plugins": "workers import tfx first",
    "sdk_container_image": "image of the workers",
    **dict.fromkeys(
        (
            *("project", "region", "temp_location", "service_account_email", "worker_machine_type"),
            "max_num_workers",
        ),
        "of Dataflow",
    ),
}
"""Options of a Beam pipeline that we give, and what for. Beam passes over those that it does not know, in silence."""

# --- What is not public ------------------------------------------------------------------------------------------

NOT_PUBLIC = (
    "apache_beam.coders",
    "apache_beam.internal",
    "apache_beam.portability",
    "apache_beam.runners",
    "apache_beam.utils",
    "google.api_core.operations_v1",
    "keras.src",
    "keras_tuner.engine",
    "keras_tuner.src",
    "kfp.pipeline_spec",
    "kfp_server_api",
    "tensorflow.core",
    "tensorflow.python",
    "tfx",
    "tfx_bsl",
)
"""Packages whose names no documentation promises, all but those in `PUBLIC`."""
PUBLIC = ("tfx.v1", "tfx_bsl.public")
FLAT = ("tensorflow_data_validation", "tensorflow_model_analysis", "tensorflow_transform")
"""Packages that document what they have at the top, and not their modules."""
KFP = {"Client", "client", "compiler", "components", "dsl", "local", "registry"}
"""Names of `kfp` that are documented."""
OURS = {
    ("bench/harness/timing.py", "returncode"): "of a process, by the standard library",
    ("components/audio/ffmpeg.py", "pts"): "documented by PyAV",
    ("components/audio/opus.py", "bit_rate"): "documented by PyAV",
    ("components/audio/opus.py", "layout"): "documented by PyAV",
    ("components/audio/opus.py", "options"): "documented by PyAV",
    ("components/audio/opus.py", "sample_rate"): "documented by PyAV",
    ("components/exports/tflite_file.py", "supported_ops"): "documented by TensorFlow Lite",
    ("components/library/inputs.py", "split"): "of a class of ours",
    ("components/library/restating/corrections.py", "value"): "of a message, by protobuf",
    ("components/store/onnx_runtime.py", "log_severity_level"): "documented by ONNX Runtime",
    ("models/kinds/mobilenet.py", "trainable"): "documented by Keras",
    ("models/kinds/musicnn.py", "trainable"): "documented by Keras",
    ("models/kinds/yamnet.py", "trainable"): "documented by Keras",
    ("pipeline/cli.py", "epilog"): "documented by Click",
    ("pipeline/commands/options.py", "meta"): "documented by Click",
    ("pipeline/commands/tag.py", "say"): "of a class of ours",
    ("pipeline/planning/source_digest.py", "body"): "of a syntax tree, by the standard library",
    ("pipeline/remote/buckets.py", "permissions"): "of a class of ours",
    ("pipeline/serving/following.py", "retired"): "of a class of ours",
    ("pipeline/serving/following.py", "users"): "of a class of ours",
    ("pipeline/serving/server.py", "should_exit"): "documented by uvicorn",
    ("pipeline/watching/watcher.py", "config"): "of a class of ours",
}
"""Attributes, by file, that we set on objects which are not `self`, and that are no insides of a library."""


def is_public(name: str) -> bool:
    """Whether a dotted name of a library is for everybody's use."""
    parts = name.split(".")
    private = any(part.startswith("_") and not part.endswith("__") for part in parts)
    if private or any("experimental" in part or part == "internal" for part in parts):
        return False
    if parts[0] == "kfp" and len(parts) > 1 and parts[1] not in KFP:
        return False
    if parts[0] in FLAT and len(parts) > 2 and parts[1].islower():
        return False
    return is_below(name, PUBLIC) or not is_below(name, NOT_PUBLIC)


def is_below(name: str, packages: tuple[str, ...]) -> bool:
    return f"{name}.".startswith(tuple(f"{package}." for package in packages))


# --- What our source takes from libraries ------------------------------------------------------------------------


@functools.cache
def sources() -> dict[Path, str]:
    """Text of every file of ours that a run or a person starts, and that is no test."""
    found = {}
    for top in sorted(ROOT.iterdir()):
        is_environment = top.is_dir() and (top / "pyvenv.cfg").exists()
        if top.name.startswith(".") or top.name in NOT_OURS or is_environment or top.suffix == ".lock":
            continue
        files = [top] if top.is_file() else sorted(top.rglob("*"))
        for file in files:
            if file.is_file() and (file.suffix in (".py", ".sh") or file.name == "Dockerfile"):
                found[file] = file.read_text(encoding="utf-8")
    return found


@functools.cache
def is_library(top: str) -> bool:
    """Whether a top-level module is neither of the standard library nor of ours."""
    parts = [path.relative_to(ROOT).parts for path in sources() if path.suffix == ".py"]
    ours = {each[each[0] == "src"].removesuffix(".py") for each in parts}
    return top not in sys.stdlib_module_names and top not in ours and top != ""


class _Taken:
    """What one source file takes from libraries."""

    def __init__(self, tree: ast.Module) -> None:
        self.names: set[str] = set()
        """Dotted: imported, or reached by attributes from what is imported."""
        self.inherited: set[str] = set()
        """As `<base>.<name>`: used of `self` in a class whose base is a library's, and not made there."""
        self.overridden: set[str] = set()
        """As `<base>.<name>`: made in such a class; it overrides something only where the base has that."""
        self.set: set[str] = set()
        """Attributes that are set on what is not `self`."""
        self.private: set[str] = set()
        """Private attributes, and arguments by name, of what is not `self`."""
        self._aliases: dict[str, str] = {}
        nodes = list(ast.walk(tree))
        for node in nodes:
            self._import(node)
        inner = {node.value for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            self._attribute(node, inner)
            if isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.keyword) and (node.arg or "").startswith("_"):
                self.private.add(node.arg)

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                if is_library(top):
                    self.names.add(alias.name)
                    self._aliases[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level and is_library((node.module or "").split(".")[0]):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                self.names.add(name)
                self._aliases[alias.asname or alias.name] = name

    def _dotted(self, node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return before and f"{before}.{node.attr}"
        return self._aliases.get(node.id, "") if isinstance(node, ast.Name) else ""

    def _attribute(self, node: ast.AST, inner: set[ast.expr]) -> None:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            node = node.value  # an item is set, of an attribute's value
            stored = isinstance(node, ast.Attribute)
        else:
            stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if not isinstance(node, ast.Attribute):
            return
        if node not in inner and (name := self._dotted(node)):
            self.names.add(name)
        root = _root(node)
        if root not in ("self", "cls") and not self._is_standard(root):
            if stored:
                self.set.add(node.attr)
            if node.attr.startswith("_") and not node.attr.endswith("__"):
                self.private.add(node.attr)
        elif stored and isinstance(node.value, ast.Attribute) and root == "self":
            self.set.add(node.attr)  # as in self.model.stop_training

    def _is_standard(self, root: str) -> bool:
        return root in sys.stdlib_module_names and root not in self._aliases

    def _class(self, node: ast.ClassDef) -> None:
        bases = [base for base in map(self._dotted, node.bases) if base]
        within = list(ast.walk(node))
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        constants = {
            target.id
            for item in node.body
            for target in (item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)])
            if isinstance(target, ast.Name)
        }
        of_self = [item for item in within if isinstance(item, ast.Attribute) and ast.unparse(item.value) == "self"]
        made = methods | constants | {item.attr for item in of_self if isinstance(item.ctx, ast.Store)}
        for base in bases:
            self.inherited |= {f"{base}.{item.attr}" for item in of_self if item.attr not in made}
            self.overridden |= {f"{base}.{name}" for name in methods | constants if not name.endswith("__")}


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@functools.cache
def taken() -> dict[Path, _Taken]:
    return {path: _Taken(ast.parse(text, str(path))) for path, text in sources().items() if path.suffix == ".py"}


def where(kind: str) -> dict[str, list[str]]:
    """The files of ours that take it, by name; `kind`: see `_Taken`."""
    found = defaultdict(list)
    for path, of_file in taken().items():
        for name in getattr(of_file, kind):
            found[name].append(str(path.relative_to(ROOT)))
    return found


def users(row: Relied) -> list[str]:
    """The files of ours that use what a row is about."""
    if row.used:
        text = re.compile(row.used)
        return [str(path.relative_to(ROOT)) for path, content in sources().items() if text.search(content)]
    found = {
        file
        for kind in ("names", "inherited", "overridden")
        for name, files in where(kind).items()
        if is_below(name, (row.name,))
        for file in files
    }
    if not found:
        text = re.compile(rf"\b{re.escape(row.name.rpartition('.')[2])}\b")
        return [str(path.relative_to(ROOT)) for path, content in sources().items() if text.search(content)]
    return sorted(found)


def listed() -> set[str]:
    return {name for row in TABLE for name in (row.name, *(f"{row.name}.{each}" for each in (*row.has, *row.made)))}


def missing_rows(found: dict[str, list[str]]) -> str:
    return "\n".join(
        f"  {name}: used in {', '.join(files)}, but in no row of TABLE" for name, files in sorted(found.items())
    )


# --- The checks --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def tfx_first() -> None:
    """TFX puts a stand-in for a part of tfx_bsl in place, without which TFDV cannot be imported."""
    importlib.import_module("tfx")


def resolve(name: str) -> Any:
    """The object of a dotted name.

    Raises:
      LookupError: there is none; the text says which part is missing.
    """
    parts = name.split(".")
    try:
        found: Any = importlib.import_module(parts[0])
    except ImportError as error:
        raise LookupError(f"{parts[0]} cannot be imported ({error})") from error
    for number, part in enumerate(parts[1:], 1):
        before = ".".join(parts[:number])
        if not hasattr(found, part) and inspect.ismodule(found):
            try:
                module = importlib.import_module(f"{before}.{part}")
            except ImportError as error:
                raise LookupError(f"{before} has no {part} ({error})") from error
            if not hasattr(found, part):  # TensorFlow takes the names of its own modules away
                found = module
                continue
        if not hasattr(found, part):
            if number == len(parts) - 1 and has(found, part):
                return None  # there once an object is made: nothing more to look at
            raise LookupError(f"{before} has no {part}")
        found = getattr(found, part)
    return found


def fields_of(found: Any) -> set[str]:
    """Of a class of protobuf messages; none of anything else."""
    return set(getattr(getattr(found, "DESCRIPTOR", None), "fields_by_name", ()))


def has(found: Any, name: str) -> bool:
    """Whether it has an attribute, or its objects have: as a field, or set on `self` by a class of its own or above."""
    if hasattr(found, name) or name in getattr(getattr(found, "meta", None), "fields", ()):
        return True
    if name in fields_of(found):
        return True
    if not inspect.isclass(found):
        return False
    if any(field.name == name for field in getattr(found, "__attrs_attrs__", ())):
        return True
    if name in getattr(found, "__annotations__", {}):
        return True
    return any(_sets(kind, name) for kind in found.__mro__ if kind is not object)


def _sets(kind: type, name: str) -> bool:
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # it is not written in Python
        return False
    return re.search(rf"\bself\.{name}\b[^=\n]*=[^=]", source) is not None


def spelled(signature: inspect.Signature) -> str:
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return ", ".join(f"{marks.get(each.kind, '')}{each.name}" for each in signature.parameters.values())


def problem(row: Relied) -> str:
    """What is wrong with a row, in words; empty if nothing is."""
    try:
        found = resolve(row.name)
    except LookupError as error:
        return str(error)
    if missing := [name for name in row.has if not has(found, name)]:
        return f"it has no {', '.join(missing)}"
    if row.value is not None and found != row.value:
        return f"it is {found!r}, not {row.value!r}"
    if row.takes and (parameters := spelled(inspect.signature(found))) != row.takes:
        return f"it takes ({parameters}), not ({row.takes})"
    if row.call:
        call = ast.parse(f"f({row.call})", mode="eval").body
        assert isinstance(call, ast.Call)
        if fields := fields_of(found):
            given = {each.arg for each in call.keywords}
            return f"it has no {', '.join(sorted(given - fields))}" if given - fields else ""
        signature = inspect.signature(found)
        if unnamed := [each.arg for each in call.keywords if each.arg not in signature.parameters]:
            # `**kwargs` would take anything.
            return f"it has no parameter {', '.join(map(str, unnamed))}; it takes ({spelled(signature)})"
        try:
            signature.bind(*call.args, **{each.arg: None for each in call.keywords if each.arg})
        except TypeError as error:
            return f"it cannot be called with ({row.call}): {error}; it takes ({spelled(signature)})"
    return row.look(found) if row.look else ""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_library_is_as_we_rely_on_it(row: Relied) -> None:
    files = ", ".join(users(row)) or "nobody"
    try:
        wrong = problem(row)
    except Exception as error:  # noqa: BLE001 (told in words, with what to look at)
        wrong = f"looking at it ended in {error!r}"
    assert not wrong, f"{row.name}: {wrong}.\nOur use of it: {row.why}.\nUsed in: {files}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_is_used(row: Relied) -> None:
    assert users(row), f"{row.name}: no file of ours uses it any more ({row.why}): remove the row, or mend its `used`"


def test_no_name_has_two_rows() -> None:
    names = [row.name for row in TABLE]
    assert sorted(names) == sorted(set(names))


def test_there_is_something_to_read() -> None:
    """Else the tests below would pass by finding nothing."""
    names = where("names")
    assert len(taken()) > 50
    assert "tfx.orchestration.local.local_dag_runner.LocalDagRunner" in names
    assert "tfx.components.transform.executor_utils.SetSplitNames" in names  # by an attribute of what is imported
    assert any(name.endswith("._make_beam_pipeline") for name in where("inherited"))
    assert any(name.endswith(".Do") for name in where("overridden"))
    assert "platform_config" in where("set")


def test_every_import_of_insides_is_in_the_table() -> None:
    known = listed()
    unknown = {
        name: files
        for name, files in where("names").items()
        if not is_public(name) and name not in known and not _is_spoken_for(name, known)
    }
    assert not unknown, missing_rows(unknown)


def _is_spoken_for(name: str, known: set[str]) -> bool:
    """Whether a name needs no row of its own: a module of which the table has something, or a part of a class in it."""
    if any(is_below(each, (name,)) for each in known):
        return _is_module(name)
    above = name.rpartition(".")[0]
    return above in known and not _is_module(above)


def _is_module(name: str) -> bool:
    try:
        return inspect.ismodule(resolve(name))
    except LookupError:  # of which another test tells
        return False


def test_everything_inherited_or_overridden_is_in_the_table() -> None:
    """Private or not: a base class that changes it would break ours."""
    known = listed()
    found: dict[str, list[str]] = {}
    for name, files in where("inherited").items():
        found[name] = files
    for name, files in where("overridden").items():
        base, _, attribute = name.rpartition(".")
        if _is_watched(base) and has(resolve(base), attribute):
            found[name] = files
    unknown = {name: files for name, files in found.items() if _is_watched(name) and name not in known}
    assert not unknown, missing_rows(unknown)


def _is_watched(name: str) -> bool:
    """Whether it is of a library with rows at all: others, such as pydantic, are made to be subclassed."""
    return name.split(".")[0] in {row.name.split(".")[0] for row in TABLE}


def test_everything_set_on_objects_of_libraries_is_in_the_table() -> None:
    known = {name.rpartition(".")[2] for name in listed()}
    found = {(file, name) for name, files in where("set").items() for file in files}
    unknown = {name: [file] for file, name in found - OURS.keys() if name not in known}
    assert not unknown, missing_rows(unknown)
    assert not OURS.keys() - found, "no longer set"


def test_every_private_attribute_of_others_is_in_the_table() -> None:
    known = {name.rpartition(".")[2] for name in listed()} | {"_request_timeout"}  # see `generated`
    unknown = {name: files for name, files in where("private").items() if name not in known}
    assert not unknown, missing_rows(unknown)


def test_beam_knows_our_options() -> None:
    from apache_beam.options import pipeline_options

    parser = argparse.ArgumentParser(conflict_handler="resolve")
    for kind in vars(pipeline_options).values():
        if inspect.isclass(kind) and "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)
    known = set(re.findall(r"--(\w+)", parser.format_help()))
    unknown = {name: why for name, why in BEAM_OPTIONS.items() if name not in known}
    assert not unknown, f"Beam has no such options any more; whoever gives them: {_givers(unknown)}"


def test_every_option_of_beam_that_we_give_is_listed() -> None:
    texts = [(ROOT / "components" / "beam" / name).read_text() for name in ("direct.py", "options.py")]
    given = {option for text in texts for option in re.findall(r'"--([a-z]\w+)', text)}
    assert len(given) > 10
    assert given <= BEAM_OPTIONS.keys(), sorted(given - BEAM_OPTIONS.keys())


def _givers(options: dict[str, str]) -> str:
    return "; ".join(
        f"{name} ({why}): {', '.join(_files_with(rf'--{name}|{name}'))}" for name, why in sorted(options.items())
    )


def _files_with(text: str) -> Iterator[str]:
    return (str(path.relative_to(ROOT)) for path, content in sources().items() if re.search(text, content))
