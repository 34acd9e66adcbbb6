"""The benchmarks and their targets. Imports no TensorFlow, so that they are listed at once."""

from dataclasses import dataclass

from components.base.errors import UserError


@dataclass(frozen=True)
class Target:
    """The target of one figure."""

    what: str
    relation: str
    """">=", "<=", or "" for a figure without a bound."""
    bound: float
    unit: str


def at_least(what: str, bound: float, unit: str = "x") -> Target:
    """Returns the target of a figure that must not be below `bound`."""
    return Target(what, ">=", bound, unit)


def at_most(what: str, bound: float, unit: str = "x") -> Target:
    """Returns the target of a figure that must not be above `bound`."""
    return Target(what, "<=", bound, unit)


def stated(what: str, unit: str = "x") -> Target:
    """Returns the target of a figure that is stated without a bound."""
    return Target(what, "", 0.0, unit)


@dataclass(frozen=True)
class Benchmark:
    """A module of `bench.benchmarks`, whose `measure` takes a `harness.setting.Setting` and returns a `Measured`."""

    about: str
    clips: int
    """Number of songs of 30 s, unless --clips gives another one."""
    minutes: float
    """Approximate duration, with these clips and repeats on two idle cores."""
    targets: dict[str, Target]
    repeats: int = 5
    cores: int | None = None
    """Number of cores that the benchmark's process may use; None: all."""
    by_name_only: bool = False
    """True: `python -m bench` without names leaves it out."""


