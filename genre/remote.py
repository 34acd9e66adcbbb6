"""A model on a server, `genre serve`; needs no TensorFlow here."""

import io
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray

from components.audio.decoding import AudioError
from components.audio.samples import Samples
from components.base.errors import UserError, reason
from components.store.answers import Segment, SongGenres, require_hop
from genre.model import Answer, Audio, Model, Song

_TIMEOUT = (20.0, 600.0)
"""Seconds that a server may take to be reached, and for a song."""
_AT_A_TIME = 4
"""Songs of a batch that are sent at a time."""
_UNREADABLE = (400, 413, 415, 422)
"""What a server answers if the song is at fault."""
_LATER = (429, 503)
"""What it answers if it is busy, or loads its model."""
_PATIENCE, _FIRST_WAIT, _LONGEST_WAIT = 120.0, 0.5, 20.0
"""Seconds: how long a busy server is asked again; from the first try to the next, unless it says when; at most."""


class RemoteModel(Model):
    """The model that a server serves, whatever version that is at the time."""

    def __init__(self, address: str, token: str | None = None) -> None:
        """Asks the server for its version.

        Raises:
          UserError: no `genre serve` answers there.
        """
        self._address = address.rstrip("/")
        self._session = requests.Session()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        _ = self.version  # an address that is wrong is told at once

    @property
    def version(self) -> int | None:
        """The version that is served now."""
        with self._understood():
            states = self._ask("GET", "/v1/models/genre")["model_version_status"]
            return max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")

    def answer(self, songs: Iterable[Song], segments: bool = False, hop: float | None = None) -> Iterator[Answer]:
        """Yields the answer for each song, some of which are sent at a time.

        Raises:
          UserError: `hop` is too small.
        """
        if hop is not None:
            require_hop(hop)
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            yield from threads.map(partial(self._send, hop=hop), songs)

    def embed(self, song: Audio, rate: int | None = None) -> NDArray[np.float32]:
        """Raises a UserError: the server does not tell."""
        raise UserError(f"{self._address}: a server gives no embeddings. Load the model itself: genre.load(workspace).")

    def _send(self, song: Song, hop: float | None) -> Answer:
        try:
            file = _file(song)
            with self._understood():
                found = self._ask("POST", "/predict", params={"hop": hop}, files={"file": file})
                parts = tuple(Segment(part["start"], part["end"], part["genres"]) for part in found["segments"])
                return SongGenres(found["genres"], found["clips"], parts)
        except (AudioError, OSError, UserError) as error:
            return error

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raises a UserError if what the block reads in an answer is not there."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self._address}: what answers there is no `genre serve`. Name another address."
            ) from error

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """Returns the JSON that the server answers; asks again while it is busy.

        Raises:
          AudioError: what was sent is at fault.
          UserError: there is no such server, or it refuses, or it is busy for too long.
          ValueError: it answers something else.
        """
        end, wait = time.monotonic() + _PATIENCE, _FIRST_WAIT
        while True:
            try:
                answer = self._session.request(
                    method,
                    self._address + path,
                    headers=self._headers,
                    auth=lambda prepared: prepared,  # or passwords from ~/.netrc would be sent in place of the token
                    timeout=_TIMEOUT,
                    **request,
                )
            except (requests.RequestException, ValueError) as error:  # the second: of addresses that are none
                raise UserError(
                    f"{self._address}: no answer ({_cause(error)}). Start `genre serve`, or name another address."
                ) from error
            left = end - time.monotonic()
            if answer.status_code not in _LATER or left <= 0.0:
                break
            asked = answer.headers.get("Retry-After", "")
            time.sleep(min(float(asked) if asked.isdecimal() else wait, _LONGEST_WAIT, left))
            wait *= 2.0
        if answer.ok:
            return answer.json()
        why = _reason(answer)
        if answer.status_code in _UNREADABLE:
            raise AudioError(why)
        raise UserError(f"{self._address}: {answer.status_code}: {why}")


def _reason(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300] or answer.reason


def _cause(error: Exception) -> str:
    """Returns what is at the bottom of an error of `requests`, which wraps those of other libraries."""
    while isinstance(below := error.__cause__ or error.__context__, Exception):
        error = below
    return reason(error)


def _file(song: Song) -> tuple[str, bytes]:
    """Returns the name and the content of the file to send.

    Raises:
      AudioError: an array that is no audio.
      OSError: a file that cannot be read.
    """
    if isinstance(song, Path):
        return os.fsencode(song.name).decode(errors="replace"), song.read_bytes()
    if not isinstance(song, Samples):
        song.seek(0)
        return "song", song.read()
    if problem := song.problem() or ("" if len(song.values) else "no samples in it"):
        raise AudioError(problem)
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(list(song.blocks())), song.rate, "FLOAT", format="WAV")
    return "array.wav", file.getvalue()
