"""What is measured, against what, and what is asked of it; no TensorFlow."""

from dataclasses import dataclass

from components.errors import UserError


@dataclass(frozen=True)
class Target:
    """What is asked of one figure."""

    what: str
    relation: str
    """">=", "<=", or "" where the figure is only to be stated."""
    bound: float
    unit: str


def at_least(what: str, bound: float, unit: str = "x") -> Target:
    """A figure that must not be below `bound`."""
    return Target(what, ">=", bound, unit)


def at_most(what: str, bound: float, unit: str = "x") -> Target:
    """A figure that must not be above `bound`."""
    return Target(what, "<=", bound, unit)


def stated(what: str, unit: str = "x") -> Target:
    """A figure without a bound."""
    return Target(what, "", 0.0, unit)


@dataclass(frozen=True)
class Benchmark:
    """One module of this package, whose `measure` takes a `bench.setting.Setting` and returns a `Measured`."""

    about: str
    clips: int
    """Songs of 30 s, if nobody says otherwise."""
    minutes: float
    """Roughly, with these clips and repeats on two quiet cores."""
    targets: dict[str, Target]
    repeats: int = 5
    cores: int | None = None
    """The benchmark's process is bound to so many; None: to all there are."""
    by_name_only: bool = False
    """Not part of `genre bench` without names."""


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
}


def choose(names: tuple[str, ...]) -> dict[str, Benchmark]:
    """The benchmarks of these names; without any, all that are not run by name only.

    Raises:
      UserError: there is no such benchmark.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise UserError(f"{name}: no such benchmark. There are: {', '.join(BENCHMARKS)}.")
    return {
        name: benchmark
        for name, benchmark in BENCHMARKS.items()
        if name in names or not (names or benchmark.by_name_only)
    }
