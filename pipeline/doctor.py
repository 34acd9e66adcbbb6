"""Checks that an installation is sound. Each check looks at one thing and leaves nothing behind.

Checks that load TensorFlow run in another process: libraries that do not fit each other crash in C++ or hang, and the
findings of the other checks must be shown all the same.
"""

import fcntl
import importlib.metadata
import importlib.util
import io
import json
import multiprocessing
import os
import platform
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.audio.config import AudioConfig
from components.base.errors import reason
from components.beam.config import BeamConfig
from components.beam.options import beam_args

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
"""The lock of a source checkout."""
PATIENCE_SECONDS = 300.0
"""Longest time for a check in the other process; the slowest takes half a minute."""

_GB = 1e9
_REINSTALL = (
    "Install anew what is locked: `make clean`, then `make doctor`; or, where there is no Makefile, "
    f"`pip install --no-deps --require-hashes -r {LOCK.name}`."
)
_TRAIN = "To train, where the source is: `make run`, or `pip install --no-deps --require-hashes -r requirements.lock`."
_CODECS = {  # by name: libsndfile's format and subtype, and whether it is optional
    "WAV": ("WAV", "PCM_16", False),
    "FLAC": ("FLAC", "PCM_16", False),
    "Ogg Vorbis": ("OGG", "VORBIS", False),
    "MP3": ("MP3", "MPEG_LAYER_III", False),
    "AIFF": ("AIFF", "PCM_16", False),
    "Opus": ("OGG", "OPUS", True),
}
_EXAMPLES = 12


@dataclass(frozen=True)
class Finding:
    """The result of a check, with advice."""

    status: Literal["ok", "warning", "FAIL"]
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A check of one thing."""

    name: str
    look: Callable[[], Finding]
    apart: bool = False
    """Whether it runs in another process; see above."""


def checks(workspace: Path) -> tuple[Check, ...]:
    """Returns all checks, the slow ones last."""
    return (
        Check("Python", python_version),
        Check("packages", partial(package_versions, LOCK)),
        Check("workspace", partial(writable, workspace)),
        Check("disk", partial(free_disk, workspace)),
        Check("machine", processors_and_memory),
        Check("audio codecs", audio_codecs),
        Check("cloud credentials", cloud_credentials),
        Check("GPU, TPU", accelerators, apart=True),
        Check("TFX, MLMD, TFDV", tfx_together, apart=True),
    )


def examine(todo: tuple[Check, ...]) -> Iterator[tuple[Check, Finding]]:
    """Runs checks, and yields their findings in the order of `todo`. A check that raises is a finding, too."""
    with _apart([check.look for check in todo if check.apart]) as next_finding:
        for check in todo:
            yield check, next_finding() if check.apart else _attempt(check.look)


def _attempt(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 (becomes a finding; the traceback is in the log)
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        return Finding("FAIL", f"{type(error).__name__}: {reason}", _REINSTALL)


@contextmanager
def _apart(looks: list[Callable[[], Finding]]) -> Iterator[Callable[[], Finding]]:
    """Starts on `looks` in one other process, so that TensorFlow is loaded once; yields what gets the next finding."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    scratch = tempfile.TemporaryDirectory(prefix="genre-doctor-")
    process = context.Process(target=_send_findings, args=(sender, looks, scratch.name), daemon=True)
    process.start()
    sender.close()

    def next_finding() -> Finding:
        if not receiver.poll(PATIENCE_SECONDS):
            process.kill()  # or its late answer would be taken for the next one
            return Finding("FAIL", f"no answer within {PATIENCE_SECONDS:g} s", _REINSTALL)
        try:
            return receiver.recv()
        except EOFError:
            process.join()
            return Finding("FAIL", f"its process died with exit code {process.exitcode}", _REINSTALL)

    try:
        yield next_finding
    finally:
        process.kill()
        process.join()
        scratch.cleanup()


def _send_findings(sender: Connection, looks: list[Callable[[], Finding]], scratch: str) -> None:
    os.environ["TMPDIR"] = scratch  # TFX and Beam leave temporary files behind
    for look in looks:
        sender.send(_attempt(look))


# --- The checks ----------------------------------------------------------------------------------------------------


def python_version() -> Finding:
    """Checks the version of Python, for which the packages are locked."""
    found = platform.python_version()
    if found.startswith("3.11."):
        return Finding("ok", found)
    return Finding("FAIL", f"{found}, but 3.11 is needed", "Install Python 3.11, then `make clean` and `make doctor`.")