BENCHMARKS = {
    "mel": Benchmark(
        "log-mel of clips in memory on one core, against librosa and tf.signal",
        clips=48,
        minutes=0.5,
        cores=1,
        targets={
            "librosa": at_least("log-mel in TF, one core, against librosa", 2.2, "x faster"),
            "tf.signal": stated("log-mel in TF, one core, against tf.signal.stft as a template has it", "x faster"),
        },
    ),
    "transform": Benchmark(
        "wav records to features: our nodes, a template's, and the article's way",
        clips=300,
        minutes=8,
        targets={
            "transform": at_least("Transform, against stock Transform", 4, "x faster"),
            "pure": at_most("Transform, against read + decode + mel alone", 1.6, "x the time"),
            "together": at_least("ExampleGen + StatisticsGen + Transform, against stock", 4, "x faster"),
            "article": stated("Transform per clip, against the article's way", "x faster"),
            "bytes": at_most("bytes of a clip's features, against float32", 0.25, "x the bytes"),
            "stock bytes": stated("the same of stock Transform", "x the bytes"),
        },
    ),
    "ingest": Benchmark(
        "MP3 files to wav records: ours with one worker and with two, and a loop around librosa.load",
        clips=100,
        minutes=1.5,
        targets={
            "librosa": at_least("ingest with one worker, against a librosa.load loop", 1.4, "x faster"),
            "second worker": at_least("ingest with two workers, against one", 1.8, "x faster"),
        },
    ),
    "preparation": Benchmark(
        "MP3 files to features, whole processes: ours, librosa with joblib, Hugging Face's where there is one",
        clips=2000,
        minutes=17,
        targets={
            "joblib": at_least("MP3 to features, against librosa + joblib on all cores", 1, "x faster"),
            "hugging face": stated("MP3 to features, against Hugging Face's datasets.map on all cores", "x faster"),
        },
    ),
    "training_input": Benchmark(
        "the Trainer's batches: ours, and gzipped lists of floats",
        clips=96,
        minutes=1.5,
        targets={
            "training": at_least("the batches of ten epochs, against stock records", 5, "x faster"),
            "first": stated("those of the first epoch, files read", "x faster"),
            "later": stated("those of a later epoch", "x faster"),
            "pace": stated("clips that the input makes ready", "clips/s"),
            "bottleneck": at_least("the input against what mel_cnn's step takes on the GPU", 1, "x the pace"),
            "step GPU": stated("clips that mel_cnn's step takes on the GPU", "clips/s"),
            "step CPU": stated("clips that mel_cnn's step takes on the CPU", "clips/s"),
        },
    ),
    "memory": Benchmark(
        "peak memory of ingest, ExampleGen, Transform and a training, and of the same with a tenth of the clips",
        clips=2000,
        minutes=6,
        repeats=1,  # it hardly varies, and takes minutes
        targets={
            step: at_most(f"peak memory of {step} with ten times the clips", 1.1)
            for step in ("ingest", "ExampleGen", "Transform", "Trainer")
        },
    ),
    "workers": Benchmark(
        "ingest and Transform with one worker process and with two",
        clips=600,
        minutes=6,
        repeats=3,
        targets={
            "ingest": at_least("ingest with two worker processes, against one", 1.7, "x faster"),
            "Transform": at_least("Transform with two worker processes, against one", 1.7, "x faster"),
        },
    ),
    "unchanged_run": Benchmark(
        "genre run when nothing has changed, and its imports alone",
        clips=24,
        minutes=2.5,
        targets={"beyond": at_most("a run without a change, beyond its imports", 3, "s")},
    ),
    "predict": Benchmark(
        "genre predict with one song and with many, and an export without TensorFlow",
        clips=48,
        minutes=2.5,
        targets={
            "song": stated("genre predict, each song", "ms"),
            "load": stated("genre predict, until the model is loaded", "s"),
            "onnx": at_most("a song by an export for ONNX Runtime, from nothing to the answer", 1, "s"),
            "tfx": at_most("modules of TFX that genre predict imports", 0, "modules"),
        },
    ),
    "serve": Benchmark(
        "genre serve with 16 clients while versions are pushed, half a minute each time, and calls of the SavedModel",
        clips=48,
        minutes=5,
        repeats=4,
        targets={
            "alone": stated("a clip through genre serve, against a call of the SavedModel", "x the time"),
            "direct": stated("a call of the SavedModel, median", "ms"),
            "p50": stated("16 clients of genre serve, median latency", "ms"),
            "p95": stated("16 clients of genre serve, 95th percentile", "ms"),
            "p99": stated("16 clients of genre serve, 99th percentile", "ms"),
            "pace": stated("answers to 16 clients", "clips/s"),
            "against": stated("answers to 16 clients, against calls of the SavedModel one by one", "x the pace"),
            "failed": at_most("requests that failed", 0, "requests"),
            "memory": at_most("resident memory after the last round, against the first", 1.1),
        },
    ),
    "similar": Benchmark(
        "the ten nearest of 100,000 embeddings, against scikit-learn's exact search",
        clips=12,
        minutes=1,
        targets={
            "question": at_most("genre similar, one question among 100,000 songs", 50, "ms"),
            "scikit-learn": stated("genre similar, against scikit-learn", "x faster"),
            "same": at_least("neighbours that scikit-learn's exact search names, too", 99, "%"),
        },
    ),
    "evaluation": Benchmark(
        "GateEvaluator on the test split, and Transform on as many clips",
        clips=192,
        minutes=4,
        targets={"evaluation": at_most("evaluation, against Transform of as many clips", 2, "x the time")},
    ),
    "planning": Benchmark(
        "what a run reads first, of a tenth and of all: a span for 1,000 songs, a record of the history for 100",
        clips=1_000_000,
        minutes=2,
        repeats=1,
        by_name_only=True,
        targets={
            "spans": at_most("a span in a window of all, against one of a tenth", 1.3, "x the time"),
            "spans memory": stated("memory that planning with all spans takes", "MiB"),
            "history": at_most("a record of the history, of all, against one of a tenth", 1.3, "x the time"),
            "history memory": stated("memory that all records take", "MiB"),
        },
    ),
    "scale": Benchmark(
        "every node with a fiftieth, a fifth and all of the clips, against a linear cost model",
        clips=5000,
        minutes=30,
        repeats=1,
        by_name_only=True,
        targets={
            step: stated(f"{step}: measured, against the line through the two smaller sizes", "x the time")
            for step in ("ingest", "ImportExampleGen", "StatisticsGen", "Transform", "Trainer", "GateEvaluator")
        }
        | {"pure": at_most("Transform of all of the clips, against read + decode + mel alone", 1.6, "x the time")},
    ),
}


def choose(names: tuple[str, ...]) -> dict[str, Benchmark]:
    """Returns the benchmarks of these names; without names, all that are not run by name only.

    Raises:
      UserError: there is no benchmark of one of the names.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise UserError(f"{name}: no such benchmark. There are: {', '.join(BENCHMARKS)}.")
    return {
        name: benchmark
        for name, benchmark in BENCHMARKS.items()
        if name in names or not (names or benchmark.by_name_only)
    }
