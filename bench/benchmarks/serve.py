"""`genre serve` under load, with new versions pushed meanwhile, against calls of the SavedModel itself."""

import base64
import http.client
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from etils import epath

from bench.harness.music import songs
from bench.harness.result import Measured
from bench.harness.setting import GENRE, Setting
from bench.harness.timing import ROOT, ProcessError, Sample, in_new_process, ratio, spread
from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip
from components.audio.wav import encode_wav
from components.store.model_store import Lineage, current_version, publish, version_dir

CLIENTS = 16
_SECONDS_PER_CLIP = 2.5
"""Length of the load by the number of clips: two minutes with 48."""
_PUSH_SECONDS = 15.0
_CALLS = 60
_PATH = "/v1/models/genre:predict"

_DIRECT = """
import json, pathlib, sys, time
import tensorflow as tf
saved_model, wavs, calls, out = sys.argv[1:]
audio = tf.saved_model.load(saved_model).signatures["audio"]
items = [tf.constant([path.read_bytes()]) for path in sorted(pathlib.Path(wavs).glob("*.wav"))]
times = []
for number in range(int(calls) + 5):
    start = time.perf_counter()
    audio(audio=items[number % len(items)])["probabilities"].numpy()
    times.append(time.perf_counter() - start)
pathlib.Path(out).write_text(json.dumps(times[5:]))
"""
"""A script that calls a SavedModel, one clip at a time."""


@dataclass(frozen=True)
class Answered:
    """One request of a client."""

    seconds: float
    status: int


def measure(setting: Setting) -> Measured:
    """Measures latency alone and of 16 clients, failures, and the growth of the server's memory."""
    table = setting.library()
    with setting.workplace() as work:
        setting.ingest(table, work / "data")
        setting.run(work / "data", work / "workspace", "train.epochs=1")
        store = epath.Path(work / "workspace" / "models")
        bodies = _bodies(songs(table), AudioConfig(clip_seconds=setting.seconds), work / "wavs")
        direct = _direct(setting, version_dir(store, current_version(store) or 1), work)
        with _server(work / "workspace", work / "serve.log") as (port, pid):
            alone = _ask(port, itertools.islice(itertools.cycle(bodies), _CALLS + 5))[5:]
            _ask(port, bodies[:CLIENTS])  # so that a batch of each size was answered once
            begin, sizes = time.monotonic(), []
            until = begin + _SECONDS_PER_CLIP * setting.clips
            with ThreadPoolExecutor(CLIENTS + 1) as threads:
                asking = [
                    threads.submit(_ask, port, _until(until, itertools.cycle(bodies[first:] + bodies[:first])))
                    for first in range(CLIENTS)
                ]
                pushing = threads.submit(_push_until, until, store, setting.report)
                while time.monotonic() < until:
                    time.sleep(1.0)
                    sizes.append(_resident_bytes(pid))
                answers = [answer for each in asking for answer in each.result()]
                pushed = pushing.result()
        wall = time.monotonic() - begin
    percentile: Callable[[float], float] = partial(np.percentile, [1000 * each.seconds for each in answers])
    failed = sum(each.status != 200 for each in [*alone, *answers])
    quarter = max(1, len(sizes) // 4)
    through = [each.seconds for each in alone]
    sides = {name: _sample(seconds) for name, seconds in (("SavedModel", direct), ("genre serve", through))}
    return Measured(
        sides,
        {
            "alone": ratio([float(np.median(through))], [float(np.median(direct))]),
            "direct": spread([1000 * float(np.median(direct))]),
            "p50": spread([float(percentile(50))]),
            "p95": spread([float(percentile(95))]),
            "p99": spread([float(percentile(99))]),
            "pace": spread([len(answers) / wall]),
            "against": spread([len(answers) / wall * float(np.mean(direct))]),
            "failed": spread([float(failed)]),
            "memory": ratio([float(np.median(sizes[-quarter:]))], [float(np.median(sizes[quarter : 2 * quarter]))]),
        },
        (f"{len(answers)} requests of {CLIENTS} clients in {wall:.0f} s, {pushed} versions pushed meanwhile.",),
    )


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


def _direct(setting: Setting, saved_model: epath.Path, work: Path) -> list[float]:
    out = work / "direct.json"
    words = ("-c", _DIRECT, saved_model, work / "wavs", _CALLS, out)
    in_new_process([sys.executable, *map(str, words)], work / "direct.log")
    setting.report("  called the SavedModel itself")
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
            while _get(port, "/readyz") != http.client.OK:
                if process.poll() is not None:
                    raise ProcessError(f"the server ended: see {log}")
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(60)


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
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


def _push_until(end: float, store: epath.Path, report: Callable[[str], None]) -> int:
    """Pushes the served model anew every _PUSH_SECONDS; returns how often."""
    pushed, pause = 0, threading.Event()
    while time.monotonic() + _PUSH_SECONDS < end and not pause.wait(_PUSH_SECONDS):
        parent = current_version(store)
        assert parent is not None
        lineage = Lineage(candidate=f"bench {pushed}", parent=parent, data="bench", span=1, window=(1,))
        report(f"  pushed version {publish(store, version_dir(store, parent), lineage)}")
        pushed += 1
    return pushed


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def _sample(seconds: list[float]) -> tuple[Sample, ...]:
    return tuple(Sample(wall=each, cpu=0.0) for each in seconds)
