"""MP3 files to wav records, against a loop around `librosa.load`, in one process; and what a second worker brings."""

from functools import partial
from pathlib import Path

import librosa
import soundfile

from bench.music import songs
from bench.result import Measured
from bench.setting import Setting
from bench.timing import Sample, in_this_process, interleave, ratio, walls
from components.beam import beam_args
from components.config import AudioConfig, BeamConfig, IngestConfig
from components.datasets.manifest_csv import Columns, read_csv
from components.ingest import ingest

_SHARD = 8
"""Clips per shard: a shard is one worker's, and so few clips would else make too few shards to share out evenly."""


def measure(setting: Setting) -> Measured:
    """With one worker and with two, as `genre ingest` does it, but without the time to import."""
    table = setting.library()
    audio = AudioConfig(clip_seconds=setting.seconds)
    rules = IngestConfig(min_seconds=setting.seconds / 2, clips_per_shard=_SHARD)
    tracks = read_csv(table, table.parent, Columns(group="artist", split="split"))

    def by_workers(config: BeamConfig) -> Sample:
        with setting.workplace() as fresh:
            arguments = (tracks, table.parent, "bench", fresh / "data", audio, rules)
            return in_this_process(lambda: ingest(*arguments, beam_args=beam_args(config)))

    def by_librosa() -> Sample:
        with setting.workplace() as fresh:
            return in_this_process(lambda: librosa_loop(songs(table), audio, fresh))

    librosa_loop(songs(table)[:1], audio, setting.scratch)
    sides = {
        "ours, 1 worker": partial(by_workers, BeamConfig(mode="in_memory")),
        "librosa.load": by_librosa,
        "ours, 2 workers": partial(by_workers, BeamConfig(workers=2)),
    }
    samples = interleave(sides, setting.repeats, setting.tell)
    one = walls(samples["ours, 1 worker"])
    return Measured(
        samples,
        {
            "librosa": ratio(walls(samples["librosa.load"]), one),
            "second worker": ratio(one, walls(samples["ours, 2 workers"])),
        },
    )


def librosa_loop(files: list[Path], audio: AudioConfig, directory: Path) -> None:
    """Loads each file and writes it as PCM16 WAV: less than an ingest does, and what people do."""
    for number, file in enumerate(files):
        samples, rate = librosa.load(file, sr=audio.sample_rate, mono=True, duration=audio.clip_seconds)
        soundfile.write(directory / f"{number:05d}.wav", samples, rate, subtype="PCM_16")
