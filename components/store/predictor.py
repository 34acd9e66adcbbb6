"""Names the genre of any song with a pushed model, as a whole and over time.

Needs no TFX; and where the model was exported to ONNX, no TensorFlow.
"""

import heapq
import importlib.util
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.audio.decoding import AUDIBLE, AudioError, Clip, Source, clips_at
from components.audio.samples import Samples
from components.base.errors import UserError
from components.store.answers import Segment, SongGenres, require_hop
from components.store.checksums import require_sound
from components.store.model_card import ModelCard
from components.store.saved_model import SavedModel

LARGEST_BATCH = 4
"""Clips that a model answers at a time: the largest, musicnn, takes 0.6 GB for 30 s."""
_CORES = os.cpu_count() or 1
_WHOLE, _WINDOWS, _EMBEDDINGS = "audio", "windows", "embeddings"
"""Signatures."""
_READ = ("probabilities", "heard", "embedding")
"""Their outputs that are read."""
_ALL = (True,)
"""What is heard of a clip by a model that does not answer windows."""
_ROUNDING = 1e-6
_SILENT = 32768.0 * AUDIBLE
"""A window whose largest sample is smaller is silent."""

RuntimeName = Literal["any", "tensorflow", "onnx"]
"""What a version answers by. any: ONNX Runtime if the version was exported to it at its push, or else TensorFlow, which
takes ten times as long to load."""
Song = Source | Samples
"""A path, a seekable binary file, or samples with their rate."""


@dataclass(frozen=True)
class _Place:
    """A clip to answer for."""

    start: float
    """Seconds from the beginning of the song."""
    whole: bool
    """True if the clip is one of those whose mean is the song's answer."""
    group: int | None
    """The clips of a group are those whose windows lie between each other's; None: its windows are no segments."""


@dataclass(frozen=True)
class _Answer:
    """What a model says about a clip, without its samples."""

    place: _Place
    start: float
    end: float
    """Seconds from the beginning of the song; the end is that of the song, if it ends in this clip."""
    last: bool
    """True if the song ends in this clip."""
    counted: bool
    """True if the song's answer is the mean over this clip and others."""
    outputs: dict[str, NDArray] | None
    """Those of the signature, without the batch; None if the clip is silent."""
    loud: tuple[bool, ...]
    """Which of the windows are not silent."""


_Taken = list[tuple[_Place, Clip]] | AudioError | OSError
"""Some clips of a song, or why there are none."""


class Runtime(Protocol):
    """A loaded model, whatever computes its answers."""

    card: ModelCard

    def answers(self, what: str) -> bool:
        """Returns whether the model can answer `audio`, `windows` or `embeddings`."""
        ...

    def answer(self, clips: list[NDArray[np.int16]], what: str) -> dict[str, NDArray[Any]]:
        """Returns the outputs of that signature for clips, each int16 [at most clip_samples]."""
        ...


def load_runtime(version: epath.Path, name: RuntimeName = "any") -> Runtime:
    """Loads a version of the model store, or a file that `genre export` wrote for ONNX Runtime.

    Raises:
      UserError: it is damaged, does not load, or was not exported to what `name` asks for.
    """
    if version.suffix == ".onnx" and version.is_file():
        from components.store.onnx_runtime import OnnxRuntime

        return OnnxRuntime(version)
    require_sound(version)
    exported = SavedModel(version).onnx
    if name == "onnx" and not exported.exists():
        raise UserError(
            f"{version}: it was not exported to ONNX when it was pushed. Export it with `genre export --format onnx`, "
            "and name the file; or set deploy.export to [onnx] for the versions to come."
        )
    # The runtime is an extra of setup.py.
    if name == "onnx" or (name == "any" and exported.exists() and importlib.util.find_spec("onnxruntime")):
        from components.store.onnx_runtime import OnnxRuntime

        return OnnxRuntime(exported)
    from components.store.saved_model_runtime import SavedModelRuntime

    return SavedModelRuntime(version)


