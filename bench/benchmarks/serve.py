"""`genre serve` under load, with new versions pushed meanwhile, against calls of the SavedModel itself."""

import base64
import http.client
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from etils import epath

from bench.harness.music import songs
from bench.harness.result import Measured
from bench.harness.setting import GENRE, Setting
from bench.harness.timing import ROOT, ProcessError, Sample, in_new_process, spread
from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip
from components.audio.wav import encode_wav
from components.store.model_store import Lineage, current_version, publish, version_dir
from components.store.saved_model import SavedModel

CLIENTS = 16
_ROUND_SECONDS = 30.0
_CALLS, _UNCOUNTED = 60, 5
"""Calls one after the other; the first ones are slower, and do not count."""
_SHARES = (50, 95, 99)
_PATH = "/v1/models/genre:predict"

_DIRECT = """
import json, pathlib, sys, time
import tensorflow as tf
saved_model, wavs, calls, uncounted, out = sys.argv[1:]
audio = tf.saved_model.load(saved_model).signatures["audio"]
items = [tf.constant([path.read_bytes()]) for path in sorted(pathlib.Path(wavs).glob("*.wav"))]
times = []
for number in range(int(calls) + int(uncounted)):
    start = time.perf_counter()
    audio(audio=items[number % len(items)])["probabilities"].numpy()
    times.append(time.perf_counter() - start)
pathlib.Path(out).write_text(json.dumps(times[int(uncounted):]))
"""
"""A script that calls a SavedModel, one clip at a time."""


@dataclass(frozen=True)
class Answered:
    """One request of a client."""

    seconds: float
    status: int


def measure(setting: Setting) -> Measured:
    """Measures latency alone and of 16 clients, failures, and the growth of the server's memory over the rounds."""
    table = setting.library()
    with setting.workplace() as work:
        setting.ingest(table, work / "data")
        setting.run(work / "data", work / "workspace", "train.epochs=1", "model.kind=mel_cnn")
        store = epath.Path(work / "workspace" / "models")
        bodies = _bodies(songs(table), AudioConfig(clip_seconds=setting.seconds), work / "wavs")
        candidate = _candidate(version_dir(store, current_version(store) or 1), work / "candidate")
        direct = _direct(version_dir(store, current_version(store) or 1), work)
        setting.report("  called the SavedModel itself")
        with _server(work / "workspace", work / "serve.log") as (port, pid):
            alone = _ask(port, itertools.islice(itertools.cycle(bodies), _CALLS + _UNCOUNTED))[_UNCOUNTED:]
            rounds, sizes = [], []
            for number in range(setting.repeats):
                rounds.append(_load(port, bodies, store, candidate))
                sizes.append(float(_resident_bytes(pid)))
                setting.report(f"  {number + 1} of {setting.repeats}: {len(rounds[-1])} answers")
            loaded = re.search(r"^genre_model_loads_total (\d+)", _get(port, "/metrics")[1], re.MULTILINE)
    milliseconds = [[1000 * each.seconds for each in answers] for answers in rounds]
    pace = [len(answers) / _ROUND_SECONDS for answers in rounds]
    through = [each.seconds for each in alone]
    failed = [float(sum(each.status != 200 for each in answers)) for answers in (alone, *rounds)]
    return Measured(
        {name: _samples(seconds) for name, seconds in (("SavedModel", direct), ("genre serve", through))},
        {
            "direct": spread([1000 * statistics.median(direct)]),
            "alone": spread([statistics.median(through) / statistics.median(direct)]),
            **{f"p{share}": spread([float(np.percentile(each, share)) for each in milliseconds]) for share in _SHARES},
            "pace": spread(pace),
            "against": spread([each * statistics.mean(direct) for each in pace]),
            "failed": spread([sum(failed)]),
            "memory": spread([sizes[-1] / sizes[0]]),
        },
        (
            f"{sum(map(len, rounds))} answers to {CLIENTS} clients; a version pushed in the middle of each round.",
            f"{int(loaded[1]) - 1 if loaded else 0} of these versions answered before the last round ended.",
            f"Resident memory after each round: {', '.join(f'{size / 2**20:.0f}' for size in sizes)} MiB.",
        ),
    )


def _candidate(version: epath.Path, directory: Path) -> epath.Path:
    """Copies a version to where it can be pushed from: without the checksums that every push writes."""
    shutil.copytree(version, directory)
    SavedModel(epath.Path(directory)).checksums.unlink()
    return epath.Path(directory)


def _load(port: int, bodies: list[bytes], store: epath.Path, candidate: epath.Path) -> list[Answered]:
    """Has all clients ask for a round, in the middle of which the same model is pushed anew."""
    end = time.monotonic() + _ROUND_SECONDS
    with ThreadPoolExecutor(CLIENTS) as threads:
        asking = [
            threads.submit(_ask, port, _until(end, itertools.cycle(bodies[first:] + bodies[:first])))
            for first in range(CLIENTS)
        ]
        time.sleep(_ROUND_SECONDS / 2)
        parent = current_version(store)
        assert parent is not None
        lineage = Lineage(candidate=f"after {parent}", parent=parent, data="bench", span=1, window=(1,))
        publish(store, candidate, lineage)
        return [answer for each in asking for answer in each.result()]


def _bodies(files: list[Path], audio: AudioConfig, wavs: Path) -> list[bytes]:
    """Returns a request for each song, and leaves the same WAV files in `wavs`."""
    wavs.mkdir()
    bodies = []
    for number, file in enumerate(files):
        wav = encode_wav(decode_clip(file, audio).pcm, audio.sample_rate)
        (wavs / f"{number:04d}.wav").write_bytes(wav)
        instance = {"b64": base64.b64encode(wav).decode()}
        bodies.append(json.dumps({"signature_name": "audio", "instances": [instance]}).encode())
    return bodies


def _direct(saved_model: epath.Path, work: Path) -> list[float]:
    """Returns the seconds of calls of a SavedModel in a process of its own."""
    out = work / "direct.json"
    words = ("-c", _DIRECT, saved_model, work / "wavs", _CALLS, _UNCOUNTED, out)
    in_new_process([sys.executable, *map(str, words)], work / "direct.log")
    return json.loads(out.read_text(encoding="utf-8"))


@contextmanager
def _server(workspace: Path, log: Path) -> Iterator[tuple[int, int]]:
    """Starts `genre serve`; yields its port and process id once the model answers."""
    with log.open("w", encoding="utf-8") as errors:
        command = [*map(str, GENRE), "serve", "--port", "0", "--workspace", str(workspace)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            found = re.match(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            if not found:
                raise ProcessError(f"the server did not start: see {log}")
            port = int(found[1])
            while _get(port, "/readyz")[0] != http.client.OK:
                if process.poll() is not None:
                    raise ProcessError(f"the server ended: see {log}")
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(60)


def _get(port: int, path: str) -> tuple[int, str]:
    """Returns the status and the text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _ask(port: int, bodies: "Iterator[bytes] | list[bytes]") -> list[Answered]:
    """Sends requests one after the other through one connection; a connection that breaks counts as status 0."""
    answers = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for body in bodies:
        start = time.perf_counter()
        try:
            connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            status = 0
            connection.close()
        answers.append(Answered(time.perf_counter() - start, status))
    connection.close()
    return answers


def _until(end: float, bodies: Iterator[bytes]) -> Iterator[bytes]:
    return itertools.takewhile(lambda _: time.monotonic() < end, bodies)


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def _samples(seconds: list[float]) -> tuple[Sample, ...]:
    return tuple(Sample(wall=each, cpu=0.0) for each in seconds)
