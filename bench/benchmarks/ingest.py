"""MP3 files to wav records, against a loop around `librosa.load` in one process; and with a second worker."""

from functools import partial
from pathlib import Path

import librosa
import soundfile

from bench.harness.music import songs
from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, Side, in_this_process, interleave, ratio, walls
from components.audio.config import AudioConfig
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.config import IngestConfig
from components.library.ingest import ingest
from components.library.sources.manifest_csv import Columns, read_csv

_SHARD = 8
"""Clips per shard. One worker makes a shard, so few clips need small shards to be divided evenly."""


def measure(setting: Setting) -> Measured:
    """Times `genre ingest` with one worker and with two, without its imports."""
    table = setting.library()
    audio = AudioConfig(clip_seconds=setting.seconds)
    rules = IngestConfig(min_seconds=setting.seconds / 2)
    tracks = read_csv(table, table.parent, Columns(group="artist", split="split"))

    def by_workers(config: BeamConfig) -> Sample:
        with setting.workplace() as fresh:
            arguments = (tracks, table.parent, "bench", fresh / "data", audio, rules)
            return in_this_process(lambda: ingest(*arguments, beam_args=beam_args(config), clips_per_shard=_SHARD))

    def by_librosa() -> Sample:
        with setting.workplace() as fresh:
            return in_this_process(lambda: librosa_loop(songs(table), audio, fresh))

    librosa_loop(songs(table)[:1], audio, setting.scratch)
    sides: dict[str, Side] = {
        "ours, 1 worker": partial(by_workers, BeamConfig(mode="in_memory")),
        "librosa.load": by_librosa,
        "ours, 2 workers": partial(by_workers, BeamConfig(workers=2)),
    }
    samples = interleave(sides, setting.repeats, setting.report)
    one = walls(samples["ours, 1 worker"])
    return Measured(
        samples,
        {
            "librosa": ratio(walls(samples["librosa.load"]), one),
            "second worker": ratio(one, walls(samples["ours, 2 workers"])),
        },
    )


def librosa_loop(files: list[Path], audio: AudioConfig, directory: Path) -> None:
    """Loads each file and writes it as PCM16 WAV, as many scripts do; an ingest does more."""
    for number, file in enumerate(files):
        samples, rate = librosa.load(file, sr=audio.sample_rate, mono=True, duration=audio.clip_seconds)
        soundfile.write(directory / f"{number:05d}.wav", samples, rate, subtype="PCM_16")