class Predictor:
    """A loaded model. Its methods may be called from several threads at a time."""

    def __init__(self, saved_model: epath.Path, runtime: RuntimeName | Runtime = "any") -> None:
        """Loads `saved_model`, as `load_runtime` does, unless `runtime` has loaded it already.

        Raises:
          UserError: see `load_runtime`.
        """
        self._runtime = load_runtime(saved_model, runtime) if isinstance(runtime, str) else runtime
        self.card: ModelCard = self._runtime.card
        self._audio = self.card.features.audio

    @property
    def answers_windows(self) -> bool:
        """False for a model of an earlier release, which has no signature for that: its segments are whole clips."""
        return self._runtime.answers(_WINDOWS)

    @cached_property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each window of a clip, in seconds from its beginning; they are evenly spaced."""
        if not self.answers_windows:
            return ((0.0, self._audio.clip_seconds),)
        answer = self._runtime.answer([np.zeros(self._audio.clip_samples, np.int16)], _WINDOWS)
        return tuple(zip(*(answer[name][0].tolist() for name in ("starts", "ends")), strict=True))

    def predict_all(
        self, songs: Iterable[Song], segments: bool = False, hop: float | None = None, embed: bool = False
    ) -> Iterator[SongGenres | AudioError | OSError]:
        """Names the genres of songs of any length: some are decoded while others are answered, in batches across songs.

        Songs are decoded clip by clip, so that memory does not grow with their length.

        Args:
          segments: name the genres over time, too: of the windows that a song's genres are the mean of.
          hop: distance between the starts of two segments, in seconds, at most: the nearest that divides, or is a
            multiple of, the distance between the model's windows. None: one window after the other.
          embed: compute the embedding of each song, too, as `embed_all`.

        Yields:
          The genres of each song, in the order of `songs`; for a song that cannot be read, the error. The last segment
          is the first that reaches the end of the song, unless less than half a window is left for it.

        Raises:
          UserError: `hop` is too small; or a model of an earlier release has no embeddings.
        """
        if embed:
            self._require_embeddings()
        signatures: tuple[str, ...] = (_WINDOWS,) if segments and self.answers_windows else () if embed else (_WHOLE,)
        signatures += (_EMBEDDINGS,) if embed else ()
        for heard in self._heard(songs, signatures, lambda: self._places(segments, hop)):
            if isinstance(heard, Exception):
                yield heard
                continue
            counted = [_clip_answer(each.outputs) for each in heard if each.counted and each.outputs]
            parts = tuple(self._segments(heard, hop)) if segments else ()
            yield SongGenres(
                self._ranked(np.mean(counted, axis=0)) if counted else {},
                len(counted),
                parts,
                tuple(_embedding(heard).tolist()) if embed else (),
            )

    def embed_all(self, songs: Iterable[Song]) -> Iterator[NDArray[np.float32] | AudioError | OSError]:
        """Computes what the model's last layer sees of songs, to compare them by: the mean over the clips of each.

        Yields:
          float32 [E] for each song, in the order of `songs`; [0] for one that is silent from beginning to end; for one
          that cannot be read, the error.

        Raises:
          UserError: a model of an earlier release has no embeddings.
        """
        self._require_embeddings()
        for heard in self._heard(songs, (_EMBEDDINGS,), lambda: self._places(False, None)):
            yield heard if isinstance(heard, Exception) else _embedding(heard)

    def _require_embeddings(self) -> None:
        if not self._runtime.answers(_EMBEDDINGS):
            raise UserError(
                "the model is of an earlier release, and has no embeddings. Train it again with `genre run`."
            )

    # --- Which clips, and what the windows in them stand for

    def _places(self, segments: bool, hop: float | None) -> Iterator[_Place]:
        """Yields the clips of a song of any length, in order."""
        length = self._audio.clip_seconds
        whole = (
            _Place(number * length, True, number if segments and hop is None else None) for number in itertools.count()
        )
        if not segments or hop is None:
            return whole
        shifts, distance, _ = self._grid(hop)
        between = (
            _Place((group * shifts * len(self.windows) + shift) * distance, False, group)
            for group in itertools.count()
            for shift in range(shifts)
        )
        return heapq.merge(whole, between, key=lambda place: place.start)

    def _grid(self, hop: float) -> tuple[int, float, int]:
        """Lays windows out evenly, `hop` seconds apart or less.

        Returns:
          How many clips, each shifted against the one before, have their windows between each other's; the shift, in
          seconds; and which of the windows become segments: every how manyth.

        Raises:
          UserError: `hop` is too small.
        """
        require_hop(hop)
        starts = [start for start, _ in self.windows]
        distance = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else self._audio.clip_seconds
        shifts = math.ceil(distance / hop - _ROUNDING)
        return shifts, distance / shifts, max(1, math.floor(hop / distance + _ROUNDING))

    def _segments(self, answers: Iterable[_Answer], hop: float | None) -> Iterator[Segment]:
        every = 1 if hop is None else self._grid(hop)[2]
        numbers, end = itertools.count(), math.inf
        placed = (answer for answer in answers if answer.place.group is not None)
        for _, members in itertools.groupby(placed, key=lambda answer: answer.place.group):
            found: list[tuple[float, float, dict[str, float]]] = []
            for answer in members:
                end = min(end, answer.end if answer.last else math.inf)
                found += self._answered_windows(answer)
            for start, stop, probabilities in sorted(found, key=lambda one: one[0]):
                number = next(numbers)
                left = min(stop, end) - start
                if number % every or (number and left < (stop - start) / 2.0):
                    continue
                yield Segment(round(start, 3), round(start + left, 3), probabilities)
                if stop >= end:
                    return

    def _answered_windows(self, answer: _Answer) -> Iterator[tuple[float, float, dict[str, float]]]:
        """Yields start, end and probabilities of each window, in seconds from the beginning of the song."""
        for number, (start, end) in enumerate(self.windows):
            probabilities: dict[str, float] = {}
            if answer.outputs and answer.loud[number] and answer.outputs.get("heard", _ALL)[number]:
                probabilities = self._ranked(np.atleast_2d(answer.outputs["probabilities"])[number])
            yield answer.start + start, answer.start + end, probabilities

    def _ranked(self, probabilities: NDArray) -> dict[str, float]:
        pairs = zip(self.card.features.genres, probabilities.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    # --- From songs to answers

    def _heard(
        self, songs: Iterable[Song], signatures: tuple[str, ...], places: Callable[[], Iterator[_Place]]
    ) -> Iterator[list[_Answer] | AudioError | OSError]:
        """Yields the answers to the clips of each song, or what makes it unreadable."""
        for _, items in itertools.groupby(self._answers_or_errors(songs, signatures, places), key=lambda item: item[0]):
            answers: list[_Answer] = []
            error = None
            for _, item in items:
                if isinstance(item, Exception):
                    error = item
                else:
                    answers.append(item)
            yield error or answers

    def _answers_or_errors(
        self, songs: Iterable[Song], signatures: tuple[str, ...], places: Callable[[], Iterator[_Place]]
    ) -> Iterator[tuple[int, _Answer | AudioError | OSError]]:
        """Yields the answer to each clip of each song, or the song's error, with the number of the song."""
        clips = (
            (number, each)
            for number, taken in self._decoded(songs, places)
            for each in (taken if isinstance(taken, list) else [taken])
        )
        with ThreadPoolExecutor(_CORES) as threads:  # a graph does not use all cores for one batch
            asked = deque[tuple[list[tuple[int, Any]], "Future[Iterator[dict[str, NDArray]]]"]]()
            while True:
                if batch := list(itertools.islice(clips, LARGEST_BATCH)):
                    loud = [each[1].pcm for _, each in batch if isinstance(each, tuple) and not each[1].silent]
                    asked.append((batch, threads.submit(self._outputs, loud, signatures)))
                elif not asked:
                    return
                if batch and len(asked) < _CORES:
                    continue
                batch, future = asked.popleft()
                outputs = future.result()
                for number, each in batch:
                    if isinstance(each, tuple):
                        yield number, self._answer(*each, None if each[1].silent else next(outputs))
                    else:
                        yield number, each

    def _decoded(self, songs: Iterable[Song], places: Callable[[], Iterator[_Place]]) -> Iterator[tuple[int, _Taken]]:
        """Yields the clips of songs in order, some at a time, with the song's number; decodes the next meanwhile."""

        def begin(song: Song) -> Iterator[tuple[_Place, Clip]]:
            wanted, starts = itertools.tee(places())
            clips = clips_at(song, self._audio, (place.start for place in starts))
            return (
                (place, clip)
                for clip, place in zip(clips, wanted, strict=False)
                if place.group is not None or clip.stands_alone(self._audio)
            )

        def take(clips: Iterator[tuple[_Place, Clip]]) -> _Taken:
            try:
                return list(itertools.islice(clips, LARGEST_BATCH))
            except (AudioError, OSError) as error:
                return error

        coming, ahead = map(begin, songs), deque[tuple[Iterator[tuple[_Place, Clip]], "Future[_Taken]"]]()
        with ThreadPoolExecutor(_CORES) as threads:  # decoders release the GIL, as the graph does
            try:
                for number in itertools.count():
                    for clips in itertools.islice(coming, _CORES + 1 - len(ahead)):
                        ahead.append((clips, threads.submit(take, clips)))
                    if not ahead:
                        return
                    clips, future = ahead.popleft()
                    while isinstance(taken := future.result(), list) and len(taken) == LARGEST_BATCH:
                        future = threads.submit(take, clips)
                        yield number, taken
                    yield number, taken
            finally:
                threads.shutdown(cancel_futures=True)

    def _outputs(self, pcm: list[NDArray[np.int16]], signatures: tuple[str, ...]) -> Iterator[dict[str, NDArray]]:
        """Yields the outputs of signatures for each clip, having asked for all; of a shared name, the first one."""
        if not pcm:
            return iter(())
        arrays: dict[str, NDArray] = {}
        for signature in signatures:
            arrays = {
                name: rows for name, rows in self._runtime.answer(pcm, signature).items() if name in _READ
            } | arrays
        return ({name: rows[clip] for name, rows in arrays.items()} for clip in range(len(pcm)))

    def _answer(self, place: _Place, clip: Clip, outputs: dict[str, NDArray] | None) -> _Answer:
        rate, loud = self._audio.sample_rate, []
        for start, end in self.windows if place.group is not None else ():
            part = clip.pcm[round(start * rate) : round(end * rate)]
            loud.append(bool(np.abs(part.astype(np.int32)).max(initial=0) >= _SILENT))
        return _Answer(
            place=place,
            start=clip.start_seconds,
            end=clip.start_seconds + clip.duration_seconds,
            last=clip.duration_seconds < self._audio.clip_seconds,
            counted=place.whole and clip.stands_alone(self._audio),
            outputs=outputs,
            loud=tuple(loud),
        )


def _embedding(answers: Iterable[_Answer]) -> NDArray[np.float32]:
    """Returns the mean of the embeddings of the clips that count, [E]; [0] if none has sound."""
    found = [each.outputs["embedding"] for each in answers if each.counted and each.outputs]
    return np.mean(found, axis=0) if found else np.zeros(0, np.float32)


def _clip_answer(outputs: dict[str, NDArray]) -> NDArray:
    """Returns the probabilities of a clip: the mean over its windows that have sound, or over all if none has."""
    probabilities, heard = outputs["probabilities"], outputs.get("heard")
    if heard is None:
        return probabilities
    return (probabilities[heard] if heard.any() else probabilities).mean(axis=0)