def package_versions(lock: Path) -> Finding:
    """Checks that every version that `lock` pins is installed."""
    if not lock.is_file():
        return Finding("warning", "no lock to compare with", f"{lock.name} is only in a source checkout.")
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    installed = {name: _installed(name) for name, _ in pins}
    wrong = [
        f"{name} {installed[name] or 'missing'} (locked: {version})"
        for name, version in pins
        if installed[name] != version
    ]
    if not wrong:
        return Finding("ok", f"all {len(pins)} as locked")
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return Finding("FAIL", ", ".join(wrong[:5]) + more, _REINSTALL)


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def writable(workspace: Path) -> Finding:
    """Checks that files can be created, locked and renamed in `workspace`, or where it would be created."""
    try:
        with tempfile.TemporaryDirectory(prefix=".genre-doctor-", dir=_nearest(workspace)) as scratch:
            probe = Path(scratch, "probe")
            with probe.open("w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write("probe")
            probe.rename(probe.with_name("renamed"))
    except OSError as error:
        advice = "Choose another with --workspace, here and for `genre run`, or repair this one."
        return Finding("FAIL", f"{workspace} cannot be written: {reason(error)}", advice)
    return Finding("ok", f"{workspace} can be {'written' if workspace.exists() else 'created'}")


def free_disk(workspace: Path) -> Finding:
    """Checks that there is room for artifacts, models and records."""
    free = shutil.disk_usage(_nearest(workspace)).free / _GB
    found = f"{free:.1f} GB free for {workspace}"
    if free >= 5.0:
        return Finding("ok", found)
    advice = "A larger library soon uses up less than 5 GB: free some space, or choose another --workspace."
    return Finding("FAIL" if free < 1.0 else "warning", found, advice)


def _nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def processors_and_memory() -> Finding:
    """Checks the processors and memory of this machine or container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
        memory = min(memory, int(text))
    found = f"{os.cpu_count()} processors, {memory / _GB:.1f} GB of memory"
    if memory >= 4 * _GB:
        return Finding("ok", found)
    return Finding("warning", found, "Training may need more: lower train.batch_size, or take a larger machine.")


def audio_codecs() -> Finding:
    """Encodes and decodes a second of tone in each format that songs come in."""
    wrong = {name: reason for name in _CODECS if (reason := _codec_problem(name))}
    needed = [f"{name}: {reason}" for name, reason in wrong.items() if not _CODECS[name][2]]
    if needed:
        advice = "The libsndfile in soundfile's wheel has all of them; another build may not. " + _REINSTALL
        return Finding("FAIL", "; ".join(needed), advice)
    found = ", ".join(name for name in _CODECS if name not in wrong)
    return Finding("ok", f"{found}; not {', '.join(wrong)}" if wrong else found)


def _codec_problem(name: str) -> str:
    """Describes what is wrong with a codec; empty if nothing is."""
    import numpy as np
    import soundfile

    from components.audio.decoding import AudioError, decode_clip

    file_format, subtype, _ = _CODECS[name]
    rate = 48_000  # of all of Opus' rates the usual one
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    file = io.BytesIO()
    try:
        soundfile.write(file, tone, rate, format=file_format, subtype=subtype)
        clip = decode_clip(file, AudioConfig(clip_seconds=1.0))
    except (soundfile.SoundFileError, ValueError, AudioError) as error:
        return str(error)
    expected = 20 * np.log10(0.5 / np.sqrt(2))
    if abs(clip.rms_dbfs - expected) > 1.0:
        return f"a tone of {expected:.1f} dBFS comes back with {clip.rms_dbfs:.1f}"
    return ""


def cloud_credentials() -> Finding:
    """Checks the file of Google's Application Default Credentials; no network is used."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    settings = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud"
    file = Path(named or Path(settings, "application_default_credentials.json"))
    if not named and not file.exists():
        return Finding("ok", "none (only needed for Vertex AI)")
    try:
        kind = json.loads(file.read_text(encoding="utf-8"))["type"]
    except OSError as error:
        problem = f"{file}: {reason(error)}"
    except (ValueError, KeyError, TypeError):
        problem = f"{file} does not hold credentials"
    else:
        return Finding("ok", f"{kind} in {file}")
    advice = "For Vertex AI, correct GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`."
    return Finding("warning", problem, advice)


def accelerators() -> Finding:
    """Checks which accelerators TensorFlow sees, and whether it misses a GPU of this machine."""
    import tensorflow as tf

    devices = [device for kind in ("GPU", "TPU") for device in tf.config.list_physical_devices(kind)]
    if devices:
        return Finding("ok", ", ".join(_device_name(device) for device in devices))
    if Path("/dev/nvidiactl").exists():
        return Finding(
            "warning",
            "there is an NVIDIA GPU, but TensorFlow does not see it: only the CPU is used",
            f'Install CUDA\'s libraries: pip install "tensorflow[and-cuda]=={tf.__version__}". Does nvidia-smi work?',
        )
    return Finding("ok", "none; CPU only")


def _device_name(device: Any) -> str:
    import tensorflow as tf

    return tf.config.experimental.get_device_details(device).get("device_name", device.device_type)


# --- TFX, ML Metadata and TensorFlow Data Validation ------------------------------------------------------------------


def tfx_together() -> Finding:
    """Runs a real, tiny pipeline: their versions are not those that TFX asks for, see pyproject.toml."""
    if importlib.util.find_spec("tfx") is None and _installed("ml-metadata") is None:
        return Finding("warning", "not installed: this installation predicts and serves, but cannot train", _TRAIN)
    with tempfile.TemporaryDirectory(prefix="genre-doctor-") as scratch:
        problem = _run_tiny_pipeline(Path(scratch))
    versions = [_installed(name) for name in ("tfx", "ml-metadata", "tensorflow-data-validation")]
    found = "TFX {}, ML Metadata {} and TFDV {} ".format(*versions)
    if problem:
        return Finding("FAIL", f"{found}do not work together: {problem}", _REINSTALL)
    return Finding("ok", f"{found}ran a pipeline of 4 nodes")


def _run_tiny_pipeline(root: Path) -> str:
    """Describes what is wrong with the outcome of a tiny pipeline; empty if nothing is."""
    # TFX first: it puts a stand-in for a part of tfx_bsl in place, without which TFDV cannot be imported.
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner  # isort: skip
    import tensorflow_data_validation as tfdv
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    pipeline = _tiny_pipeline(root)
    LocalDagRunner().run(pipeline)

    store = MetadataStore(pipeline.metadata_connection_config)
    states = [execution.last_known_state for execution in store.get_executions()]
    if states != [metadata_store_pb2.Execution.COMPLETE] * len(pipeline.components):
        return f"ML Metadata records the states {states}"

    def files(artifact_type: str, name: str) -> list[Path]:
        (artifact,) = store.get_artifacts_by_type(artifact_type)
        return sorted(Path(artifact.uri).glob(f"Split-*/{name}"))

    statistics = [tfdv.load_stats_binary(str(file)) for file in files("ExampleStatistics", "FeatureStats.pb")]
    counted = sum(split.datasets[0].num_examples for split in statistics)
    if counted != _EXAMPLES:
        return f"statistics count {counted} of {_EXAMPLES} examples"
    for file in files("ExampleAnomalies", "SchemaDiff.pb"):
        if anomalies := anomalies_pb2.Anomalies.FromString(file.read_bytes()).anomaly_info:
            return f"anomalies where there are none: {', '.join(anomalies)}"
    return ""


def _tiny_pipeline(root: Path) -> "Pipeline":
    """The first nodes of a pipeline, on records of its own."""
    import tensorflow as tf
    from tfx.components import ExampleValidator, ImportExampleGen, SchemaGen, StatisticsGen
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline

    data = root / "data"
    data.mkdir()
    with tf.io.TFRecordWriter(str(data / "records.tfrecord.gz"), options="GZIP") as writer:
        for number in range(_EXAMPLES):
            example = tf.train.Example()
            example.features.feature["level"].float_list.value.append(number / _EXAMPLES)
            example.features.feature["genre"].bytes_list.value.append(b"Folk")
            writer.write(example.SerializeToString())

    examples = ImportExampleGen(input_base=str(data))
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    return Pipeline(
        pipeline_name="doctor",
        pipeline_root=str(root / "artifacts"),
        components=[examples, statistics, schema, validator],
        metadata_connection_config=sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        beam_pipeline_args=beam_args(BeamConfig(mode="in_memory", workers=1)),
    )
